//! A text cut at its added tokens, as far as it is asked for.

use super::added_tokens::AddedVocabulary;
use super::matcher::{Matcher, Matches};
use std::ops::Range;

/// How far to look ahead at first where only the start of a text may be needed.
const WINDOW: usize = 4096;

/// A part of a text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text without added tokens.
    Text(Range<usize>),
    /// An added token with the white space it takes.
    Token(u32, Range<usize>),
}

/// Iterates over the segments of a text.
///
/// A lazy one looks ahead a window at a time and may cut text before an ASCII space that follows something that is not
/// white space; the caller says whether that is safe. Two texts after one another were cut from each other.
pub struct Segments<'v, 't> {
    vocabulary: &'v AddedVocabulary,
    matcher: Option<&'v Matcher>,
    matches: Matches,
    text: &'t str,
    split_special: bool,
    /// What is before was handed out.
    done: usize,
    /// Where the last accepted match ended.
    taken: usize,
    /// No match that is still to be handed out starts before.
    searched: usize,
    /// The end of the window.
    end: usize,
    space: Range<usize>,
    next: Option<Segment>,
}

impl<'v, 't> Segments<'v, 't> {
    /// Over the text as given (`vocabulary.raw()`) or normalized (`vocabulary.normalized()`).
    pub fn new(
        vocabulary: &'v AddedVocabulary,
        matcher: Option<&'v Matcher>,
        text: &'t str,
        split_special: bool,
        lazy: bool,
    ) -> Self {
        let end = if lazy { text.len().min(WINDOW) } else { text.len() };
        Self {
            vocabulary,
            matcher,
            matches: Matches::default(),
            text,
            split_special,
            done: 0,
            taken: 0,
            searched: 0,
            end,
            space: 0..0,
            next: None,
        }
    }

    fn widen(&mut self) {
        // A token may have taken white space beyond the window.
        let from = self.end.max(self.done);
        self.end = self.text.len().min(from.saturating_add(WINDOW.max(from - self.done)));
    }

    /// Hands out `[done, to)`, or puts it before `then`.
    fn text_until(&mut self, to: usize, then: Option<Segment>) -> Option<Segment> {
        let start = self.done;
        self.done = self.done.max(to);
        if start < to {
            self.next = then;
            return Some(Segment::Text(start..to));
        }
        then
    }
}

impl Iterator for Segments<'_, '_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if let Some(segment) = self.next.take() {
            return Some(segment);
        }
        let length = self.text.len();
        loop {
            if self.done >= length && self.searched >= length {
                return None;
            }
            let found = match self.matcher {
                Some(matcher) if self.searched < self.end => {
                    self.matches.find(matcher, self.text, self.searched..self.end)
                }
                _ => None,
            };
            let longest = self.matcher.map_or(1, Matcher::longest);
            if let Some((found, id)) = found {
                if self.end < length && found.start + longest > self.end {
                    // A longer token could start here or up to its length before the window's end.
                    self.searched =
                        (self.end + 1).saturating_sub(longest).max(self.searched).min(found.start);
                    self.end = length.min(found.start + longest.max(WINDOW));
                    continue;
                }
                self.searched = found.end;
                let taken = self.vocabulary.accept(
                    id,
                    found,
                    self.text,
                    self.taken,
                    &mut self.space,
                    self.split_special,
                );
                let Some(range) = taken else {
                    continue;
                };
                let (start, end) = (range.start, range.end);
                self.taken = end;
                let segment = self.text_until(start, Some(Segment::Token(id, range)));
                // A match within the white space that the one before took gives back what follows it.
                self.done = end;
                return segment;
            }
            if self.end >= length {
                self.searched = length;
                return self.text_until(length, None);
            }
            // No match starts this far; text up to the last space before can't change any more.
            let safe = (self.end + 1).saturating_sub(longest).max(self.searched);
            self.searched = safe;
            let cut = self.text.get(self.done..safe).and_then(|window| {
                let spaces = window.match_indices(' ').map(|(at, _)| at);
                spaces.rev().find(|at| {
                    window
                        .get(..*at)
                        .is_some_and(|before| !before.ends_with(char::is_whitespace) && !before.is_empty())
                })
            });
            match cut {
                Some(at) => {
                    let to = self.done + at;
                    self.end = length.min(self.end.saturating_add(WINDOW));
                    return self.text_until(to, None);
                }
                None => self.widen(),
            }
        }
    }
}
