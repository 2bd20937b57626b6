//! The best segmentation of a word: Viterbi's algorithm over the places where pieces end.

use super::Unigram;
use crate::part::PartOf;
use crate::{Error, Result};

/// The best way found to a place in the word.
#[derive(Debug, Clone, Copy)]
struct End {
    /// The sum of scores from the word's start.
    score: f64,
    /// Where the last piece starts; [`UNREACHED`] where no piece ends here.
    start: u32,
    id: u32,
}

const UNREACHED: End = End { score: 0.0, start: u32::MAX, id: 0 };

/// Working memory of segmentation, to be used again for the next word.
#[derive(Debug, Clone, Default)]
pub struct Lattice {
    /// From the last place that every segmentation passes to the last place reached, one entry a byte.
    ends: Vec<End>,
    path: Vec<(u32, u32, u32)>,
}

impl Lattice {
    /// Calls `piece(id, start, end)` for each piece of the best segmentation, unknown characters with the id of the
    /// unknown one.
    ///
    /// Of equal sums the one found first stays: pieces are tried from the left, the shorter first, and the unknown
    /// character after them. Sums are made from the left, so that they round as in other implementations.
    pub(super) fn segment(
        &mut self,
        model: &Unigram,
        word: &str,
        mut piece: impl FnMut(u32, u32, u32),
    ) -> Result<()> {
        let bytes = word.as_bytes();
        self.ends.clear();
        self.ends.push(End { start: 0, ..UNREACHED });
        // The place of `ends[0]`, and the place looked at.
        let (mut first, mut at) = (0, 0);
        while let Some(lead) = bytes.get(at) {
            let width = match lead {
                0..0x80 => 1,
                0x80..0xE0 => 2,
                0xE0..0xF0 => 3,
                0xF0.. => 4,
            };
            let score = self.ends.get(at - first).map_or(0.0, |end| end.score);
            let mut covered = false;
            let ends = &mut self.ends;
            model.trie.prefixes(bytes.part(at..), |id, length| {
                covered |= length == width;
                let score = score + model.scores.get(id as usize).copied().unwrap_or_default();
                reach(ends, at - first + length, End { score, start: at as u32, id });
            });
            if !covered {
                let score = score + model.unknown_score;
                let found = End { score, start: at as u32, id: model.unk_id.unwrap_or(u32::MAX) };
                if reach(ends, at - first + width, found) && model.unk_id.is_none() {
                    let actual = word.part(at..at + width);
                    return Err(Error::argument(
                        "inputs",
                        "text the vocabulary covers, as model.unk_id is null",
                        format!("{actual:?}"),
                    ));
                }
            }
            at += width;
            // No piece goes on beyond this place: the best way to it is a part of the best way to the end.
            if at - first + 1 == self.ends.len() {
                self.pass(first, at, &mut piece);
                first = at;
            }
        }
        Ok(())
    }

    /// Passes on the best way from `first` to `at` and starts anew there.
    fn pass(&mut self, first: usize, at: usize, piece: &mut impl FnMut(u32, u32, u32)) {
        let Some(last) = self.ends.last().copied() else {
            return;
        };
        // Mostly one piece.
        if last.start as usize == first {
            piece(last.id, first as u32, at as u32);
        } else {
            self.path.clear();
            let mut to = at;
            while to > first {
                let Some(end) = self.ends.get(to - first).filter(|end| (end.start as usize) < to) else {
                    break;
                };
                self.path.push((end.id, end.start, to as u32));
                to = end.start as usize;
            }
            self.path.iter().rev().for_each(|(id, start, end)| piece(*id, *start, *end));
        }
        self.ends.clear();
        self.ends.push(last);
    }
}

/// Takes a way to place `to` where none is known or only one of a lower score; says whether it did.
#[inline(always)]
fn reach(ends: &mut Vec<End>, to: usize, found: End) -> bool {
    match ends.get_mut(to) {
        Some(end) if end.start == UNREACHED.start || found.score > end.score => {
            *end = found;
            true
        }
        Some(_) => false,
        None => {
            ends.resize(to, UNREACHED);
            ends.push(found);
            true
        }
    }
}
