//! Which two neighbours become one, and in which order: a pair of ids to its rank, a rank to the id of the result.

use crate::tokenizer::hash::Seed;

/// Marks a free slot; no pair of ids has all bits set, as no id is `u32::MAX`.
const FREE: u64 = u64::MAX;
/// The rank of a pair that is not merged.
pub(super) const NEVER: u32 = u32::MAX;

/// Merges by pair, in an open-addressing table that is at most half full.
#[derive(Debug, Clone)]
pub(super) struct MergeTable {
    /// The pair above, the rank in the low `rank_bits`.
    slots: Vec<u64>,
    /// Ranks by slot, where ids are too large to share 64 bits with them; then `rank_bits` is 0.
    ranks: Vec<u32>,
    id_bits: u32,
    rank_bits: u32,
    seed: Seed,
    /// By rank.
    merges: Vec<Merge>,
    distinct: bool,
}

/// A pair and what it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merge {
    /// Id of the left part.
    pub left: u32,
    /// Id of the right part.
    pub right: u32,
    /// Id of the result.
    pub result: u32,
}

impl MergeTable {
    /// Builds from fewer than 2^32 - 1 merges by ascending rank. Of a repeated pair the last counts. `distinct`: see
    /// [`Self::is_distinct`].
    pub fn new(merges: Vec<Merge>, distinct: bool) -> Self {
        let bits = |largest: u32| 32 - largest.leading_zeros();
        let largest = merges.iter().map(|merge| merge.left.max(merge.right)).max().unwrap_or(0);
        let (id_bits, rank_bits) = (bits(largest), bits(merges.len() as u32));
        let packed = 2 * id_bits + rank_bits <= u64::BITS;
        let size = (merges.len() * 2).next_power_of_two();
        let mut table = Self {
            slots: vec![FREE; size],
            ranks: if packed { Vec::new() } else { vec![NEVER; size] },
            id_bits: if packed { id_bits } else { u32::BITS },
            rank_bits: if packed { rank_bits } else { 0 },
            seed: Seed::get(),
            distinct,
            merges,
        };
        for rank in 0..table.merges.len() {
            table.insert(rank as u32);
        }
        table
    }

    #[inline(always)]
    fn key(&self, left: u32, right: u32) -> u64 {
        u64::from(left) << self.id_bits | u64::from(right)
    }

    #[inline(always)]
    fn hash(&self, key: u64) -> usize {
        self.seed.packed(u128::from(key)) as usize
    }

    fn insert(&mut self, rank: u32) {
        let Some(merge) = self.merges.get(rank as usize) else { return };
        let key = self.key(merge.left, merge.right);
        let mask = self.slots.len() - 1;
        let mut slot = self.hash(key) & mask;
        while self.slots.get(slot).is_some_and(|taken| *taken != FREE && taken >> self.rank_bits != key) {
            slot = (slot + 1) & mask;
        }
        if let Some(free) = self.slots.get_mut(slot) {
            *free = key << self.rank_bits | if self.rank_bits > 0 { u64::from(rank) } else { 0 };
        }
        if let Some(wide) = self.ranks.get_mut(slot) {
            *wide = rank;
        }
    }

    /// The rank of a pair of neighbours, or [`NEVER`].
    #[inline(always)]
    pub fn rank(&self, left: u32, right: u32) -> u32 {
        if (left | right).checked_shr(self.id_bits).unwrap_or(0) != 0 {
            return NEVER;
        }
        let key = self.key(left, right);
        let mask = self.slots.len() - 1;
        let mut slot = self.hash(key) & mask;
        while let Some(&taken) = self.slots.get(slot) {
            if taken == FREE {
                break;
            }
            if taken >> self.rank_bits == key {
                return match self.ranks.get(slot) {
                    Some(rank) => *rank,
                    None => (taken & ((1 << self.rank_bits) - 1)) as u32,
                };
            }
            slot = (slot + 1) & mask;
        }
        NEVER
    }

    /// The id that the pair of a rank becomes.
    #[inline(always)]
    pub fn result(&self, rank: u32) -> u32 {
        self.merges.get(rank as usize).map_or(0, |merge| merge.result)
    }

    /// Whether the pair at a place never changes into one that has the same result.
    pub fn is_distinct(&self) -> bool {
        self.distinct
    }

    /// All merges by ascending rank, repeated pairs included.
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }
}
