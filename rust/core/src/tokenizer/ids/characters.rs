//! What each character becomes under a BERT normalizer and pre-tokenizer, worked out a page at a time.

use crate::tokenizer::model::WordPiece;
use crate::tokenizer::normalizer::BertNormalizer;
use crate::tokenizer::text::Character;
use crate::tokenizer::unicode::is_punctuation;
use std::sync::OnceLock;
use unicode_normalization_alignments::char::canonical_combining_class;

/// Part of a word: bits 8..16 say how many UTF-8 bytes it becomes, bits 32..64 are those.
pub(super) const WORD: u8 = 0;
/// Vanishes.
pub(super) const DROP: u8 = 1;
/// Ends a word.
pub(super) const SPACE: u8 = 2;
/// A word of its own: bits 32..64 are its id, all ones where it is unknown and there is no unknown token.
pub(super) const ALONE: u8 = 3;
/// Part of a word of more than four bytes: bits 32..48 and 48..64 are the range in the page's `long`.
pub(super) const LONG: u8 = 4;
/// Depends on its neighbours (marks that are reordered but not removed) or is nothing of the above.
pub(super) const COMPLEX: u8 = 5;

const PAGE: usize = 256;
const PAGES: usize = 0x110000 / PAGE;

/// A page is made when one of its characters is first met.
#[derive(Debug)]
pub(super) struct Characters {
    normalizer: Option<BertNormalizer>,
    ascii: [u64; 256],
    pages: Vec<OnceLock<Page>>,
}

#[derive(Debug)]
struct Page {
    entries: Vec<u64>,
    long: Vec<u8>,
}

impl Characters {
    /// For a normalizer and the model that knows the characters which stand alone.
    pub fn new(normalizer: Option<BertNormalizer>, model: &WordPiece) -> Self {
        let pages = (0..PAGES).map(|_| OnceLock::new()).collect();
        let mut characters = Self { normalizer, ascii: [0; 256], pages };
        let mut long = Vec::new();
        for byte in 0..128u8 {
            let entry = characters.work_out(char::from(byte), model, &mut long);
            if let Some(place) = characters.ascii.get_mut(usize::from(byte)) {
                *place = entry;
            }
        }
        characters
    }

    /// The entry of an ASCII byte.
    #[inline(always)]
    pub fn ascii(&self, byte: u8) -> u64 {
        self.ascii.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// The entry of any character.
    #[inline]
    pub fn get(&self, c: char, model: &WordPiece) -> u64 {
        if c.is_ascii() {
            return self.ascii(c as u8);
        }
        let code = c as usize;
        let Some(cell) = self.pages.get(code / PAGE) else {
            return u64::from(COMPLEX);
        };
        let page = cell.get_or_init(|| self.make(code / PAGE, model));
        page.entries.get(code % PAGE).copied().unwrap_or(u64::from(COMPLEX))
    }

    /// The bytes of a [`LONG`] entry of `c`.
    pub fn long(&self, c: char, entry: u64) -> &[u8] {
        let range = (entry >> 32) as u16 as usize..(entry >> 48) as usize;
        let page = self.pages.get(c as usize / PAGE).and_then(OnceLock::get);
        page.and_then(|page| page.long.get(range)).unwrap_or_default()
    }

    #[cold]
    fn make(&self, page: usize, model: &WordPiece) -> Page {
        let mut long = Vec::new();
        let first = (page * PAGE) as u32;
        let entries = (first..first + PAGE as u32)
            .map(|code| {
                char::from_u32(code).map_or(u64::from(COMPLEX), |c| self.work_out(c, model, &mut long))
            })
            .collect();
        Page { entries, long }
    }

    fn work_out(&self, c: char, model: &WordPiece, long: &mut Vec<u8>) -> u64 {
        let mut normalized = vec![Character { value: c, start: 0, end: 1 }];
        if let Some(bert) = &self.normalizer {
            bert.apply(&mut normalized);
            if bert.strips_accents()
                && normalized.iter().any(|part| canonical_combining_class(part.value) != 0)
            {
                // Removed marks do not matter, but those that stay are put in order with their neighbours.
                return u64::from(COMPLEX);
            }
        }
        let text: String = normalized.iter().map(|part| part.value).collect();
        let word = text.trim();
        let mut inside = word.chars();
        let alone = match (inside.next(), inside.next()) {
            (None, _) if text.is_empty() => return u64::from(DROP),
            (None, _) => return u64::from(SPACE),
            (Some(only), None) if is_punctuation(only) => true,
            _ if word.chars().any(|part| is_punctuation(part) || part.is_whitespace()) => {
                return u64::from(COMPLEX);
            }
            // Spaces on both sides, as around an ideograph.
            _ if text.len() > word.len() => {
                if !(text.starts_with(char::is_whitespace) && text.ends_with(char::is_whitespace)) {
                    return u64::from(COMPLEX);
                }
                true
            }
            _ => false,
        };
        if alone {
            let mut ids = Vec::new();
            let known = model.tokenize(word.as_bytes(), |id, _| ids.push(id));
            let id = match (known, ids.as_slice()) {
                (true, [id]) => *id,
                (true, _) => return u64::from(COMPLEX),
                (false, _) => model.unk_id().unwrap_or(u32::MAX),
            };
            return u64::from(id) << 32 | u64::from(ALONE);
        }
        let mut bytes = [0; 4];
        if word.len() <= bytes.len() {
            for (to, from) in bytes.iter_mut().zip(word.bytes()) {
                *to = from;
            }
            return u64::from(u32::from_le_bytes(bytes)) << 32 | (word.len() as u64) << 8 | u64::from(WORD);
        }
        let start = long.len();
        long.extend_from_slice(word.as_bytes());
        match (u16::try_from(start), u16::try_from(long.len())) {
            (Ok(start), Ok(end)) => u64::from(end) << 48 | u64::from(start) << 32 | u64::from(LONG),
            _ => u64::from(COMPLEX),
        }
    }
}
