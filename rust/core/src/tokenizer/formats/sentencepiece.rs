//! SentencePiece's `.model`: a protobuf message of pieces, how they were trained and how text is normalized.
//! Source: sentencepiece_model.proto of <https://github.com/google/sentencepiece>, version 0.2.

use super::protobuf::{Field, Message};
use crate::part::PartOf;
use crate::tokenizer::json::quoted;
use crate::tokenizer::model::Trie;
use crate::{Error, Result};
use std::cmp::Ordering;
use std::collections::HashMap;

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// A part of text.
    Normal = 1,
    /// Stands for what no piece covers.
    Unknown = 2,
    /// A mark that never comes from text, as `<s>`.
    Control = 3,
    /// A symbol that is found in text before all else.
    UserDefined = 4,
    /// No longer in use.
    Unused = 5,
    /// One byte, written `<0x41>`.
    Byte = 6,
}

/// The algorithm a model was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentencePieceAlgorithm {
    /// The segmentation of the highest score.
    Unigram,
    /// Merges in the order of their pieces' scores.
    Bpe,
    /// Words.
    Word,
    /// Characters.
    Character,
}

/// One entry of the vocabulary; its id is its place.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: u32,
    end: u32,
    score: f32,
    kind: PieceKind,
}

/// A special token as the trainer was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialPiece {
    /// Its id; negative where there is none.
    pub id: i32,
    /// Its text.
    pub text: String,
}

/// How text is rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalizerSpec {
    /// The rule's name, as `nmt_nfkc`.
    pub name: String,
    /// The compiled rule; empty where there is none.
    pub precompiled_charsmap: Vec<u8>,
    /// A space is put before the text.
    pub add_dummy_prefix: bool,
    /// Spaces at the ends go, and of several in a row one stays.
    pub remove_extra_whitespaces: bool,
    /// Spaces become `▁`.
    pub escape_whitespaces: bool,
}

impl Default for NormalizerSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            precompiled_charsmap: Vec::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        }
    }
}

/// A SentencePiece model file. What the file leaves out has the format's default.
#[derive(Debug, Clone)]
pub struct SentencePieceModel {
    texts: String,
    pieces: Vec<Piece>,
    /// The algorithm.
    pub algorithm: SentencePieceAlgorithm,
    /// The piece for what is unknown.
    pub unk: SpecialPiece,
    /// Starts a sequence.
    pub bos: SpecialPiece,
    /// Ends a sequence.
    pub eos: SpecialPiece,
    /// Fills up rows.
    pub pad: SpecialPiece,
    /// What decoding makes of the unknown piece.
    pub unk_surface: String,
    /// What no piece covers is written as its bytes.
    pub byte_fallback: bool,
    /// `▁` ends a word instead of starting it.
    pub treat_whitespace_as_suffix: bool,
    /// Symbols the trainer was given.
    pub user_defined_symbols: Vec<String>,
    /// Before tokenization.
    pub normalizer: NormalizerSpec,
    /// After detokenization.
    pub denormalizer: NormalizerSpec,
}

impl SentencePieceModel {
    /// Reads a file.
    pub fn from_file(path: &str) -> Result<Self> {
        Self::from_bytes(&std::fs::read(path).map_err(|error| Error::io(path, error))?, path)
    }

    /// Reads the bytes of a file; `source` names it in errors. A model without pieces is refused, fields that are not
    /// in the schema are read over.
    pub fn from_bytes(bytes: &[u8], source: &str) -> Result<Self> {
        if bytes.len() > i32::MAX as usize {
            let actual = format!("{} bytes", bytes.len());
            return Err(Error::format(source, "the file", "at most 2 GiB, as of every protobuf", actual));
        }
        let special = |id, text: &str| SpecialPiece { id, text: text.to_owned() };
        let mut model = Self {
            texts: String::new(),
            pieces: Vec::new(),
            algorithm: SentencePieceAlgorithm::Unigram,
            unk: special(0, "<unk>"),
            bos: special(1, "<s>"),
            eos: special(2, "</s>"),
            pad: special(-1, "<pad>"),
            unk_surface: " \u{2047} ".to_owned(),
            byte_fallback: false,
            treat_whitespace_as_suffix: false,
            user_defined_symbols: Vec::new(),
            normalizer: NormalizerSpec::default(),
            denormalizer: NormalizerSpec::default(),
        };
        let mut root = Message::root(source, bytes);
        // A message that comes in several parts is their sum, as the format asks for.
        while let Some(field) = root.next_field()? {
            match field.number {
                1 => model.read_piece(&field)?,
                2 => model.read_trainer_spec(field.message("trainer_spec")?)?,
                3 => model.normalizer.read(field.message("normalizer_spec")?)?,
                5 => model.denormalizer.read(field.message("denormalizer_spec")?)?,
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err(Error::format(source, "pieces", "a SentencePiece model, which has pieces", "none"));
        }
        Ok(model)
    }

    fn read_piece(&mut self, entry: &Field<'_>) -> Result<()> {
        let mut message = entry.message("pieces")?;
        let (mut text, mut score, mut kind) = ("", 0.0, PieceKind::Normal);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => text = field.text("pieces.piece")?,
                2 => score = field.float("pieces.score")?,
                // A value the schema does not know leaves the field unset.
                3 => {
                    kind = match field.integer("pieces.type")? {
                        1 => PieceKind::Normal,
                        2 => PieceKind::Unknown,
                        3 => PieceKind::Control,
                        4 => PieceKind::UserDefined,
                        5 => PieceKind::Unused,
                        6 => PieceKind::Byte,
                        _ => kind,
                    };
                }
                _ => {}
            }
        }
        if text.is_empty() {
            return Err(entry.refuse("pieces.piece", "a text", "an empty one"));
        }
        if score.is_nan() {
            return Err(entry.refuse("pieces.score", "a number", "NaN"));
        }
        let start = self.texts.len() as u32;
        self.texts.push_str(text);
        self.pieces.push(Piece { start, end: self.texts.len() as u32, score, kind });
        Ok(())
    }

    fn read_trainer_spec(&mut self, mut message: Message<'_>) -> Result<()> {
        while let Some(field) = message.next_field()? {
            let text = |name| field.text(name).map(str::to_owned);
            match field.number {
                3 => {
                    self.algorithm = match field.integer("trainer_spec.model_type")? {
                        1 => SentencePieceAlgorithm::Unigram,
                        2 => SentencePieceAlgorithm::Bpe,
                        3 => SentencePieceAlgorithm::Word,
                        4 => SentencePieceAlgorithm::Character,
                        _ => self.algorithm,
                    };
                }
                24 => {
                    let flag = field.boolean("trainer_spec.treat_whitespace_as_suffix")?;
                    self.treat_whitespace_as_suffix = flag;
                }
                31 => self.user_defined_symbols.push(text("trainer_spec.user_defined_symbols")?),
                35 => self.byte_fallback = field.boolean("trainer_spec.byte_fallback")?,
                40 => self.unk.id = field.integer("trainer_spec.unk_id")?,
                41 => self.bos.id = field.integer("trainer_spec.bos_id")?,
                42 => self.eos.id = field.integer("trainer_spec.eos_id")?,
                43 => self.pad.id = field.integer("trainer_spec.pad_id")?,
                44 => self.unk_surface = text("trainer_spec.unk_surface")?,
                45 => self.unk.text = text("trainer_spec.unk_piece")?,
                46 => self.bos.text = text("trainer_spec.bos_piece")?,
                47 => self.eos.text = text("trainer_spec.eos_piece")?,
                48 => self.pad.text = text("trainer_spec.pad_piece")?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The pieces in the order of their ids: text, score and what it is for.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = (&str, f32, PieceKind)> {
        self.pieces.iter().map(|piece| (self.text(piece), piece.score, piece.kind))
    }

    fn text(&self, piece: &Piece) -> &str {
        self.texts.part(piece.start as usize..piece.end as usize)
    }

    /// The merges that make up each normal piece of two others, for a BPE model that is told of merges and not of
    /// scores: pieces of higher score first, of equal ones those that come first, and of one piece those with the longer
    /// left part. Pieces of other kinds are never made by merging, nor merged.
    ///
    /// `scores` are the pieces to be made with their scores where they are not the model's own; of a repeated one the
    /// first place and the last score count. `tab` makes a tab a part where it is no piece and `<0x09>` is one.
    pub fn merges<'m>(
        &'m self,
        scores: Option<&'m [(String, f64)]>,
        tab: bool,
    ) -> Result<Vec<(&'m str, &'m str)>> {
        let kinds: HashMap<&str, PieceKind> =
            self.pieces.iter().map(|piece| (self.text(piece), piece.kind)).collect();
        let mut parts: Vec<&str> =
            kinds.iter().filter(|(_, kind)| **kind == PieceKind::Normal).map(|(text, _)| *text).collect();
        if tab && !kinds.contains_key("\t") && kinds.contains_key("<0x09>") {
            parts.push("\t");
        }
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut wholes: Vec<(&str, f64)> = Vec::new();
        let mut add = |text: &'m str, score: f64| {
            let place = *places.entry(text).or_insert(wholes.len());
            match wholes.get_mut(place) {
                Some(known) => known.1 = score,
                None => wholes.push((text, score)),
            }
        };
        match scores {
            Some(scores) => scores.iter().for_each(|(text, score)| add(text, *score)),
            None => self.pieces().for_each(|(text, score, _)| add(text, f64::from(score))),
        }
        if let Some((text, _)) = wholes.iter().find(|whole| whole.1.is_nan()) {
            return Err(Error::argument("scores", "numbers", format!("NaN for {}", quoted(text))));
        }
        wholes.retain(|(text, _)| kinds.get(text).is_none_or(|kind| *kind == PieceKind::Normal));
        // -0.0 equals 0.0 here, and there is no NaN.
        wholes.sort_by(|one, other| other.1.partial_cmp(&one.1).unwrap_or(Ordering::Equal));
        // One walk from the left and one from the right find all ways to cut a piece: looking each half up would take
        // quadratic time for a long one.
        let reversed: Vec<Vec<u8>> = parts.iter().map(|text| text.bytes().rev().collect()).collect();
        let lefts = Trie::new(parts.iter().map(|text| (text.as_bytes(), 0)));
        let rights = Trie::new(reversed.iter().map(|text| (text.as_slice(), 0)));
        let mut merges = Vec::new();
        let (mut backwards, mut suffixes): (Vec<u8>, Vec<usize>) = (Vec::new(), Vec::new());
        for (text, _) in wholes {
            backwards.clear();
            backwards.extend(text.bytes().rev());
            suffixes.clear();
            rights.prefixes(&backwards, |_, length| suffixes.push(text.len() - length));
            let from = merges.len();
            lefts.prefixes(text.as_bytes(), |_, at| {
                while suffixes.last().is_some_and(|start| *start < at) {
                    suffixes.pop();
                }
                if suffixes.last() == Some(&at) {
                    merges.extend(text.split_at_checked(at));
                }
            });
            if let Some(added) = merges.get_mut(from..) {
                added.reverse();
            }
        }
        Ok(merges)
    }
}

impl NormalizerSpec {
    fn read(&mut self, mut message: Message<'_>) -> Result<()> {
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => self.name = field.text("normalizer_spec.name")?.to_owned(),
                2 => {
                    self.precompiled_charsmap = field.bytes("normalizer_spec.precompiled_charsmap")?.to_vec()
                }
                3 => self.add_dummy_prefix = field.boolean("normalizer_spec.add_dummy_prefix")?,
                4 => {
                    let flag = field.boolean("normalizer_spec.remove_extra_whitespaces")?;
                    self.remove_extra_whitespaces = flag;
                }
                5 => self.escape_whitespaces = field.boolean("normalizer_spec.escape_whitespaces")?,
                _ => {}
            }
        }
        Ok(())
    }
}
