//! Normalizing a text of which no places are asked for, character by character where their neighbours do not matter.
//!
//! A character is free where every step of the normalizer makes the same of it between any other free characters. So a
//! text may be cut between two free ones, each of which becomes what it becomes alone. That is worked out once and
//! kept; only what lies around other characters goes through the normalizer.

use super::simple::nmt_character;
use super::{Normalizer, Piece};
use crate::part::PartOf;
use crate::tokenizer::byte_alphabet::character_of;
use crate::tokenizer::text::{Edges, characters};
use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use unicode_normalization_alignments::char::{canonical_combining_class, is_combining_mark};

const PAGE: usize = 256;
const PAGES: usize = 0x110000 / PAGE;

/// What a character becomes: bytes, and in the last byte how many there are and a flag.
#[derive(Clone, Copy, PartialEq)]
struct Entry(u128);

impl Entry {
    /// Depends on its neighbours, or becomes too much to be kept here.
    const BOUND: Self = Self(u128::MAX);
    const SAME: u128 = 1 << 127;
    /// Bytes that fit.
    const MOST: usize = 15;

    fn new(old: char, new: &str) -> Self {
        if new.len() > Self::MOST {
            return Self::BOUND;
        }
        let same = if new.chars().eq([old]) { Self::SAME } else { 0 };
        let bytes = new.bytes().rev().fold(0, |bytes, byte| bytes << 8 | u128::from(byte));
        Self(bytes | (new.len() as u128) << 120 | same)
    }

    /// Whether it is free.
    fn is_free(self) -> bool {
        self != Self::BOUND
    }

    /// Whether it is free and stays.
    fn is_same(self) -> bool {
        self.0 & Self::SAME != 0 && self.is_free()
    }

    fn len(self) -> usize {
        (self.0 >> 120 & 0xF) as usize
    }

    fn push(self, text: &mut String) {
        let bytes = self.0.to_le_bytes();
        text.push_str(std::str::from_utf8(bytes.part(..self.len())).unwrap_or_default());
    }
}

/// An entry's two halves; the upper one is 0 as long as it is not known, and is written last.
#[derive(Debug, Default)]
struct Place([AtomicU64; 2]);

impl Place {
    fn get(&self) -> Option<Entry> {
        let [low, high] = &self.0;
        let high = high.load(Ordering::Acquire);
        (high != 0).then(|| Entry(u128::from(high) << 64 | u128::from(low.load(Ordering::Relaxed))))
    }

    fn set(&self, entry: Entry) {
        let [low, high] = &self.0;
        low.store(entry.0 as u64, Ordering::Relaxed);
        high.store((entry.0 >> 64) as u64, Ordering::Release);
    }
}

type Page = Box<[Place; PAGE]>;

/// What free characters become. Shared by threads: they may work the same out twice.
#[derive(Debug)]
pub struct FreeCharacters {
    pages: Vec<OnceLock<Page>>,
    /// The first character of a piece is not free.
    start_matters: bool,
}

impl FreeCharacters {
    /// None for a normalizer some step of which looks further, or depends on places.
    pub fn new(normalizer: &Normalizer) -> Option<Self> {
        normalizer.has_free().then(|| Self {
            pages: (0..PAGES).map(|_| OnceLock::new()).collect(),
            start_matters: normalizer.prepends(),
        })
    }

    #[inline]
    fn entry(&self, normalizer: &Normalizer, c: char) -> Entry {
        let code = c as usize;
        let page = self.pages.get(code / PAGE);
        let page = page.map(|page| page.get_or_init(|| Box::new(std::array::from_fn(|_| Place::default()))));
        let Some(place) = page.and_then(|page| page.get(code % PAGE)) else { return Entry::BOUND };
        place.get().unwrap_or_else(|| {
            let entry = work_out(normalizer, c);
            place.set(entry);
            entry
        })
    }

    /// What the normalizer makes of a part of a piece. None: that must be found by [`Normalizer::apply`], which may fail.
    pub fn normalize<'t>(
        &self,
        normalizer: &Normalizer,
        text: &'t str,
        edges: Edges,
    ) -> Option<Cow<'t, str>> {
        let most = Piece::most(text.len() / 4);
        let mut new = String::new();
        // What is before `at` is in `new`, but for `kept..at`, which stays.
        let (mut kept, mut at) = (0, 0);
        while let Some(c) = text.get(at..)?.chars().next() {
            let entry = match self.start_matters && edges.start && at == 0 {
                true => Entry::BOUND,
                false => self.entry(normalizer, c),
            };
            let after = at + c.len_utf8();
            if entry.is_same() {
                at = after;
                continue;
            }
            let mut start = at;
            if !entry.is_free()
                && let Some(before) = text.get(..at)?.chars().next_back()
            {
                // It goes with what follows; what it has become, if anything else, is taken back.
                start -= before.len_utf8();
                if start < kept {
                    new.truncate(new.len() - self.entry(normalizer, before).len());
                    kept = start;
                }
            }
            new.push_str(text.get(kept..start)?);
            if entry.is_free() {
                entry.push(&mut new);
                at = after;
            } else {
                at = after + self.bound(normalizer, text.get(after..)?);
                let mut part = characters(text.get(start..at)?, 1);
                let edges = Edges { start: edges.start && start == 0, end: edges.end && at == text.len() };
                normalizer.apply(&mut part, edges).ok()?;
                new.extend(part.iter().map(|character| character.value));
            }
            kept = at;
            if new.len() > most {
                return None;
            }
        }
        if kept == 0 {
            return Some(Cow::Borrowed(text));
        }
        new.push_str(text.get(kept..)?);
        Some(Cow::Owned(new))
    }

    /// How many bytes there are up to the second of two free characters.
    fn bound(&self, normalizer: &Normalizer, text: &str) -> usize {
        let mut was_free = false;
        for (at, c) in text.char_indices() {
            let is_free = self.entry(normalizer, c).is_free();
            if was_free && is_free {
                return at;
            }
            was_free = is_free;
        }
        text.len()
    }
}

#[cold]
fn work_out(normalizer: &Normalizer, c: char) -> Entry {
    let new = normalizer.free(&[c]).map(String::from_iter);
    new.map_or(Entry::BOUND, |new| Entry::new(c, &new))
}

impl Normalizer {
    /// Whether there is such a thing as a free character.
    fn has_free(&self) -> bool {
        match self {
            // Places decide what becomes of text without an original.
            Self::Prepend(prefix) => !prefix.is_empty(),
            Self::Replace(replace) => replace.has_free(),
            Self::Sequence(all) => all.iter().all(Self::has_free),
            _ => true,
        }
    }

    fn prepends(&self) -> bool {
        match self {
            Self::Prepend(_) => true,
            Self::Sequence(all) => all.iter().any(Self::prepends),
            _ => false,
        }
    }

    /// What some text within a piece becomes, if that is the same between any others for which this says so.
    ///
    /// None also for what vanishes: then its neighbours come together.
    fn free(&self, old: &[char]) -> Option<Vec<char>> {
        let starter = |c: &char| canonical_combining_class(*c) == 0;
        let new = match self {
            Self::Bert(bert) => {
                let new = self.alone(old)?;
                // Marks that stay are put in order.
                if bert.strips_accents() && !new.iter().all(starter) {
                    return None;
                }
                new
            }
            Self::Form(form) => {
                let new = self.alone(old)?;
                // Marks are put in order, and composed, up to a starter that is not composed with what is before.
                new.first().filter(|first| starter(first) && form.holds(std::iter::once(**first)))?;
                new
            }
            Self::Lowercase => old.iter().flat_map(|c| c.to_lowercase()).collect(),
            Self::Strip(_) => old.iter().all(|c| !c.is_whitespace()).then(|| old.to_vec())?,
            Self::StripAccents => old.iter().copied().filter(|c| !is_combining_mark(*c)).collect(),
            Self::Nmt => old.iter().filter_map(|c| nmt_character(*c)).collect(),
            Self::Precompiled(precompiled) => precompiled.free(old)?,
            Self::Replace(replace) => replace.free(old)?,
            Self::Prepend(_) => old.to_vec(),
            Self::ByteLevel => String::from_iter(old).bytes().map(character_of).collect(),
            Self::Sequence(all) => {
                all.iter().try_fold(old.to_vec(), |old, normalizer| normalizer.free(&old))?
            }
        };
        (!new.is_empty()).then_some(new)
    }

    /// What is made of a text that is not at the ends of its piece.
    fn alone(&self, text: &[char]) -> Option<Vec<char>> {
        let mut characters = characters(&String::from_iter(text), 1);
        self.apply(&mut characters, Edges { start: false, end: false }).ok()?;
        Some(characters.iter().map(|character| character.value).collect())
    }
}
