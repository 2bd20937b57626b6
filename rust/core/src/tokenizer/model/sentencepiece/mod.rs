//! sentencepiece's own way from text to pieces, normalization included, for tokenizers that are defined by it.
//! Source: Kudo and Richardson, "SentencePiece" (2018), arXiv:1808.06226.

mod merging;
mod normalize;
mod segment;

pub use segment::Buffers;

use super::{Piece, Trie};
use crate::part::PartOf;
use crate::tokenizer::base64;
use crate::tokenizer::formats::{PieceKind, SentencePieceAlgorithm, SentencePieceModel};
use crate::tokenizer::json::{Node, quoted};
use crate::tokenizer::vocab::Vocab;
use crate::{Error, Result};
use normalize::Normalization;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

/// No piece.
const NONE: u32 = u32::MAX;

/// A model file with the vocabulary that ids are taken from.
#[derive(Debug, Clone)]
pub struct SentencePiece {
    /// The file, to be written again.
    file: Vec<u8>,
    algorithm: SentencePieceAlgorithm,
    normalization: Normalization,
    /// By number of a piece in the file.
    pieces: Vec<Entry>,
    /// Pieces that text is made of, by their text.
    parts: Vocab,
    /// The others: control, unknown and bytes.
    reserved: Vocab,
    trie: Trie,
    /// User-defined symbols.
    symbols: Trie,
    /// The longest part in bytes.
    longest: usize,
    /// The lowest score of a normal piece.
    lowest: f32,
    unknown: u32,
    /// By byte, the number of its piece; empty without byte fallback.
    bytes: Vec<u32>,
    /// Where ids and texts of tokens come from; None: from the file.
    vocab: Option<Vocab>,
    own: Vocab,
    unk_token: String,
    unk_id: u32,
}

/// A piece of the file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    score: f32,
    kind: PieceKind,
    /// The token's id.
    id: u32,
}

impl SentencePiece {
    /// Builds the model from the bytes of a file; `source` names it in errors. Ids are those of `vocab`, where pieces
    /// that it lacks get that of `unk_token`; without it they are the file's.
    pub fn new(file: Vec<u8>, source: &str, vocab: Option<Vocab>, unk_token: Option<&str>) -> Result<Self> {
        let model = SentencePieceModel::from_bytes(&file, source)?;
        let refuse = |key: &str, expected: &str, actual: String| Error::format(source, key, expected, actual);
        let number = |kind: PieceKind| model.pieces().position(|piece| piece.2 == kind);
        let unknown = number(PieceKind::Unknown).unwrap_or_default() as u32;
        let count = model.pieces().filter(|piece| piece.2 == PieceKind::Unknown).count();
        if count != 1 {
            return Err(refuse("pieces", "one piece of the type unknown", count.to_string()));
        }
        let is_part = |kind| matches!(kind, PieceKind::Normal | PieceKind::UserDefined | PieceKind::Unused);
        let numbered = || (0u32..).zip(model.pieces());
        let group = |parts: bool| -> Result<Vocab> {
            let chosen = || numbered().filter(|(_, piece)| is_part(piece.2) == parts);
            let count = chosen().count();
            let vocab = Vocab::new(chosen().map(|(number, piece)| (piece.0, number)));
            let vocab = vocab.ok().filter(|vocab| vocab.len() == count);
            vocab.ok_or_else(|| refuse("pieces", "each piece once", "a repeated one".into()))
        };
        let (parts, reserved) = (group(true)?, group(false)?);
        let own = Vocab::with_repeats(model.pieces().map(|piece| piece.0));
        let tokens = vocab.as_ref().unwrap_or(&own);
        let unk_token = unk_token.unwrap_or(&model.unk.text).to_owned();
        let unk_id = match &vocab {
            None => unknown,
            Some(vocab) => vocab.id(&unk_token).ok_or_else(|| {
                Error::argument("unk_token", "a token of the vocabulary", quoted(&unk_token))
            })?,
        };
        let id = |text: &str, number: u32| match &vocab {
            None => number,
            Some(_) => tokens.id(text).unwrap_or(unk_id),
        };
        let pieces: Vec<Entry> = numbered()
            .map(|(number, (text, score, kind))| Entry { score, kind, id: id(text, number) })
            .collect();
        let bytes: Vec<u32> = if model.byte_fallback {
            (0..=u8::MAX).map(|byte| reserved.id(&format!("<0x{byte:02X}>")).unwrap_or(NONE)).collect()
        } else {
            Vec::new()
        };
        if let Some(byte) = bytes.iter().position(|number| *number == NONE) {
            return Err(refuse("pieces", "a piece for each byte", format!("none for {byte:#04X}")));
        }
        let normal = || pieces.iter().filter(|piece| piece.kind == PieceKind::Normal);
        Ok(Self {
            algorithm: model.algorithm,
            normalization: Normalization::new(&model, source)?,
            trie: Trie::new(parts.iter().map(|(text, number)| (text.as_bytes(), number))),
            symbols: Trie::new(
                numbered()
                    .filter(|(_, piece)| piece.2 == PieceKind::UserDefined)
                    .map(|(number, piece)| (piece.0.as_bytes(), number)),
            ),
            longest: parts.iter().map(|(text, _)| text.len()).max().unwrap_or(0),
            lowest: normal().fold(f32::MAX, |lowest, piece| lowest.min(piece.score)),
            file,
            pieces,
            parts,
            reserved,
            unknown,
            bytes,
            vocab,
            own,
            unk_token,
            unk_id,
        })
    }

    /// Reads the fields of the JSON object: `file` (base64), `vocab` and `unk_token`.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let file = node.field("file")?;
        let bytes = base64::decode(file.text()?).ok_or_else(|| file.mismatch("base64"))?;
        let vocab = node.present("vocab")?.map(|vocab| Vocab::read(&vocab)).transpose()?;
        Self::new(bytes, node.source(), vocab, Some(node.field("unk_token")?.text()?))
    }

    /// The vocabulary that ids are of.
    pub fn vocab(&self) -> &Vocab {
        self.vocab.as_ref().unwrap_or(&self.own)
    }

    /// The text of the unknown token.
    pub fn unk_token(&self) -> &str {
        &self.unk_token
    }

    /// The object in a tokenizer.json without what grows with the vocabulary.
    pub fn options(&self) -> Map<String, Value> {
        let entries = [("type", json!("SentencePiece")), ("unk_token", json!(self.unk_token))];
        entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }

    /// The number of a piece by its text.
    fn number(&self, text: &str) -> u32 {
        self.reserved.id(text).or_else(|| self.parts.id(text)).unwrap_or(self.unknown)
    }

    fn kind(&self, number: u32) -> PieceKind {
        self.pieces.get(number as usize).map_or(PieceKind::Unknown, |piece| piece.kind)
    }

    fn score(&self, number: u32) -> f32 {
        self.pieces.get(number as usize).map_or(0.0, |piece| piece.score)
    }

    /// How many bytes the next symbol of a non-empty text has: a user-defined one, which is found first, or a
    /// character.
    fn symbol(&self, text: &str) -> (usize, bool) {
        match self.symbols.longest(text.as_bytes()) {
            Some((_, length)) => (length, true),
            None => (text.chars().next().map_or(0, char::len_utf8), false),
        }
    }

    /// Calls `token` for each token of a text, with its text where that is not the vocabulary's.
    ///
    /// Unknown characters in a row are one token, or with byte fallback those of their bytes.
    /// Fails where the normalized text is longer than 2 GiB.
    pub fn tokenize(
        &self,
        text: &str,
        buffers: &mut Buffers,
        mut token: impl FnMut(Piece, Option<&str>),
    ) -> Result<()> {
        let mut normalized = std::mem::take(&mut buffers.normalized);
        self.normalization.apply(self, text, &mut normalized);
        if normalized.text.len() > i32::MAX as usize {
            let actual = format!("{} bytes", normalized.text.len());
            return Err(Error::argument("inputs", "at most 2 GiB of normalized text", actual));
        }
        self.segment(&normalized.text, buffers);
        let place = |at: usize| normalized.places.get(at).copied().unwrap_or(text.len() as u32);
        let (mut at, mut run) = (0, 0..0);
        let unknown = |run: &mut std::ops::Range<usize>, token: &mut dyn FnMut(Piece, Option<&str>)| {
            if let Some(surface) = normalized.text.get(run.clone()).filter(|surface| !surface.is_empty()) {
                let id = match &self.vocab {
                    Some(vocab) => vocab.id(surface).unwrap_or(self.unk_id),
                    None => self.number(surface),
                };
                let piece = Piece { id, start: place(run.start), end: place(run.end) };
                token(piece, Some(surface).filter(|surface| self.vocab().token(id) != Some(surface)));
            }
            *run = 0..0;
        };
        for (number, length) in &buffers.found {
            let end = at + length;
            let (start, limit) = (place(at), place(end));
            let is_unknown = self.kind(*number) == PieceKind::Unknown;
            if is_unknown && self.bytes.is_empty() {
                run = if run.is_empty() { at..end } else { run.start..end };
            } else {
                unknown(&mut run, &mut token);
                let part = normalized.text.part(at..end);
                let mut known = |number: u32, part: &str| {
                    let id = self.pieces.get(number as usize).map_or(self.unk_id, |piece| piece.id);
                    let named = Some(part).filter(|part| self.vocab().token(id) != Some(part));
                    token(Piece { id, start, end: limit }, named);
                };
                if is_unknown {
                    for byte in part.bytes() {
                        let number = self.bytes.get(usize::from(byte)).copied().unwrap_or(self.unknown);
                        known(number, self.own.token(number).unwrap_or_default());
                    }
                } else {
                    known(*number, part);
                }
            }
            at = end;
        }
        unknown(&mut run, &mut token);
        buffers.normalized = normalized;
        Ok(())
    }
}

impl Serialize for SentencePiece {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        for (key, value) in &self.options() {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("vocab", &self.vocab)?;
        map.serialize_entry("file", &base64::encode(&self.file))?;
        map.end()
    }
}
