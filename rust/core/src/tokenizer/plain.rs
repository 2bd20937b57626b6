//! The way from text to tokens in full detail: it defines what the short way to ids must equal.

use super::encoding::Encoding;
use super::model::Piece;
use super::segments::{Segment, Segments};
use super::text::{Edges, Text, Words, characters};
use super::{Sequence, Tokenizer};
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

/// Where a byte lies in characters, remembered so that the text is counted through once.
struct Place<'t> {
    text: &'t str,
    byte: usize,
    character: u32,
}

impl Place<'_> {
    fn seek(&mut self, byte: usize) -> u32 {
        let count = |range: Range<usize>| self.text.get(range).unwrap_or_default().chars().count() as u32;
        self.character = if byte >= self.byte {
            self.character + count(self.byte..byte)
        } else {
            self.character - count(byte..self.byte)
        };
        self.byte = byte;
        self.character
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
}

impl Target<'_> {
    fn word(&mut self) -> u32 {
        self.next += 1;
        self.fixed.unwrap_or(self.next - 1)
    }

    fn added(&mut self, id: u32, text: &str, usual: Option<&str>, offsets: (u32, u32)) {
        let word = self.word();
        if usual != Some(text) {
            self.encoding.texts.push((self.encoding.len() as u32, text.into()));
        }
        self.encoding.push(id, offsets, word);
    }
}

impl Tokenizer {
    /// The tokens of a sequence, of type 0, before truncation and post-processing.
    pub(super) fn encode_sequence(&self, sequence: &Sequence<'_>, scope: Scope) -> Result<Encoding> {
        let mut encoding = Encoding::default();
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

    /// Whether a text may be worked through in parts that are cut at spaces.
    pub(super) fn can_cut(&self) -> bool {
        self.pre_tokenizer.is_some() && self.added.normalized().is_none()
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
        let mut target = Target { encoding, fixed: word, next: 0, pieces: Vec::new() };
        let lazy = scope.limit.is_some() && self.can_cut();
        for segment in Segments::new(&self.added, self.added.raw(), text, scope.split_special, lazy) {
            match segment {
                Segment::Token(id, range) => {
                    let offsets = (place.seek(range.start), place.seek(range.end));
                    let content = text.get(range).unwrap_or_default();
                    target.added(id, content, self.usual_text(id), offsets);
                }
                Segment::Text(range) => {
                    let first = place.seek(range.start);
                    let piece = text.get(range).unwrap_or_default();
                    self.encode_piece(piece, first, scope, &mut target)?;
                }
            }
            if scope.reached(target.encoding.len()) {
                break;
            }
        }
        Ok(())
    }

    /// Appends the ids of text without added tokens.
    pub(super) fn piece_ids(&self, piece: &str, ids: &mut Vec<u32>) -> Result<()> {
        let mut encoding = Encoding::default();
        let mut target = Target { encoding: &mut encoding, fixed: None, next: 0, pieces: Vec::new() };
        self.encode_piece(piece, 0, Scope::default(), &mut target)?;
        ids.extend_from_slice(&encoding.ids);
        Ok(())
    }

    /// Text without added tokens; its first character has index `first` in the whole.
    fn encode_piece(&self, piece: &str, first: u32, scope: Scope, target: &mut Target<'_>) -> Result<()> {
        let mut characters = characters(piece, first);
        if let Some(normalizer) = &self.normalizer {
            normalizer.apply(&mut characters, Edges::piece(first))?;
        }
        let text = Text::from_characters(&characters);
        let Some(matcher) = self.added.normalized() else {
            let whole = 0..text.text().len();
            return self.encode_words(Words::new(text, whole), scope, target);
        };
        for segment in Segments::new(&self.added, Some(matcher), text.text(), scope.split_special, false) {
            match segment {
                Segment::Token(id, range) => {
                    let offsets = text.original(range.clone());
                    target.added(id, text.slice(range), self.usual_text(id), offsets);
                }
                Segment::Text(range) => {
                    let part: Vec<_> = text.characters(range).collect();
                    let part = Text::from_characters(&part);
                    let whole = 0..part.text().len();
                    self.encode_words(Words::new(part, whole), scope, target)?;
                }
            }
            if scope.reached(target.encoding.len()) {
                break;
            }
        }
        Ok(())
    }

    fn encode_words(&self, mut words: Words, scope: Scope, target: &mut Target<'_>) -> Result<()> {
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.apply(&mut words)?;
        }
        for word in words.ranges {
            if scope.reached(target.encoding.len()) {
                break;
            }
            target.pieces.clear();
            self.model.tokenize(words.text.slice(word.clone()), &mut target.pieces)?;
            let number = target.word();
            for piece in &target.pieces {
                let range = word.start + piece.start as usize..word.start + piece.end as usize;
                target.encoding.push(piece.id, words.text.original(range), number);
            }
        }
        Ok(())
    }
}
