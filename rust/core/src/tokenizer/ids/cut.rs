//! Where a text may be cut so that its parts give the ids of the whole: before an ASCII space that follows something
//! that is not white space.
//!
//! What is decided here for the components is checked again for each part after normalization: it has to start with
//! what the space became and must not end with white space.

use crate::tokenizer::Tokenizer;
use crate::tokenizer::added_tokens::AddedVocabulary;
use crate::tokenizer::byte_alphabet::character_of;
use crate::tokenizer::model::Model;
use crate::tokenizer::normalizer::{Normalizer, Replace, is_space};
use crate::tokenizer::pattern::{Pattern, Scanner};
use crate::tokenizer::pieces::SPACE_SIGN;
use crate::tokenizer::pre_tokenizer::{Behavior, PreTokenizer, PrependScheme, Split};
use crate::tokenizer::text::Edges;
use crate::tokenizer::unicode::is_punctuation;

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
            // Known since the model was read: it takes a look at all merges.
            (Place::Inside(SPACE_SIGN), Model::Bpe(_)) => tokenizer.pieces.cuts_words().then_some(cut),
            (Place::Inside(marker), Model::Bpe(model)) => model.no_token_crosses(marker).then_some(cut),
            (
                Place::Inside(_),
                Model::WordPiece(_) | Model::WordLevel(_) | Model::Unigram(_) | Model::SentencePiece(_),
            ) => None,
        }
    }

    fn normalizer(&mut self, normalizer: &Normalizer) -> Option<()> {
        match normalizer {
            // One character after the other, or together with the marks behind it; a space is not composed.
            Normalizer::Bert(_)
            | Normalizer::Form(_)
            | Normalizer::Lowercase
            | Normalizer::StripAccents
            | Normalizer::Nmt
            | Normalizer::Precompiled(_) => (self.marker == ' ' || self.marker == SPACE_SIGN).then_some(()),
            Normalizer::Sequence(all) => all.iter().try_for_each(|normalizer| self.normalizer(normalizer)),
            Normalizer::Strip(_) => {
                self.start_matters = true;
                self.end_matters = true;
                Some(())
            }
            Normalizer::Prepend(_) => {
                self.start_matters = true;
                Some(())
            }
            Normalizer::Replace(replace) => self.replace(replace),
            Normalizer::ByteLevel => {
                self.marker = u8::try_from(self.marker).ok().filter(u8::is_ascii).map(character_of)?;
                Some(())
            }
        }
    }

    /// A match must not go on with the marker after something that is no white space.
    fn replace(&mut self, replace: &Replace) -> Option<()> {
        let matched = match replace.pattern() {
            Pattern::Literal(literal) => {
                if self.reaches(literal) || literal.is_empty() {
                    return None;
                }
                *literal == self.marker.to_string()
            }
            Pattern::Known(..) => return None,
            // Runs of white space.
            Pattern::Regex(regex) => {
                if self.marker != ' ' || !is_space(regex.as_str()) {
                    return None;
                }
                true
            }
        };
        if matched {
            let mut content = replace.content().chars();
            self.marker = content.next().filter(|_| content.next().is_none())?;
        }
        Some(())
    }

    /// Whether a text has the marker after something that is no white space, so that a match of it lies over a cut.
    fn reaches(&self, text: &str) -> bool {
        let pairs = text.chars().zip(text.chars().skip(1));
        pairs
            .into_iter()
            .any(|(left, right)| right == self.marker && left != self.marker && !left.is_whitespace())
    }

    /// A token found in the normalized text must not reach over a cut, nor depend on what is beyond one.
    fn added_tokens(&self, added: &AddedVocabulary) -> Option<()> {
        for (id, token) in added.iter().filter(|(_, token)| token.normalized) {
            let form = added.text(id)?;
            if self.reaches(form) || token.rstrip || (token.single_word && form.starts_with(self.marker)) {
                return None;
            }
        }
        Some(())
    }

    fn pre_tokenizer(&mut self, pre_tokenizer: &PreTokenizer, place: Place) -> Option<Place> {
        if let PreTokenizer::Sequence(all) = pre_tokenizer {
            return all.iter().try_fold(place, |place, one| self.pre_tokenizer(one, place));
        }
        let Place::Inside(marker) = place else {
            // Words are worked on one by one; only the original's start is seen from within one.
            self.start_matters |= matches!(pre_tokenizer, PreTokenizer::Metaspace(_));
            return Some(place);
        };
        match pre_tokenizer {
            PreTokenizer::Bert | PreTokenizer::Whitespace | PreTokenizer::WhitespaceSplit => {
                (marker == ' ').then_some(Place::Boundary)
            }
            PreTokenizer::CharDelimiterSplit(delimiter) if *delimiter == marker => Some(Place::Boundary),
            PreTokenizer::CharDelimiterSplit(_) => Some(place),
            PreTokenizer::Punctuation(behavior) => {
                (!is_punctuation(marker) && *behavior != Behavior::MergedWithNext).then_some(place)
            }
            PreTokenizer::Digits { .. } => (!marker.is_numeric()).then_some(place),
            PreTokenizer::Metaspace(metaspace) => {
                self.start_matters |= metaspace.prepend_scheme != PrependScheme::Never;
                let marker = if marker == ' ' { metaspace.replacement } else { marker };
                match (marker == metaspace.replacement, metaspace.split) {
                    (true, true) => Some(Place::Boundary),
                    (true, false) => Some(Place::Inside(marker)),
                    (false, _) => None,
                }
            }
            PreTokenizer::ByteLevel(byte_level) => {
                self.start_matters |= byte_level.add_prefix_space;
                match (marker, byte_level.use_regex) {
                    (' ', true) => Some(Place::Boundary),
                    (' ', false) => Some(Place::Inside(character_of(b' '))),
                    _ => None,
                }
            }
            PreTokenizer::Split(split) => self.split(split, marker),
            // A space goes to the script before it.
            PreTokenizer::FixedLength(_) | PreTokenizer::UnicodeScripts | PreTokenizer::Sequence(_) => None,
        }
    }

    fn split(&self, split: &Split, marker: char) -> Option<Place> {
        match &split.pattern {
            Pattern::Known(scanner, _) if marker == ' ' => {
                // No match goes on with the space: the words are apart where what lies between matches is not joined
                // to them, or where the space starts a match.
                let numbers = matches!(scanner, Scanner::Numbers { .. });
                match split.behavior {
                    Behavior::Isolated if numbers => Some(Place::Inside(marker)),
                    Behavior::Isolated => Some(Place::Boundary),
                    Behavior::Removed if split.invert && matches!(scanner, Scanner::Clip { .. }) => {
                        Some(Place::Boundary)
                    }
                    _ => None,
                }
            }
            Pattern::Literal(literal) => {
                let simple =
                    matches!(split.behavior, Behavior::Isolated | Behavior::Removed | Behavior::Contiguous);
                let mut characters = literal.chars();
                match (characters.next(), characters.next()) {
                    (Some(only), None) if only == marker => {
                        (simple && !split.invert).then_some(Place::Boundary)
                    }
                    // Spaces have become something else before.
                    (Some(' '), None) if marker == SPACE_SIGN => Some(Place::Inside(marker)),
                    _ => (!literal.contains(marker) && !literal.is_empty() && simple && !split.invert)
                        .then_some(Place::Inside(marker)),
                }
            }
            Pattern::Regex(regex) => {
                let ideographs = regex.as_str() == IDEOGRAPHS && split.behavior == Behavior::Isolated;
                ideographs.then_some(Place::Inside(marker))
            }
            Pattern::Known(..) => None,
        }
    }

    /// Whether a part, as given and normalized, is as its tokenizer's components promise.
    pub fn holds(&self, given: &str, normalized: &str, edges: Edges) -> bool {
        let space = |c: char| c == self.marker || c.is_whitespace();
        // Without anything else, space would be stripped or prefixed here, and what follows would not.
        let starts = match edges.start {
            true => edges.end || normalized.chars().any(|c| !space(c)),
            false => normalized.starts_with(self.marker) || (edges.end && normalized.is_empty()),
        };
        let ends = edges.end || normalized.chars().next_back().is_some_and(|c| !space(c));
        // A character that the next one is joined to, the space included.
        let joins = given.chars().next_back().is_some_and(is_prepended);
        starts && ends && !joins
    }
}

/// DeepSeek's, which has no space.
const IDEOGRAPHS: &str = "[一-龥\u{3040}-ゟ゠-ヿ]+";

/// Grapheme_Cluster_Break=Prepend: a space after it is part of the same grapheme.
fn is_prepended(c: char) -> bool {
    matches!(
        u32::from(c),
        0x600..=0x605
            | 0x6DD
            | 0x70F
            | 0x890..=0x891
            | 0x8E2
            | 0xD4E
            | 0x110BD
            | 0x110CD
            | 0x111C2..=0x111C3
            | 0x113D1
            | 0x1193F
            | 0x11941
            | 0x11A3A
            | 0x11A84..=0x11A89
            | 0x11D46
            | 0x11F02
    )
}
