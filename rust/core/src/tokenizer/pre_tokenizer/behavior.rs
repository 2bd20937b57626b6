//! What becomes of the matches a text is split at.

use crate::Result;
use crate::tokenizer::json::Node;
use std::ops::Range;

/// What becomes of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// It is left out.
    Removed,
    /// It is a word.
    Isolated,
    /// It ends the word before it.
    MergedWithPrevious,
    /// It starts the word after it.
    MergedWithNext,
    /// Neighbouring matches are one word.
    Contiguous,
}

const NAMES: [(&str, Behavior); 5] = [
    ("Removed", Behavior::Removed),
    ("Isolated", Behavior::Isolated),
    ("MergedWithPrevious", Behavior::MergedWithPrevious),
    ("MergedWithNext", Behavior::MergedWithNext),
    ("Contiguous", Behavior::Contiguous),
];

impl Behavior {
    /// Reads its name.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let name = node.text()?;
        let known = NAMES.iter().find(|known| known.0 == name).map(|known| known.1);
        known.ok_or_else(|| node.unknown(&NAMES.map(|known| known.0)))
    }

    /// Its name in tokenizer.json.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|known| known.1 == self).map_or("", |known| known.0)
    }

    /// Calls `word` with the words of a text of `length` bytes, given its matches in ascending order; where `invert`
    /// is set, what lies between them counts as the matches. Empty words may be among the words.
    pub fn split(
        self,
        length: usize,
        matches: impl Iterator<Item = Range<usize>>,
        invert: bool,
        word: &mut dyn FnMut(Range<usize>),
    ) {
        let mut words = Words { behavior: self, held: None, word };
        let mut at = 0;
        for found in matches {
            if at < found.start {
                words.take(at..found.start, invert);
            }
            at = found.end;
            words.take(found, !invert);
        }
        if at < length {
            words.take(at..length, invert);
        }
        if let Some((held, _)) = words.held {
            (words.word)(held);
        }
    }
}

/// Words as they come: what may still grow is held back.
struct Words<'w> {
    behavior: Behavior,
    /// A word and whether it is, or ends with, a match.
    held: Option<(Range<usize>, bool)>,
    word: &'w mut dyn FnMut(Range<usize>),
}

impl Words<'_> {
    fn take(&mut self, part: Range<usize>, is_match: bool) {
        if self.behavior == Behavior::Removed {
            if !is_match {
                (self.word)(part);
            }
            return;
        }
        if let Some((held, was_match)) = &mut self.held {
            let joins = match self.behavior {
                Behavior::Removed | Behavior::Isolated => false,
                Behavior::MergedWithPrevious => is_match && !*was_match,
                Behavior::MergedWithNext => !is_match && *was_match,
                Behavior::Contiguous => is_match == *was_match,
            };
            if joins {
                held.end = part.end;
                *was_match = is_match;
                return;
            }
            (self.word)(held.clone());
        }
        self.held = Some((part, is_match));
    }
}
