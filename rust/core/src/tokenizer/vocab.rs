//! The model's vocabulary: text to id and id to text.

use super::hash::Seed;
use super::json::{Node, quoted};
use crate::Result;
use serde::{Serialize, Serializer};
use std::collections::HashMap;

/// Token texts in one string, found by text and by id.
#[derive(Debug, Clone)]
pub struct Vocab {
    texts: String,
    /// Sorted by id; `texts[start..end]` is the token.
    entries: Vec<Entry>,
    /// Open addressing over `entries`: index + 1, 0 where free. A power of two, at most half full.
    slots: Vec<u32>,
    seed: Seed,
    /// Whether `entries[id].id == id` for all: then no search is needed.
    dense: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    id: u32,
    start: u32,
    end: u32,
}

/// Two tokens with one id: (id, first, second).
pub type Collision = (u32, String, String);

impl Vocab {
    /// Builds from pairs of distinct texts. Fails where two share an id.
    pub fn new<'t>(pairs: impl IntoIterator<Item = (&'t str, u32)>) -> std::result::Result<Self, Collision> {
        let mut pairs: Vec<(&str, u32)> = pairs.into_iter().collect();
        pairs.sort_unstable_by_key(|pair| pair.1);
        for (left, right) in pairs.iter().zip(pairs.iter().skip(1)) {
            if left.1 == right.1 {
                return Err((left.1, left.0.to_owned(), right.0.to_owned()));
            }
        }
        let mut texts = String::with_capacity(pairs.iter().map(|pair| pair.0.len()).sum());
        let mut entries = Vec::with_capacity(pairs.len());
        for (text, id) in pairs {
            let start = texts.len() as u32;
            texts.push_str(text);
            entries.push(Entry { id, start, end: texts.len() as u32 });
        }
        let dense = entries.iter().enumerate().all(|(index, entry)| entry.id as usize == index);
        let mut vocab = Self {
            slots: vec![0; (entries.len() * 2).next_power_of_two()],
            texts,
            entries,
            seed: Seed::get(),
            dense,
        };
        for index in 0..vocab.entries.len() {
            let hash =
                vocab.entries.get(index).map_or(0, |entry| vocab.seed.bytes(vocab.text(*entry).as_bytes()));
            let mask = vocab.slots.len() - 1;
            let mut slot = hash as usize & mask;
            while vocab.slots.get(slot).is_some_and(|taken| *taken != 0) {
                slot = (slot + 1) & mask;
            }
            if let Some(free) = vocab.slots.get_mut(slot) {
                *free = index as u32 + 1;
            }
        }
        Ok(vocab)
    }

    /// Reads the `vocab` object of a tokenizer.json. Of a repeated key the last counts.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let fields = node.fields()?;
        let mut last: HashMap<&str, u32> = HashMap::with_capacity(fields.len());
        for (text, value) in fields {
            last.insert(text, node.child(text, value).id()?);
        }
        if fields.iter().map(|field| field.0.len()).sum::<usize>() > u32::MAX as usize {
            return Err(node.refuse("at most 4 GiB of text", "more"));
        }
        Self::new(last).map_err(|(id, first, second)| {
            node.refuse(
                "an id for each token",
                format!("id {id} for {} and {}", quoted(&first), quoted(&second)),
            )
        })
    }

    fn text(&self, entry: Entry) -> &str {
        self.texts.get(entry.start as usize..entry.end as usize).unwrap_or_default()
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
        let mask = self.slots.len() - 1;
        let mut slot = self.seed.bytes(text.as_bytes()) as usize & mask;
        loop {
            let index = (*self.slots.get(slot)?).checked_sub(1)?;
            let entry = *self.entries.get(index as usize)?;
            if self.text(entry) == text {
                return Some(entry.id);
            }
            slot = (slot + 1) & mask;
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
