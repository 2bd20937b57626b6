//! ByteLevel: each character of a token stands for a byte.

use super::tokens::Tokens;
use crate::tokenizer::byte_alphabet::byte_of;

/// Maps tokens to bytes, all of them one text; what is no UTF-8 becomes U+FFFD.
pub fn decode<'t>(tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) {
    let mut bytes = Vec::new();
    tokens.for_each(|token| push_bytes(token, &mut bytes));
    out.text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    out.close();
}

/// Appends the bytes a token stands for; its own, where one of its characters stands for none.
pub fn push_bytes(token: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.reserve(token.len());
    for character in token.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(start);
                bytes.extend_from_slice(token.as_bytes());
                return;
            }
        }
    }
}
