//! Where a text may be cut so that its parts give the ids of the whole: before an ASCII space that follows something
//! that is not white space.
//!
//! What is decided here for the components is checked again for each part after normalization: it has to start with
//! what the space became and must not end with white space.

use crate::tokenizer::Tokenizer;
use crate::tokenizer::added_tokens::AddedVocabulary;
use crate::tokenizer::model::Model;
use crate::tokenizer::normalizer::Normalizer;
use crate::tokenizer::pre_tokenizer::PreTokenizer;

/// What is known of the cuts of a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// What the space at the start of a part has become when the normalizer is done.
    pub marker: char,
    /// The first part of a piece is not treated like the others.
    pub start_matters: bool,
    /// The last part of a piece is not treated like the others.
    pub end_matters: bool,
}

/// The space on its way through the pre-tokenizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The parts on its two sides are different words.
    Boundary,
    /// It may be inside of a word, as this character.
    Inside(char),
}

impl Cut {
    /// None: cutting could change ids.
    pub fn new(tokenizer: &Tokenizer) -> Option<Self> {
        let mut cut = Self { marker: ' ', start_matters: false, end_matters: false };
        if let Some(normalizer) = &tokenizer.normalizer {
            cut.normalizer(normalizer)?;
        }
        cut.added_tokens(&tokenizer.added)?;
        let place = match &tokenizer.pre_tokenizer {
            Some(pre_tokenizer) => cut.pre_tokenizer(pre_tokenizer, Place::Inside(cut.marker))?,
            None => Place::Inside(cut.marker),
        };
        match (place, &*tokenizer.model) {
            (Place::Boundary, _) => Some(cut),
            (Place::Inside(marker), Model::Bpe(model)) => model.no_token_crosses(marker).then_some(cut),
            (Place::Inside(_), Model::WordPiece(_) | Model::WordLevel(_)) => None,
        }
    }

    fn normalizer(&mut self, normalizer: &Normalizer) -> Option<()> {
        match normalizer {
            Normalizer::Bert(_)
            | Normalizer::Form(_)
            | Normalizer::Lowercase
            | Normalizer::StripAccents
            | Normalizer::Nmt => (self.marker == ' ').then_some(()),
            Normalizer::Sequence(all) => all.iter().try_for_each(|normalizer| self.normalizer(normalizer)),
            Normalizer::Strip(_)
            | Normalizer::Precompiled(_)
            | Normalizer::Replace(_)
            | Normalizer::Prepend(_)
            | Normalizer::ByteLevel => None,
        }
    }

    /// A token found in the normalized text must not reach over a cut, nor depend on what is beyond one.
    fn added_tokens(&self, added: &AddedVocabulary) -> Option<()> {
        for (id, token) in added.iter().filter(|(_, token)| token.normalized) {
            let form = added.text(id)?;
            let pairs = form.chars().zip(form.chars().skip(1));
            let reaches = pairs
                .into_iter()
                .any(|(left, right)| right == self.marker && left != self.marker && !left.is_whitespace());
            if reaches || token.rstrip || (token.single_word && form.starts_with(self.marker)) {
                return None;
            }
        }
        Some(())
    }

    fn pre_tokenizer(&mut self, pre_tokenizer: &PreTokenizer, place: Place) -> Option<Place> {
        match (pre_tokenizer, place) {
            (PreTokenizer::Bert | PreTokenizer::Whitespace, Place::Boundary | Place::Inside(' ')) => {
                Some(Place::Boundary)
            }
            _ => None,
        }
    }
}
