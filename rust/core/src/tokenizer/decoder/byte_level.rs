//! ByteLevel: each character of a token stands for a byte.

use super::tokens::Tokens;
use super::{Origin, Token};
use crate::tokenizer::byte_alphabet::byte_of;
use std::ops::Range;

/// Maps tokens to bytes, all of them one text; what is no UTF-8 becomes U+FFFD.
pub fn decode<'t>(tokens: impl Iterator<Item = Token<'t>> + Clone, out: &mut Tokens) {
    let mut bytes = Vec::new();
    tokens.clone().for_each(|token| push_bytes(token, &mut bytes));
    out.text = String::from_utf8(bytes).unwrap_or_else(|error| repair(tokens, error.as_bytes()));
    out.close();
}

/// Appends the bytes a token stands for: its own, where it was added or one of its characters stands for none.
pub fn push_bytes(token: Token<'_>, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.reserve(token.text.len());
    if token.origin == Origin::Added {
        bytes.extend_from_slice(token.text.as_bytes());
        return;
    }
    for character in token.text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(start);
                bytes.extend_from_slice(token.text.as_bytes());
                return;
            }
        }
    }
}

/// The text of bytes that are no UTF-8. A token that was added and that the model knows as bytes, too, is what was added
/// where it makes no character with those around it: a text with an added `é` has the id of the byte 0xE9.
fn repair<'t>(tokens: impl Iterator<Item = Token<'t>> + Clone, bytes: &[u8]) -> String {
    if !tokens.clone().any(|token| token.origin == Origin::Both) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut broken = Vec::new();
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        let start = at + chunk.valid().len();
        at = start + chunk.invalid().len();
        broken.push(start..at);
    }
    let mut broken = broken.into_iter().peekable();
    let mut repaired = Vec::with_capacity(bytes.len());
    let mut end = 0;
    for token in tokens {
        let from = repaired.len();
        push_bytes(token, &mut repaired);
        let start = end;
        end += repaired.len() - from;
        while broken.next_if(|range: &Range<usize>| range.end <= start).is_some() {}
        if token.origin == Origin::Both && broken.peek().is_some_and(|range| range.start < end) {
            repaired.truncate(from);
            repaired.extend_from_slice(token.text.as_bytes());
        }
    }
    String::from_utf8(repaired).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
