//! The alphabet of byte-level tokenizers: a visible character for each byte.

/// The first of the characters that stand for bytes without a visible character of their own.
const FIRST: u32 = 256;

/// The character for a byte: its own where Latin-1 has a visible one, else the next of those from U+0100 on.
pub const fn character_of(byte: u8) -> char {
    let hidden = match byte {
        0..=32 => byte as u32,
        127..=160 => byte as u32 - 127 + 33,
        173 => 67,
        _ => return byte as char,
    };
    match char::from_u32(FIRST + hidden) {
        Some(character) => character,
        None => byte as char,
    }
}

/// The byte a character stands for, or None where it is not of the alphabet.
pub const fn byte_of(character: char) -> Option<u8> {
    let code = character as u32;
    match code {
        33..=126 | 161..=172 | 174..=255 => Some(code as u8),
        256..=288 => Some((code - FIRST) as u8),
        289..=322 => Some((code - FIRST - 33 + 127) as u8),
        323 => Some(173),
        _ => None,
    }
}

/// White space, or the byte 0x20 as byte-level tokens write it.
pub fn is_space(character: char) -> bool {
    character == '\u{120}' || character.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::{byte_of, character_of};

    #[test]
    fn each_byte_has_a_character_of_its_own() {
        for byte in 0..=255 {
            assert_eq!(byte_of(character_of(byte)), Some(byte));
        }
        let all: String = [b' ', b'\n', b'a', 0xE9, 0x7F, 0xA0, 0xAD].map(character_of).iter().collect();
        assert_eq!(all, "ĠĊaéġłŃ");
        let known = (0..0x110000).filter_map(char::from_u32).filter(|c| byte_of(*c).is_some());
        assert_eq!(known.count(), 256);
    }
}
