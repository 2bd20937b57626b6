//! Patterns that texts are searched for: a literal or a regular expression.

mod backtrack;
mod classes;
mod engine;
mod oniguruma;
mod oniguruma_class;
mod program;
mod scanner;

pub use engine::Engine;
pub use scanner::Scanner;

use super::json::{Node, quoted};
use crate::Result;
use serde_json::{Value, json};
use std::ops::Range;

/// A literal text or a regular expression.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// The text itself.
    Literal(String),
    /// A regular expression whose scanner is written by hand.
    Known(Scanner, String),
    /// Any other regular expression.
    Regex(Engine),
}

impl Pattern {
    /// Reads `{"String": ...}` or `{"Regex": ...}`.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let [(kind, value)] = node.fields()? else {
            return Err(node.mismatch("one key, String or Regex"));
        };
        let text = node.child(kind, value);
        match &**kind {
            "String" => Ok(Self::Literal(text.text()?.to_owned())),
            "Regex" => {
                let regex = text.text()?;
                Self::regex(regex).map_err(|error| {
                    text.refuse(
                        "a regular expression that is supported here",
                        format!("{}: {error}", quoted(regex)),
                    )
                })
            }
            other => Err(node.refuse("String or Regex", quoted(other))),
        }
    }

    /// A regular expression in Oniguruma's syntax; the error says what of it is wrong or not supported.
    pub fn regex(regex: &str) -> std::result::Result<Self, String> {
        match Scanner::of(regex) {
            Some(scanner) => Ok(Self::Known(scanner, regex.to_owned())),
            None => Engine::new(regex).map(Self::Regex),
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Literal(text) => json!({"String": text}),
            Self::Known(_, regex) => json!({"Regex": regex}),
            Self::Regex(regex) => json!({"Regex": regex.as_str()}),
        }
    }

    /// The scanner written for it.
    pub fn scanner(&self) -> Option<Scanner> {
        match self {
            Self::Known(scanner, _) => Some(*scanner),
            Self::Literal(_) | Self::Regex(_) => None,
        }
    }

    /// Calls `found` with each match, in ascending order.
    pub fn find_matches(&self, text: &str, found: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        match self {
            Self::Literal(literal) => {
                text.match_indices(literal.as_str()).for_each(|(at, part)| found(at..at + part.len()));
            }
            Self::Known(scanner, _) => scanner.words(text, found),
            Self::Regex(engine) => engine.find_matches(text, found)?,
        }
        Ok(())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}
