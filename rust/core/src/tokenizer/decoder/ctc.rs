//! CTC: what a model of connectionist temporal classification says about each frame, as text.

use super::tokens::Tokens;
use super::word_piece::clean_up;
use crate::Result;
use crate::part::PartOf;
use crate::tokenizer::json::Node;
use serde_json::{Value, json};

/// Drops repetitions and padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ctc {
    /// The blank between repeated tokens, taken out wherever it occurs.
    pub pad_token: String,
    /// What stands for a space.
    pub word_delimiter_token: String,
    /// Whether word delimiters become spaces, and spaces before punctuation and contractions are removed.
    pub cleanup: bool,
}

impl Ctc {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self {
            pad_token: node.field("pad_token")?.text()?.to_owned(),
            word_delimiter_token: node.field("word_delimiter_token")?.text()?.to_owned(),
            cleanup: node.field("cleanup")?.boolean()?,
        })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "type": "CTC",
            "pad_token": self.pad_token,
            "word_delimiter_token": self.word_delimiter_token,
            "cleanup": self.cleanup,
        })
    }

    pub(super) fn decode<'t>(&self, tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) {
        let mut before = None;
        for token in tokens {
            if before.replace(token) == Some(token) {
                continue;
            }
            let start = out.text.len();
            token.split(self.pad_token.as_str()).for_each(|part| out.text.push_str(part));
            if self.cleanup {
                clean_up(&mut out.text, start);
                let cleaned = out.text.part(start..);
                if cleaned.contains(self.word_delimiter_token.as_str()) {
                    let replaced = cleaned.replace(self.word_delimiter_token.as_str(), " ");
                    out.text.truncate(start);
                    out.text.push_str(&replaced);
                }
            }
            if out.text.len() > start {
                out.close();
            }
        }
    }
}
