//! Strip and StripAccents: removing white space at the ends, and marks anywhere.

use super::rewrite::{filter, rewritten};
use crate::Result;
use crate::part::PartOf;
use crate::tokenizer::json::Node;
use crate::tokenizer::text::{Character, Edges};
use serde_json::{Value, json};
use unicode_normalization_alignments::char::is_combining_mark;

/// The options of Strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strip {
    /// Remove white space at the start.
    pub left: bool,
    /// Remove white space at the end.
    pub right: bool,
}

impl Strip {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self { left: node.field("strip_left")?.boolean()?, right: node.field("strip_right")?.boolean()? })
    }

    pub(super) fn to_json(self) -> Value {
        json!({"type": "Strip", "strip_left": self.left, "strip_right": self.right})
    }

    pub(super) fn apply(self, characters: &mut Vec<Character>, edges: Edges) {
        let space = |character: &&Character| character.value.is_whitespace();
        let leading = characters.iter().take_while(space).count();
        let removed = if self.left && edges.start { leading } else { 0 };
        let trailing = characters.iter().rev().take_while(space).count();
        let end = if self.right && edges.end { characters.len() - trailing } else { characters.len() };
        if removed > 0 || end < characters.len() {
            let kept = characters.part(removed..end.max(removed));
            *characters = rewritten(characters, removed, kept.iter().map(|character| (character.value, 0)));
        }
    }
}

/// Removes combining marks. It decomposes nothing: that is for a normalization form before it.
pub(super) fn strip_accents(characters: &mut Vec<Character>) {
    filter(characters, |c| !is_combining_mark(c));
}
