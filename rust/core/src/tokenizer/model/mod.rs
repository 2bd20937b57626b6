//! Models: a word to its tokens.

mod trie;
mod wordlevel;
mod wordpiece;

pub use wordlevel::WordLevel;
pub use wordpiece::WordPiece;

use super::json::Node;
use super::vocab::Vocab;
use crate::{Error, Result};

/// One token of a word: its id and where it ends, in bytes from the word's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The token's id.
    pub id: u32,
    /// The byte after its last one.
    pub end: u32,
}

/// The tokenization algorithm with its vocabulary.
#[derive(Debug, Clone)]
pub enum Model {
    /// Longest match from the left, continuations marked by a prefix.
    WordPiece(WordPiece),
    /// The whole word or the unknown token.
    WordLevel(WordLevel),
}

impl Model {
    /// Reads the `model` of a tokenizer.json. A file without `type` is WordPiece, or WordLevel where only that fits.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let Some(kind) = node.optional("type")? else {
            if node.optional("merges")?.is_some() {
                return Err(Error::unsupported(node.source(), node.path(), "a BPE model"));
            }
            let wordpiece = node.optional("continuing_subword_prefix")?.is_some()
                || node.optional("max_input_chars_per_word")?.is_some();
            return if wordpiece {
                WordPiece::read(node).map(Self::WordPiece)
            } else {
                WordLevel::read(node).map(Self::WordLevel)
            };
        };
        match kind.text()? {
            "WordPiece" => WordPiece::read(node).map(Self::WordPiece),
            "WordLevel" => WordLevel::read(node).map(Self::WordLevel),
            _ => Err(kind.unsupported()),
        }
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WordPiece(_) => "WordPiece",
            Self::WordLevel(_) => "WordLevel",
        }
    }

    /// The vocabulary, without added tokens.
    pub fn vocab(&self) -> &Vocab {
        match self {
            Self::WordPiece(model) => model.vocab(),
            Self::WordLevel(model) => model.vocab(),
        }
    }

    /// The text of the token that stands for what is unknown; it need not be in the vocabulary.
    pub fn unk_token(&self) -> &str {
        match self {
            Self::WordPiece(model) => model.unk_token(),
            Self::WordLevel(model) => model.unk_token(),
        }
    }

    /// Appends the tokens of a non-empty word. Fails where the word is unknown and so is the unknown token.
    pub fn tokenize(&self, word: &str, pieces: &mut Vec<Piece>) -> Result<()> {
        let before = pieces.len();
        let unknown = match self {
            Self::WordPiece(model) => {
                if model.tokenize(word.as_bytes(), |id, end| pieces.push(Piece { id, end: end as u32 })) {
                    return Ok(());
                }
                model.unk_id()
            }
            Self::WordLevel(model) => model.vocab().id(word).or(model.unk_id()),
        };
        pieces.truncate(before);
        let id = unknown.ok_or_else(|| self.missing_unknown())?;
        pieces.push(Piece { id, end: word.len() as u32 });
        Ok(())
    }

    /// The error of a text that needs the unknown token where the vocabulary has none.
    pub fn missing_unknown(&self) -> Error {
        Error::argument(
            "inputs",
            "words the vocabulary covers, as it lacks the unknown token",
            format!("a word it does not cover; model.unk_token is {:?}", self.unk_token()),
        )
    }
}
