//! Replacing within texts: Replace, and the end-of-word suffix of BPEDecoder.

use super::tokens::Tokens;
use crate::Result;
use crate::part::PartOf;
use crate::tokenizer::json::Node;
use crate::tokenizer::pattern::Pattern;
use serde_json::{Value, json};

/// Replaces each match of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Replace {
    pattern: Pattern,
    content: String,
    /// The pattern, where it is one character.
    single: Option<char>,
}

impl Replace {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let pattern = Pattern::read(&node.field("pattern")?)?;
        let single = match &pattern {
            Pattern::Literal(text) => {
                let mut characters = text.chars();
                characters.next().filter(|_| characters.next().is_none())
            }
            Pattern::Known(..) | Pattern::Regex(_) => None,
        };
        Ok(Self { pattern, content: node.field("content")?.text()?.to_owned(), single })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"type": "Replace", "pattern": self.pattern.to_json(), "content": self.content})
    }

    /// Whether no token such as `<0xE2>` can match.
    pub(super) fn spares_byte_tokens(&self) -> bool {
        match &self.pattern {
            Pattern::Literal(text) => {
                text.chars().any(|character| !"<0xABCDEFabcdef123456789+>".contains(character))
            }
            Pattern::Known(..) | Pattern::Regex(_) => false,
        }
    }

    pub(super) fn decode<'t>(&self, tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) -> Result<()> {
        for token in tokens {
            // An empty text has no matches, not even empty ones.
            if !token.is_empty() {
                self.push_replaced(token, out)?;
            }
            out.close();
        }
        Ok(())
    }

    fn push_replaced(&self, text: &str, out: &mut Tokens) -> Result<()> {
        let mut from = 0;
        if let Some(character) = self.single {
            while let Some(at) = text.part(from..).find(character) {
                out.text.push_str(text.part(from..from + at));
                out.text.push_str(&self.content);
                from += at + character.len_utf8();
                out.check()?;
            }
        } else {
            let mut length = Ok(());
            self.pattern.find_matches(text, &mut |found| {
                if length.is_ok() {
                    out.text.push_str(text.part(from..found.start));
                    out.text.push_str(&self.content);
                    from = found.end;
                    length = out.check();
                }
            })?;
            length?;
        }
        out.text.push_str(text.part(from..));
        Ok(())
    }
}

/// The end-of-word suffix becomes a space, and nothing in the last token.
pub fn end_of_words<'t>(suffix: &str, tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) {
    let mut tokens = tokens.peekable();
    while let Some(token) = tokens.next() {
        let space = if tokens.peek().is_some() { " " } else { "" };
        let mut from = 0;
        for (at, found) in token.match_indices(suffix) {
            out.text.push_str(token.part(from..at));
            out.text.push_str(space);
            from = at + found.len();
        }
        out.text.push_str(token.part(from..));
        out.close();
    }
}
