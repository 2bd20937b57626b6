//! Segmentation of normalized text by unigrams, words or characters.

use super::normalize::Normalized;
use super::{NONE, SentencePiece};
use crate::part::PartOf;
use crate::tokenizer::formats::{PieceKind, SentencePieceAlgorithm};

/// How much less than the lowest score a character costs that no piece covers.
const UNKNOWN_PENALTY: f32 = 10.0;
/// What each byte after the first adds to the score of a user-defined symbol.
const SYMBOL_BONUS: f32 = 0.1;
/// A sum below this starts anew, at the next place that all segmentations pass: else f32 would not tell the scores of
/// pieces apart in long texts.
const LOWEST_SUM: f32 = -100_000.0;

/// Lists used again from text to text.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(super) normalized: Normalized,
    /// Pieces from left to right: number and length in bytes.
    pub(super) found: Vec<(u32, usize)>,
    ends: Vec<End>,
}

/// The best way found to a place.
#[derive(Debug, Clone, Copy)]
struct End {
    score: f32,
    /// Where the last piece starts; [`NONE`] where none ends here.
    start: u32,
    number: u32,
}

impl SentencePiece {
    /// Finds the pieces of a normalized text.
    pub(super) fn segment(&self, text: &str, buffers: &mut Buffers) {
        buffers.found.clear();
        match self.algorithm {
            SentencePieceAlgorithm::Unigram => self.segment_by_score(text, buffers),
            SentencePieceAlgorithm::Bpe => self.segment_by_merging(text, &mut buffers.found),
            SentencePieceAlgorithm::Word => {
                // A word starts at each space.
                let mut start = 0;
                let starts = text.match_indices('\u{2581}').map(|found| found.0).skip_while(|at| *at == 0);
                for end in starts.chain(Some(text.len())) {
                    self.push(text.part(start..end), &mut buffers.found);
                    start = end;
                }
            }
            SentencePieceAlgorithm::Character => {
                let mut rest = text;
                while !rest.is_empty() {
                    let (part, after) = rest.split_at_checked(self.symbol(rest).0).unwrap_or((rest, ""));
                    self.push(part, &mut buffers.found);
                    rest = after;
                }
            }
        }
    }

    pub(super) fn push(&self, part: &str, found: &mut Vec<(u32, usize)>) {
        if !part.is_empty() {
            found.push((self.number(part), part.len()));
        }
    }

    /// Viterbi's algorithm. Sums are f32 and start anew as those of sentencepiece 0.2.3, so that ties are broken alike.
    fn segment_by_score(&self, text: &str, buffers: &mut Buffers) {
        let Buffers { found, ends, .. } = buffers;
        let unknown_score = self.lowest - UNKNOWN_PENALTY;
        ends.clear();
        ends.resize(text.len() + 1, End { score: 0.0, start: NONE, number: 0 });
        let (mut at, mut reached) = (0, 0);
        while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let mut here = ends.get(at).map_or(0.0, |end| end.score);
            if at == reached && here < LOWEST_SUM {
                here = 0.0;
            }
            let mut covered = false;
            let mut reach = |length: usize, score: f32, number| {
                let score = score + here;
                reached = reached.max(at + length);
                if let Some(end) = ends.get_mut(at + length)
                    && (end.start == NONE || score > end.score)
                {
                    *end = End { score, start: at as u32, number };
                }
            };
            self.trie.prefixes(text.as_bytes().part(at..), |number, length| {
                let score = match self.kind(number) {
                    PieceKind::Unused => return,
                    PieceKind::UserDefined => SYMBOL_BONUS * (length - 1) as f32,
                    _ => self.score(number),
                };
                reach(length, score, number);
                covered |= length == character.len_utf8();
            });
            if !covered {
                reach(character.len_utf8(), unknown_score, self.unknown);
            }
            at += character.len_utf8();
        }
        while at > 0 {
            let Some(end) = ends.get(at).filter(|end| (end.start as usize) < at) else { break };
            found.push((end.number, at - end.start as usize));
            at = end.start as usize;
        }
        found.reverse();
    }
}
