//! Replace and Prepend: text put in the place of other text, or before it.

use super::Piece;
use crate::Result;
use crate::tokenizer::json::Node;
use crate::tokenizer::pattern::Pattern;
use crate::tokenizer::text::Character;
use serde_json::{Value, json};
use std::ops::Range;

/// Every match of a pattern becomes the same text.
#[derive(Debug, Clone, PartialEq)]
pub struct Replace {
    pattern: Pattern,
    content: String,
    /// Where one character is replaced by another, these.
    single: Option<(char, char)>,
}

impl Replace {
    /// Replaces each match of `pattern` by `content`.
    pub fn new(pattern: Pattern, content: &str) -> Self {
        let single = match &pattern {
            Pattern::Literal(literal) => only(literal).zip(only(content)),
            Pattern::Known(..) | Pattern::Regex(_) => None,
        };
        Self { pattern, content: content.to_owned(), single }
    }

    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self::new(Pattern::read(&node.field("pattern")?)?, node.field("content")?.text()?))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"type": "Replace", "pattern": self.pattern.to_json(), "content": self.content})
    }

    /// What is searched for.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// What each match becomes.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Whether a text is known to have no match.
    pub(super) fn keeps(&self, text: &str) -> bool {
        match &self.pattern {
            Pattern::Literal(literal) => !text.contains(literal.as_str()),
            _ => false,
        }
    }

    /// Whether there are characters that no match reaches from.
    pub(super) fn has_free(&self) -> bool {
        match &self.pattern {
            Pattern::Literal(literal) => !literal.is_empty(),
            Pattern::Regex(regex) => is_space(regex.as_str()),
            Pattern::Known(..) => false,
        }
    }

    /// What some text becomes. None: a match may take its neighbours too.
    pub(super) fn free(&self, old: &[char]) -> Option<Vec<char>> {
        match &self.pattern {
            Pattern::Literal(literal) => match only(literal) {
                Some(only) => {
                    let content = |c: &char| if *c == only { self.content.as_str() } else { "" };
                    Some(
                        old.iter()
                            .flat_map(|c| content(c).chars().chain((*c != only).then_some(*c)))
                            .collect(),
                    )
                }
                None => (!old.iter().any(|c| literal.contains(*c))).then(|| old.to_vec()),
            },
            _ => (!old.iter().any(|c| c.is_whitespace())).then(|| old.to_vec()),
        }
    }

    /// The content takes the place of the last character it replaces; where the match is empty, of the one before.
    pub(super) fn apply(&self, characters: &mut Vec<Character>, piece: Piece) -> Result<()> {
        if let Some((old, new)) = self.single {
            for character in characters.iter_mut().filter(|character| character.value == old) {
                character.value = new;
            }
            return Ok(());
        }
        let text: String = characters.iter().map(|character| character.value).collect();
        let mut replaced = Vec::new();
        let mut place = (piece.first, piece.first);
        let mut rest = characters.iter();
        let mut byte = 0;
        let mut within = Ok(());
        let mut found = |range: Range<usize>| {
            while byte < range.end
                && let Some(character) = rest.next()
            {
                if byte < range.start {
                    replaced.push(*character);
                }
                byte += character.value.len_utf8();
                place = (character.start, character.end);
            }
            if within.is_ok() {
                let content = self.content.chars();
                replaced.extend(content.map(|value| Character { value, start: place.0, end: place.1 }));
                within = piece.check(replaced.len());
            }
        };
        if !text.is_empty() {
            self.pattern.find_matches(&text, &mut found)?;
        }
        within?;
        if rest.len() < characters.len() || !replaced.is_empty() {
            replaced.extend(rest);
            *characters = replaced;
        }
        Ok(())
    }
}

/// Whether a regular expression is a known one that matches runs of white space and nothing else.
pub fn is_space(regex: &str) -> bool {
    [r"\s+", " +", " {2,}", r"\s{2,}", r"\s", "[ ]+"].contains(&regex)
}

fn only(text: &str) -> Option<char> {
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

/// Puts text before a piece that is not empty. It shares the first character's place.
pub(super) fn prepend(prefix: &str, characters: &mut Vec<Character>, piece: Piece) {
    let Some(first) = characters.first_mut().filter(|_| piece.edges.start) else {
        return;
    };
    if prefix.is_empty() {
        // The reference forgets where the first character came from.
        (first.start, first.end) = (piece.first, piece.first);
        return;
    }
    let first = *first;
    characters.splice(0..0, prefix.chars().map(|value| Character { value, ..first }));
}
