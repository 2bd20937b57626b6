//! ByteLevel: each character of a token stands for a byte.

use super::tokens::Tokens;

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

/// The byte a character stands for: the printable ones of Latin-1 for themselves, those from U+0100 on for the rest
/// in their order.
fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}
