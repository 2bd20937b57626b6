//! tiktoken files: a token in base64 and its rank a line. The merges are not in them; they follow from the tokens.

use crate::tokenizer::base64;
use crate::tokenizer::byte_alphabet::character_of;
use crate::tokenizer::json::quoted;
use crate::{Error, Result};
use std::collections::HashMap;

/// A byte-level vocabulary and the merges that build its tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tiktoken {
    /// Tokens in the order of the file, a character of the byte-level alphabet for each byte, with their ids.
    pub tokens: Vec<(String, u32)>,
    /// Merges in the order they count, as places in `tokens`.
    pub merges: Vec<(u32, u32)>,
}

impl Tiktoken {
    /// Reads the bytes of a file; `source` names it in errors.
    ///
    /// A token of several bytes is the result of a merge for each way to cut it into two tokens; those of one token
    /// count in the order of the left part's rank. Of a repeated token the last rank counts; two tokens of one rank are
    /// refused.
    pub fn from_bytes(bytes: &[u8], source: &str) -> Result<Self> {
        let tokens = tokens(bytes, source)?;
        let text = |bytes: &[u8]| bytes.iter().map(|byte| character_of(*byte)).collect();
        let written = tokens.iter().map(|(bytes, rank)| (text(bytes), *rank)).collect();
        Ok(Self { merges: merges(&tokens), tokens: written })
    }

    /// The merges as texts.
    pub fn merges(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |place: u32| self.tokens.get(place as usize).map(|token| token.0.as_str());
        self.merges.iter().filter_map(move |(left, right)| Some((text(*left)?, text(*right)?)))
    }
}

/// Reads a tiktoken file.
pub fn read_tiktoken(path: &str) -> Result<Tiktoken> {
    Tiktoken::from_bytes(&std::fs::read(path).map_err(|error| Error::io(path, error))?, path)
}

/// A token's bytes and its rank.
type Token = (Vec<u8>, u32);

fn tokens(text: &[u8], path: &str) -> Result<Vec<Token>> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut rest = text;
    let mut number = 0;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
        number += 1;
        if line.is_empty() {
            continue;
        }
        let (bytes, rank) = token(line).map_err(|expected| {
            let actual = quoted(&String::from_utf8_lossy(line));
            Error::format(path, format!("line {number}"), expected, actual)
        })?;
        match places.get(&bytes).and_then(|place| tokens.get_mut(*place)) {
            Some(known) => known.1 = rank,
            None => {
                places.insert(bytes.clone(), tokens.len());
                tokens.push((bytes, rank));
            }
        }
    }
    let mut ranks: HashMap<u32, &[u8]> = HashMap::with_capacity(tokens.len());
    for (bytes, rank) in &tokens {
        if let Some(other) = ranks.insert(*rank, bytes) {
            let text = |bytes: &[u8]| quoted(&String::from_utf8_lossy(bytes));
            let actual = format!("rank {rank} for {} and {}", text(other), text(bytes));
            return Err(Error::format(path, "the file", "a rank for each token", actual));
        }
    }
    Ok(tokens)
}

/// The token of a line; the empty one is written as a lone `=`. Fails with what was expected.
fn token(line: &[u8]) -> std::result::Result<Token, &'static str> {
    const LINE: &str = "a token in base64, a space and its rank";
    let line = std::str::from_utf8(line).map_err(|_| LINE)?;
    let mut fields = line.split_ascii_whitespace();
    let (Some(text), Some(rank), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(LINE);
    };
    let bytes = if text == "=" { Vec::new() } else { base64::decode(text).ok_or("a token in base64")? };
    let digits = rank.bytes().all(|byte| byte.is_ascii_digit());
    let rank = rank.parse().ok().filter(|rank| digits && *rank != u32::MAX);
    Ok((bytes, rank.ok_or("a rank from 0 to 4294967294")?))
}

/// For each token the longest shorter token that it starts with.
fn starts<B: AsRef<[u8]>>(tokens: &[B]) -> Vec<Option<u32>> {
    let mut order: Vec<u32> = (0..tokens.len() as u32).collect();
    let bytes = |place: u32| tokens.get(place as usize).map_or(&[][..], AsRef::as_ref);
    order.sort_unstable_by(|left, right| bytes(*left).cmp(bytes(*right)));
    let mut found = vec![None; tokens.len()];
    // Tokens that each start with the one before: all that the next one in the order can start with.
    let mut open: Vec<u32> = Vec::new();
    for place in order {
        while open.last().is_some_and(|last| !bytes(place).starts_with(bytes(*last))) {
            open.pop();
        }
        if let Some(start) = found.get_mut(place as usize) {
            *start = open.last().copied();
        }
        if !bytes(place).is_empty() {
            open.push(place);
        }
    }
    found
}

/// All ways to cut a token into two, in time that grows with the tokens' bytes.
fn merges(tokens: &[Token]) -> Vec<(u32, u32)> {
    let forwards: Vec<&[u8]> = tokens.iter().map(|token| token.0.as_slice()).collect();
    let backwards: Vec<Vec<u8>> =
        tokens.iter().map(|token| token.0.iter().rev().copied().collect()).collect();
    let (starts, ends) = (starts(&forwards), starts(&backwards));
    let length = |place: u32| forwards.get(place as usize).map_or(0, |bytes| bytes.len());
    let rank = |place: u32| tokens.get(place as usize).map_or(0, |token| token.1);
    let shorter = |list: &[Option<u32>], place: u32| list.get(place as usize).copied().flatten();
    let mut order: Vec<u32> = (0..tokens.len() as u32).collect();
    order.sort_unstable_by_key(|place| rank(*place));
    let mut merges: Vec<(u32, u32)> = Vec::with_capacity(tokens.len());
    let mut lefts = Vec::new();
    for place in order {
        let first = merges.len();
        lefts.clear();
        lefts.extend(std::iter::successors(shorter(&starts, place), |left| shorter(&starts, *left)));
        let mut right = shorter(&ends, place);
        // Left parts from the shortest on, right parts from the longest.
        while let (Some(left), Some(end)) = (lefts.last().copied(), right) {
            let missing = length(place).cmp(&(length(left) + length(end)));
            if missing.is_eq() {
                merges.push((left, end));
            }
            if missing.is_ge() {
                lefts.pop();
            }
            if missing.is_le() {
                right = shorter(&ends, end);
            }
        }
        if let Some(ways) = merges.get_mut(first..) {
            ways.sort_unstable_by_key(|way| rank(way.0));
        }
    }
    merges
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Result, Tiktoken};

    fn parse(text: &[u8], source: &str) -> Result<Tiktoken> {
        Tiktoken::from_bytes(text, source)
    }

    #[test]
    fn merges_follow_from_the_tokens() {
        // a b c ab bc abc, with abc before bc.
        let file = parse(b"YQ== 0\nYg== 1\r\nYw== 2\n\nYWI= 3\nYWJj 4\nYmM= 5\n= 6\nIA== 7", "file").unwrap();
        let pairs: Vec<(&str, &str)> = file.merges().collect();
        assert_eq!(pairs, [("a", "b"), ("a", "bc"), ("ab", "c"), ("b", "c")]);
        assert_eq!(file.tokens[6..], [(String::new(), 6), ("Ġ".to_owned(), 7)]);
        let repeated = parse(b"YQ== 0\nYg== 1\nYQ== 9", "file").unwrap();
        assert_eq!(repeated.tokens, [("a".to_owned(), 9), ("b".to_owned(), 1)]);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, place) in [
            (&b"YQ== 0\nYQ==\n"[..], "line 2"),
            (b"YQ== 0 1", "line 1"),
            (b"\n \n", "line 2"),
            (b"Y!== 0", "line 1"),
            (b"YQ== -1", "line 1"),
            (b"YQ== 4294967295", "line 1"),
            (b"YQ== +1", "line 1"),
            (b"\xff\xfe 1", "line 1"),
            (b"YQ== 0\nYg== 0", "the file"),
        ] {
            let error = parse(text, "file").unwrap_err().to_string();
            assert!(error.starts_with(&format!("file: {place}: ")), "{error}");
        }
    }

    #[test]
    fn nested_tokens_take_linear_time() {
        // 3000 tokens, each one byte longer: 4.5 million ways to cut them.
        let line =
            |length: usize| format!("{} {length}\n", crate::tokenizer::base64::encode(&vec![b'a'; length]));
        let text: String = (1..=3000).map(line).collect();
        let file = parse(text.as_bytes(), "file").unwrap();
        assert_eq!(file.merges.len(), 3000 * 2999 / 2);
        assert_eq!(file.merges[0..3], [(0, 0), (0, 1), (1, 0)]);
    }
}
