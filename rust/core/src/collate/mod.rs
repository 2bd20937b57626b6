//! Sequences of token ids into batches: padded rectangles, packed runs, and batches planned by a token
//! budget.

pub mod pack;
pub mod pad;
pub mod plan;

pub use pack::{Packed, pack};
pub use pad::{PadOptions, Padded, Side, pad};
pub use plan::{Plan, plan_batches};

use crate::{Error, Result};

/// A vector with room for `length` values, or an error where memory cannot hold them.
fn allocate(name: &str, length: Option<usize>) -> Result<Vec<i64>> {
    let mut values = Vec::new();
    match length.map(|length| values.try_reserve_exact(length)) {
        Some(Ok(())) => Ok(values),
        _ => {
            Err(Error::argument(name, "a batch that fits into memory", "more elements than can be allocated"))
        }
    }
}
