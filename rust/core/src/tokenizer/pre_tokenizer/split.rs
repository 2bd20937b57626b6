//! Split: words by the matches of a pattern.

use super::behavior::Behavior;
use crate::Result;
use crate::tokenizer::json::Node;
use crate::tokenizer::pattern::Pattern;
use crate::tokenizer::text::Words;
use serde_json::{Value, json};
use std::ops::Range;

/// A pattern and what becomes of its matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// What is searched for.
    pub pattern: Pattern,
    /// What becomes of a match.
    pub behavior: Behavior,
    /// Whether what lies between the matches counts as the matches.
    pub invert: bool,
}

impl Split {
    /// Reads the fields of the JSON object.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self {
            pattern: Pattern::read(&node.field("pattern")?)?,
            behavior: Behavior::read(&node.field("behavior")?)?,
            invert: node.field("invert")?.boolean()?,
        })
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        json!({
            "type": "Split",
            "pattern": self.pattern.to_json(),
            "behavior": self.behavior.name(),
            "invert": self.invert,
        })
    }

    /// Works on each word.
    pub fn apply(&self, words: &mut Words) -> Result<()> {
        let mut failed = None;
        let mut matches: Vec<Range<usize>> = Vec::new();
        words.split(|text, word| {
            matches.clear();
            if let Err(error) = self.pattern.find_matches(text, &mut |found| matches.push(found)) {
                failed.get_or_insert(error);
            }
            self.behavior.split(text.len(), matches.iter().cloned(), self.invert, word);
        });
        failed.map_or(Ok(()), Err)
    }
}
