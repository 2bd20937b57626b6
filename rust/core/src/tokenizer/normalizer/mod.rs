//! Normalizers, and text that remembers which characters of the original each of its bytes comes from.

mod bert;

pub use bert::BertNormalizer;

use super::json::Node;
use crate::Result;
use std::ops::Range;

/// What is done to a text before it is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalizer {
    /// BERT's cleaning, ideograph spacing, accent stripping and lowercasing.
    Bert(BertNormalizer),
}

impl Normalizer {
    /// Reads the `normalizer` of a tokenizer.json.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let kind = node.field("type")?;
        match kind.text()? {
            "BertNormalizer" => Ok(Self::Bert(BertNormalizer::read(node)?)),
            _ => Err(kind.unsupported()),
        }
    }

    /// Normalizes characters in place.
    pub fn apply(&self, characters: &mut Vec<Character>) {
        match self {
            Self::Bert(bert) => bert.apply(characters),
        }
    }

    /// Normalizes a text whose alignment is of no interest, such as an added token.
    pub fn normalize(&self, text: &str) -> String {
        let mut characters = text.chars().map(|value| Character { value, start: 0, end: 0 }).collect();
        self.apply(&mut characters);
        characters.iter().map(|character| character.value).collect()
    }
}

/// A character and the half-open range of the original's characters that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character {
    /// The character after normalization.
    pub value: char,
    /// Index of the first original character.
    pub start: u32,
    /// Index after the last original character.
    pub end: u32,
}

/// A normalized text; each byte knows its range of original characters.
#[derive(Debug, Clone, Default)]
pub struct Normalized {
    text: String,
    alignment: Vec<(u32, u32)>,
}

impl Normalized {
    /// Normalizes a piece of text whose first character has index `first` in the whole.
    pub fn new(normalizer: Option<&Normalizer>, piece: &str, first: u32) -> Self {
        let mut characters: Vec<Character> = (first..)
            .zip(piece.chars())
            .map(|(index, value)| Character { value, start: index, end: index + 1 })
            .collect();
        if let Some(normalizer) = normalizer {
            normalizer.apply(&mut characters);
        }
        let mut text = String::with_capacity(piece.len());
        let mut alignment = Vec::with_capacity(piece.len());
        for character in characters {
            text.push(character.value);
            for _ in 0..character.value.len_utf8() {
                alignment.push((character.start, character.end));
            }
        }
        Self { text, alignment }
    }

    /// The normalized text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Part of the text; empty where the range is not on character boundaries.
    pub fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }

    /// The range of original characters behind a non-empty range of bytes.
    pub fn original(&self, range: Range<usize>) -> (u32, u32) {
        match self.alignment.get(range) {
            Some([only]) => *only,
            Some([first, .., last]) => (first.0, last.1),
            _ => (0, 0),
        }
    }
}
