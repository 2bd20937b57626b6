//! Unigram: of all ways to cut a word into pieces, the one whose scores sum to the most.
//! Source: Kudo, "Subword regularization" (2018), arXiv:1804.10959.

mod lattice;

pub use lattice::Lattice;

use super::{Piece, Trie};
use crate::part::PartOf;
use crate::tokenizer::json::{Json, Node};
use crate::tokenizer::vocab::Vocab;
use crate::{Error, Result};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

/// How much less than the lowest score of all a character costs that no piece covers.
const UNKNOWN_PENALTY: f64 = 10.0;
const NONE: u32 = u32::MAX;

/// Pieces with their scores.
#[derive(Debug, Clone)]
pub struct Unigram {
    vocab: Vocab,
    /// By id.
    scores: Vec<f64>,
    /// The score of one unknown character.
    unknown_score: f64,
    unk_id: Option<u32>,
    /// By byte, the id of the piece that stands for it; None unless all 256 could be asked for.
    byte_ids: Option<Box<[u32; 256]>>,
    trie: Trie,
}

impl Unigram {
    /// Reads the fields of the JSON object: `vocab` of `[piece, score]` pairs, `unk_id` and `byte_fallback`.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let entries = node.field("vocab")?;
        let items = entries.elements()?;
        let mut pieces: Vec<(&str, f64)> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let pair = match item {
                Json::Array(pair) => match pair.as_slice() {
                    [Json::Text(piece), Json::Float(score)] => Some((&**piece, *score)),
                    [Json::Text(piece), Json::Unsigned(score)] => Some((&**piece, *score as f64)),
                    [Json::Text(piece), Json::Negative(score)] => Some((&**piece, *score as f64)),
                    _ => None,
                },
                _ => None,
            };
            let mismatch = || entries.element(index, item).mismatch("a piece and its score");
            pieces.push(pair.ok_or_else(mismatch)?);
        }
        let unk_id = node.present("unk_id")?.map(|id| id.size()).transpose()?;
        let byte_fallback = node.optional("byte_fallback")?.map_or(Ok(false), |flag| flag.boolean())?;
        Self::new(&pieces, unk_id, byte_fallback).map_err(|error| match error {
            Error::Argument { name, expected, actual } => node.refuse_key(&name, expected, actual),
            other => other,
        })
    }

    /// Builds the model; a piece's id is its place. Of a repeated piece the last counts in text, and each keeps its id.
    /// Without `unk_id` a text that no pieces cover is an error.
    ///
    /// Fails where `unk_id` is no piece's or a score is not finite.
    pub fn new<T: AsRef<str>>(
        pieces: &[(T, f64)],
        unk_id: Option<usize>,
        byte_fallback: bool,
    ) -> Result<Self> {
        let bytes: usize = pieces.iter().map(|piece| piece.0.as_ref().len()).sum();
        if bytes >= NONE as usize || pieces.len() >= NONE as usize {
            return Err(Error::argument("vocab", "at most 4 GiB of text", format!("{bytes} bytes")));
        }
        if let Some(index) = pieces.iter().position(|piece| !piece.1.is_finite()) {
            let actual = pieces.get(index).map_or(0.0, |piece| piece.1);
            return Err(Error::argument(format!("vocab[{index}]"), "a finite score", actual.to_string()));
        }
        if let Some(id) = unk_id
            && id >= pieces.len()
        {
            let expected = format!("the id of one of {} pieces", pieces.len());
            return Err(Error::argument("unk_id", expected, id.to_string()));
        }
        let texts = pieces.iter().map(|piece| piece.0.as_ref());
        let vocab = Vocab::with_repeats(texts);
        let lowest = pieces.iter().fold(f64::INFINITY, |lowest, piece| lowest.min(piece.1));
        let byte_id = |byte: usize| vocab.id(&format!("<0x{byte:02X}>")).unwrap_or(NONE);
        let byte_ids = byte_fallback.then(|| Box::new(std::array::from_fn(byte_id)));
        let found = vocab.iter().filter(|(text, id)| vocab.id(text) == Some(*id));
        Ok(Self {
            trie: Trie::new(found.map(|(text, id)| (text.as_bytes(), id))),
            vocab,
            scores: pieces.iter().map(|piece| piece.1).collect(),
            unknown_score: lowest - UNKNOWN_PENALTY,
            unk_id: unk_id.map(|id| id as u32),
            byte_ids,
        })
    }

    /// The vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// The id that unknown text gets.
    pub fn unk_id(&self) -> Option<u32> {
        self.unk_id
    }

    /// Whether unknown text becomes the pieces of its bytes.
    pub fn byte_fallback(&self) -> bool {
        self.byte_ids.is_some()
    }

    /// Whether a token of some text is the unknown one, not a byte's that has the same id.
    pub fn is_unknown(&self, id: u32, text: &str) -> bool {
        Some(id) == self.unk_id && self.bytes(text).is_none()
    }

    /// The tokens of a text's bytes, where there is one for each.
    fn bytes(&self, text: &str) -> Option<impl Iterator<Item = u32>> {
        let ids = self.byte_ids.as_ref()?;
        let bytes = text.bytes().map(|byte| ids.get(usize::from(byte)).copied().unwrap_or(NONE));
        (!bytes.clone().any(|id| id == NONE)).then_some(bytes)
    }

    /// Pieces and scores by ascending id.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, f64)> {
        self.vocab.iter().zip(&self.scores).map(|((text, _), score)| (text, *score))
    }

    /// Calls `token` for each token of a word. Several unknown characters in a row are one token, or all their bytes'.
    pub fn tokenize(&self, word: &str, lattice: &mut Lattice, mut token: impl FnMut(Piece)) -> Result<()> {
        // Unknown characters not passed on yet.
        let (mut from, mut to) = (0, 0);
        let segmented = lattice.segment(self, word, |id, start, end| {
            if Some(id) == self.unk_id {
                if from == to {
                    from = start;
                }
                to = end;
                return;
            }
            self.unknown(word, from, to, &mut token);
            (from, to) = (end, end);
            token(Piece { id, start, end });
        });
        self.unknown(word, from, to, &mut token);
        segmented
    }

    /// Passes on what is unknown: a piece after all where the whole is one, its bytes where there is one for each.
    fn unknown(&self, word: &str, start: u32, end: u32, token: &mut impl FnMut(Piece)) {
        let text = word.part(start as usize..end as usize);
        let Some(unk_id) = self.unk_id.filter(|_| !text.is_empty()) else {
            return;
        };
        if let Some(id) = self.vocab.id(text) {
            return token(Piece { id, start, end });
        }
        if let Some(ids) = self.bytes(text) {
            return ids.for_each(|id| token(Piece { id, start, end }));
        }
        token(Piece { id: unk_id, start, end });
    }

    /// The object in a tokenizer.json without the vocabulary.
    pub fn options(&self) -> Map<String, Value> {
        let entries = [
            ("type", json!("Unigram")),
            ("unk_id", json!(self.unk_id)),
            ("byte_fallback", json!(self.byte_fallback())),
        ];
        entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }
}

/// Keys in the order other readers write them.
impl Serialize for Unigram {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        struct Pieces<'m>(&'m Unigram);
        impl Serialize for Pieces<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.pieces())
            }
        }
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("type", "Unigram")?;
        map.serialize_entry("unk_id", &self.unk_id)?;
        map.serialize_entry("vocab", &Pieces(self))?;
        map.serialize_entry("byte_fallback", &self.byte_fallback())?;
        map.end()
    }
}
