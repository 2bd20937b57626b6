//! Which tokens stay where an input is too long, and how the rest is cut into overlapping parts.

use super::Side;
use super::encoding::Encoding;
use crate::{Error, Result};
use std::ops::Range;

/// Which sequence of a pair gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruncationStrategy {
    /// The longer one, until both have half.
    LongestFirst,
    /// The first.
    OnlyFirst,
    /// The second; an input without one is refused where it is too long.
    OnlySecond,
}

/// How inputs are shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// Which sequence gives.
    pub strategy: TruncationStrategy,
    /// Tokens in all, special ones included.
    pub max_length: usize,
    /// Tokens that consecutive parts share.
    pub stride: usize,
    /// The side tokens are taken from.
    pub side: Side,
}

impl Truncation {
    /// The room for text where `special` tokens are added.
    pub fn room(&self, special: usize) -> Result<usize> {
        let room = self.max_length.checked_sub(special).ok_or_else(|| {
            let expected = format!("at least {special}, the number of special tokens");
            Error::argument("max_length", expected, self.max_length.to_string())
        })?;
        if self.stride > 0 && self.stride >= room {
            let expected =
                format!("less than {room}, what max_length leaves beside {special} special tokens");
            return Err(Error::argument("stride", expected, self.stride.to_string()));
        }
        Ok(room)
    }

    /// How many tokens of each sequence stay, from how many there are. None: all of them.
    pub fn keep(&self, room: usize, first: usize, second: Option<usize>) -> Result<Option<(usize, usize)>> {
        let other = second.unwrap_or(0);
        let total = first + other;
        if room == 0 {
            return Ok(Some((0, 0)));
        }
        if total <= room {
            return Ok(None);
        }
        let remove = total - room;
        // The true lengths may be unknown: a text is read only as far as it can matter.
        let no_room = || {
            let expected = "the other sequence to leave room for the one to shorten";
            Error::argument("truncation", expected, format!("{room} tokens or more in it"))
        };
        match (self.strategy, second) {
            (TruncationStrategy::LongestFirst, None) => Ok(Some((room, 0))),
            (TruncationStrategy::LongestFirst, Some(second)) => {
                let (short, long) = (first.min(second), first.max(second));
                let mut kept = (short, if short > room { short } else { short.max(room - short) });
                if kept.0 + kept.1 > room {
                    kept = (room / 2, room / 2 + room % 2);
                }
                debug_assert!(kept.1 <= long);
                Ok(Some(if first > second { (kept.1, kept.0) } else { kept }))
            }
            (TruncationStrategy::OnlyFirst, _) if first > remove => Ok(Some((first - remove, other))),
            (TruncationStrategy::OnlyFirst, _) => Err(no_room()),
            (TruncationStrategy::OnlySecond, Some(second)) if second > remove => {
                Ok(Some((first, second - remove)))
            }
            (TruncationStrategy::OnlySecond, Some(_)) => Err(no_room()),
            (TruncationStrategy::OnlySecond, None) => Err(Error::argument(
                "truncation",
                "a second sequence to shorten, or another strategy",
                "only_second for a single sequence",
            )),
        }
    }

    /// Shortens an encoding to `keep` tokens and keeps the rest in `overflowing` where it is asked for.
    pub fn shorten(&self, encoding: &mut Encoding, keep: usize, overflow: bool) -> Result<()> {
        let length = encoding.len();
        if keep >= length {
            return Ok(());
        }
        if !overflow {
            *encoding = encoding.part(match self.side {
                Side::Right => 0..keep,
                Side::Left => length - keep..length,
            });
            return Ok(());
        }
        if keep == 0 {
            let all = std::mem::take(encoding);
            encoding.overflowing.push(all);
            return Ok(());
        }
        if self.stride >= keep {
            let expected = format!("less than {keep}, what is left of one of the sequences");
            return Err(Error::argument("stride", expected, self.stride.to_string()));
        }
        let mut parts = parts(length, keep, self.stride, self.side).map(|range| encoding.part(range));
        if let Some(mut first) = parts.next() {
            first.overflowing = parts.collect();
            *encoding = first;
        }
        Ok(())
    }
}

/// The ranges of the parts; the last reaches the other end.
fn parts(length: usize, keep: usize, stride: usize, side: Side) -> impl Iterator<Item = Range<usize>> {
    let step = (keep - stride).max(1);
    let count = 1 + (length - keep).div_ceil(step);
    (0..count).map(move |part| match side {
        Side::Right => part * step..(part * step + keep).min(length),
        Side::Left => {
            let end = length - part * step;
            end.saturating_sub(keep)..end
        }
    })
}
