//! The way to ids by way of parts: a text is cut where that changes nothing, and what a part becomes is remembered.

use super::bytes::ByteWords;
use super::cut::Cut;
use super::merges::Merges;
use crate::Result;
use crate::part::PartOf;
use crate::tokenizer::Tokenizer;
use crate::tokenizer::cache::{Cache, Key, LONGEST_PACKED};
use crate::tokenizer::model::{Model, Scratch};
use crate::tokenizer::normalizer::FreeCharacters;
use crate::tokenizer::plain::{Part, Scope};
use crate::tokenizer::pre_tokenizer::PreTokenizer;
use crate::tokenizer::text::{Edges, Words};
use std::borrow::Cow;

/// How a tokenizer's texts are cut, and what their parts became.
#[derive(Debug)]
pub struct Chunks {
    cut: Cut,
    cache: Cache,
    bytes: Option<ByteWords>,
    free: Option<FreeCharacters>,
    /// The start of the input is pre-tokenized in its own way.
    sees_start: bool,
}

/// A piece and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'t> {
    /// Its text.
    pub text: &'t str,
    /// No part of the text between added tokens was before it.
    pub starts: bool,
    /// It starts the whole input.
    pub first: bool,
}

/// In the kind of a [`Key`]: the part starts a piece.
const STARTS: u8 = 1;
/// In the kind of a [`Key`]: the part starts the input.
const FIRST: u8 = 2;
/// In the kind of a [`Key`]: the part ends a piece.
const ENDS: u8 = 4;

impl Chunks {
    /// None where texts can't be cut.
    pub fn new(tokenizer: &Tokenizer) -> Option<Self> {
        Some(Self {
            cut: Cut::new(tokenizer)?,
            cache: Cache::default(),
            bytes: ByteWords::new(tokenizer),
            free: tokenizer.normalizer.as_ref().and_then(FreeCharacters::new),
            sees_start: tokenizer.pre_tokenizer.as_ref().is_some_and(PreTokenizer::sees_start),
        })
    }

    /// Whether the start of a text can be worked through without knowing its end.
    pub fn is_lazy(&self) -> bool {
        !self.cut.end_matters
    }

    /// Appends the ids of a piece until at least `limit` are there. False: it must be treated as a whole.
    pub fn piece(
        &self,
        tokenizer: &Tokenizer,
        piece: Piece<'_>,
        scope: Scope,
        limit: usize,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<bool> {
        let bytes = piece.text.as_bytes();
        let mut at = 0;
        while at < bytes.len() && ids.len() < limit {
            let (end, packed) = part(piece.text, at);
            let edges = Edges { start: at == 0 && piece.starts, end: end == bytes.len() };
            let mut kind = 0;
            if self.cut.start_matters && edges.start {
                kind |= STARTS | if piece.first { FIRST } else { 0 };
            }
            if self.cut.end_matters && edges.end {
                kind |= ENDS;
            }
            let text = piece.text.part(at..end);
            // Whether special tokens are split changes what a text becomes, and is asked for rarely.
            let key = match packed {
                _ if scope.split_special => None,
                Some(packed) => Some(Key::packed(packed, end - at, kind)),
                None => Key::new(text.as_bytes(), kind),
            };
            if !key.is_some_and(|key| self.cache.get(&key, ids)) {
                let before = ids.len();
                let first = u32::from(!(at == 0 && piece.first));
                let Some(anywhere) = self.part(tokenizer, text, first, edges, scope, scratch, ids)? else {
                    return Ok(false);
                };
                if let Some(key) = key.filter(|_| anywhere) {
                    self.cache.put(&key, ids.part(before..));
                }
            }
            at = end;
        }
        Ok(true)
    }

    /// Appends the ids of a part; says whether they are its ids wherever its key finds it. None: as for a piece.
    #[allow(clippy::too_many_arguments)]
    fn part(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        first: u32,
        edges: Edges,
        scope: Scope,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<Option<bool>> {
        let normalized = match (&tokenizer.normalizer, &self.free) {
            (None, _) => Some(Cow::Borrowed(text)),
            (Some(normalizer), Some(free)) => free.normalize(normalizer, text, edges),
            (Some(_), None) => None,
        };
        let plain = normalized.filter(|normalized| {
            let added = tokenizer.added.normalized();
            added.is_none_or(|added| !added.occurs(normalized))
                // Whether what is left starts the input is not known then.
                && (matches!(normalized, Cow::Borrowed(_)) || first > 0 || !self.sees_start)
        });
        if let Some(normalized) = plain {
            // Of bytes as they are, the condition is that of the components.
            let as_given = tokenizer.normalizer.is_none() && self.bytes.is_some();
            let holds = if as_given { Some(true) } else { self.holds(text, &normalized, edges) };
            if holds.is_some() {
                self.words(tokenizer, normalized, first == 0 && self.sees_start, scratch, ids)?;
            }
            return Ok(holds);
        }
        let normalized = tokenizer.normalize_piece(text, first, edges)?;
        let holds = self.holds(text, normalized.text(), edges);
        if holds.is_none() {
            return Ok(None);
        }
        tokenizer.parts(normalized, scope, |part| {
            match part {
                Part::Token { id, .. } => ids.push(id),
                Part::Words(words) => {
                    for word in &words.ranges {
                        tokenizer.model.ids(words.text.slice(word.clone()), scratch, ids)?;
                    }
                }
            }
            Ok(true)
        })?;
        Ok(holds)
    }

    /// None where a part is not as the components promise; else whether it would be at another place of the same key.
    fn holds(&self, given: &str, normalized: &str, edges: Edges) -> Option<bool> {
        let within = Edges {
            // All parts but the first start with a space.
            start: edges.start && (self.cut.start_matters || !given.starts_with(' ')),
            end: edges.end && self.cut.end_matters,
        };
        self.cut
            .holds(given, normalized, edges)
            .then(|| within == edges || self.cut.holds(given, normalized, within))
    }

    /// Appends the ids of normalized text without added tokens; `starts`: it starts the input, and that is seen.
    fn words(
        &self,
        tokenizer: &Tokenizer,
        text: Cow<'_, str>,
        starts: bool,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let model = &*tokenizer.model;
        if let (Some(bytes), Model::Bpe(model)) = (&self.bytes, model) {
            let merges = Merges { model, bytes: true, cache: &self.cache };
            return bytes.words(&text, |word| merges.word(word, &mut scratch.bpe, ids));
        }
        let mut words = Words::unplaced(text.into_owned(), starts);
        if let Some(pre_tokenizer) = &tokenizer.pre_tokenizer {
            pre_tokenizer.apply(&mut words)?;
        }
        for word in &words.ranges {
            let word = words.text.slice(word.clone());
            match model {
                Model::Bpe(model) => {
                    let merges = Merges { model, bytes: false, cache: &self.cache };
                    merges.word(word, &mut scratch.bpe, ids)?;
                }
                _ => model.ids(word, scratch, ids)?,
            }
        }
        Ok(())
    }
}

/// Where the part that starts at `at` ends, and its bytes where they are few.
#[inline(always)]
fn part(text: &str, at: usize) -> (usize, Option<u128>) {
    const ONES: u128 = u128::MAX / 0xFF;
    let bytes = text.as_bytes();
    let window = u128::from_le_bytes(window(bytes, at));
    let differs = window ^ (ONES * 0x20);
    // The high bit of each byte that is a space; a byte after one may be wrong, and the lowest is asked for.
    let spaces = differs.wrapping_sub(ONES) & !differs & (ONES * 0x80) & !0xFF;
    let length = spaces.trailing_zeros() as usize / 8;
    let last = (window >> ((length.max(1) - 1) * 8)) as u8;
    if length <= LONGEST_PACKED && (0x21..0x7F).contains(&last) {
        return (at + length, Some(window & ((1 << (length * 8)) - 1)));
    }
    (at + long_part(bytes.part(at..), text.part(at..)), None)
}

/// Up to 16 bytes of `text` from `at`, spaces after its end.
#[inline(always)]
fn window(text: &[u8], at: usize) -> [u8; 16] {
    if let Some(window) = text.get(at..at + 16).and_then(|bytes| bytes.try_into().ok()) {
        return window;
    }
    let mut window = [b' '; 16];
    for (to, from) in window.iter_mut().zip(text.part(at..)) {
        *to = *from;
    }
    window
}

fn long_part(bytes: &[u8], text: &str) -> usize {
    let mut from = 1;
    while let Some(found) = bytes.get(from..).and_then(|rest| memchr::memchr(b' ', rest)) {
        let end = from + found;
        let before = text.get(..end).and_then(|part| part.chars().next_back());
        if before.is_some_and(|c| !c.is_whitespace()) {
            return end;
        }
        from = end + 1;
    }
    bytes.len()
}
