//! Places in a word over which no merge reaches, told by the two characters around them: the tokens of what lies between
//! two such places depend on nothing else.

use super::Bpe;
use super::alphabet::NONE;
use crate::tokenizer::byte_alphabet::byte_of;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Bits for each token. Many join the same pairs of characters, so that few pairs that none joins seem to be joined.
const BITS: usize = 4;
/// Words of bits at least.
const LEAST: usize = 64;

/// Shorter words of bytes are merged as they are.
const LONG: usize = 16;
/// So many longer ones are, too, before it is worth going through the vocabulary.
const FEW: u32 = 256;

/// The pairs of neighbours that some merge joins, and with them some that none does. Each merge's result is a token, so
/// those are the neighbours in tokens.
#[derive(Debug, Clone)]
pub(super) struct Seams {
    /// By hash of two characters: they are joined.
    joined: Vec<u64>,
    /// By the byte before and the byte after: tokens that start or end within a character are joined there.
    loose: Option<Box<[[u64; 4]; 256]>>,
    shift: u32,
}

impl Seams {
    /// For words of characters. None where symbols can be something else that merges.
    pub fn of_characters(model: &Bpe) -> Option<Self> {
        // Bytes have tokens of another text than the character they are of.
        let bytes: HashSet<u32> = model.byte_tokens.iter().copied().filter(|id| *id != NONE).collect();
        let mut merges = model.table.merges().iter();
        if model.options.affixes(false, true) != ("", "")
            || merges.any(|merge| bytes.contains(&merge.left) || bytes.contains(&merge.right))
        {
            return None;
        }
        let mut seams = Self::new(model, None);
        for (token, _) in model.vocab.iter() {
            let mut characters = token.chars();
            let mut last = characters.next();
            for first in characters {
                last.into_iter().for_each(|last| seams.join(last, first));
                last = Some(first);
            }
        }
        Some(seams)
    }

    /// For words of the characters that stand for bytes.
    pub fn of_bytes(model: &Bpe) -> Self {
        let mut seams = Self::new(model, Some(Box::new([[0; 4]; 256])));
        let mut bytes = Vec::new();
        for (token, _) in model.vocab.iter() {
            // What stands for no byte can only be a prefix or suffix.
            for part in token.split(|c| byte_of(c).is_none()) {
                bytes.clear();
                bytes.extend(part.chars().filter_map(byte_of));
                seams.join_bytes(&bytes);
            }
        }
        seams
    }

    /// Joins what a token consists of, which may start or end within a character.
    fn join_bytes(&mut self, token: &[u8]) {
        let mut last = None;
        let mut next = |end| {
            if let Some(last) = last.replace(end) {
                self.join_ends(last, end);
            }
        };
        for chunk in token.utf8_chunks() {
            chunk.valid().chars().map(End::Character).for_each(&mut next);
            chunk.invalid().iter().copied().map(End::Part).for_each(&mut next);
        }
    }

    fn join_ends(&mut self, last: End, first: End) {
        match (last, first) {
            (End::Character(last), End::Character(first)) => self.join(last, first),
            (End::Part(last), End::Character(first)) => self.join_loosely(last, first_byte(first)),
            (End::Character(last), End::Part(first)) => self.join_loosely(last_byte(last), first),
            (End::Part(last), End::Part(first)) => self.join_loosely(last, first),
        }
    }

    fn new(model: &Bpe, loose: Option<Box<[[u64; 4]; 256]>>) -> Self {
        let words = (model.vocab.len() * BITS / 64).next_power_of_two().max(LEAST);
        Self { joined: vec![0; words], loose, shift: 64 - (words * 64).ilog2() }
    }

    fn join(&mut self, left: char, right: char) {
        let bit = self.bit(left, right);
        if let Some(word) = self.joined.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn join_loosely(&mut self, last: u8, first: u8) {
        let bits = self.loose.as_mut().and_then(|loose| loose.get_mut(usize::from(last)));
        if let Some(bits) = bits.and_then(|bits| bits.get_mut(usize::from(first) / 64)) {
            *bits |= 1 << (first % 64);
        }
    }

    #[inline(always)]
    fn bit(&self, left: char, right: char) -> usize {
        let pair = u64::from(u32::from(left)) << 32 | u64::from(u32::from(right));
        // Fibonacci hashing, folded first so that both characters reach the upper bits.
        ((pair ^ pair >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// Whether a merge may reach from the end of one character over the start of the next.
    #[inline(always)]
    fn joins(&self, left: char, right: char) -> bool {
        let bit = self.bit(left, right);
        self.joined.get(bit / 64).is_none_or(|word| word >> (bit % 64) & 1 == 1)
            || self.loose.as_ref().is_some_and(|loose| {
                let (left, right) = (last_byte(left), first_byte(right));
                let bits = loose.get(usize::from(left)).and_then(|bits| bits.get(usize::from(right) / 64));
                bits.is_none_or(|bits| bits >> (right % 64) & 1 == 1)
            })
    }
}

/// A character of a token, or a byte of one that is not all in it.
#[derive(Clone, Copy)]
enum End {
    Character(char),
    Part(u8),
}

fn last_byte(c: char) -> u8 {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().next_back().unwrap_or_default()
}

fn first_byte(c: char) -> u8 {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().next().unwrap_or_default()
}

impl Bpe {
    /// The seams to look for in a word.
    fn seams(&self, word: &str, bytes: bool) -> Option<&Seams> {
        if !bytes {
            return self.seams.get_or_init(|| Seams::of_characters(self).map(Box::new)).as_deref();
        }
        if word.len() < LONG {
            return None;
        }
        let bytes = self.bytes()?;
        if bytes.long_words.load(Ordering::Relaxed) < FEW {
            bytes.long_words.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(bytes.seams.get_or_init(|| Seams::of_bytes(self)))
    }

    /// Calls `segment` with the parts of a word between its seams, in order; with the whole where there are none. Together
    /// they have the tokens of the word, unless it is a token that is not merged. `bytes`: as in [`Self::segment_ids`].
    pub fn segments<E>(
        &self,
        word: &str,
        bytes: bool,
        mut segment: impl FnMut(Range<usize>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = 0;
        if let Some(seams) = self.seams(word, bytes) {
            // What has no token may be dropped, and what lies beside it come together.
            let known = |c| bytes || self.all_bytes || self.alphabet.id(c) != NONE;
            let mut characters = word.char_indices();
            let mut left = characters.next().map(|(_, c)| c);
            for (at, right) in characters {
                if left.is_some_and(|left| !seams.joins(left, right) && known(left) && known(right)) {
                    segment(start..at)?;
                    start = at;
                }
                left = Some(right);
            }
        }
        segment(start..word.len())
    }
}
