//! Byte-level vocabularies: words of raw bytes, without writing each byte as a character first.

use super::Bpe;
use super::alphabet::NONE;
use super::seams::Seams;
use super::word::Scratch;
use crate::part::PartOf;
use crate::tokenizer::byte_alphabet::{byte_of, character_of};
use crate::tokenizer::hash::Seed;
use std::ops::Range;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

/// What the bytes of a word start out as, where the vocabulary has a token for each that UTF-8 is made of.
#[derive(Debug, Clone)]
pub(super) struct ByteBpe {
    /// Neither first nor last in the word.
    inner: [u32; 256],
    first: [u32; 256],
    last: [u32; 256],
    only: [u32; 256],
    /// Whole words that need no merging.
    whole: Option<WholeWords>,
    pub(super) seams: OnceLock<Seams>,
    /// Long words that were met, up to a few.
    pub(super) long_words: Arc<AtomicU32>,
}

impl ByteBpe {
    /// None where some byte that occurs in UTF-8 has no token.
    pub fn new(model: &Bpe) -> Option<Self> {
        let mut text = String::new();
        let mut table = |first, last| {
            let ids: [u32; 256] =
                std::array::from_fn(|byte| model.symbol(character_of(byte as u8), first, last, &mut text));
            let mut bytes = (0..=u8::MAX).zip(ids);
            let missing = bytes.any(|(byte, id)| id == NONE && !matches!(byte, 0xC0 | 0xC1 | 0xF5..));
            (!missing).then_some(ids)
        };
        Some(Self {
            inner: table(false, false)?,
            first: table(true, false)?,
            last: table(false, true)?,
            only: table(true, true)?,
            whole: model.settings().ignore_merges.then(|| WholeWords::new(model)),
            seams: OnceLock::new(),
            long_words: Arc::default(),
        })
    }

    /// The id of a word that is taken whole.
    #[inline]
    pub fn whole(&self, word: &[u8]) -> Option<u32> {
        self.whole.as_ref()?.id(word)
    }

    /// Puts the symbols of a part of a word into `scratch`.
    pub fn symbols(&self, word: &[u8], part: Range<usize>, scratch: &mut Scratch) {
        scratch.clear();
        let (is_first, is_last) = (part.start == 0, part.end == word.len());
        let id = |table: &[u32; 256], byte: &u8| table.get(usize::from(*byte)).copied().unwrap_or(NONE);
        let table = |first: bool, last: bool| match (first && is_first, last && is_last) {
            (false, false) => &self.inner,
            (true, false) => &self.first,
            (false, true) => &self.last,
            (true, true) => &self.only,
        };
        let ids = &mut scratch.ids;
        match word.part(part) {
            [] => {}
            [only] => ids.push(id(table(true, true), only)),
            [first, inner @ .., last] => {
                ids.push(id(table(true, false), first));
                ids.extend(inner.iter().map(|byte| id(&self.inner, byte)));
                ids.push(id(table(false, true), last));
            }
        }
    }
}

/// Tokens by their raw bytes.
#[derive(Debug, Clone)]
struct WholeWords {
    bytes: Vec<u8>,
    entries: Vec<(u32, u32, u32)>,
    /// The hash's high half above, the entry's index + 1 below; 0 where free. At most half full.
    slots: Vec<u64>,
    seed: Seed,
}

impl WholeWords {
    fn new(model: &Bpe) -> Self {
        let vocab = model.vocab();
        let mut words = Self {
            bytes: Vec::new(),
            entries: Vec::with_capacity(vocab.len()),
            slots: vec![0; (vocab.len() * 2).next_power_of_two()],
            seed: Seed::get(),
        };
        for (text, id) in vocab.iter() {
            let start = words.bytes.len();
            let whole =
                text.chars().all(|symbol| byte_of(symbol).map(|byte| words.bytes.push(byte)).is_some());
            if whole && start < words.bytes.len() {
                words.insert(start, id);
            } else {
                words.bytes.truncate(start);
            }
        }
        words
    }

    fn insert(&mut self, start: usize, id: u32) {
        let hash = self.seed.bytes(self.bytes.part(start..));
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots.get(slot).is_some_and(|taken| *taken != 0) {
            slot = (slot + 1) & mask;
        }
        self.entries.push((start as u32, self.bytes.len() as u32, id));
        if let Some(free) = self.slots.get_mut(slot) {
            *free = hash >> 32 << 32 | self.entries.len() as u64;
        }
    }

    fn id(&self, word: &[u8]) -> Option<u32> {
        let hash = self.seed.bytes(word);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let taken = *self.slots.get(slot)?;
            let index = (taken as u32).checked_sub(1)?;
            if taken >> 32 == hash >> 32 {
                let (start, end, id) = *self.entries.get(index as usize)?;
                if self.bytes.get(start as usize..end as usize) == Some(word) {
                    return Some(id);
                }
            }
            slot = (slot + 1) & mask;
        }
    }
}
