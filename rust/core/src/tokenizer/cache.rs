//! A bounded table of what short texts become, shared by threads without a lock.
//!
//! Every slot is a sequence lock made of atomics: a reader that meets a writer sees a miss, a writer that meets
//! another gives up. A text has a few slots to choose from; where all are taken, it takes one of them over.
//! Source: Boehm, "Can seqlocks get along with programming language memory models?" (2012).

use crate::part::PartOf;
use crate::tokenizer::hash::Seed;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Bytes of the longest text that has a place.
pub const LONGEST: usize = 38;

/// Bytes of the longest text in a small slot; such texts come packed.
pub const LONGEST_PACKED: usize = 15;

/// Slots are made this many at a time, when one of them is first written.
const PAGE: usize = 256;

/// The slots a text may be in.
const WAYS: usize = 4;

/// What short texts become.
#[derive(Debug)]
pub struct Cache {
    small: Table<8, 256>,
    large: Table<16, 64>,
    seed: Seed,
}

/// A text to be looked up: its bytes in a row of words, and a number that tells apart what it may become.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    /// At most 15 bytes, then a byte of length (four bits) and kind (four bits).
    Small([u64; 2]),
    /// At most 38 bytes, then the length and the kind.
    Large([u64; 5]),
}

impl Key {
    /// Packs a text; `kind` is below 16. None where it is too long.
    #[inline]
    pub fn new(text: &[u8], kind: u8) -> Option<Self> {
        if text.len() <= LONGEST_PACKED {
            let mut bytes = [0; 16];
            bytes.get_mut(..text.len())?.copy_from_slice(text);
            return Some(Self::packed(u128::from_le_bytes(bytes), text.len(), kind));
        }
        if text.len() > LONGEST {
            return None;
        }
        let mut bytes = [0; 40];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let mut words = [0; 5];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().ok()?);
        }
        *words.last_mut()? |= (text.len() as u64) << 48 | u64::from(kind) << 56;
        Some(Self::Large(words))
    }

    /// Of `length` bytes, at most 15, with zeros behind them.
    #[inline(always)]
    pub fn packed(bytes: u128, length: usize, kind: u8) -> Self {
        let all = bytes | ((length as u128) << 120) | (u128::from(kind) << 124);
        Self::Small([all as u64, (all >> 64) as u64])
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { small: Table::new(), large: Table::new(), seed: Seed::get() }
    }
}

impl Cache {
    /// Appends the ids of a text. False: it is not here.
    #[inline]
    pub fn get(&self, key: &Key, ids: &mut Vec<u32>) -> bool {
        match key {
            Key::Small(words) => self.small.get(self.small_hash(words), words, ids),
            Key::Large(words) => self.large.get(self.large_hash(words), words, ids),
        }
    }

    /// Keeps the ids of a text, if there is room for so many.
    pub fn put(&self, key: &Key, ids: &[u32]) {
        match key {
            Key::Small(words) => self.small.put(self.small_hash(words), words, ids),
            Key::Large(words) => self.large.put(self.large_hash(words), words, ids),
        }
    }

    #[inline(always)]
    fn small_hash(&self, words: &[u64; 2]) -> u64 {
        self.seed.packed(u128::from(words[0]) | u128::from(words[1]) << 64)
    }

    #[inline]
    fn large_hash(&self, words: &[u64; 5]) -> u64 {
        self.seed.words(words)
    }
}

/// `SLOTS` pages of slots of `WORDS` words.
#[derive(Debug)]
struct Table<const WORDS: usize, const PAGES: usize> {
    pages: [OnceLock<Box<[Slot<WORDS>]>>; PAGES],
}

impl<const WORDS: usize, const PAGES: usize> Table<WORDS, PAGES> {
    fn new() -> Self {
        Self { pages: [const { OnceLock::new() }; PAGES] }
    }

    /// The slots of a hash, all of one page.
    #[inline(always)]
    fn set(page: &[Slot<WORDS>], hash: u64) -> &[Slot<WORDS>] {
        let first = (hash >> 32) as usize % (PAGE / WAYS) * WAYS;
        page.part(first..first + WAYS)
    }

    #[inline(always)]
    fn get(&self, hash: u64, key: &[u64], ids: &mut Vec<u32>) -> bool {
        let page = self.pages.get(hash as usize % PAGES).and_then(OnceLock::get);
        page.is_some_and(|page| Self::set(page, hash).iter().any(|slot| slot.read(key, ids)))
    }

    #[cold]
    fn put(&self, hash: u64, key: &[u64], ids: &[u32]) {
        if ids.len() > Slot::<WORDS>::capacity(key.len()) {
            return;
        }
        let page = self.pages.get(hash as usize % PAGES);
        let page = page.map(|page| page.get_or_init(|| (0..PAGE).map(|_| Slot::new()).collect()));
        let set = page.map(|page| Self::set(page, hash)).unwrap_or_default();
        let free = set.iter().find(|slot| slot.is_free());
        if let Some(slot) = free.or_else(|| set.get((hash >> 48) as usize % WAYS)) {
            slot.write(key, ids);
        }
    }
}

/// A version (odd while it is written, 0 before the first time), a key, then a count and ids, two a word.
#[derive(Debug)]
#[repr(align(64))]
struct Slot<const WORDS: usize> {
    words: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Slot<WORDS> {
    fn new() -> Self {
        Self { words: [const { AtomicU64::new(0) }; WORDS] }
    }

    fn is_free(&self) -> bool {
        self.words.first().is_some_and(|version| version.load(Ordering::Relaxed) == 0)
    }

    /// How many ids fit beside a key.
    fn capacity(key: usize) -> usize {
        (WORDS - 1 - key) * 2 - 1
    }

    #[inline(always)]
    fn read(&self, key: &[u64], ids: &mut Vec<u32>) -> bool {
        let Some((version, rest)) = self.words.split_first() else {
            return false;
        };
        let before = version.load(Ordering::Acquire);
        if before == 0 || before & 1 == 1 {
            return false;
        }
        let Some((mine, values)) = rest.split_at_checked(key.len()) else {
            return false;
        };
        if mine.iter().zip(key).any(|(word, wanted)| word.load(Ordering::Relaxed) != *wanted) {
            return false;
        }
        let length = ids.len();
        let mut values = values.iter().map(|word| word.load(Ordering::Relaxed));
        let first = values.next().unwrap_or_default();
        let count = first as u32 as usize;
        if count > 0 {
            ids.push((first >> 32) as u32);
        }
        for pair in values.take(count / 2) {
            ids.extend_from_slice(&[pair as u32, (pair >> 32) as u32]);
        }
        // An even count leaves half a word over.
        ids.truncate(length + count);
        fence(Ordering::Acquire);
        if version.load(Ordering::Relaxed) != before {
            ids.truncate(length);
            return false;
        }
        true
    }

    fn write(&self, key: &[u64], ids: &[u32]) {
        let Some((version, rest)) = self.words.split_first() else {
            return;
        };
        let before = version.load(Ordering::Relaxed);
        let odd = before.wrapping_add(1);
        if before & 1 == 1
            || version.compare_exchange(before, odd, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return;
        }
        fence(Ordering::Release);
        let mut ids = ids.iter().copied();
        let count = ids.len() as u64;
        let first = count | u64::from(ids.next().unwrap_or_default()) << 32;
        let pairs = std::iter::from_fn(|| {
            let low = ids.next()?;
            Some(u64::from(low) | u64::from(ids.next().unwrap_or_default()) << 32)
        });
        let words = key.iter().copied().chain(std::iter::once(first)).chain(pairs);
        for (place, word) in rest.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        version.store(odd.wrapping_add(1).max(2), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &Cache, text: &str, kind: u8) -> Option<Vec<u32>> {
        let mut ids = vec![7];
        let found = Key::new(text.as_bytes(), kind).is_some_and(|key| cache.get(&key, &mut ids));
        assert_eq!(ids.first(), Some(&7));
        found.then(|| ids.split_off(1))
    }

    fn put(cache: &Cache, text: &str, kind: u8, ids: &[u32]) {
        if let Some(key) = Key::new(text.as_bytes(), kind) {
            cache.put(&key, ids);
        }
    }

    #[test]
    fn gives_back_what_was_put() {
        let cache = Cache::default();
        for length in 0..=LONGEST {
            let text = "x".repeat(length);
            for count in 0..9 {
                let ids: Vec<u32> = (0..count).map(|id| id * 3 + length as u32).collect();
                assert_eq!(get(&cache, &text, count as u8 + 1), None);
                put(&cache, &text, count as u8 + 1, &ids);
                assert_eq!(get(&cache, &text, count as u8 + 1), Some(ids));
            }
        }
        assert!(Key::new("x".repeat(LONGEST + 1).as_bytes(), 0).is_none());
        assert!(Key::new("x".repeat(10_000).as_bytes(), 0).is_none());
    }

    #[test]
    fn a_text_is_not_its_start_with_zeros() {
        let cache = Cache::default();
        put(&cache, "a", 0, &[1]);
        put(&cache, "a\0", 0, &[2]);
        assert_eq!((get(&cache, "a", 0), get(&cache, "a\0", 0)), (Some(vec![1]), Some(vec![2])));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let cache = Cache::default();
        put(&cache, "many", 0, &[1; 10]);
        assert_eq!(get(&cache, "many", 0), None);
        put(&cache, "a text of more than fifteen bytes", 0, &[1; 19]);
        assert_eq!(get(&cache, "a text of more than fifteen bytes", 0), Some(vec![1; 19]));
        put(&cache, "a text of more than fifteen bytes!", 0, &[1; 20]);
        assert_eq!(get(&cache, "a text of more than fifteen bytes!", 0), None);
    }

    #[test]
    fn threads_never_see_a_mixture() {
        let cache = Cache::default();
        let words: Vec<String> = (0..40_000).map(|index| format!("{index} and more than fifteen")).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (cache, words) = (&cache, &words);
                scope.spawn(move || {
                    for (index, word) in words.iter().enumerate().skip(thread).cycle().take(120_000) {
                        let ids: Vec<u32> = (0..index % 18).map(|id| (index + id) as u32).collect();
                        match get(cache, word, 0) {
                            Some(found) => assert_eq!(found, ids),
                            None => put(cache, word, 0, &ids),
                        }
                    }
                });
            }
        });
    }
}
