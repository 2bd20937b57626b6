//! BertPreTokenizer.

use crate::tokenizer::unicode::is_punctuation;
use std::ops::Range;

pub(super) fn split(text: &str, mut word: impl FnMut(Range<usize>)) {
    let mut start = 0;
    for (at, c) in text.char_indices() {
        let space = c.is_whitespace();
        if !space && !is_punctuation(c) {
            continue;
        }
        if start < at {
            word(start..at);
        }
        start = at + c.len_utf8();
        if !space {
            word(at..start);
        }
    }
    if start < text.len() {
        word(start..text.len());
    }
}
