//! Merging the symbols of one word: always the pair of the lowest rank, of several equal pairs the leftmost.

use super::table::{MergeTable, NEVER};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Up to this many symbols the lowest rank is looked for by going through all of them.
const SHORT: usize = 128;
/// No symbol.
const NONE: u32 = u32::MAX;

/// The symbols of a word and what merging them needs, used again from word to word.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Ids from left to right.
    pub(super) ids: Vec<u32>,
    /// How many bytes each stands for; left empty where that is not of interest.
    pub(super) lengths: Vec<u32>,
    /// The rank of each symbol with the next.
    ranks: Vec<u32>,
    links: Vec<Link>,
    queue: BinaryHeap<Reverse<u64>>,
    /// A character with its prefix and suffix.
    pub(super) text: String,
}

/// A symbol in a list of which merged ones drop out.
#[derive(Debug, Clone, Copy)]
struct Link {
    id: u32,
    /// 0 where it was merged into the one before it.
    length: u32,
    previous: u32,
    next: u32,
}

impl Scratch {
    /// Takes an empty word.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.lengths.clear();
    }

    /// Merges until no pair of neighbours is left that merges.
    pub(super) fn merge(&mut self, table: &MergeTable, distinct: bool) {
        if !distinct || self.ids.len() > SHORT {
            self.merge_long(table);
        } else if self.lengths.is_empty() {
            self.merge_short::<false>(table);
        } else {
            self.merge_short::<true>(table);
        }
    }

    /// By going through all ranks for each merge.
    #[inline]
    fn merge_short<const LENGTHS: bool>(&mut self, table: &MergeTable) {
        let Self { ids, lengths, ranks, .. } = self;
        ranks.clear();
        ranks.extend(ids.iter().zip(ids.iter().skip(1)).map(|(left, right)| table.rank(*left, *right)));
        loop {
            let (mut lowest, mut at) = (NEVER, 0);
            for (index, rank) in ranks.iter().enumerate() {
                if *rank < lowest {
                    (lowest, at) = (*rank, index);
                }
            }
            if lowest == NEVER {
                return;
            }
            ids.remove(at + 1);
            ranks.remove(at);
            if LENGTHS {
                let right = lengths.remove(at + 1);
                if let Some(left) = lengths.get_mut(at) {
                    *left += right;
                }
            }
            let id = table.result(lowest);
            if let Some(merged) = ids.get_mut(at) {
                *merged = id;
            }
            if let (Some(rank), Some(next)) = (ranks.get_mut(at), ids.get(at + 1)) {
                *rank = table.rank(id, *next);
            }
            if let Some(before) = at.checked_sub(1)
                && let (Some(rank), Some(previous)) = (ranks.get_mut(before), ids.get(before))
            {
                *rank = table.rank(*previous, id);
            }
        }
    }

    /// By a queue of pairs, in O(n log n).
    ///
    /// An entry whose pair has changed meanwhile still counts where the new pair has the same result: it then
    /// merges at the old rank.
    fn merge_long(&mut self, table: &MergeTable) {
        let Self { ids, lengths, links, queue, .. } = self;
        let count = ids.len() as u32;
        links.clear();
        links.extend((0..count).zip(ids.iter()).map(|(at, id)| Link {
            id: *id,
            length: lengths.get(at as usize).copied().unwrap_or(1),
            previous: at.wrapping_sub(1),
            next: if at + 1 < count { at + 1 } else { NONE },
        }));
        let mut entries = std::mem::take(queue).into_vec();
        entries.clear();
        let pairs = (0u32..).zip(ids.iter().zip(ids.iter().skip(1)));
        entries.extend(pairs.filter_map(|(at, (left, right))| entry(table, *left, *right, at).map(Reverse)));
        *queue = BinaryHeap::from(entries);
        while let Some(Reverse(top)) = queue.pop() {
            let (rank, at) = ((top >> u32::BITS) as u32, top as u32);
            let Some(&left) = links.get(at as usize).filter(|link| link.length > 0) else { continue };
            let Some(&right) = links.get(left.next as usize) else { continue };
            let id = table.result(rank);
            let now = table.rank(left.id, right.id);
            if now != rank && (now == NEVER || table.result(now) != id) {
                continue;
            }
            let merged = Link { id, length: left.length + right.length, next: right.next, ..left };
            if let Some(link) = links.get_mut(at as usize) {
                *link = merged;
            }
            if let Some(link) = links.get_mut(left.next as usize) {
                link.length = 0;
            }
            if let Some(next) = links.get_mut(merged.next as usize) {
                next.previous = at;
                queue.extend(entry(table, id, next.id, at).map(Reverse));
            }
            if let Some(previous) = links.get(merged.previous as usize) {
                queue.extend(entry(table, previous.id, id, merged.previous).map(Reverse));
            }
        }
        let measured = !lengths.is_empty();
        ids.clear();
        lengths.clear();
        let mut at = 0;
        while let Some(link) = links.get(at as usize) {
            ids.push(link.id);
            if measured {
                lengths.push(link.length);
            }
            at = link.next;
        }
        // What an exceptionally long word took is given back.
        if links.capacity() > KEPT {
            *self = Self { ids: std::mem::take(ids), lengths: std::mem::take(lengths), ..Self::default() };
        }
    }
}

/// How many symbols' room is kept for the next word.
const KEPT: usize = 1 << 16;

/// An entry of the queue for the pair whose left symbol is the `at`-th: its rank above, its place below.
#[inline(always)]
fn entry(table: &MergeTable, left: u32, right: u32, at: u32) -> Option<u64> {
    let rank = table.rank(left, right);
    (rank != NEVER).then_some(u64::from(rank) << u32::BITS | u64::from(at))
}
