//! Encoded inputs as rows in flat lists, made the short way to ids where nothing else is asked for.

use super::batch::{Input, Settings, at_input, chunks};
use super::encoding::Encoding;
use super::ids::Buffers;
use super::plain::Scope;
use super::post_processor::{Part, PostProcessor};
use super::{Side, Tokenizer};
use crate::part::PartOf;
use crate::{Result, parallel};
use std::ops::Range;

/// What is wanted beside the ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Type ids.
    pub type_ids: bool,
    /// 1 for special tokens.
    pub special_tokens_mask: bool,
    /// Places in characters.
    pub offsets: bool,
}

/// Rows of tokens after one another. A list that was not wanted is empty.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Type ids; empty where all are 0.
    pub type_ids: Vec<u32>,
    /// 1 for special tokens.
    pub special: Vec<u8>,
    /// Places in characters.
    pub offsets: Vec<(u32, u32)>,
    /// Where each row ends.
    pub ends: Vec<usize>,
    /// The input each row comes from; empty where row `i` comes from input `i`.
    pub samples: Vec<u32>,
}

impl Rows {
    /// The range of each row.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        std::iter::once(0).chain(self.ends.iter().copied()).zip(&self.ends).map(|(start, end)| start..*end)
    }

    /// The length of the longest row and whether all are as long.
    pub fn lengths(parts: &[Rows]) -> (usize, bool) {
        let mut lengths = parts.iter().flat_map(Rows::ranges).map(|range| range.len());
        let first = lengths.next().unwrap_or(0);
        lengths
            .fold((first, true), |(longest, equal), length| (longest.max(length), equal && length == first))
    }

    /// The length of the longest row that is no part cut off from another.
    pub fn longest_input(parts: &[Rows]) -> usize {
        let part = |part: &Rows| {
            let first = |row: &usize| *row == 0 || part.samples.get(*row) != part.samples.get(*row - 1);
            let inputs = part.ranges().enumerate().filter(|(row, _)| part.samples.is_empty() || first(row));
            inputs.map(|(_, range)| range.len()).max().unwrap_or(0)
        };
        parts.iter().map(part).max().unwrap_or(0)
    }

    /// A copy of the ids' places and types alone, all types written out.
    pub(super) fn with_types(&self) -> Self {
        let mut type_ids = self.type_ids.clone();
        type_ids.resize(self.ids.len(), 0);
        Self { type_ids, ends: self.ends.clone(), ..Self::default() }
    }

    fn push(&mut self, encoding: &Encoding, sample: u32, wanted: Wanted, overflow: bool) {
        self.ids.extend_from_slice(&encoding.ids);
        if wanted.type_ids {
            self.type_ids.extend_from_slice(&encoding.type_ids);
        }
        if wanted.special_tokens_mask {
            self.special.extend_from_slice(&encoding.special);
        }
        if wanted.offsets {
            self.offsets.extend_from_slice(&encoding.offsets);
        }
        self.ends.push(self.ids.len());
        if overflow {
            self.samples.push(sample);
            for part in &encoding.overflowing {
                self.push(part, sample, wanted, false);
                self.samples.push(sample);
            }
        }
    }
}

/// Lists used again from input to input.
#[derive(Default)]
struct Scratch {
    first: Vec<u32>,
    second: Vec<u32>,
    buffers: Buffers,
}

impl Tokenizer {
    /// Encodes a batch into rows, in parts of consecutive inputs.
    pub fn encode_rows(
        &self,
        inputs: &[Input<'_>],
        settings: &Settings,
        wanted: Wanted,
    ) -> Result<Vec<Rows>> {
        self.check(settings)?;
        let (ranges, threads) = chunks(inputs, self.text_limit(settings));
        let follows_template = self.post_processor.as_ref().is_none_or(|each| each.template().is_some());
        let short = follows_template && !wanted.offsets && !settings.overflow;
        let parts = parallel::map(ranges.len(), threads, |chunk| {
            let range = ranges.get(chunk).cloned().unwrap_or_default();
            let part = inputs.part(range.clone());
            let mut rows = Rows::default();
            let mut scratch = Scratch::default();
            for (index, input) in range.zip(part) {
                let done = if short {
                    self.encode_row(input, settings, wanted, &mut rows, &mut scratch)
                } else {
                    self.encode(input, settings).map(|encoding| {
                        rows.push(&encoding, index as u32, wanted, settings.overflow);
                    })
                };
                done.map_err(|error| at_input(error, index))?;
            }
            Ok(rows)
        })?;
        parts.into_iter().collect()
    }

    fn encode_row(
        &self,
        input: &Input<'_>,
        settings: &Settings,
        wanted: Wanted,
        rows: &mut Rows,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let Scratch { first, second, buffers } = scratch;
        let limit = self.text_limit(settings);
        let mut scope = Scope { split_special: settings.split_special_tokens, limit };
        first.clear();
        second.clear();
        self.sequence_ids(&input.first, scope, first, buffers)?;
        if let Some(sequence) = &input.second {
            self.sequence_ids(sequence, scope, second, buffers)?;
        }
        let pair = input.second.is_some();
        let (mut left, mut right) = (0..first.len(), 0..second.len());
        if let Some(truncation) = &settings.truncation {
            let room = truncation.room(self.special_tokens(pair, settings))?;
            if let Some(sequence) = &input.second
                && self.must_compare(truncation, room, limit, first.len(), second.len())
            {
                scope.limit = None;
                first.clear();
                second.clear();
                self.sequence_ids(&input.first, scope, first, buffers)?;
                self.sequence_ids(sequence, scope, second, buffers)?;
            }
            let kept = truncation.keep(room, first.len(), pair.then_some(second.len()))?;
            let (keep_first, keep_second) = kept.unwrap_or((first.len(), second.len()));
            let cut = |length: usize, keep: usize| match truncation.side {
                Side::Right => 0..keep.min(length),
                Side::Left => length.saturating_sub(keep)..length,
            };
            left = cut(first.len(), keep_first);
            right = cut(second.len(), keep_second);
        }
        let sequence = |index: usize| match index {
            0 => first.part(left.clone()),
            _ => second.part(right.clone()),
        };
        match self.post_processor.as_ref().and_then(PostProcessor::template) {
            None => {
                rows.append(sequence(0), 0, 0, wanted);
                rows.append(sequence(1), 1, 0, wanted);
            }
            Some(template) => {
                for part in template.parts(pair) {
                    match part {
                        Part::Sequence { index, type_id } => {
                            rows.append(sequence(*index), *type_id, 0, wanted)
                        }
                        Part::Special { index, type_id } if settings.add_special_tokens => {
                            for (id, _) in template.tokens(*index) {
                                rows.append(&[*id], *type_id, 1, wanted);
                            }
                        }
                        Part::Special { .. } => {}
                    }
                }
            }
        }
        rows.ends.push(rows.ids.len());
        Ok(())
    }
}

impl Rows {
    #[inline]
    fn append(&mut self, ids: &[u32], type_id: u32, special: u8, wanted: Wanted) {
        if wanted.type_ids && (type_id != 0 || !self.type_ids.is_empty()) {
            // The types before the first that is not 0 were left out.
            self.type_ids.resize(self.ids.len(), 0);
            self.type_ids.resize(self.ids.len() + ids.len(), type_id);
        }
        self.ids.extend_from_slice(ids);
        if wanted.special_tokens_mask {
            self.special.resize(self.ids.len(), special);
        }
    }
}
