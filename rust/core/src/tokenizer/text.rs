//! Text that remembers which characters of the original each of its bytes comes from, and its words.

use super::byte_alphabet::is_space;
use crate::part::PartOf;
use std::ops::Range;

/// A character and the half-open range of the original's characters that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character {
    /// The character after normalization.
    pub value: char,
    /// Index of the first original character.
    pub start: u32,
    /// Index after the last original character.
    pub end: u32,
}

/// The characters of a text whose first one has index `first` in the whole.
pub fn characters(text: &str, first: u32) -> Vec<Character> {
    (first..)
        .zip(text.chars())
        .map(|(index, value)| Character { value, start: index, end: index + 1 })
        .collect()
}

/// Which ends of a piece, the part of an input between added tokens, some characters have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edges {
    /// They start the piece.
    pub start: bool,
    /// They end the piece.
    pub end: bool,
}

impl Edges {
    /// The whole piece.
    pub const BOTH: Self = Self { start: true, end: true };
}

/// A normalized text; each byte knows its range of original characters.
#[derive(Debug, Clone, Default)]
pub struct Text {
    text: String,
    places: Places,
}

/// Where the bytes of a text come from.
#[derive(Debug, Clone)]
enum Places {
    /// The range of original characters of each byte.
    Known(Vec<(u32, u32)>),
    /// Not of interest, but for how many bytes at the start come from the original's first character.
    Unknown { first: usize },
}

impl Default for Places {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

impl Text {
    /// From characters.
    pub fn from_characters(characters: &[Character]) -> Self {
        let mut text = Self {
            text: String::with_capacity(characters.len()),
            places: Places::Known(Vec::with_capacity(characters.len())),
        };
        text.extend(characters);
        text
    }

    /// A text without places; `starts` says whether its first character is the original's first one.
    pub fn unplaced(text: String, starts: bool) -> Self {
        let first = text.chars().next().filter(|_| starts).map_or(0, char::len_utf8);
        Self { text, places: Places::Unknown { first } }
    }

    /// An empty text, that knows places where this one does.
    fn alike(&self) -> Self {
        let places = match &self.places {
            Places::Known(places) => Places::Known(Vec::with_capacity(places.len())),
            Places::Unknown { .. } => Places::Unknown { first: 0 },
        };
        Self { text: String::with_capacity(self.text.len()), places }
    }

    fn extend(&mut self, characters: &[Character]) {
        for character in characters {
            self.text.push(character.value);
            match &mut self.places {
                Places::Known(places) => {
                    let place = (character.start, character.end);
                    places.extend(std::iter::repeat_n(place, character.value.len_utf8()));
                }
                Places::Unknown { first } if character.start == 0 => *first = self.text.len(),
                Places::Unknown { .. } => {}
            }
        }
    }

    /// The normalized text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Part of the text, from one character boundary to another.
    pub fn slice(&self, range: Range<usize>) -> &str {
        self.text.part(range)
    }

    /// The range of original characters behind a non-empty range of bytes; (0, 0) where places are unknown.
    pub fn original(&self, range: Range<usize>) -> (u32, u32) {
        let Places::Known(places) = &self.places else { return (0, 0) };
        match places.get(range) {
            Some([only]) => *only,
            Some([first, .., last]) => (first.0, last.1),
            _ => (0, 0),
        }
    }

    /// Where a range of bytes starts in the original without the white space it begins with, if that white space is no
    /// character of its own there: a pre-tokenizer put it in front, or it came from the same character as what follows.
    pub fn start_after_space(&self, range: Range<usize>) -> Option<u32> {
        let Places::Known(places) = &self.places else { return None };
        // The token of a byte may be a part of a character.
        let text = self.text.get(range.clone())?;
        let spaces = text.find(|character| !is_space(character)).unwrap_or(text.len());
        let after = range.start + spaces;
        let place = places.get(after).filter(|_| spaces > 0)?;
        (places.get(after - 1) == Some(place)).then_some(place.0)
    }

    /// The characters of a range of bytes. Where places are unknown, they start at 0 or not, as they do in the original.
    pub fn characters(&self, range: Range<usize>) -> impl Iterator<Item = Character> {
        let start = range.start;
        self.slice(range).char_indices().map(move |(at, value)| {
            let (start, end) = match &self.places {
                Places::Known(places) => places.get(start + at).copied().unwrap_or_default(),
                Places::Unknown { first } => (u32::from(start + at >= *first), 1),
            };
            Character { value, start, end }
        })
    }
}

/// A normalized text and the words it was cut into so far: ascending, non-empty ranges of bytes.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// The text; what lies between words is no longer of interest.
    pub text: Text,
    /// The words.
    pub ranges: Vec<Range<usize>>,
}

impl Words {
    /// Part of a text as one word.
    pub fn new(text: Text, range: Range<usize>) -> Self {
        let ranges = if range.is_empty() { Vec::new() } else { vec![range] };
        Self { text, ranges }
    }

    /// A text as one word.
    pub fn of(text: &str) -> Self {
        Self::new(Text::from_characters(&characters(text, 0)), 0..text.len())
    }

    /// [`Text::unplaced`] as one word.
    pub fn unplaced(text: String, starts: bool) -> Self {
        let whole = 0..text.len();
        Self::new(Text::unplaced(text, starts), whole)
    }

    /// Cuts each word: `cut` gets its text and says, in ascending order, which parts of it are words. Empty parts are
    /// left out.
    pub fn split(&mut self, mut cut: impl FnMut(&str, &mut dyn FnMut(Range<usize>))) {
        let mut ranges = Vec::with_capacity(self.ranges.len());
        for range in &self.ranges {
            cut(self.text.slice(range.clone()), &mut |part| {
                if part.start < part.end {
                    ranges.push(range.start + part.start..range.start + part.end);
                }
            });
        }
        self.ranges = ranges;
    }

    /// Replaces the characters of each word: `change` gets them and appends what they become. A word without
    /// characters is left out.
    pub fn rewrite(&mut self, mut change: impl FnMut(&[Character], &mut Vec<Character>)) {
        let mut text = self.text.alike();
        let mut ranges = Vec::with_capacity(self.ranges.len());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for range in &self.ranges {
            before.clear();
            after.clear();
            before.extend(self.text.characters(range.clone()));
            change(&before, &mut after);
            let start = text.text.len();
            text.extend(&after);
            if start < text.text.len() {
                ranges.push(start..text.text.len());
            }
        }
        *self = Self { text, ranges };
    }

    /// [`Self::rewrite`] for words of which nothing is known of places: `change` gets a word's text and what to append to.
    /// False, and nothing is done, where something is known.
    pub fn rewrite_text(&mut self, mut change: impl FnMut(&str, &mut String)) -> bool {
        if !matches!(self.text.places, Places::Unknown { first: 0 }) {
            return false;
        }
        let mut text = self.text.alike();
        let mut ranges = Vec::with_capacity(self.ranges.len());
        for range in &self.ranges {
            let start = text.text.len();
            change(self.text.slice(range.clone()), &mut text.text);
            if start < text.text.len() {
                ranges.push(start..text.text.len());
            }
        }
        *self = Self { text, ranges };
        true
    }
}
