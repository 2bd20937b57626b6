//! The way from text to tokens in full detail: it defines what the short way to ids must equal.

use super::encoding::Encoding;
use super::model::{Piece, Scratch};
use super::post_processor::PostProcessor;
use super::segments::{Segment, Segments};
use super::text::{Edges, Text, Words, characters};
use super::{Sequence, Tokenizer};
use crate::part::PartOf;
use crate::{Error, Result};
use std::ops::Range;

/// How much of a sequence is needed and what counts as an added token in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scope {
    /// Special added tokens are split like any text.
    pub split_special: bool,
    /// More tokens than this need not be produced.
    pub limit: Option<usize>,
}

impl Scope {
    pub fn reached(&self, tokens: usize) -> bool {
        self.limit.is_some_and(|limit| tokens >= limit)
    }
}

/// A part of a normalized text.
pub(super) enum Part<'t> {
    /// An added token.
    Token {
        /// Its id.
        id: u32,
        /// The text it takes.
        text: &'t str,
        /// The original characters it takes.
        offsets: (u32, u32),
    },
    /// The words between added tokens.
    Words(Words),
}

/// Where a byte lies in characters, remembered so that the text is counted through once.
struct Place<'t> {
    text: &'t str,
    byte: usize,
    character: u32,
}

impl Place<'_> {
    fn seek(&mut self, byte: usize) -> u32 {
        let count = |range: Range<usize>| self.text.part(range).chars().count() as u32;
        self.character = if byte >= self.byte {
            self.character + count(self.byte..byte)
        } else {
            self.character - count(byte..self.byte)
        };
        self.byte = byte;
        self.character
    }

    /// Bytes as characters of the whole text, where it reaches as far; else as they are.
    fn characters(&mut self, start: u32, end: u32) -> (u32, u32) {
        let mut character = |byte: u32| {
            let byte = byte as usize;
            let boundary = (0..=byte).rev().find(|at| self.text.is_char_boundary(*at));
            (byte < self.text.len()).then(|| self.seek(boundary.unwrap_or(0)))
        };
        let Some(first) = character(start) else { return (start, end) };
        let after = character(end).unwrap_or_else(|| character(end - 1).unwrap_or(first + 1) + 1);
        (first, after)
    }
}

/// The tokens of one text as they come.
struct Target<'e> {
    encoding: &'e mut Encoding,
    /// The word given to all tokens of a pre-split word.
    fixed: Option<u32>,
    /// The next word's number otherwise.
    next: u32,
    pieces: Vec<Piece>,
    scratch: Scratch,
    /// Numbers of a remembered word.
    found: Vec<u32>,
    /// For tokens that reach beyond their word.
    beyond: Place<'e>,
    /// How many more bytes the texts of added tokens may add up to.
    room: usize,
    /// Whether white space will be trimmed off offsets.
    trims: bool,
}

/// Added tokens that take the white space after them can share it. Their texts may add up to this, and to
/// [`SHARES`] times the text.
const SHARED: usize = 64 << 20;
const SHARES: usize = 16;

impl Target<'_> {
    fn word(&mut self) -> u32 {
        self.next += 1;
        self.fixed.unwrap_or(self.next - 1)
    }

    fn added(&mut self, id: u32, text: &str, usual: Option<&str>, offsets: (u32, u32)) -> Result<()> {
        self.room = self.room.checked_sub(text.len()).ok_or_else(|| {
            Error::argument("inputs", "added tokens that do not share this much white space", "more")
        })?;
        let word = self.word();
        if usual != Some(text) {
            self.encoding.texts.push((self.encoding.len() as u32, text.into()));
        }
        self.encoding.push(id, offsets, word);
        Ok(())
    }
}

impl Tokenizer {
    /// The tokens of a sequence, of type 0, before truncation and post-processing.
    pub(super) fn encode_sequence(&self, sequence: &Sequence<'_>, scope: Scope) -> Result<Encoding> {
        let mut encoding = Encoding::default();
        // Most tokens are longer than this, of what most texts are made of.
        encoding.reserve(scope.limit.unwrap_or(usize::MAX).min(sequence.bytes() / 4));
        match sequence {
            Sequence::Text(text) => self.encode_text(text, None, scope, &mut encoding)?,
            Sequence::Words(words) => {
                for (index, word) in words.iter().enumerate() {
                    self.encode_text(word, Some(index as u32), scope, &mut encoding)?;
                    if scope.reached(encoding.len()) {
                        break;
                    }
                }
            }
        }
        Ok(encoding)
    }

    fn encode_text(
        &self,
        text: &str,
        word: Option<u32>,
        scope: Scope,
        encoding: &mut Encoding,
    ) -> Result<()> {
        if text.len() > i32::MAX as usize {
            return Err(Error::argument("inputs", "at most 2 GiB of text", format!("{} bytes", text.len())));
        }
        let mut place = Place { text, byte: 0, character: 0 };
        let mut target = Target {
            encoding,
            fixed: word,
            next: 0,
            pieces: Vec::new(),
            scratch: Scratch::default(),
            found: Vec::new(),
            beyond: Place { text, byte: 0, character: 0 },
            room: text.len().saturating_mul(SHARES).saturating_add(SHARED),
            trims: self.post_processor.as_ref().is_some_and(PostProcessor::trims_offsets),
        };
        let lazy = self.is_lazy(scope, true);
        for segment in Segments::new(&self.added, self.added.raw(), text, scope.split_special, lazy) {
            match segment {
                Segment::Token(id, range) => {
                    let offsets = (place.seek(range.start), place.seek(range.end));
                    let content = text.part(range);
                    target.added(id, content, self.usual_text(id), offsets)?;
                }
                Segment::Text(range) => {
                    let first = place.seek(range.start);
                    let piece = text.part(range);
                    self.encode_piece(piece, first, scope, &mut target)?;
                }
            }
            if scope.reached(target.encoding.len()) {
                break;
            }
        }
        Ok(())
    }

    /// Text without added tokens; its first character has index `first` in the whole.
    fn encode_piece(&self, piece: &str, first: u32, scope: Scope, target: &mut Target<'_>) -> Result<()> {
        let normalized = self.normalize_piece(piece, first, Edges::BOTH)?;
        self.parts(normalized, scope, |part| {
            match part {
                Part::Token { id, text, offsets } => target.added(id, text, self.usual_text(id), offsets)?,
                Part::Words(words) => self.encode_words(words, scope, target)?,
            }
            Ok(!scope.reached(target.encoding.len()))
        })
    }

    /// Normalizes a part of a piece.
    pub(super) fn normalize_piece(&self, text: &str, first: u32, edges: Edges) -> Result<Text> {
        let mut characters = characters(text, first);
        if let Some(normalizer) = &self.normalizer {
            normalizer.apply(&mut characters, edges)?;
        }
        Ok(Text::from_characters(&characters))
    }

    /// Calls `take` with the added tokens found in normalized text and the words between them, until it says no.
    pub(super) fn parts(
        &self,
        normalized: Text,
        scope: Scope,
        mut take: impl FnMut(Part<'_>) -> Result<bool>,
    ) -> Result<()> {
        let words = |text: Text| {
            let whole = 0..text.text().len();
            let mut words = Words::new(text, whole);
            if let Some(pre_tokenizer) = &self.pre_tokenizer {
                pre_tokenizer.apply(&mut words)?;
            }
            Ok(Part::Words(words))
        };
        let Some(matcher) = self.added.normalized() else {
            take(words(normalized)?)?;
            return Ok(());
        };
        for segment in
            Segments::new(&self.added, Some(matcher), normalized.text(), scope.split_special, false)
        {
            let part = match segment {
                Segment::Token(id, range) => {
                    let offsets = normalized.original(range.clone());
                    Part::Token { id, text: normalized.slice(range), offsets }
                }
                Segment::Text(range) => {
                    let characters: Vec<_> = normalized.characters(range).collect();
                    words(Text::from_characters(&characters))?
                }
            };
            if !take(part)? {
                break;
            }
        }
        Ok(())
    }

    fn encode_words(&self, words: Words, scope: Scope, target: &mut Target<'_>) -> Result<()> {
        for word in words.ranges {
            if scope.reached(target.encoding.len()) {
                break;
            }
            target.pieces.clear();
            let text = words.text.slice(word.clone());
            let Target { scratch, found, pieces, .. } = &mut *target;
            self.pieces.tokenize(&self.model, text, scratch, found, pieces)?;
            let number = target.word();
            let length = word.len();
            let first = target.encoding.len();
            let texts = target.scratch.texts.drain(..);
            target.encoding.texts.extend(texts.map(|(index, text)| ((first + index) as u32, text)));
            for piece in &target.pieces {
                let range = word.start + piece.start as usize..word.start + piece.end as usize;
                let offsets = if piece.end as usize <= length {
                    if target.trims
                        && let Some(start) = words.text.start_after_space(range.clone())
                    {
                        target.encoding.starts.push((target.encoding.len() as u32, start));
                    }
                    words.text.original(range)
                } else {
                    target.beyond.characters(piece.start, piece.end)
                };
                target.encoding.push(piece.id, offsets, number);
            }
        }
        Ok(())
    }
}
