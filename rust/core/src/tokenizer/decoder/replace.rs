//! Replacing within texts: Replace, and the end-of-word suffix of BPEDecoder.

use super::tokens::Tokens;
use crate::Result;
use crate::tokenizer::json::Node;
use serde_json::{Value, json};

/// Replaces each occurrence of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Replace {
    pattern: String,
    content: String,
}

impl Replace {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let pattern = node.field("pattern")?;
        let text = match pattern.fields()? {
            [(kind, _)] if *kind == "Regex" => return Err(pattern.field("Regex")?.unsupported()),
            [(kind, _)] if *kind == "String" => pattern.field("String")?.text()?,
            _ => return Err(pattern.mismatch("one key, String or Regex")),
        };
        Ok(Self { pattern: text.to_owned(), content: node.field("content")?.text()?.to_owned() })
    }

    /// Whether no token such as `<0xE2>` can match.
    pub(super) fn spares_byte_tokens(&self) -> bool {
        self.pattern.chars().any(|character| !"<0xABCDEFabcdef123456789+>".contains(character))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"type": "Replace", "pattern": {"String": self.pattern}, "content": self.content})
    }

    pub(super) fn decode<'t>(&self, tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) -> Result<()> {
        for token in tokens {
            // An empty text has no matches, not even empty ones.
            if !token.is_empty() {
                push_replaced(token, &self.pattern, &self.content, &mut out.text);
            }
            out.close();
        }
        Ok(())
    }
}

fn push_replaced(text: &str, pattern: &str, content: &str, out: &mut String) {
    let mut from = 0;
    for (at, found) in text.match_indices(pattern) {
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str(content);
        from = at + found.len();
    }
    out.push_str(text.get(from..).unwrap_or_default());
}

/// The end-of-word suffix becomes a space, and nothing in the last token.
pub fn end_of_words<'t>(suffix: &str, tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) {
    let mut tokens = tokens.peekable();
    while let Some(token) = tokens.next() {
        let space = if tokens.peek().is_some() { " " } else { "" };
        push_replaced(token, suffix, space, &mut out.text);
        out.close();
    }
}
