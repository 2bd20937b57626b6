//! Normalizers without options that look at one character at a time.

use super::rewrite::{expand, filter, map};
use crate::tokenizer::byte_alphabet::character_of;
use crate::tokenizer::text::Character;

/// Lowercases each character by itself: no final sigma, no language.
pub(super) fn lowercase(characters: &mut Vec<Character>) {
    expand_or_map(characters, char::to_lowercase);
}

/// `map` where `change` makes one character of each, which spares the copy.
fn expand_or_map<I: ExactSizeIterator<Item = char>>(
    characters: &mut Vec<Character>,
    change: impl Fn(char) -> I,
) {
    if characters.iter().any(|character| change(character.value).len() > 1) {
        expand(characters, change);
    } else {
        map(characters, |c| change(c).next().unwrap_or(c));
    }
}

/// The cleaning of the sentencepiece rule named "nmt": controls vanish, line ends and odd spaces become spaces.
pub(super) fn nmt(characters: &mut Vec<Character>) {
    filter(
        characters,
        |c| !matches!(c, '\u{1}'..='\u{8}' | '\u{B}' | '\u{E}'..='\u{1F}' | '\u{7F}' | '\u{8F}' | '\u{9F}'),
    );
    map(characters, |c| match c {
        '\t' | '\n' | '\u{C}' | '\r' | '\u{1680}' | '\u{200B}'..='\u{200F}' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{2581}' | '\u{FEFF}' | '\u{FFFD}' => ' ',
        _ => c,
    });
}

/// Writes each byte of the text's UTF-8 as a visible character.
pub(super) fn byte_level(characters: &mut Vec<Character>) {
    expand(characters, |c| {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len();
        bytes.into_iter().take(length).map(character_of)
    });
}
