//! Sequences one after another, without padding.

use super::allocate;
use crate::Result;

/// All sequences in one run, with what attention needs to tell them apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Packed {
    /// The values of all sequences, in order: `[T]`.
    pub values: Vec<i64>,
    /// The position of each value in its own sequence, from 0: `[T]`.
    pub positions: Vec<i64>,
    /// Where each sequence starts, and the end of the last: `[B + 1]`.
    pub cu_seqlens: Vec<i64>,
}

/// Packs sequences; an empty one keeps its place in `cu_seqlens`.
///
/// # Errors
/// `Error::Argument` where memory cannot hold the batch.
pub fn pack(sequences: &[&[i64]]) -> Result<Packed> {
    let total = sequences.iter().try_fold(0usize, |sum, sequence| sum.checked_add(sequence.len()));
    let mut packed = Packed {
        values: allocate("features", total)?,
        positions: allocate("features", total)?,
        cu_seqlens: Vec::with_capacity(sequences.len() + 1),
    };
    packed.cu_seqlens.push(0);
    for sequence in sequences {
        packed.values.extend_from_slice(sequence);
        packed.positions.extend(0..sequence.len() as i64);
        packed.cu_seqlens.push(packed.values.len() as i64);
    }
    Ok(packed)
}
