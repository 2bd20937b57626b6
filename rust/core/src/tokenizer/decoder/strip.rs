//! Strip: a character taken off the ends of texts.

use super::read::character;
use crate::Result;
use crate::tokenizer::json::Node;
use serde_json::{Value, json};

/// How many of which character are taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// The character.
    pub content: char,
    /// At most so many at the start.
    pub start: usize,
    /// At most so many at the end.
    pub stop: usize,
}

impl Strip {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self {
            content: character(&node.field("content")?)?,
            start: node.field("start")?.size()?,
            stop: node.field("stop")?.size()?,
        })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"type": "Strip", "content": self.content, "start": self.start, "stop": self.stop})
    }

    /// What is left of a text.
    pub(super) fn stripped<'t>(&self, text: &'t str) -> &'t str {
        let mut rest = text;
        for _ in 0..self.start {
            let Some(shorter) = rest.strip_prefix(self.content) else { break };
            rest = shorter;
        }
        for _ in 0..self.stop {
            let Some(shorter) = rest.strip_suffix(self.content) else { break };
            rest = shorter;
        }
        rest
    }
}
