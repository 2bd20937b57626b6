//! The short ways from text to ids, which keep nothing of places or words.
//!
//! They must equal the plain way in ids (tests/tokenizer_fast.rs); where a text needs more than they know, they say so
//! and the plain way is taken.

mod bytes;
mod characters;
mod chunks;
mod cut;
mod merges;
mod words;

use super::model::{Model, Scratch};
use super::plain::Scope;
use super::segments::{Segment, Segments};
use super::{Sequence, Tokenizer};
use crate::Result;
use crate::part::PartOf;
use chunks::{Chunks, Piece};
use std::sync::Arc;
use words::WordTable;

/// A short way to ids.
#[derive(Debug)]
pub(super) enum Way {
    /// BERT's components: a table of whole words.
    Words(Box<WordTable>),
    /// Texts are cut at spaces and the ids of the parts remembered.
    Chunks(Box<Chunks>),
}

/// Lists used again from text to text.
#[derive(Default)]
pub(super) struct Buffers {
    word: Vec<u8>,
    model: Scratch,
}

impl Way {
    /// The shortest one for a tokenizer's components.
    pub fn new(tokenizer: &Tokenizer) -> Option<Arc<Self>> {
        let words = if tokenizer.added.normalized().is_none() { WordTable::new(tokenizer) } else { None };
        let way = words.map(|words| Self::Words(Box::new(words)));
        way.or_else(|| Chunks::new(tokenizer).map(|chunks| Self::Chunks(Box::new(chunks)))).map(Arc::new)
    }

    /// The one of a tokenizer whose added tokens changed: what is remembered of texts need not hold any more.
    pub fn renew(tokenizer: &Tokenizer) -> Option<Arc<Self>> {
        match &tokenizer.way {
            Some(way) if matches!(**way, Self::Words(_)) && tokenizer.added.normalized().is_none() => {
                Some(way.clone())
            }
            _ => Self::new(tokenizer),
        }
    }
}

impl Tokenizer {
    /// Appends the ids of a sequence, before truncation and post-processing.
    pub(super) fn sequence_ids(
        &self,
        sequence: &Sequence<'_>,
        scope: Scope,
        ids: &mut Vec<u32>,
        buffers: &mut Buffers,
    ) -> Result<()> {
        let before = ids.len();
        let Some(way) = &self.way else {
            ids.extend_from_slice(&self.encode_sequence(sequence, scope)?.ids);
            return Ok(());
        };
        match sequence {
            Sequence::Text(text) => self.text_ids(way, text, scope, ids, buffers),
            Sequence::Words(words) => {
                for word in *words {
                    if scope.reached(ids.len() - before) {
                        break;
                    }
                    self.text_ids(way, word, scope, ids, buffers)?;
                }
                Ok(())
            }
        }
    }

    /// Whether only as much of a text is looked at as the limit asks for: it is cut at spaces, and each part treated like
    /// a piece. `plain`: on the way in full detail, to which a part is a whole piece.
    pub(super) fn is_lazy(&self, scope: Scope, plain: bool) -> bool {
        let cuts = match self.way.as_deref() {
            Some(Way::Words(_)) => true,
            Some(Way::Chunks(chunks)) => !plain && chunks.is_lazy(),
            None => false,
        };
        cuts && scope.limit.is_some()
    }

    fn text_ids(
        &self,
        way: &Way,
        text: &str,
        scope: Scope,
        ids: &mut Vec<u32>,
        buffers: &mut Buffers,
    ) -> Result<()> {
        let before = ids.len();
        let limit = scope.limit.map_or(usize::MAX, |limit| before.saturating_add(limit));
        let lazy = self.is_lazy(scope, false);
        let mut starts = true;
        for segment in Segments::new(&self.added, self.added.raw(), text, scope.split_special, lazy) {
            match segment {
                Segment::Token(id, _) => {
                    ids.push(id);
                    starts = true;
                }
                Segment::Text(range) => {
                    let first = range.start == 0;
                    let piece = text.part(range);
                    let done = match (way, &*self.model) {
                        (Way::Words(table), Model::WordPiece(model)) => {
                            table.piece(model, piece, limit, ids, &mut buffers.word)
                        }
                        (Way::Words(_), _) => false,
                        (Way::Chunks(chunks), _) => {
                            let piece = Piece { text: piece, starts, first };
                            chunks.piece(self, piece, scope, limit, &mut buffers.model, ids)?
                        }
                    };
                    if !done {
                        ids.truncate(before);
                        ids.extend_from_slice(&self.encode_sequence(&Sequence::Text(text), scope)?.ids);
                        return Ok(());
                    }
                    starts = false;
                }
            }
            if ids.len() >= limit {
                break;
            }
        }
        Ok(())
    }
}
