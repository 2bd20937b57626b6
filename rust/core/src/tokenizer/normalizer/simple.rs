//! Normalizers without options that look at one character at a time.

use super::rewrite::{expand, filter, map};
use crate::tokenizer::byte_alphabet::character_of;
use crate::tokenizer::text::Character;

/// Lowercases each character by itself: no final sigma, no language.
pub(super) fn lowercase(characters: &mut Vec<Character>) {
    if characters.iter().any(|character| character.value.to_lowercase().len() > 1) {
        expand(characters, char::to_lowercase);
    } else {
        map(characters, |c| c.to_lowercase().next().unwrap_or(c));
    }
}

/// Whether lowercasing changes nothing.
pub(super) fn is_lowercase(c: char) -> bool {
    if c.is_ascii() { !c.is_ascii_uppercase() } else { c.to_lowercase().eq([c]) }
}

/// The cleaning of the sentencepiece rule named "nmt".
pub(super) fn nmt(characters: &mut Vec<Character>) {
    filter(characters, |c| nmt_character(c).is_some());
    map(characters, |c| nmt_character(c).unwrap_or(c));
}

/// What becomes of a character there: controls vanish, line ends and odd spaces become spaces.
pub(super) fn nmt_character(c: char) -> Option<char> {
    match c {
        '\u{1}'..='\u{8}' | '\u{B}' | '\u{E}'..='\u{1F}' | '\u{7F}' | '\u{8F}' | '\u{9F}' => None,
        '\t' | '\n' | '\u{C}' | '\r' | '\u{1680}' | '\u{200B}'..='\u{200F}' | '\u{2028}' | '\u{2029}' => {
            Some(' ')
        }
        '\u{2581}' | '\u{FEFF}' | '\u{FFFD}' => Some(' '),
        _ => Some(c),
    }
}

/// Writes each byte of the text's UTF-8 as a visible character.
pub(super) fn byte_level(characters: &mut Vec<Character>) {
    expand(characters, |c| {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len();
        bytes.into_iter().take(length).map(character_of)
    });
}
