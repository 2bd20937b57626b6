//! How rows are made equally long.

use super::Side;
use super::encoding::{Encoding, NO_WORD};
use crate::{Error, Result};
use std::sync::Arc;

/// What a row is filled up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaddingLength {
    /// The longest row of the batch.
    Longest,
    /// This many tokens; longer rows stay as they are.
    Fixed(usize),
}

/// How rows are filled up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Padding {
    /// What to fill up to.
    pub length: PaddingLength,
    /// Round that up to a multiple of this.
    pub multiple_of: Option<usize>,
    /// The side padding is put on.
    pub side: Side,
    /// Id of the padding token.
    pub id: u32,
    /// Type id of padding.
    pub type_id: u32,
    /// Text of the padding token.
    pub token: Arc<str>,
}

impl Padding {
    /// The row length for a batch whose longest row has `longest` tokens.
    pub fn target(&self, longest: usize) -> usize {
        let length = match self.length {
            PaddingLength::Longest => longest,
            PaddingLength::Fixed(length) => length,
        };
        match self.multiple_of {
            Some(multiple) if multiple > 0 => length.div_ceil(multiple).saturating_mul(multiple),
            _ => length,
        }
    }

    /// Refuses what memory can't hold, rather than to abort when it is filled.
    pub fn check(&self, rows: usize, columns: usize) -> Result<()> {
        const SURELY: usize = 1 << 27;
        let size = rows.checked_mul(columns);
        let fits = match size {
            Some(size) if size <= SURELY => true,
            Some(size) => Vec::<[i64; 2]>::new().try_reserve_exact(size).is_ok(),
            None => false,
        };
        if fits {
            return Ok(());
        }
        let actual = format!("{rows} rows padded to {columns} tokens");
        Err(Error::argument("max_length", "rows that fit in memory", actual))
    }

    /// Fills up an encoding and the parts cut off from it.
    pub fn pad(&self, encoding: &mut Encoding, target: usize) {
        for part in &mut encoding.overflowing {
            self.pad(part, target);
        }
        let Some(missing) = target.checked_sub(encoding.len()).filter(|missing| *missing > 0) else {
            return;
        };
        let (at, first) = match self.side {
            Side::Right => (encoding.len(), encoding.len() as u32),
            Side::Left => (0, 0),
        };
        if self.side == Side::Left {
            for text in &mut encoding.texts {
                text.0 += missing as u32;
            }
            for (_, range) in &mut encoding.sequences {
                *range = range.start + missing..range.end + missing;
            }
        }
        fn fill<T: Clone>(list: &mut Vec<T>, at: usize, missing: usize, value: T) {
            list.splice(at..at, std::iter::repeat_n(value, missing));
        }
        fill(&mut encoding.ids, at, missing, self.id);
        fill(&mut encoding.type_ids, at, missing, self.type_id);
        fill(&mut encoding.offsets, at, missing, (0, 0));
        fill(&mut encoding.words, at, missing, NO_WORD);
        fill(&mut encoding.special, at, missing, 1);
        fill(&mut encoding.attention, at, missing, 0);
        let text_at = if self.side == Side::Left { 0 } else { encoding.texts.len() };
        let texts = (first..first + missing as u32).map(|index| (index, self.token.clone()));
        encoding.texts.splice(text_at..text_at, texts.collect::<Vec<_>>());
    }
}
