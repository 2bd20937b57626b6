//! Parts of texts and slices whose ranges the code itself has worked out.

use std::fmt::Debug;
use std::slice::SliceIndex;

/// Taking a part that is known to be there.
///
/// A range that is not is a fault of this crate: it stops a build with debug assertions, as tests run in, and in a
/// release gives an empty part, so that no input makes a program panic. Where a range may well be beyond the end, `get`
/// says so.
pub trait PartOf {
    /// The part.
    fn part<R: SliceIndex<Self, Output = Self> + Clone + Debug>(&self, range: R) -> &Self;
}

impl PartOf for str {
    #[inline(always)]
    fn part<R: SliceIndex<Self, Output = Self> + Clone + Debug>(&self, range: R) -> &Self {
        let part = self.get(range.clone());
        debug_assert!(part.is_some(), "{range:?} of {} bytes", self.len());
        part.unwrap_or_default()
    }
}

impl<T> PartOf for [T] {
    #[inline(always)]
    fn part<R: SliceIndex<Self, Output = Self> + Clone + Debug>(&self, range: R) -> &Self {
        let part = self.get(range.clone());
        debug_assert!(part.is_some(), "{range:?} of {} items", self.len());
        part.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::PartOf;

    #[test]
    fn parts_that_are_there() {
        assert_eq!("aéb".part(1..3), "é");
        assert_eq!("a".part(1..), "");
        assert_eq!([1, 2, 3].part(..2), [1, 2]);
        assert!([0; 0].part(0..0).is_empty());
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "1..2 of 3 bytes"))]
    fn a_part_of_a_character_is_loud_in_tests() {
        assert_eq!("éa".part(1..2), "");
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "2..5 of 3 items"))]
    fn a_part_beyond_the_end_is_loud_in_tests() {
        assert!([1, 2, 3].part(2..5).is_empty());
    }
}
