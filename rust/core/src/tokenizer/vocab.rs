//! The model's vocabulary: text to id and id to text.

use super::hash::Seed;
use super::json::{Node, quoted};
use crate::Result;
use crate::part::PartOf;
use serde::{Serialize, Serializer};

/// Token texts in one string, found by text and by id.
#[derive(Debug, Clone)]
pub struct Vocab {
    texts: String,
    /// Sorted by id; `texts[start..start + length]` is the token.
    entries: Vec<Entry>,
    /// Open addressing over `entries`: the hash's high half above, the index + 1 below; 0 where free. A power of two,
    /// at most half full.
    slots: Vec<u64>,
    seed: Seed,
    /// Whether `entries[id].id == id` for all: then no search is needed.
    dense: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    length: u32,
    id: u32,
}

/// Two tokens with one id: (id, first, second).
pub type Collision = (u32, String, String);

impl Vocab {
    /// Builds from tokens with their ids, fewer than 2^32. Of a repeated token the last counts. Fails where two share
    /// an id.
    pub fn new<'t>(pairs: impl IntoIterator<Item = (&'t str, u32)>) -> std::result::Result<Self, Collision> {
        let pairs = pairs.into_iter();
        let mut vocab = Self::empty();
        vocab.entries.reserve(pairs.size_hint().0);
        for (text, id) in pairs {
            vocab.push(text, id);
        }
        let repeated = vocab.index();
        if !repeated.is_empty() {
            vocab.slots.clear();
            let mut repeated = repeated.into_iter().peekable();
            let mut index = 0;
            vocab.entries.retain(|_| {
                index += 1;
                repeated.next_if_eq(&(index - 1)).is_none()
            });
        }
        let sorted = vocab.entries.is_sorted_by_key(|entry| entry.id);
        if !sorted {
            vocab.entries.sort_by_key(|entry| entry.id);
        }
        let neighbours = vocab.entries.iter().zip(vocab.entries.iter().skip(1));
        if let Some((first, second)) = neighbours.into_iter().find(|(left, right)| left.id == right.id) {
            return Err((first.id, vocab.text(*first).to_owned(), vocab.text(*second).to_owned()));
        }
        vocab.dense = vocab.entries.iter().enumerate().all(|(index, entry)| entry.id as usize == index);
        if !sorted || vocab.slots.is_empty() {
            vocab.index();
        }
        Ok(vocab)
    }

    /// Builds from fewer than 2^32 tokens in the order of their ids. Of a repeated token the last is found by its text,
    /// and each by its id.
    pub fn with_repeats<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut vocab = Self::empty();
        for (id, text) in (0..).zip(texts) {
            vocab.push(text, id);
        }
        vocab.dense = true;
        vocab.index();
        vocab
    }

    fn empty() -> Self {
        Self { texts: String::new(), entries: Vec::new(), slots: Vec::new(), seed: Seed::get(), dense: false }
    }

    fn push(&mut self, text: &str, id: u32) {
        self.entries.push(Entry { start: self.texts.len(), length: text.len() as u32, id });
        self.texts.push_str(text);
    }

    /// Fills the slots; of a repeated text the last entry is found. Gives the ascending indices of the others.
    fn index(&mut self) -> Vec<usize> {
        let mut slots = vec![0; (self.entries.len() * 2).next_power_of_two()];
        let mask = slots.len() - 1;
        let mut repeated = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let text = self.text(*entry);
            let hash = self.seed.bytes(text.as_bytes());
            let tag = hash >> u32::BITS << u32::BITS;
            let mut at = hash as usize & mask;
            while let Some(slot) = slots.get_mut(at) {
                if *slot == 0 {
                    *slot = tag | (index as u64 + 1);
                    break;
                }
                let other = (*slot as u32 - 1) as usize;
                if *slot >> u32::BITS << u32::BITS == tag
                    && self.entries.get(other).is_some_and(|other| self.text(*other) == text)
                {
                    repeated.push(other);
                    *slot = tag | (index as u64 + 1);
                    break;
                }
                at = (at + 1) & mask;
            }
        }
        repeated.sort_unstable();
        self.slots = slots;
        repeated
    }

    /// Reads the `vocab` object of a tokenizer.json. Of a repeated key the last counts.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let fields = node.fields()?;
        if fields.len() >= u32::MAX as usize {
            return Err(node.refuse("fewer than 4294967295 tokens", fields.len().to_string()));
        }
        let mut pairs = Vec::with_capacity(fields.len());
        for (text, value) in fields {
            let id = value.id().map_or_else(|| node.child(text, value).id(), Ok)?;
            pairs.push((&**text, id));
        }
        Self::new(pairs).map_err(|(id, first, second)| {
            node.refuse(
                "an id for each token",
                format!("id {id} for {} and {}", quoted(&first), quoted(&second)),
            )
        })
    }

    fn text(&self, entry: Entry) -> &str {
        self.texts.part(entry.start..entry.start + entry.length as usize)
    }

    /// How many tokens there are; ids may have holes, so the largest id can be beyond.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The id of a token.
    pub fn id(&self, text: &str) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let hash = self.seed.bytes(text.as_bytes());
        let mut at = hash as usize & mask;
        loop {
            let slot = *self.slots.get(at)?;
            let index = (slot as u32).checked_sub(1)?;
            if slot >> u32::BITS == hash >> u32::BITS {
                let entry = *self.entries.get(index as usize)?;
                if self.text(entry) == text {
                    return Some(entry.id);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The token with an id.
    pub fn token(&self, id: u32) -> Option<&str> {
        let index = if self.dense {
            id as usize
        } else {
            self.entries.binary_search_by_key(&id, |entry| entry.id).ok()?
        };
        self.entries.get(index).map(|entry| self.text(*entry))
    }

    /// All tokens by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.entries.iter().map(|entry| (self.text(*entry), entry.id))
    }
}

/// An object of ids by token.
impl Serialize for Vocab {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
