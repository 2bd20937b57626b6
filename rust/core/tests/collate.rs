//! Padding, packing and planning: the edges that the comparison with plain Python does not reach.
#![allow(clippy::unwrap_used)]

use oxiformers_core::Error;
use oxiformers_core::collate::{PadOptions, Side, pack, pad, plan_batches};

const RIGHT: PadOptions = PadOptions { value: 0, multiple_of: None, max_length: None, side: Side::Right };

fn argument<T: std::fmt::Debug>(result: oxiformers_core::Result<T>) -> String {
    match result {
        Err(Error::Argument { name, .. }) => name,
        other => format!("{other:?}"),
    }
}

#[test]
fn pads_on_either_side() {
    let sequences: [&[i64]; 3] = [&[1, 2, 3], &[], &[4]];
    let padded = pad(&sequences, PadOptions { value: 9, multiple_of: Some(4), ..RIGHT }).unwrap();
    assert_eq!((padded.rows, padded.width), (3, 4));
    assert_eq!(padded.values, [1, 2, 3, 9, 9, 9, 9, 9, 4, 9, 9, 9]);
    assert_eq!(padded.mask, [1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let padded = pad(&sequences, PadOptions { value: 9, side: Side::Left, ..RIGHT }).unwrap();
    assert_eq!(padded.values, [1, 2, 3, 9, 9, 9, 9, 9, 4]);
    assert_eq!(padded.mask, [1, 1, 1, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn no_sequences_and_no_values() {
    assert_eq!(pad(&[], RIGHT).unwrap().values.len(), 0);
    assert_eq!(pad(&[&[], &[]], RIGHT).unwrap().width, 0);
    let packed = pack(&[]).unwrap();
    assert_eq!((packed.values.len(), packed.cu_seqlens), (0, vec![0]));
    assert_eq!(plan_batches(&[], 5).unwrap().boundaries, [0]);
}

#[test]
fn sizes_beyond_memory_are_refused() {
    for max_length in [usize::MAX, 1 << 61, usize::MAX / 2] {
        let options = PadOptions { max_length: Some(max_length), ..RIGHT };
        assert_eq!(argument(pad(&[&[1], &[2]], options)), "max_length");
        let options = PadOptions { multiple_of: Some(usize::MAX - 1), ..options };
        assert_eq!(argument(pad(&[&[1], &[2]], options)), "max_length");
    }
    assert_eq!(argument(pad(&[&[1]], PadOptions { multiple_of: Some(0), ..RIGHT })), "multiple_of");
    assert_eq!(argument(pad(&[&[1, 2]], PadOptions { max_length: Some(1), ..RIGHT })), "max_length");
}

#[test]
fn packs_with_positions_from_zero() {
    let packed = pack(&[&[5, 6, 7], &[], &[8]]).unwrap();
    assert_eq!(packed.values, [5, 6, 7, 8]);
    assert_eq!(packed.positions, [0, 1, 2, 0]);
    assert_eq!(packed.cu_seqlens, [0, 3, 3, 4]);
}

#[test]
fn plans_the_longest_first_and_equals_in_order() {
    let plan = plan_batches(&[3, 9, 3, 1, 0, 3], 6).unwrap();
    assert_eq!(plan.order, [1, 0, 2, 5, 3, 4]);
    assert_eq!(plan.boundaries, [0, 1, 3, 6]);
}

#[test]
fn a_length_beyond_the_budget_is_alone() {
    assert_eq!(plan_batches(&[7, 7, 0], 5).unwrap().boundaries, [0, 1, 2, 3]);
    assert_eq!(plan_batches(&[i64::MAX, i64::MAX], i64::MAX).unwrap().boundaries, [0, 1, 2]);
    assert_eq!(argument(plan_batches(&[1], 0)), "token_budget");
    assert_eq!(argument(plan_batches(&[1, -1], 1)), "lengths");
}
