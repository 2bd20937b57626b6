//! Replace and Prepend: text put in the place of other text, or before it.

use super::Piece;
use crate::Result;
use crate::tokenizer::json::Node;
use crate::tokenizer::text::Character;
use serde_json::{Value, json};
use std::ops::Range;

/// Every match of a pattern becomes the same text.
#[derive(Debug, Clone, PartialEq)]
pub struct Replace {
    pattern: String,
    content: String,
}

impl Replace {
    /// Replaces a text by another.
    pub fn literal(pattern: &str, content: &str) -> Self {
        Self { pattern: pattern.to_owned(), content: content.to_owned() }
    }

    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let pattern = node.field("pattern")?;
        let content = node.field("content")?.text()?;
        if let Some(regex) = pattern.optional("Regex")? {
            return Err(regex.unsupported());
        }
        Ok(Self::literal(pattern.field("String")?.text()?, content))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"type": "Replace", "pattern": {"String": self.pattern}, "content": self.content})
    }

    fn matches(&self, text: &str) -> Vec<Range<usize>> {
        text.match_indices(&self.pattern).map(|(at, found)| at..at + found.len()).collect()
    }

    /// The content takes the place of the last character it replaces; where the match is empty, of the one before.
    pub(super) fn apply(&self, characters: &mut Vec<Character>, piece: Piece) -> Result<()> {
        let text: String = characters.iter().map(|character| character.value).collect();
        let found = self.matches(&text);
        if found.is_empty() {
            return Ok(());
        }
        let mut replaced = Vec::with_capacity(characters.len());
        let mut place = (piece.first, piece.first);
        let mut rest = characters.iter();
        let mut byte = 0;
        for range in found {
            while byte < range.end
                && let Some(character) = rest.next()
            {
                if byte < range.start {
                    replaced.push(*character);
                }
                byte += character.value.len_utf8();
                place = (character.start, character.end);
            }
            replaced.extend(self.content.chars().map(|value| Character {
                value,
                start: place.0,
                end: place.1,
            }));
            piece.check(replaced.len())?;
        }
        replaced.extend(rest);
        *characters = replaced;
        Ok(())
    }
}

/// Puts text before a piece that is not empty. It shares the first character's place.
pub(super) fn prepend(prefix: &str, characters: &mut Vec<Character>, piece: Piece) {
    let Some(first) = characters.first_mut().filter(|_| piece.edges.start) else {
        return;
    };
    if prefix.is_empty() {
        // The reference forgets where the first character came from.
        (first.start, first.end) = (piece.first, piece.first);
        return;
    }
    let first = *first;
    characters.splice(0..0, prefix.chars().map(|value| Character { value, ..first }));
}
