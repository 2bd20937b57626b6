//! Pre-tokenizers: where a normalized text is cut into words.

mod bert;
mod whitespace;

use super::json::Node;
use super::text::Words;
use crate::Result;
use serde_json::{Value, json};

/// How words are cut. The model sees one word at a time.
#[derive(Debug, Clone, PartialEq)]
pub enum PreTokenizer {
    /// White space removed, each punctuation character a word.
    Bert,
    /// Runs of `\w` and runs of what is neither `\w` nor white space.
    Whitespace,
}

impl PreTokenizer {
    /// Reads the `pre_tokenizer` of a tokenizer.json.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let kind = node.field("type")?;
        match kind.text()? {
            "BertPreTokenizer" => Ok(Self::Bert),
            "Whitespace" => Ok(Self::Whitespace),
            _ => Err(kind.unsupported()),
        }
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bert => "BertPreTokenizer",
            Self::Whitespace => "Whitespace",
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bert | Self::Whitespace => json!({"type": self.name()}),
        }
    }

    /// Cuts the words there are into smaller ones.
    pub fn apply(&self, words: &mut Words) -> Result<()> {
        match self {
            Self::Bert => words.split(|text, word| bert::split(text, word)),
            Self::Whitespace => words.split(|text, word| whitespace::split(text, word)),
        }
        Ok(())
    }
}
