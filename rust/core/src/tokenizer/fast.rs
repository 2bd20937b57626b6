//! The short way from text to ids for BERT's components: bytes in, ids out, nothing kept of places or words.
//!
//! It must equal the plain way in ids (tests/tokenizer_fast.rs); where a text needs more than it knows, it says so
//! and the plain way is taken.

use super::characters::{ALONE, COMPLEX, Characters, DROP, LONG, SPACE, WORD};
use super::hash::Seed;
use super::model::{Model, WordPiece};
use super::normalizer::Normalizer;
use super::plain::Scope;
use super::pre_tokenizer::PreTokenizer;
use super::segments::{Segment, Segments};
use super::{Sequence, Tokenizer};
use crate::Result;

/// A word of up to 15 bytes with its length in the last byte.
type Packed = u128;

/// Bytes of the longest word that is packed.
const LONGEST: usize = 15;

/// Whole words by their bytes, and what each character becomes.
#[derive(Debug)]
pub(super) struct WordTable {
    /// Open addressing, at most half full. `id` is [`FREE`] where nothing is.
    slots: Vec<Slot>,
    seed: Seed,
    characters: Characters,
    /// What lowercases an ASCII letter: 0x20, or 0 where case is kept.
    fold: u8,
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
        if tokenizer.pre_tokenizer != Some(PreTokenizer::Bert) {
            return None;
        }
        let normalizer = tokenizer.normalizer;
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
        let fold = if normalizer.is_some_and(|Normalizer::Bert(bert)| bert.lowercase) { 0x20 } else { 0 };
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
    for (to, from) in window.iter_mut().zip(text.get(at..).unwrap_or_default()) {
        *to = *from;
    }
    window
}

/// The letters lowercased by `fold`, and how many letters and digits the window starts with.
#[inline(always)]
fn letters(window: [u8; 16], fold: u8) -> (u128, usize) {
    let mut lower = [0; 16];
    let mut other = [0; 16];
    for ((byte, lower), other) in window.into_iter().zip(&mut lower).zip(&mut other) {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'0') < 10;
        *lower = byte | if letter { fold } else { 0 };
        *other = if letter | digit { 0u8 } else { 0xFF };
    }
    (u128::from_le_bytes(lower), u128::from_le_bytes(other).trailing_zeros() as usize / 8)
}

/// The state of one text on its way.
struct Walk<'a> {
    table: &'a WordTable,
    model: &'a WordPiece,
    text: &'a str,
    ids: &'a mut Vec<u32>,
    /// A word or character that is unknown, where there is no unknown token.
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

    #[inline]
    fn packed(&mut self, key: Packed, length: usize) {
        match self.table.find(key) {
            Some(id) => self.ids.push(id),
            None => {
                let bytes = key.to_le_bytes();
                self.split(bytes.get(..length).unwrap_or_default());
            }
        }
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
                let whole = length > 0
                    && length <= LONGEST
                    && bytes.get(at + length).is_none_or(|next| {
                        *next < 0x80 && matches!(self.table.characters.ascii(*next) as u8, SPACE | ALONE)
                    });
                if whole {
                    let key = lower & ((1 << (length * 8)) - 1) | (length as u128) << 120;
                    self.packed(key, length);
                    at += length;
                } else {
                    at = self.word(at, buffer)?;
                }
            }
            if self.ids.len() >= limit {
                break;
            }
        }
        Ok(())
    }

    #[inline]
    fn alone(&mut self, entry: u64) {
        match (entry >> 32) as u32 {
            FREE => self.unknown = true,
            id => self.ids.push(id),
        }
    }

    /// One word of any characters, or what stands between words, from `at`; returns where it ends.
    fn word(&mut self, mut at: usize, buffer: &mut Vec<u8>) -> std::result::Result<usize, Complex> {
        buffer.clear();
        for c in self.text.get(at..).unwrap_or_default().chars() {
            let entry = self.table.characters.get(c, self.model);
            match entry as u8 {
                WORD => {
                    let length = (entry >> 8) as u8 as usize;
                    buffer.extend_from_slice(
                        ((entry >> 32) as u32).to_le_bytes().get(..length).unwrap_or_default(),
                    );
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
            length @ 1..=LONGEST => self.packed(pack(buffer), length),
            _ => self.split(buffer),
        }
        Ok(at)
    }
}

impl Tokenizer {
    /// Whether ids can be had the short way.
    pub(super) fn has_short_way(&self) -> bool {
        self.table.is_some() && self.added.normalized().is_none()
    }

    /// Appends the ids of a sequence, before truncation and post-processing.
    pub(super) fn sequence_ids(
        &self,
        sequence: &Sequence<'_>,
        scope: Scope,
        ids: &mut Vec<u32>,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let (Some(table), Model::WordPiece(model), true) = (&self.table, &*self.model, self.has_short_way())
        else {
            ids.extend_from_slice(&self.encode_sequence(sequence, scope)?.ids);
            return Ok(());
        };
        match sequence {
            Sequence::Text(text) => self.text_ids(table, model, text, scope, ids, buffer),
            Sequence::Words(words) => {
                let before = ids.len();
                for word in *words {
                    if scope.reached(ids.len() - before) {
                        break;
                    }
                    self.text_ids(table, model, word, scope, ids, buffer)?;
                }
                Ok(())
            }
        }
    }

    fn text_ids(
        &self,
        table: &WordTable,
        model: &WordPiece,
        text: &str,
        scope: Scope,
        ids: &mut Vec<u32>,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let before = ids.len();
        let limit = scope.limit.map_or(usize::MAX, |limit| before.saturating_add(limit));
        let lazy = scope.limit.is_some();
        for segment in Segments::new(&self.added, self.added.raw(), text, scope.split_special, lazy) {
            match segment {
                Segment::Token(id, _) => ids.push(id),
                Segment::Text(range) => {
                    let piece = text.get(range).unwrap_or_default();
                    let start = ids.len();
                    let mut walk = Walk { table, model, text: piece, ids, unknown: false };
                    let complex = walk.run(limit, buffer).is_err();
                    if walk.unknown && !complex {
                        return Err(self.model.missing_unknown());
                    }
                    if complex {
                        ids.truncate(start);
                        self.piece_ids(piece, ids)?;
                    }
                }
            }
            if ids.len() >= limit {
                break;
            }
        }
        Ok(())
    }
}
