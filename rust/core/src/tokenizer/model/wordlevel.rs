//! WordLevel: a word is in the vocabulary or it is unknown.

use crate::Result;
use crate::tokenizer::json::Node;
use crate::tokenizer::vocab::Vocab;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// A vocabulary of whole words.
#[derive(Debug, Clone)]
pub struct WordLevel {
    vocab: Vocab,
    unk_token: String,
    unk_id: Option<u32>,
}

impl WordLevel {
    /// Reads the fields of the JSON object.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let unk_token = node.field("unk_token")?.text()?;
        Ok(Self::new(Vocab::read(&node.field("vocab")?)?, unk_token))
    }

    /// Builds the model over a vocabulary.
    pub fn new(vocab: Vocab, unk_token: &str) -> Self {
        Self { unk_id: vocab.id(unk_token), vocab, unk_token: unk_token.to_owned() }
    }

    /// The object in a tokenizer.json without the vocabulary.
    pub fn options(&self) -> Map<String, Value> {
        let options: [(&str, Value); 2] =
            [("type", "WordLevel".into()), ("unk_token", self.unk_token.as_str().into())];
        options.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }

    /// The vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// The text of the unknown token.
    pub fn unk_token(&self) -> &str {
        &self.unk_token
    }

    /// Its id, where the vocabulary has it.
    pub fn unk_id(&self) -> Option<u32> {
        self.unk_id
    }
}

impl Serialize for WordLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("type", "WordLevel")?;
        map.serialize_entry("vocab", &self.vocab)?;
        map.serialize_entry("unk_token", &self.unk_token)?;
        map.end()
    }
}
