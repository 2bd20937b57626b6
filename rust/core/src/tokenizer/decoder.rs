//! Decoders: tokens back to text.

use super::json::Node;
use crate::Result;
use serde_json::{Value, json};

/// How tokens are put together. Without one they are joined by spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoder {
    /// Continuations are glued on, other tokens follow a space.
    WordPiece {
        /// What marks a continuation.
        prefix: String,
        /// Whether the space before punctuation and contractions is removed.
        cleanup: bool,
    },
}

impl Decoder {
    /// Reads the `decoder` of a tokenizer.json.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let kind = node.field("type")?;
        match kind.text()? {
            "WordPiece" => Ok(Self::WordPiece {
                prefix: node.field("prefix")?.text()?.to_owned(),
                cleanup: node.field("cleanup")?.boolean()?,
            }),
            _ => Err(kind.unsupported()),
        }
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WordPiece { .. } => "WordPiece",
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        let Self::WordPiece { prefix, cleanup } = self;
        json!({"type": "WordPiece", "prefix": prefix, "cleanup": cleanup})
    }

    /// Puts tokens together.
    pub fn decode<'t>(&self, tokens: impl Iterator<Item = &'t str>) -> String {
        let Self::WordPiece { prefix, cleanup } = self;
        let mut text = String::new();
        for (index, token) in tokens.enumerate() {
            let from = text.len();
            match token.strip_prefix(prefix.as_str()) {
                Some(rest) if index > 0 => text.push_str(rest),
                _ => {
                    if index > 0 {
                        text.push(' ');
                    }
                    text.push_str(token);
                }
            }
            if *cleanup {
                clean_up(&mut text, from);
            }
        }
        text
    }
}

/// Applied to each token with the space before it, one rule after the other, so a rule sees what the one before left.
const RULES: [(&str, &str); 11] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

fn clean_up(text: &mut String, from: usize) {
    let token = text.get(from..).unwrap_or_default();
    // Each rule starts with a space, and nearly all tokens have one space and a letter after it.
    let bytes = token.as_bytes();
    let inner = bytes.iter().skip(1).any(|byte| *byte == b' ');
    let leading = bytes.first() == Some(&b' ')
        && matches!(bytes.get(1), Some(b'.' | b'?' | b'!' | b',' | b'\'' | b'n'));
    if !inner && !leading {
        return;
    }
    let mut cleaned = token.to_owned();
    for (dirty, clean) in RULES {
        if cleaned.contains(dirty) {
            cleaned = cleaned.replace(dirty, clean);
        }
    }
    text.truncate(from);
    text.push_str(&cleaned);
}
