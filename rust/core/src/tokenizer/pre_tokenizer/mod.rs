//! Pre-tokenizers: where a normalized text is cut into words.

mod bert;
mod whitespace;

use super::json::Node;
use crate::Result;
use std::ops::Range;

/// How words are cut. The model sees one word at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "BertPreTokenizer",
            Self::Whitespace => "Whitespace",
        }
    }

    /// Calls `word` with the byte range of each word, none of them empty.
    pub fn split(self, text: &str, word: impl FnMut(Range<usize>)) {
        match self {
            Self::Bert => bert::split(text, word),
            Self::Whitespace => whitespace::split(text, word),
        }
    }
}
