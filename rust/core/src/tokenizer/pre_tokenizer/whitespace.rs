//! Whitespace: the matches of `\w+|[^\w\s]+`.

use crate::tokenizer::unicode::is_word;
use std::ops::Range;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Word,
    Other,
}

pub(super) fn split(text: &str, mut word: impl FnMut(Range<usize>)) {
    let mut start = 0;
    let mut run = Class::Space;
    for (at, c) in text.char_indices() {
        let class = match c {
            _ if is_word(c) => Class::Word,
            _ if c.is_whitespace() => Class::Space,
            _ => Class::Other,
        };
        if class != run {
            if run != Class::Space {
                word(start..at);
            }
            start = at;
            run = class;
        }
    }
    if run != Class::Space {
        word(start..text.len());
    }
}
