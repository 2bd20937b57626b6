//! The patterns that widely used tokenizers split words by, as hand-written scanners: linear time, no engine.
//!
//! Each gives what a backtracking engine gives for the pattern in its comment, leftmost alternative first. None of
//! their matches goes on with an ASCII space after something that is not white space, nor depends on what follows such
//! a place: the ids of parts rest on that (ids/cut.rs).

use super::classes::{Classes, LETTER, LINE_END, LOWER, MARK, NUMBER, SIGN, SPACE, UPPER};
use crate::part::PartOf;
use std::ops::Range;

/// A known pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanner {
    /// GPT-2's, of `ByteLevel`.
    Gpt2,
    /// cl100k's family, which differs in how many digits are a word.
    Cl100k {
        /// `\p{N}{1,digits}`.
        digits: usize,
        /// `(?i:'s)`, for which the long s is an s.
        long_s: bool,
    },
    /// o200k's, which tells upper from lower case.
    O200k,
    /// CLIP's, which leaves out white space.
    Clip {
        /// `<\|startoftext\|>|<\|endoftext\|>|` before all else.
        tokens: bool,
    },
    /// DeepSeek's, after its splits by numbers and by ideographs.
    DeepSeek,
    /// `\p{N}{1,digits}` alone.
    Numbers {
        /// How many at most.
        digits: usize,
    },
}

const KNOWN: [(&str, Scanner); 14] = [
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Scanner::Gpt2),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Scanner::Gpt2),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Cl100k { digits: 3, long_s: true },
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        Scanner::Cl100k { digits: 3, long_s: true },
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Cl100k { digits: 1, long_s: true },
    ),
    (
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Cl100k { digits: 1, long_s: false },
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::O200k,
    ),
    (r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", Scanner::Clip { tokens: false }),
    (
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        Scanner::Clip { tokens: true },
    ),
    (
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        Scanner::DeepSeek,
    ),
    (r"\p{N}{1,3}", Scanner::Numbers { digits: 3 }),
    (r"\p{N}", Scanner::Numbers { digits: 1 }),
    (r"\p{N}+", Scanner::Numbers { digits: usize::MAX }),
    (r"[\p{N}]", Scanner::Numbers { digits: 1 }),
];

impl Scanner {
    /// The scanner of a pattern as it is usually written.
    pub fn of(regex: &str) -> Option<Self> {
        KNOWN.iter().find(|known| known.0 == regex).map(|known| known.1)
    }

    /// Whether each character of a text is part of a match.
    pub fn covers(self) -> bool {
        !matches!(self, Self::Clip { .. } | Self::DeepSeek | Self::Numbers { .. })
    }

    /// Calls `word` with each match from left to right.
    #[inline]
    pub fn words(self, text: &str, word: impl FnMut(Range<usize>)) {
        match self {
            Self::Gpt2 => run(text, |scan, at| scan.gpt2(at), word),
            Self::Cl100k { digits, long_s } => run(text, |scan, at| scan.cl100k(at, digits, long_s), word),
            Self::O200k => run(text, |scan, at| scan.o200k(at), word),
            Self::Clip { tokens } => run(text, |scan, at| scan.clip(at, tokens), word),
            Self::DeepSeek => run(text, |scan, at| scan.deep_seek(at), word),
            Self::Numbers { digits } => run(text, |scan, at| scan.numbers(at, digits), word),
        }
    }
}

/// Calls `word` from match to match; `next` says where a match that starts at a place ends, or that none does.
#[inline(always)]
fn run(text: &str, next: impl Fn(&Scan<'_>, usize) -> Option<usize>, mut word: impl FnMut(Range<usize>)) {
    let scan = Scan { text, bytes: text.as_bytes(), classes: Classes::get() };
    let mut at = 0;
    while at < text.len() {
        match next(&scan, at) {
            Some(end) if end > at => {
                word(at..end);
                at = end;
            }
            _ => at += scan.class(at).1,
        }
    }
}

struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    classes: &'static Classes,
}

impl Scan<'_> {
    /// The classes and the length of the character at a place; 0 and 0 at the end.
    #[inline(always)]
    fn class(&self, at: usize) -> (u8, usize) {
        match self.bytes.get(at) {
            None => (0, 0),
            Some(byte) if *byte < 0x80 => (self.classes.ascii(*byte), 1),
            Some(_) => self.wide(at),
        }
    }

    #[inline]
    fn wide(&self, at: usize) -> (u8, usize) {
        match self.text.get(at..).and_then(|rest| rest.chars().next()) {
            Some(character) => (self.classes.of(character), character.len_utf8()),
            None => (0, 1),
        }
    }

    /// Where the characters end that have any of the classes.
    #[inline(always)]
    fn run_of(&self, mut at: usize, mask: u8) -> usize {
        loop {
            let (class, length) = self.class(at);
            if class & mask == 0 || length == 0 {
                return at;
            }
            at += length;
        }
    }

    /// Where the characters end that have none of the classes.
    #[inline(always)]
    fn run_without(&self, mut at: usize, mask: u8) -> usize {
        loop {
            let (class, length) = self.class(at);
            if class & mask != 0 || length == 0 {
                return at;
            }
            at += length;
        }
    }

    /// Where at most `count` numbers end.
    #[inline(always)]
    fn digits(&self, mut at: usize, count: usize) -> usize {
        for _ in 0..count {
            let (class, length) = self.class(at);
            if class & NUMBER == 0 {
                break;
            }
            at += length;
        }
        at
    }

    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d` behind an apostrophe, in lower case or in any.
    #[inline(always)]
    fn contraction(&self, at: usize, any_case: bool, long_s: bool) -> Option<usize> {
        if self.byte(at) != b'\'' {
            return None;
        }
        let fold = if any_case { 0x20 } else { 0 };
        let letter = |place: usize| match self.byte(place) {
            upper @ b'A'..=b'Z' => upper | fold,
            other => other,
        };
        match (letter(at + 1), letter(at + 2)) {
            (b's' | b't' | b'm' | b'd', _) => Some(at + 2),
            (b'r' | b'v', b'e') | (b'l', b'l') => Some(at + 3),
            // The long s is an s in another case.
            (0xC5, 0xBF) if long_s => Some(at + 3),
            _ => None,
        }
    }

    /// `\s+(?!\S)|\s+`: white space but for its last character where something follows.
    #[inline(always)]
    fn space(&self, at: usize) -> usize {
        let end = self.run_of(at, SPACE);
        if end == self.bytes.len() {
            return end;
        }
        let last = self.text.get(at..end).and_then(|run| run.chars().next_back()).map_or(0, char::len_utf8);
        if end - last > at { end - last } else { end }
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`: white space up to its last line end, if there is one.
    #[inline(always)]
    fn lines(&self, at: usize) -> usize {
        let end = self.run_of(at, SPACE);
        let run = self.bytes.part(at..end);
        match run.iter().rposition(|byte| matches!(byte, b'\r' | b'\n')) {
            Some(last) => at + last + 1,
            None => self.space(at),
        }
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    #[inline(always)]
    fn gpt2(&self, at: usize) -> Option<usize> {
        if let Some(end) = self.contraction(at, false, false) {
            return Some(end);
        }
        let start = at + usize::from(self.byte(at) == b' ');
        let (class, length) = self.class(start);
        Some(match class & (LETTER | NUMBER | SPACE) {
            LETTER => self.run_of(start + length, LETTER),
            NUMBER => self.run_of(start + length, NUMBER),
            0 if length > 0 => self.run_without(start + length, LETTER | NUMBER | SPACE),
            _ => self.space(at),
        })
    }

    /// The alternatives of cl100k and o200k from the numbers on.
    #[inline(always)]
    fn rest(&self, at: usize, digits: usize, slash: bool) -> usize {
        if self.class(at).0 & NUMBER != 0 {
            return self.digits(at, digits);
        }
        let start = at + usize::from(self.byte(at) == b' ');
        let (class, length) = self.class(start);
        if length > 0 && class & (LETTER | NUMBER | SPACE) == 0 {
            let mut end = self.run_without(start + length, LETTER | NUMBER | SPACE);
            while matches!(self.byte(end), b'\r' | b'\n') || (slash && self.byte(end) == b'/') {
                end += 1;
            }
            return end;
        }
        self.lines(at)
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    #[inline(always)]
    fn cl100k(&self, at: usize, digits: usize, long_s: bool) -> Option<usize> {
        if let Some(end) = self.contraction(at, true, long_s) {
            return Some(end);
        }
        let (class, length) = self.class(at);
        if class & LETTER != 0 {
            return Some(self.run_of(at + length, LETTER));
        }
        if class & (NUMBER | LINE_END) == 0 && self.class(at + length).0 & LETTER != 0 {
            return Some(self.run_of(at + length, LETTER));
        }
        Some(self.rest(at, digits, false))
    }

    /// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|`
    /// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|`
    /// `\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    #[inline(always)]
    fn o200k(&self, at: usize) -> Option<usize> {
        let (class, length) = self.class(at);
        let prefix = class & (LETTER | NUMBER | LINE_END) == 0;
        let after =
            |start: usize| self.lower_end(start).map(|end| self.contraction(end, true, true).unwrap_or(end));
        let end = if prefix { after(at + length) } else { None };
        if let Some(end) = end.or_else(|| after(at)) {
            return Some(end);
        }
        // Nothing is lower case here.
        let upper = |start: usize| Some(self.run_of(start, UPPER)).filter(|end| *end > start);
        let end = if prefix { upper(at + length) } else { None };
        if let Some(end) = end.or_else(|| upper(at)) {
            let end = self.run_of(end, LOWER);
            return Some(self.contraction(end, true, true).unwrap_or(end));
        }
        Some(self.rest(at, 3, true))
    }

    /// Where `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` ends, if it matches: what is both may be
    /// given back by the first class to the second.
    #[inline(always)]
    fn lower_end(&self, start: usize) -> Option<usize> {
        let (mut at, mut both) = (start, None);
        loop {
            let (class, length) = self.class(at);
            if length == 0 || class & UPPER == 0 {
                break;
            }
            at += length;
            if class & LOWER != 0 {
                both = Some(at);
            }
        }
        let end = self.run_of(at, LOWER);
        if end > at { Some(end) } else { both }
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`
    #[inline(always)]
    fn clip(&self, at: usize, tokens: bool) -> Option<usize> {
        if tokens && self.byte(at) == b'<' {
            let rest = self.text.part(at..);
            let starts = |token: &&str| rest.starts_with(*token);
            if let Some(token) = ["<|startoftext|>", "<|endoftext|>"].iter().find(|token| starts(token)) {
                return Some(at + token.len());
            }
        }
        if let Some(end) = self.contraction(at, false, false) {
            return Some(end);
        }
        let (class, length) = self.class(at);
        match class & (LETTER | NUMBER | SPACE) {
            LETTER => Some(self.run_of(at + length, LETTER)),
            NUMBER => Some(at + length),
            SPACE => None,
            _ => Some(self.run_without(at + length, LETTER | NUMBER | SPACE)),
        }
    }

    /// ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|``
    /// `` ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+``
    #[inline(always)]
    fn deep_seek(&self, at: usize) -> Option<usize> {
        if self.byte(at).is_ascii_punctuation() && self.byte(at + 1).is_ascii_alphabetic() {
            let letters = self.bytes.part(at + 1..);
            return Some(at + 1 + letters.iter().take_while(|byte| byte.is_ascii_alphabetic()).count());
        }
        let (class, length) = self.class(at);
        let prefix = class & (LETTER | SIGN | LINE_END) == 0;
        if prefix && self.class(at + length).0 & (LETTER | MARK) != 0 {
            return Some(self.run_of(at + length, LETTER | MARK));
        }
        if class & (LETTER | MARK) != 0 {
            return Some(self.run_of(at + length, LETTER | MARK));
        }
        let start = at + usize::from(self.byte(at) == b' ');
        let end = self.run_of(start, SIGN);
        if end > start {
            return Some(self.run_of(end, LINE_END));
        }
        (class & SPACE != 0).then(|| self.lines(at))
    }

    /// `\p{N}{1,digits}`
    #[inline(always)]
    fn numbers(&self, at: usize, digits: usize) -> Option<usize> {
        (self.class(at).0 & NUMBER != 0).then(|| self.digits(at, digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fancy_regex::Regex;

    const ALPHABET: &str = "abSTMDeEvVlLrRſßǅʰªÀé中文あ한\u{301}\u{903}\u{1D165}0123٣Ⅷ½ \u{A0}\u{85}\u{2028}\u{3000}\t\n\r\n''’.,!/-+=_$€。\u{200D}\u{FE0F}😀\0\u{7F}\u{10FFFF}<|>";

    fn texts() -> impl Iterator<Item = String> {
        let characters: Vec<char> = ALPHABET.chars().chain("    \n''aSs".chars()).collect();
        let mut state = 7u64;
        (0..30_000).map(move |round: u64| {
            let mut draw = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let mut text = String::new();
            for _ in 0..round % 14 {
                match draw(40) {
                    0 => text.push_str("<|endoftext|>"),
                    1 => text.push_str("<|startoftext|>"),
                    _ => text.extend(characters.get(draw(characters.len() as u64) as usize)),
                }
            }
            text
        })
    }

    #[test]
    fn scanners_find_what_the_engine_finds() {
        for (pattern, scanner) in KNOWN {
            let regex = Regex::new(pattern);
            assert!(regex.is_ok(), "{pattern}");
            let Ok(regex) = regex else { return };
            for text in texts() {
                let expected: Vec<_> = regex.find_iter(&text).flatten().map(|found| found.range()).collect();
                let mut words = Vec::new();
                scanner.words(&text, |word| words.push(word));
                assert_eq!(words, expected, "{scanner:?} on {text:?}");
                if scanner.covers() {
                    assert_eq!(words.iter().map(Range::len).sum::<usize>(), text.len());
                }
                // A cut before a space that follows something else changes nothing.
                let cut = text.match_indices(' ').map(|(at, _)| at).find(|at| {
                    text.get(..*at)
                        .and_then(|left| left.chars().next_back())
                        .is_some_and(|c| !c.is_whitespace())
                });
                if let Some((left, right)) = cut.and_then(|cut| text.split_at_checked(cut)) {
                    let mut parts = Vec::new();
                    scanner.words(left, |word| parts.push(word));
                    scanner.words(right, |word| parts.push(word.start + left.len()..word.end + left.len()));
                    assert_eq!(parts, expected, "{scanner:?} on {text:?}");
                }
            }
        }
    }
}
