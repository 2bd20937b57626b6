//! What the model makes of words, remembered for the way in full detail.

use super::cache::{Cache, Key, LONGEST};
use super::model::{Model, Piece, Scratch};
use crate::Result;
use crate::part::PartOf;

/// The visible space of sentencepiece, before which a text that is one word may often be cut.
pub const SPACE_SIGN: char = '\u{2581}';

/// The tokens of words met before. They depend on the model alone.
#[derive(Debug)]
pub struct PieceCache {
    cache: Cache,
    /// No token reaches over a place where this follows something else.
    marker: Option<char>,
}

impl PieceCache {
    /// For a model.
    pub fn new(model: &Model) -> Self {
        let cut = matches!(model, Model::Bpe(model) if model.no_token_crosses(SPACE_SIGN));
        Self { cache: Cache::default(), marker: cut.then_some(SPACE_SIGN) }
    }

    /// Whether no token reaches over a place where [`SPACE_SIGN`] follows something else, so that texts may be cut there.
    pub fn cuts_words(&self) -> bool {
        self.marker.is_some()
    }

    /// Appends the tokens of a word.
    pub fn tokenize(
        &self,
        model: &Model,
        word: &str,
        scratch: &mut Scratch,
        found: &mut Vec<u32>,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        let Some(marker) = self.marker.filter(|_| word.len() > LONGEST) else {
            return self.part(model, word, scratch, found, pieces);
        };
        let (mut start, mut shift) = (0, 0);
        let mut before = marker;
        let cuts = word.char_indices().filter(|(_, c)| {
            let left = std::mem::replace(&mut before, *c);
            *c == marker && left != marker
        });
        for end in cuts.map(|(at, _)| at).chain(std::iter::once(word.len())) {
            let from = pieces.len();
            self.part(model, word.part(start..end), scratch, found, pieces)?;
            for piece in pieces.get_mut(from..).unwrap_or_default() {
                piece.start += shift;
                piece.end += shift;
            }
            // Characters that were dropped count for nothing.
            shift = pieces.last().map_or(0, |last| last.end);
            start = end;
        }
        Ok(())
    }

    fn part(
        &self,
        model: &Model,
        word: &str,
        scratch: &mut Scratch,
        found: &mut Vec<u32>,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        let key = match model {
            // Looking a word up there takes no longer.
            Model::WordPiece(_) | Model::WordLevel(_) => None,
            // It gets whole texts.
            Model::SentencePiece(_) => None,
            Model::Bpe(_) | Model::Unigram(_) => Key::new(word.as_bytes(), 0),
        };
        let Some(key) = key else {
            return model.tokenize(word, scratch, pieces);
        };
        found.clear();
        if self.cache.get(&key, found) {
            pieces.extend(found.as_chunks().0.iter().map(|[id, place]| Piece {
                id: *id,
                start: place >> 16,
                end: place & 0xFFFF,
            }));
            return Ok(());
        }
        let before = pieces.len();
        model.tokenize(word, scratch, pieces)?;
        // Tokens with texts of their own are not kept.
        if !scratch.texts.is_empty() {
            return Ok(());
        }
        for piece in pieces.part(before..) {
            // Bytes of a prefix or suffix can reach far beyond a word.
            if piece.end > 0xFFFF {
                return Ok(());
            }
            found.extend([piece.id, piece.start << 16 | piece.end]);
        }
        self.cache.put(&key, found);
        Ok(())
    }
}
