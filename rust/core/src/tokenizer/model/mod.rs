//! Models: a word to its tokens.

pub mod bpe;
mod sentencepiece;
mod trie;
mod unigram;
mod wordlevel;
mod wordpiece;

pub use bpe::Bpe;
pub use sentencepiece::SentencePiece;
pub(super) use trie::Trie;
pub use unigram::Unigram;
pub use wordlevel::WordLevel;
pub use wordpiece::WordPiece;

use super::json::Node;
use super::vocab::Vocab;
use crate::part::PartOf;
use crate::{Error, Result};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::sync::Arc;

/// One token of a word: its id and its bytes, counted from the word's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The token's id.
    pub id: u32,
    /// Its first byte.
    pub start: u32,
    /// The byte after its last one.
    pub end: u32,
}

/// Lists a model uses again from word to word.
#[derive(Debug, Default)]
pub struct Scratch {
    pieces: Vec<Piece>,
    /// For [`Bpe::ids`] and [`Bpe::ids_of_bytes`].
    pub bpe: bpe::Scratch,
    lattice: unigram::Lattice,
    sentencepiece: sentencepiece::Buffers,
    /// Of the word last tokenized: tokens, by their place in it, whose text is not what the vocabulary says.
    pub texts: Vec<(usize, Arc<str>)>,
}

/// The tokenization algorithm with its vocabulary.
#[derive(Debug, Clone)]
pub enum Model {
    /// Longest match from the left, continuations marked by a prefix.
    WordPiece(WordPiece),
    /// The whole word or the unknown token.
    WordLevel(WordLevel),
    /// Characters merged pair by pair.
    Bpe(Box<Bpe>),
    /// The pieces of the highest score.
    Unigram(Unigram),
    /// What sentencepiece makes of a text, normalization included.
    SentencePiece(Box<SentencePiece>),
}

impl Model {
    /// Reads the `model` of a tokenizer.json. Without `type` it is the first of BPE, WordPiece, WordLevel and Unigram
    /// that has the keys.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let has = |key| node.optional(key).map(|value| value.is_some());
        let tag = node.optional("type")?;
        let kind = match &tag {
            Some(tag) => tag.text()?,
            None if has("merges")? => "BPE",
            None if has("continuing_subword_prefix")? && has("max_input_chars_per_word")? => "WordPiece",
            None if has("unk_token")? => "WordLevel",
            None => "Unigram",
        };
        match (kind, tag) {
            ("BPE", _) => Bpe::read(node).map(|model| Self::Bpe(Box::new(model))),
            ("WordPiece", _) => WordPiece::read(node).map(Self::WordPiece),
            ("WordLevel", _) => WordLevel::read(node).map(Self::WordLevel),
            ("SentencePiece", _) => {
                SentencePiece::read(node).map(|model| Self::SentencePiece(Box::new(model)))
            }
            ("Unigram", _) => Unigram::read(node).map(Self::Unigram),
            (_, Some(tag)) => Err(tag.unknown(&["BPE", "WordPiece", "WordLevel", "Unigram"])),
            (_, None) => Err(node.mismatch("a model")),
        }
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WordPiece(_) => "WordPiece",
            Self::WordLevel(_) => "WordLevel",
            Self::Bpe(_) => "BPE",
            Self::Unigram(_) => "Unigram",
            Self::SentencePiece(_) => "SentencePiece",
        }
    }

    /// The vocabulary, without added tokens.
    pub fn vocab(&self) -> &Vocab {
        match self {
            Self::WordPiece(model) => model.vocab(),
            Self::WordLevel(model) => model.vocab(),
            Self::Bpe(model) => model.vocab(),
            Self::Unigram(model) => model.vocab(),
            Self::SentencePiece(model) => model.vocab(),
        }
    }

    /// The text of the token that stands for what is unknown; it need not be in the vocabulary.
    pub fn unk_token(&self) -> Option<&str> {
        match self {
            Self::WordPiece(model) => Some(model.unk_token()),
            Self::WordLevel(model) => Some(model.unk_token()),
            Self::Bpe(model) => model.unk_token(),
            Self::Unigram(model) => model.unk_id().and_then(|id| model.vocab().token(id)),
            Self::SentencePiece(model) => Some(model.unk_token()),
        }
    }

    /// The object in a tokenizer.json without what grows with the vocabulary.
    pub fn options(&self) -> Map<String, Value> {
        match self {
            Self::WordPiece(model) => model.options(),
            Self::WordLevel(model) => model.options(),
            Self::Bpe(model) => model.options(),
            Self::Unigram(model) => model.options(),
            Self::SentencePiece(model) => model.options(),
        }
    }

    /// Appends the tokens of a non-empty word and leaves in `scratch` the texts that are not the vocabulary's. Fails
    /// where the word needs the unknown token and there is none.
    pub fn tokenize(&self, word: &str, scratch: &mut Scratch, pieces: &mut Vec<Piece>) -> Result<()> {
        let Scratch { bpe, lattice, sentencepiece, texts, .. } = scratch;
        texts.clear();
        let before = pieces.len();
        let unknown = match self {
            Self::WordPiece(model) => {
                let mut start = 0;
                let push = |id, end| {
                    pieces.push(Piece { id, start, end: end as u32 });
                    start = end as u32;
                };
                if model.tokenize(word.as_bytes(), push) {
                    return Ok(());
                }
                model.unk_id()
            }
            Self::WordLevel(model) => model.vocab().id(word).or(model.unk_id()),
            Self::Bpe(model) => return model.tokenize(word, bpe, pieces),
            Self::Unigram(model) => {
                return model.tokenize(word, lattice, |piece| {
                    let text = word.part(piece.start as usize..piece.end as usize);
                    if model.is_unknown(piece.id, text) && model.vocab().token(piece.id) != Some(text) {
                        texts.push((pieces.len() - before, text.into()));
                    }
                    pieces.push(piece);
                });
            }
            Self::SentencePiece(model) => {
                return model.tokenize(word, sentencepiece, |piece, text| {
                    texts.extend(text.map(|text| (pieces.len() - before, text.into())));
                    pieces.push(piece);
                });
            }
        };
        pieces.truncate(before);
        let id = unknown.ok_or_else(|| self.missing_unknown())?;
        pieces.push(Piece { id, start: 0, end: word.len() as u32 });
        Ok(())
    }

    /// Appends the ids of a non-empty word.
    pub fn ids(&self, word: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) -> Result<()> {
        match self {
            Self::Bpe(model) => return model.ids(word, &mut scratch.bpe, ids),
            Self::Unigram(model) => {
                return model.tokenize(word, &mut scratch.lattice, |piece| ids.push(piece.id));
            }
            Self::SentencePiece(model) => {
                return model.tokenize(word, &mut scratch.sentencepiece, |piece, _| ids.push(piece.id));
            }
            Self::WordPiece(_) | Self::WordLevel(_) => {}
        }
        let mut pieces = std::mem::take(&mut scratch.pieces);
        pieces.clear();
        let done = self.tokenize(word, scratch, &mut pieces);
        if done.is_ok() {
            ids.extend(pieces.iter().map(|piece| piece.id));
        }
        scratch.pieces = pieces;
        done
    }

    /// The error of a text that needs the unknown token where the vocabulary has none.
    pub fn missing_unknown(&self) -> Error {
        missing_unknown(self.unk_token().unwrap_or_default())
    }
}

/// The error of a text that needs the unknown token where the vocabulary has none.
fn missing_unknown(token: &str) -> Error {
    Error::argument(
        "inputs",
        "words the vocabulary covers, as it lacks the unknown token",
        format!("a word it does not cover; model.unk_token is {token:?}"),
    )
}

/// As the `model` of a tokenizer.json.
impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::WordPiece(model) => model.serialize(serializer),
            Self::WordLevel(model) => model.serialize(serializer),
            Self::Bpe(model) => model.serialize(serializer),
            Self::Unigram(model) => model.serialize(serializer),
            Self::SentencePiece(model) => model.serialize(serializer),
        }
    }
}
