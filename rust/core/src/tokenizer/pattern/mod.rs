//! Patterns that texts are searched for: a literal or a regular expression.

mod classes;
mod scanner;

pub use scanner::Scanner;

use super::json::{Node, quoted};
use crate::{Error, Result};
use fancy_regex::{Regex, RegexBuilder};
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
    Regex(Regex),
}

/// Steps of backtracking for one match.
const STEPS: usize = 1_000_000;

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
                    text.refuse("a regular expression", format!("{}: {error}", quoted(regex)))
                })
            }
            other => Err(node.refuse("String or Regex", quoted(other))),
        }
    }

    /// A regular expression.
    pub fn regex(regex: &str) -> std::result::Result<Self, Box<fancy_regex::Error>> {
        if let Some(scanner) = Scanner::of(regex) {
            return Ok(Self::Known(scanner, regex.to_owned()));
        }
        RegexBuilder::new(regex).backtrack_limit(STEPS).build().map(Self::Regex).map_err(Box::new)
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
            Self::Regex(regex) => {
                for result in regex.find_iter(text) {
                    let part = result.map_err(|error| {
                        Error::argument(
                            "inputs",
                            "a text the pattern is done with in few steps",
                            error.to_string(),
                        )
                    })?;
                    found(part.range());
                }
            }
        }
        Ok(())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}
