//! Words of a BPE model: remembered whole, else by the segments whose merges are their own.

use crate::Result;
use crate::part::PartOf;
use crate::tokenizer::cache::{Cache, Key};
use crate::tokenizer::model::{Bpe, bpe};

/// In the kind of a [`Key`]: a word as the model gets it.
const WORD: u8 = 8;
/// In the kind of a [`Key`], with [`WORD`]: a segment of a word that is not all of it.
const SEGMENT: u8 = 1;
/// In the kind of a [`Key`], with [`SEGMENT`]: it starts the word.
const FIRST: u8 = 2;
/// In the kind of a [`Key`], with [`SEGMENT`]: it ends the word.
const LAST: u8 = 4;

/// A model and what its words became.
#[derive(Clone, Copy)]
pub(super) struct Merges<'m> {
    pub model: &'m Bpe,
    /// Whether the model gets the bytes of words.
    pub bytes: bool,
    pub cache: &'m Cache,
}

impl Merges<'_> {
    /// Appends the ids of a word that is not empty.
    #[inline]
    pub fn word(self, word: &str, scratch: &mut bpe::Scratch, ids: &mut Vec<u32>) -> Result<()> {
        let key = Key::new(word.as_bytes(), WORD);
        if key.is_some_and(|key| self.cache.get(&key, ids)) {
            return Ok(());
        }
        self.new_word(word, key, scratch, ids)
    }

    fn new_word(
        self,
        word: &str,
        key: Option<Key>,
        scratch: &mut bpe::Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let before = ids.len();
        match self.model.whole_word(word, self.bytes) {
            Some(id) => ids.push(id),
            None => self.model.segments(word, self.bytes, |segment| {
                let (starts, ends) = (segment.start == 0, segment.end == word.len());
                let text = word.part(segment.clone());
                if let Some(id) = self.symbol(text) {
                    ids.push(id);
                    return Ok(());
                }
                if starts && ends {
                    return self.model.segment_ids(word, segment, self.bytes, scratch, ids);
                }
                let kind = WORD | SEGMENT | if starts { FIRST } else { 0 } | if ends { LAST } else { 0 };
                let key = Key::new(text.as_bytes(), kind);
                if key.is_some_and(|key| self.cache.get(&key, ids)) {
                    return Ok(());
                }
                let before = ids.len();
                self.model.segment_ids(word, segment, self.bytes, scratch, ids)?;
                if let Some(key) = key {
                    self.cache.put(&key, ids.part(before..));
                }
                Ok(())
            })?,
        }
        if let Some(key) = key {
            self.cache.put(&key, ids.part(before..));
        }
        Ok(())
    }

    /// The token of a text of one character, which is found sooner than a place in the cache.
    #[inline]
    fn symbol(self, text: &str) -> Option<u32> {
        let mut characters = text.chars();
        let only = characters.next().filter(|_| !self.bytes && characters.next().is_none());
        self.model.symbol_of(only?)
    }
}
