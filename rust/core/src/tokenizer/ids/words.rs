//! The short way from text to ids for BERT's components: bytes in, ids out, nothing kept of places or words.
//!
//! It must equal the plain way in ids (tests/tokenizer_fast.rs); where a text needs more than it knows, it says so
//! and the plain way is taken.

use super::characters::{ALONE, COMPLEX, Characters, DROP, LONG, SPACE, WORD};
use crate::part::PartOf;
use crate::tokenizer::Tokenizer;
use crate::tokenizer::hash::Seed;
use crate::tokenizer::model::{Model, WordPiece};
use crate::tokenizer::normalizer::Normalizer;
use crate::tokenizer::pre_tokenizer::PreTokenizer;

/// A word of up to 15 bytes with its length in the last byte.
type Packed = u128;

/// Bytes of the longest word that is packed.
const LONGEST: usize = 15;

/// Whole words by their bytes, and what each character becomes.
#[derive(Debug)]
pub struct WordTable {
    /// Open addressing, at most half full. `id` is [`FREE`] where nothing is.
    slots: Vec<Slot>,
    seed: Seed,
    characters: Characters,
    /// What lowercases eight ASCII letters: 0x20 in each byte, or 0 where case is kept.
    fold: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    low: u64,
    high: u64,
    id: u32,
}

const FREE: u32 = u32::MAX;

/// The text has a character whose treatment depends on its neighbours.
struct Complex;

impl WordTable {
    /// Builds the table where the tokenizer's components are BERT's.
    pub fn new(tokenizer: &Tokenizer) -> Option<Self> {
        let Model::WordPiece(model) = &*tokenizer.model else {
            return None;
        };
        let (Some(PreTokenizer::Bert), normalizer) = (&tokenizer.pre_tokenizer, &tokenizer.normalizer) else {
            return None;
        };
        let normalizer = match normalizer.as_ref().map(Normalizer::as_bert) {
            Some(None) => return None,
            Some(Some(bert)) => Some(*bert),
            None => None,
        };
        let seed = Seed::get();
        let words = || {
            model
                .vocab()
                .iter()
                .filter(|(text, _)| text.len() <= LONGEST && !model.is_too_long(text.as_bytes()))
        };
        let mut slots =
            vec![Slot { low: 0, high: 0, id: FREE }; (words().count() * 2 + 1).next_power_of_two()];
        let mask = slots.len() - 1;
        for (text, id) in words() {
            let key = pack(text.as_bytes());
            let mut at = seed.packed(key) as usize & mask;
            while slots.get(at).is_some_and(|slot| slot.id != FREE) {
                at = (at + 1) & mask;
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = Slot { low: key as u64, high: (key >> 64) as u64, id };
            }
        }
        let fold = if normalizer.is_some_and(|bert| bert.lowercase) { u64::MAX / 0xFF * 0x20 } else { 0 };
        Some(Self { slots, seed, characters: Characters::new(normalizer, model), fold })
    }

    /// The id of a whole word.
    #[inline(always)]
    fn find(&self, key: Packed) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.seed.packed(key) as usize & mask;
        loop {
            let slot = self.slots.get(at)?;
            if slot.low == key as u64 && slot.high == (key >> 64) as u64 {
                return (slot.id != FREE).then_some(slot.id);
            }
            if slot.id == FREE {
                return None;
            }
            at = (at + 1) & mask;
        }
    }
}

fn pack(word: &[u8]) -> Packed {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(word) {
        *to = *from;
    }
    u128::from_le_bytes(bytes) | (word.len() as u128) << 120
}

/// Up to 16 bytes of `text` from `at`, zeros after its end.
#[inline(always)]
fn window(text: &[u8], at: usize) -> [u8; 16] {
    if let Some(window) = text.get(at..at + 16).and_then(|bytes| bytes.try_into().ok()) {
        return window;
    }
    let mut window = [0; 16];
    for (to, from) in window.iter_mut().zip(text.part(at..)) {
        *to = *from;
    }
    window
}

/// In each byte: the high bit of those that are letters and of those that are letters or digits, all ASCII.
#[inline(always)]
fn classes(bytes: u64) -> (u64, u64) {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = ONES * 0x80;
    // Adding to seven bits carries into the eighth from a bound on.
    let from = |value: u64, bound: u8| value + ONES * (0x80 - u64::from(bound));
    let within = |value: u64, first: u8, last: u8| from(value, first) & !from(value, last + 1);
    let seven = bytes & !HIGH;
    let letter = within(seven | (ONES * 0x20), b'a', b'z') & !bytes & HIGH;
    let digit = within(seven, b'0', b'9') & !bytes & HIGH;
    (letter, letter | digit)
}

/// The letters lowercased by `fold`, and how many letters and digits the window starts with.
#[inline(always)]
fn letters(window: [u8; 16], fold: u64) -> (u128, usize) {
    const HIGH: u128 = u128::MAX / 0xFF * 0x80;
    let window = u128::from_le_bytes(window);
    let (low, high) = (window as u64, (window >> 64) as u64);
    let (low_letters, low_words) = classes(low);
    let (high_letters, high_words) = classes(high);
    let lower = |bytes: u64, letters: u64| u128::from(bytes | (letters >> 2 & fold));
    let other = HIGH ^ (u128::from(low_words) | u128::from(high_words) << 64);
    (lower(low, low_letters) | lower(high, high_letters) << 64, other.trailing_zeros() as usize / 8)
}

/// How many words are collected before they are looked up: then the waits for memory overlap.
const BLOCK: usize = 32;

/// The length byte of a [`Packed`] that is an id already.
const IS_ID: u8 = 0xFF;

/// The state of one text on its way.
struct Walk<'a> {
    table: &'a WordTable,
    model: &'a WordPiece,
    text: &'a str,
    ids: &'a mut Vec<u32>,
    /// Words and ids that come after `ids`, still to be looked up.
    pending: [Packed; BLOCK],
    count: usize,
    /// A word or character is unknown, and there is no unknown token.
    unknown: bool,
}

impl Walk<'_> {
    fn unknown(&mut self) {
        match self.model.unk_id() {
            Some(id) => self.ids.push(id),
            None => self.unknown = true,
        }
    }

    /// Appends the tokens of a word that is no token itself, or too long to be packed.
    fn split(&mut self, word: &[u8]) {
        let before = self.ids.len();
        let ids = &mut *self.ids;
        if !self.model.tokenize(word, |id, _| ids.push(id)) {
            self.ids.truncate(before);
            self.unknown();
        }
    }

    #[inline(always)]
    fn push(&mut self, packed: Packed) {
        if self.count == BLOCK {
            self.flush();
        }
        if let Some(place) = self.pending.get_mut(self.count) {
            *place = packed;
            self.count += 1;
        }
    }

    /// Looks up what is pending.
    fn flush(&mut self) {
        let pending = self.pending;
        for packed in pending.into_iter().take(self.count) {
            let length = (packed >> 120) as u8;
            if length == IS_ID {
                self.ids.push(packed as u32);
                continue;
            }
            match self.table.find(packed) {
                Some(id) => self.ids.push(id),
                None => self.split(packed.to_le_bytes().part(..usize::from(length))),
            }
        }
        self.count = 0;
    }

    /// Walks through the text until at least `limit` ids are there.
    fn run(&mut self, limit: usize, buffer: &mut Vec<u8>) -> std::result::Result<(), Complex> {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(first) = bytes.get(at).copied() {
            let (lower, length) = letters(window(bytes, at), self.table.fold);
            if length == 0 && first < 0x80 {
                let entry = self.table.characters.ascii(first);
                match entry as u8 {
                    SPACE | DROP => at += 1,
                    ALONE => {
                        self.alone(entry);
                        at += 1;
                    }
                    _ => at = self.word(at, buffer)?,
                }
            } else {
                // What follows the word: the end of the text is as good as a space.
                let next = bytes.get(at + length).copied().unwrap_or(b' ');
                let kind = if next < 0x80 { self.table.characters.ascii(next) as u8 } else { WORD };
                if (1..=LONGEST).contains(&length) && matches!(kind, SPACE | ALONE) {
                    self.push(lower & ((1 << (length * 8)) - 1) | (length as u128) << 120);
                    at += length + usize::from(kind == SPACE);
                } else {
                    at = self.word(at, buffer)?;
                }
            }
            // Each that is pending becomes at least one id.
            if self.ids.len() + self.count >= limit {
                break;
            }
        }
        self.flush();
        Ok(())
    }

    #[inline(always)]
    fn alone(&mut self, entry: u64) {
        match (entry >> 32) as u32 {
            FREE => self.unknown = true,
            id => self.push(u128::from(IS_ID) << 120 | u128::from(id)),
        }
    }

    /// One word of any characters, or what stands between words, from `at`; returns where it ends.
    fn word(&mut self, mut at: usize, buffer: &mut Vec<u8>) -> std::result::Result<usize, Complex> {
        buffer.clear();
        for c in self.text.part(at..).chars() {
            let entry = self.table.characters.get(c, self.model);
            match entry as u8 {
                WORD => {
                    let length = (entry >> 8) as u8 as usize;
                    buffer.extend_from_slice(((entry >> 32) as u32).to_le_bytes().part(..length));
                }
                DROP => {}
                LONG => buffer.extend_from_slice(self.table.characters.long(c, entry)),
                COMPLEX => return Err(Complex),
                kind => {
                    if buffer.is_empty() {
                        if kind == ALONE {
                            self.alone(entry);
                        }
                        return Ok(at + c.len_utf8());
                    }
                    break;
                }
            }
            at += c.len_utf8();
        }
        match buffer.len() {
            0 => {}
            1..=LONGEST => self.push(pack(buffer)),
            _ => {
                self.flush();
                self.split(buffer);
            }
        }
        Ok(at)
    }
}

impl WordTable {
    /// Appends the ids of a piece until at least `limit` are there. False: the text has a character whose treatment
    /// depends on its neighbours, or an unknown word where there is no unknown token; what was appended does not count.
    pub fn piece(
        &self,
        model: &WordPiece,
        piece: &str,
        limit: usize,
        ids: &mut Vec<u32>,
        buffer: &mut Vec<u8>,
    ) -> bool {
        let mut walk =
            Walk { table: self, model, text: piece, ids, pending: [0; BLOCK], count: 0, unknown: false };
        walk.run(limit, buffer).is_ok() && !walk.unknown
    }
}
