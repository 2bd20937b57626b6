//! Finding the leftmost, then longest, of several texts, in time that does not depend on how long they are.

use crate::part::PartOf;
use crate::{Error, Result};
use aho_corasick::{AhoCorasick, Input, MatchKind};
use std::collections::HashMap;
use std::ops::Range;

/// Up to this length in bytes patterns are searched for forwards. That is faster, but after each match it may have to
/// go back by almost as much.
const LONGEST_FORWARD: usize = 256;

/// Patterns with their tokens' ids.
#[derive(Debug, Clone)]
pub struct Matcher {
    search: Search,
    ids: Vec<u32>,
    longest: usize,
}

#[derive(Debug, Clone)]
enum Search {
    Forward(AhoCorasick),
    Backward(Backward),
}

impl Matcher {
    /// Of patterns that are equal the first counts; empty ones are left out. None where there is no other.
    pub fn new<'t>(patterns: impl Iterator<Item = (&'t str, u32)>) -> Result<Option<Self>> {
        let (texts, ids): (Vec<&str>, Vec<u32>) = patterns.filter(|pattern| !pattern.0.is_empty()).unzip();
        let Some(longest) = texts.iter().map(|text| text.len()).max() else {
            return Ok(None);
        };
        let refuse =
            |actual: String| Error::argument("added_tokens", "tokens that fit in an automaton", actual);
        let search = if longest <= LONGEST_FORWARD {
            let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts);
            Search::Forward(automaton.map_err(|error| refuse(error.to_string()))?)
        } else {
            let total: usize = texts.iter().map(|text| text.len()).sum();
            if total >= u32::MAX as usize {
                return Err(refuse(format!("{total} bytes")));
            }
            Search::Backward(Backward::new(&texts))
        };
        Ok(Some(Self { search, ids, longest }))
    }

    /// Whether there is any match.
    pub fn occurs(&self, text: &str) -> bool {
        match &self.search {
            Search::Forward(automaton) => automaton.is_match(text),
            Search::Backward(automaton) => automaton.search(text, 0..text.len()).next().is_some(),
        }
    }

    /// The length of the longest pattern in bytes.
    pub fn longest(&self) -> usize {
        self.longest
    }
}

/// The matches in one text, asked for from left to right.
#[derive(Debug, Default)]
pub struct Matches {
    /// What was searched backwards.
    window: Range<usize>,
    /// Where the matches in it start, from right to left, and their patterns.
    found: Vec<(usize, u32)>,
}

impl Matches {
    /// The first match within `range`: its place and its token's id.
    pub fn find(
        &mut self,
        matcher: &Matcher,
        text: &str,
        range: Range<usize>,
    ) -> Option<(Range<usize>, u32)> {
        let (place, pattern) = match &matcher.search {
            Search::Forward(automaton) => {
                let found = automaton.find(Input::new(text).range(range))?;
                (found.range(), found.pattern().as_usize())
            }
            Search::Backward(automaton) => {
                if range.end != self.window.end || range.start < self.window.start {
                    self.found.clear();
                    self.found.extend(automaton.search(text, range.clone()));
                    self.window = range.clone();
                }
                while self.found.last()?.0 < range.start {
                    self.found.pop();
                }
                let (start, pattern) = *self.found.last()?;
                let length = *automaton.lengths.get(pattern as usize)?;
                (start..start + length, pattern as usize)
            }
        };
        Some((place, *matcher.ids.get(pattern)?))
    }
}

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

/// Aho and Corasick's automaton over patterns read backwards. Where it stands in a text read backwards, it knows the
/// longest pattern that starts there.
#[derive(Debug, Clone)]
struct Backward {
    edges: HashMap<(u32, u8), u32>,
    states: Vec<State>,
    lengths: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// The state for the longest proper start of the text that leads here.
    shorter: u32,
    /// The longest pattern that starts here, or [`NONE`].
    pattern: u32,
}

impl Backward {
    fn new(texts: &[&str]) -> Self {
        let mut edges = HashMap::new();
        let mut states = vec![State { shorter: ROOT, pattern: NONE }];
        let mut made: Vec<(u32, u32, u8, u32)> = Vec::new();
        for (pattern, text) in (0..).zip(texts) {
            let mut at = ROOT;
            for (depth, byte) in (0..).zip(text.bytes().rev()) {
                at = *edges.entry((at, byte)).or_insert_with(|| {
                    let state = states.len() as u32;
                    states.push(State { shorter: ROOT, pattern: NONE });
                    made.push((depth, at, byte, state));
                    state
                });
            }
            if let Some(state) = states.get_mut(at as usize).filter(|state| state.pattern == NONE) {
                state.pattern = pattern;
            }
        }
        let mut automaton = Self { edges, states, lengths: texts.iter().map(|text| text.len()).collect() };
        // What is shorter comes first: its states are then complete.
        made.sort_by_key(|made| made.0);
        for (depth, parent, byte, state) in made {
            let shorter =
                if depth == 0 { ROOT } else { automaton.step(automaton.state(parent).shorter, byte) };
            let pattern = automaton.state(shorter).pattern;
            if let Some(state) = automaton.states.get_mut(state as usize) {
                state.shorter = shorter;
                state.pattern = if state.pattern == NONE { pattern } else { state.pattern };
            }
        }
        automaton
    }

    fn state(&self, at: u32) -> State {
        self.states.get(at as usize).copied().unwrap_or(State { shorter: ROOT, pattern: NONE })
    }

    fn step(&self, mut at: u32, byte: u8) -> u32 {
        loop {
            match self.edges.get(&(at, byte)) {
                Some(next) => return *next,
                None if at == ROOT => return ROOT,
                None => at = self.state(at).shorter,
            }
        }
    }

    /// All places within `range` where a pattern starts that ends within it, from right to left, with the longest.
    fn search(&self, text: &str, range: Range<usize>) -> impl Iterator<Item = (usize, u32)> {
        let mut at = ROOT;
        let bytes = text.as_bytes().part(range.clone());
        range.zip(bytes).rev().filter_map(move |(place, byte)| {
            at = self.step(at, *byte);
            let pattern = self.state(at).pattern;
            (pattern != NONE).then_some((place, pattern))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_FORWARD, Matcher, Matches};

    /// All matches, each found in what the one before left.
    fn all(patterns: &[&str], text: &str) -> Vec<(usize, usize, u32)> {
        let matcher = Matcher::new((0..).zip(patterns).map(|(id, pattern)| (*pattern, id)));
        let Ok(Some(matcher)) = matcher else { return Vec::new() };
        let mut matches = Matches::default();
        let mut from = 0;
        let mut found = Vec::new();
        while let Some((place, id)) = matches.find(&matcher, text, from..text.len()) {
            from = place.end;
            found.push((place.start, place.end, id));
        }
        found
    }

    #[test]
    fn backwards_finds_what_forwards_finds() {
        let long = "z".repeat(LONGEST_FORWARD + 1);
        let patterns = ["a", "ab", "ab", "abcab", "bc", "cabb", "é", "éa", "", "bb"];
        let mut with_long = patterns.to_vec();
        with_long.push(&long);
        let mut seed = 1u32;
        for _ in 0..500 {
            let text: String = (0..40)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ['a', 'b', 'c', 'é'][(seed >> 16) as usize % 4]
                })
                .collect();
            assert_eq!(all(&patterns, &text), all(&with_long, &text), "{text}");
        }
        assert_eq!(all(&with_long, &format!("a{long}zab")).last(), Some(&(259, 261, 1)));
    }
}
