//! Sequences into a rectangle.

use super::allocate;
use crate::{Error, Result};

/// On which side of a sequence the padding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the sequence, as decoders want it.
    Left,
    /// After the sequence.
    Right,
}

/// How wide the rectangle is and what fills it.
#[derive(Clone, Copy, Debug)]
pub struct PadOptions {
    /// The value at padded places.
    pub value: i64,
    /// Round the width up to a multiple of this.
    pub multiple_of: Option<usize>,
    /// The width before rounding; None: that of the longest sequence.
    pub max_length: Option<usize>,
    /// Where the padding goes.
    pub side: Side,
}

/// A rectangle of `rows` x `width` values in row-major order, and its mask: 1 at values, 0 at padding.
#[derive(Debug, PartialEq, Eq)]
pub struct Padded {
    /// `[rows, width]`.
    pub values: Vec<i64>,
    /// `[rows, width]`.
    pub mask: Vec<i64>,
    /// The number of sequences.
    pub rows: usize,
    /// The common width.
    pub width: usize,
}

/// Pads sequences to a common width.
///
/// # Errors
/// `Error::Argument` where a sequence is longer than `max_length`, `multiple_of` is 0, or memory cannot hold
/// the batch.
pub fn pad(sequences: &[&[i64]], options: PadOptions) -> Result<Padded> {
    let longest = sequences.iter().map(|sequence| sequence.len()).max().unwrap_or(0);
    let width = options.max_length.unwrap_or(longest);
    if longest > width {
        let row = sequences.iter().position(|sequence| sequence.len() > width).unwrap_or(0);
        return Err(Error::argument(
            "max_length",
            format!("at least the length of every feature; feature {row} has {}", sequences[row].len()),
            width.to_string(),
        ));
    }
    let width = match options.multiple_of {
        Some(0) => return Err(Error::argument("multiple_of", "at least 1", "0")),
        Some(multiple) => width.checked_next_multiple_of(multiple),
        None => Some(width),
    };
    let total = width.and_then(|width| width.checked_mul(sequences.len()));
    let width = width.unwrap_or(0);
    let mut values = allocate("max_length", total)?;
    let mut mask = allocate("max_length", total)?;
    for sequence in sequences {
        let start = values.len();
        let (before, after) = match options.side {
            Side::Left => (width - sequence.len(), 0),
            Side::Right => (0, width - sequence.len()),
        };
        values.resize(start + before, options.value);
        values.extend_from_slice(sequence);
        values.resize(start + width, options.value);
        mask.resize(start + before, 0);
        mask.resize(start + width - after, 1);
        mask.resize(start + width, 0);
    }
    Ok(Padded { values, mask, rows: sequences.len(), width })
}
