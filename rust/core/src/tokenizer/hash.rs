//! A fast seeded hash of short byte strings. The seed is drawn once a process, so collisions can't be prepared.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// The process's two hash keys.
#[derive(Debug, Clone, Copy)]
pub struct Seed {
    low: u64,
    high: u64,
}

impl Seed {
    /// The keys of this process.
    pub fn get() -> Self {
        static SEED: OnceLock<Seed> = OnceLock::new();
        *SEED.get_or_init(|| {
            let draw = |salt: u64| {
                let mut hasher = RandomState::new().build_hasher();
                hasher.write_u64(salt);
                hasher.finish() | 1
            };
            Seed { low: draw(1), high: draw(2) }
        })
    }

    /// Hashes a word packed in 16 bytes.
    #[inline(always)]
    pub fn packed(self, key: u128) -> u64 {
        fold(key as u64 ^ self.low, (key >> 64) as u64 ^ self.high)
    }

    /// Hashes a row of words.
    #[inline]
    pub fn words(self, words: &[u64]) -> u64 {
        words.iter().fold(self.low, |state, word| fold(state ^ word, self.high))
    }

    /// Hashes any bytes.
    #[inline]
    pub fn bytes(self, bytes: &[u8]) -> u64 {
        let mut state = self.low ^ bytes.len() as u64;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            state = fold(state ^ word(chunk), self.high);
        }
        fold(state ^ word(chunks.remainder()), self.high)
    }
}

#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    let mut padded = [0u8; 8];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(padded)
}

#[inline(always)]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}
