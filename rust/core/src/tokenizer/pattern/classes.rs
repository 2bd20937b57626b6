//! Which of the classes that known patterns are made of a character belongs to.

use regex_syntax::hir::{Class, HirKind};
use std::sync::OnceLock;

/// `\p{L}`.
pub const LETTER: u8 = 1;
/// `\p{N}`.
pub const NUMBER: u8 = 2;
/// `\s`.
pub const SPACE: u8 = 4;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what may stand before lower case.
pub const UPPER: u8 = 8;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what may stand after upper case.
pub const LOWER: u8 = 16;
/// `\p{M}`.
pub const MARK: u8 = 32;
/// `[\p{P}\p{S}]`.
pub const SIGN: u8 = 64;
/// `[\r\n]`.
pub const LINE_END: u8 = 128;

const PAGE: usize = 256;
const PAGES: usize = 0x110000 / PAGE;

/// The classes of all characters, pages that are equal kept once.
#[derive(Debug)]
pub struct Classes {
    ascii: [u8; 128],
    index: Vec<u16>,
    pages: Vec<[u8; PAGE]>,
}

impl Classes {
    /// The table, made on first use.
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Classes> = OnceLock::new();
        TABLE.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut all = vec![0u8; PAGE * PAGES];
        let classes = [
            (LETTER, r"\p{L}"),
            (NUMBER, r"\p{N}"),
            (SPACE, r"\s"),
            (UPPER, r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"),
            (LOWER, r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"),
            (MARK, r"\p{M}"),
            (SIGN, r"[\p{P}\p{S}]"),
            (LINE_END, r"[\r\n]"),
        ];
        for (bit, class) in classes {
            for (first, last) in ranges(class) {
                if let Some(part) = all.get_mut(first as usize..=last as usize) {
                    part.iter_mut().for_each(|bits| *bits |= bit);
                }
            }
        }
        let mut table = Self { ascii: [0; 128], index: Vec::with_capacity(PAGES), pages: Vec::new() };
        for (place, bits) in table.ascii.iter_mut().zip(&all) {
            *place = *bits;
        }
        for chunk in all.chunks_exact(PAGE) {
            let known = table.pages.iter().position(|page| page == chunk);
            let number = known.unwrap_or_else(|| {
                table.pages.extend(<[u8; PAGE]>::try_from(chunk));
                table.pages.len() - 1
            });
            table.index.push(number as u16);
        }
        table
    }

    /// The classes of an ASCII byte.
    #[inline(always)]
    pub fn ascii(&self, byte: u8) -> u8 {
        self.ascii.get(usize::from(byte)).copied().unwrap_or(0)
    }

    /// The classes of a character.
    #[inline]
    pub fn of(&self, character: char) -> u8 {
        let code = character as usize;
        let page = self.index.get(code / PAGE).and_then(|number| self.pages.get(usize::from(*number)));
        page.and_then(|page| page.get(code % PAGE)).copied().unwrap_or(0)
    }
}

/// The ranges of a character class; none where it is not well formed.
pub fn ranges(class: &str) -> Vec<(char, char)> {
    let hir = regex_syntax::parse(class).map(|hir| hir.into_kind());
    match hir {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            class.ranges().iter().map(|range| (range.start(), range.end())).collect()
        }
        // A class of one character.
        Ok(HirKind::Literal(literal)) => {
            let text = std::str::from_utf8(&literal.0).unwrap_or_default();
            text.chars().map(|only| (only, only)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_characters() {
        let classes = Classes::get();
        for (character, expected) in [
            ('a', LETTER | LOWER),
            ('Q', LETTER | UPPER),
            ('ǅ', LETTER | UPPER),
            ('中', LETTER | UPPER | LOWER),
            ('\u{301}', MARK | UPPER | LOWER),
            ('7', NUMBER),
            ('Ⅷ', NUMBER),
            (' ', SPACE),
            ('\u{3000}', SPACE),
            ('\n', SPACE | LINE_END),
            ('+', SIGN),
            ('。', SIGN),
            ('\0', 0),
            ('\u{10FFFF}', 0),
        ] {
            assert_eq!(classes.of(character), expected, "{character:?}");
            if character.is_ascii() {
                assert_eq!(classes.ascii(character as u8), expected);
            }
        }
        let count =
            |bit: u8| (0..0x110000).filter_map(char::from_u32).filter(|c| classes.of(*c) & bit > 0).count();
        assert_eq!((count(SPACE), count(LINE_END)), (25, 2));
        assert!(count(LETTER) > 140_000 && count(NUMBER) > 1_900);
    }
}
