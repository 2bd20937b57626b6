//! WordPiece: the longest token that starts the word, then the longest continuation, and so on; all or nothing.
//! Source: Schuster and Nakajima, "Japanese and Korean voice search" (2012), as BERT uses it.

use super::trie::Trie;
use crate::Result;
use crate::part::PartOf;
use crate::tokenizer::json::Node;
use crate::tokenizer::vocab::Vocab;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// A vocabulary of word starts and prefixed continuations.
#[derive(Debug, Clone)]
pub struct WordPiece {
    vocab: Vocab,
    unk_token: String,
    unk_id: Option<u32>,
    prefix: String,
    max_input_chars_per_word: usize,
    starts: Trie,
    /// Continuations without their prefix; None where the prefix is empty and `starts` serves both.
    continuations: Option<Trie>,
}

impl WordPiece {
    /// Reads the fields of the JSON object.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let unk_token = node.field("unk_token")?.text()?;
        let prefix = node.field("continuing_subword_prefix")?.text()?;
        let longest = node.field("max_input_chars_per_word")?.size()?;
        Ok(Self::new(Vocab::read(&node.field("vocab")?)?, unk_token, prefix, longest))
    }

    /// Builds the model over a vocabulary.
    pub fn new(vocab: Vocab, unk_token: &str, prefix: &str, max_input_chars_per_word: usize) -> Self {
        let starts = Trie::new(vocab.iter().map(|(text, id)| (text.as_bytes(), id)));
        let continuations = (!prefix.is_empty()).then(|| {
            let suffixes =
                vocab.iter().filter_map(|(text, id)| Some((text.strip_prefix(prefix)?.as_bytes(), id)));
            Trie::new(suffixes)
        });
        Self {
            unk_id: vocab.id(unk_token),
            unk_token: unk_token.to_owned(),
            prefix: prefix.to_owned(),
            vocab,
            max_input_chars_per_word,
            starts,
            continuations,
        }
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

    /// What marks a token that continues a word.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Longer words are unknown.
    pub fn max_input_chars_per_word(&self) -> usize {
        self.max_input_chars_per_word
    }

    /// The object in a tokenizer.json without the vocabulary.
    pub fn options(&self) -> Map<String, Value> {
        let options: [(&str, Value); 4] = [
            ("type", "WordPiece".into()),
            ("unk_token", self.unk_token.as_str().into()),
            ("continuing_subword_prefix", self.prefix.as_str().into()),
            ("max_input_chars_per_word", self.max_input_chars_per_word.into()),
        ];
        options.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }

    /// Whether a word of UTF-8 bytes is too long to be looked at.
    #[inline]
    pub fn is_too_long(&self, word: &[u8]) -> bool {
        word.len() > self.max_input_chars_per_word
            && word.iter().filter(|byte| (**byte as i8) >= -0x40).count() > self.max_input_chars_per_word
    }

    /// Calls `token(id, end)` for each token of a word of UTF-8 bytes. False: the word is unknown, and what was passed
    /// to `token` does not count.
    pub fn tokenize(&self, word: &[u8], mut token: impl FnMut(u32, usize)) -> bool {
        if self.is_too_long(word) {
            return false;
        }
        let continuations = self.continuations.as_ref().unwrap_or(&self.starts);
        let mut trie = &self.starts;
        let mut at = 0;
        while at < word.len() {
            let rest = word.part(at..);
            let Some((id, length)) = trie.longest(rest) else {
                return false;
            };
            at += length;
            token(id, at);
            trie = continuations;
        }
        true
    }
}

impl Serialize for WordPiece {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("type", "WordPiece")?;
        map.serialize_entry("unk_token", &self.unk_token)?;
        map.serialize_entry("continuing_subword_prefix", &self.prefix)?;
        map.serialize_entry("max_input_chars_per_word", &self.max_input_chars_per_word)?;
        map.serialize_entry("vocab", &self.vocab)?;
        map.end()
    }
}
