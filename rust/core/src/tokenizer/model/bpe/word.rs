//! Merging the symbols of one word: always the pair of the lowest rank, of several equal pairs the leftmost.

use super::table::{MergeTable, NEVER};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Up to this many symbols the lowest rank is looked for by going through all of them.
const SHORT: usize = 128;
/// From this many symbols on, and one for so many merges, a list of places for each rank is worth having.
const LONG: usize = 1 << 12;
const MERGES: usize = 8;
/// How many symbols' room is kept for the next word.
const KEPT: usize = 1 << 16;
/// In place of the id of a symbol that was merged into the one before it.
const GONE: u32 = u32::MAX;

/// The symbols of a word and what merging them needs, used again from word to word.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Ids from left to right.
    pub(super) ids: Vec<u32>,
    /// How many bytes each stands for; left empty where that is not of interest.
    pub(super) lengths: Vec<u32>,
    /// A character with its prefix and suffix.
    pub(super) text: String,
    /// The rank of each symbol with the next.
    ranks: Vec<u32>,
    /// How many symbols a merged one is made of, at the places of the first and the last of them.
    spans: Vec<u32>,
    queue: BinaryHeap<Reverse<u64>>,
}

impl Scratch {
    /// Takes an empty word.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.lengths.clear();
    }

    /// Merges until no pair of neighbours is left that merges.
    pub(super) fn merge(&mut self, table: &MergeTable) {
        if self.ids.len() <= SHORT && table.is_distinct() {
            if self.lengths.is_empty() {
                self.merge_short::<false>(table);
            } else {
                self.merge_short::<true>(table);
            }
            return;
        }
        self.spans.clear();
        self.spans.resize(self.ids.len(), 1);
        if self.ids.len() >= LONG.max(table.merges().len() / MERGES) {
            self.merge_by_rank(table);
        } else {
            self.merge_by_queue(table);
        }
        self.collect();
        // What an exceptionally long word took is given back.
        if self.spans.capacity() > KEPT {
            let (ids, lengths) = (std::mem::take(&mut self.ids), std::mem::take(&mut self.lengths));
            *self = Self { ids, lengths, ..Self::default() };
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
                    *left = left.saturating_add(right);
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

    /// By a list of places for each rank, in linear time but for pairs that come up with a rank already done: those
    /// queue up and go first.
    fn merge_by_rank(&mut self, table: &MergeTable) {
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); table.merges().len()];
        let pairs = (0u32..).zip(self.ids.iter().zip(self.ids.iter().skip(1)));
        for (at, (left, right)) in pairs {
            if let Some(list) = places.get_mut(table.rank(*left, *right) as usize) {
                list.push(at);
            }
        }
        let mut queue = std::mem::take(&mut self.queue);
        for current in 0..places.len() {
            let mut list = places.get_mut(current).map(std::mem::take).unwrap_or_default();
            // It is made of ascending runs, one for each lower rank that led here.
            list.sort();
            let current = current as u32;
            let mut list = list.into_iter().map(|at| entry(current, at)).peekable();
            loop {
                let urgent = queue.peek().is_some_and(|top| list.peek().is_none_or(|next| top.0 < *next));
                let next = if urgent { queue.pop().map(|top| top.0) } else { list.next() };
                let Some(next) = next else { break };
                self.merge_at(table, next, |rank, at| {
                    if rank <= current {
                        queue.push(Reverse(entry(rank, at)));
                    } else if let Some(list) = places.get_mut(rank as usize) {
                        list.push(at);
                    }
                });
            }
        }
        self.queue = queue;
    }

    /// By a queue of pairs, in O(n log n).
    fn merge_by_queue(&mut self, table: &MergeTable) {
        let mut entries = std::mem::take(&mut self.queue).into_vec();
        entries.clear();
        let pairs = (0u32..).zip(self.ids.iter().zip(self.ids.iter().skip(1)));
        let ranks = pairs.map(|(at, (left, right))| (table.rank(*left, *right), at));
        entries.extend(ranks.filter(|(rank, _)| *rank != NEVER).map(|(rank, at)| Reverse(entry(rank, at))));
        let mut queue = BinaryHeap::from(entries);
        while let Some(Reverse(top)) = queue.pop() {
            self.merge_at(table, top, |rank, at| {
                if rank != NEVER {
                    queue.push(Reverse(entry(rank, at)));
                }
            });
        }
        self.queue = queue;
    }

    /// Merges the pair of an entry, if it still has that rank, and says which ranks its neighbours then have.
    ///
    /// A pair that has changed meanwhile still counts where it has the same result: it is merged at the old rank.
    #[inline(always)]
    fn merge_at(&mut self, table: &MergeTable, entry: u64, mut changed: impl FnMut(u32, u32)) {
        let Self { ids, spans, .. } = self;
        let (rank, at) = ((entry >> u32::BITS) as u32, entry as u32 as usize);
        let (Some(left), Some(span)) = (ids.get(at).copied(), spans.get(at).copied()) else { return };
        let middle = at + span as usize;
        let (Some(right), Some(more)) = (ids.get(middle).copied(), spans.get(middle).copied()) else {
            return;
        };
        if left == GONE {
            return;
        }
        let id = table.result(rank);
        let now = table.rank(left, right);
        if now != rank && (now == NEVER || table.result(now) != id) {
            return;
        }
        let end = middle + more as usize;
        for (place, value) in [(at, id), (middle, GONE)] {
            if let Some(changed) = ids.get_mut(place) {
                *changed = value;
            }
        }
        for place in [at, end - 1] {
            if let Some(changed) = spans.get_mut(place) {
                *changed = span + more;
            }
        }
        if let Some(next) = ids.get(end) {
            changed(table.rank(id, *next), at as u32);
        }
        if let Some(before) = at.checked_sub(1).and_then(|last| Some(at - *spans.get(last)? as usize))
            && let Some(previous) = ids.get(before)
        {
            changed(table.rank(*previous, id), before as u32);
        }
    }

    /// Leaves only the symbols that are still there.
    fn collect(&mut self) {
        let Self { ids, lengths, spans, .. } = self;
        let (mut from, mut to) = (0, 0);
        while let (Some(id), Some(span)) = (ids.get(from).copied(), spans.get(from).copied()) {
            let after = from + span as usize;
            let length = lengths
                .get(from..after)
                .unwrap_or_default()
                .iter()
                .fold(0u32, |sum, length| sum.saturating_add(*length));
            if let Some(place) = ids.get_mut(to) {
                *place = id;
            }
            if let Some(place) = lengths.get_mut(to) {
                *place = length;
            }
            (from, to) = (after, to + 1);
        }
        ids.truncate(to);
        lengths.truncate(to);
    }
}

/// A pair waiting to be merged: its rank above, its place below.
#[inline(always)]
fn entry(rank: u32, at: u32) -> u64 {
    u64::from(rank) << u32::BITS | u64::from(at)
}
