//! Which sequences go together: batches of similar length that hold a bounded number of tokens.

use std::cmp::Reverse;

use crate::{Error, Result};

/// A permutation of the sequences, cut into batches.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The sequences from the longest to the shortest, equals in their original order: `[N]`.
    ///
    /// The result computed for place `i` belongs to sequence `order[i]`.
    pub order: Vec<i64>,
    /// Batch `k` is `order[boundaries[k]..boundaries[k + 1]]`; starts with 0, ends with N.
    pub boundaries: Vec<i64>,
}

/// Plans batches whose lengths add up to at most `token_budget`; a sequence longer than that is a batch of
/// its own.
///
/// The longest come first: a batch that needs too much memory fails at once, not in the end. O(N log N).
///
/// # Errors
/// `Error::Argument` for a negative length or a budget below 1.
pub fn plan_batches(lengths: &[i64], token_budget: i64) -> Result<Plan> {
    if token_budget < 1 {
        return Err(Error::argument("token_budget", "at least 1", token_budget.to_string()));
    }
    if let Some(position) = lengths.iter().position(|&length| length < 0) {
        return Err(Error::argument(
            "lengths",
            "no negative length",
            format!("{} at position {position}", lengths[position]),
        ));
    }
    let mut order: Vec<i64> = (0..lengths.len() as i64).collect();
    order.sort_by_key(|&sequence| Reverse(lengths[sequence as usize]));

    let mut boundaries = vec![0];
    let mut tokens = 0i64;
    for (place, &sequence) in order.iter().enumerate() {
        let length = lengths[sequence as usize];
        let starts_batch = boundaries.last() == Some(&(place as i64));
        match tokens.checked_add(length) {
            Some(sum) if sum <= token_budget || starts_batch => tokens = sum,
            _ => {
                boundaries.push(place as i64);
                tokens = length;
            }
        }
    }
    if !order.is_empty() {
        boundaries.push(order.len() as i64);
    }
    Ok(Plan { order, boundaries })
}
