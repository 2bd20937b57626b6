//! Normalization as sentencepiece does it: the charsmap's longest match at each place, then spaces.

use super::SentencePiece;
use crate::part::PartOf;
use crate::tokenizer::formats::{NormalizerSpec, SentencePieceModel};
use crate::tokenizer::normalizer::charsmap::CharsMap;
use crate::{Error, Result};

const SPACE: &str = "\u{2581}";

/// What the file says about it.
#[derive(Debug, Clone)]
pub(super) struct Normalization {
    map: Option<CharsMap>,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    /// What a space becomes.
    space: &'static str,
    /// The space goes to the end of words.
    suffix: bool,
}

/// A normalized text; each byte knows where in the original it comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Normalized {
    pub text: String,
    /// One more than bytes of text: the last is where the original ends.
    pub places: Vec<u32>,
}

impl Normalized {
    fn push(&mut self, text: &str, place: usize) {
        self.text.push_str(text);
        self.places.resize(self.text.len(), place as u32);
    }
}

impl Normalization {
    pub fn new(model: &SentencePieceModel, source: &str) -> Result<Self> {
        let NormalizerSpec { precompiled_charsmap, add_dummy_prefix, .. } = &model.normalizer;
        let map = (!precompiled_charsmap.is_empty()).then(|| CharsMap::new(precompiled_charsmap));
        let map = map.transpose().map_err(|(expected, actual)| {
            Error::format(source, "normalizer_spec.precompiled_charsmap", expected, actual)
        })?;
        Ok(Self {
            map,
            add_dummy_prefix: *add_dummy_prefix,
            remove_extra_whitespaces: model.normalizer.remove_extra_whitespaces,
            space: if model.normalizer.escape_whitespaces { SPACE } else { " " },
            suffix: model.treat_whitespace_as_suffix,
        })
    }

    /// What the start of a non-empty text becomes, and how many bytes that start has.
    fn prefix<'t>(&'t self, model: &SentencePiece, text: &'t str) -> (&'t str, usize) {
        let (length, is_symbol) = model.symbol(text);
        let rule = self.map.as_ref().filter(|_| !is_symbol).and_then(|map| map.longest(text.as_bytes()));
        rule.map_or((text.part(..length), length), |(length, becomes)| (becomes, length))
    }

    /// Normalizes a text into `out`.
    pub fn apply(&self, model: &SentencePiece, text: &str, out: &mut Normalized) {
        out.text.clear();
        out.places.clear();
        let mut at = 0;
        let rest = |at: usize| text.get(at..).filter(|rest| !rest.is_empty());
        if self.remove_extra_whitespaces {
            while let Some((" ", length)) = rest(at).map(|rest| self.prefix(model, rest)) {
                at += length;
            }
        }
        if rest(at).is_none() {
            out.places.push(at as u32);
            return;
        }
        if self.add_dummy_prefix && !self.suffix {
            out.push(self.space, at);
        }
        let mut after_space = self.remove_extra_whitespaces;
        while let Some(left) = rest(at) {
            let (becomes, length) = self.prefix(model, left);
            let becomes = if after_space { becomes.trim_start_matches(' ') } else { becomes };
            for (index, part) in becomes.split(' ').enumerate() {
                if index > 0 {
                    out.push(self.space, at);
                }
                out.push(part, at);
            }
            if !becomes.is_empty() {
                after_space = becomes.ends_with(' ');
            }
            after_space &= self.remove_extra_whitespaces;
            at += length;
        }
        if self.remove_extra_whitespaces {
            while out.text.ends_with(self.space) {
                out.text.truncate(out.text.len() - self.space.len());
                at = out.places.get(out.text.len()).map_or(at, |place| *place as usize);
            }
            out.places.truncate(out.text.len());
        }
        if self.add_dummy_prefix && self.suffix {
            out.push(self.space, at);
        }
        out.places.push(at as u32);
    }
}
