//! UnicodeScripts: words are runs of one script. Characters without one belong to the word before them.

use super::script_table::RUNS;
use std::ops::Range;

/// The script of a character, 0 for none.
pub fn script(character: char) -> u8 {
    let code = u32::from(character);
    let after = RUNS.partition_point(|run| run >> 8 <= code);
    after.checked_sub(1).and_then(|run| RUNS.get(run)).map_or(0, |run| (run & 0xff) as u8)
}

/// What comes before the first character with a script is left out.
pub(super) fn split(text: &str, mut word: impl FnMut(Range<usize>)) {
    let (mut start, mut current) = (text.len(), 0);
    let (mut before, mut known) = ('\0', script('\0'));
    for (at, character) in text.char_indices() {
        // The same few characters follow one another.
        if character != before {
            (before, known) = (character, script(character));
        }
        if known != 0 && known != current {
            if current != 0 {
                word(start..at);
            }
            (start, current) = (at, known);
        }
    }
    word(start..text.len());
}
