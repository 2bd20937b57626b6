//! Rows as rectangles of int64, padded, or packed end to end.

use super::batch::{Input, Settings};
use super::padding::Padding;
use super::rows::{Rows, Wanted};
use super::{Side, Tokenizer};
use crate::{Error, Result};

/// Rectangular int64 arrays of `rows` x `columns`; None for what was not wanted.
#[derive(Debug, Clone, Default)]
pub struct Arrays {
    /// How many rows there are.
    pub rows: usize,
    /// How long each is.
    pub columns: usize,
    /// Token ids.
    pub input_ids: Vec<i64>,
    /// 0 for padding.
    pub attention_mask: Option<Vec<i64>>,
    /// Type ids.
    pub token_type_ids: Option<Vec<i64>>,
    /// 1 for special tokens and padding.
    pub special_tokens_mask: Option<Vec<i64>>,
    /// Start and end in characters, `rows` x `columns` x 2.
    pub offset_mapping: Option<Vec<i64>>,
    /// The input of each row.
    pub overflow_to_sample_mapping: Option<Vec<i64>>,
}

/// Rows end to end.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    /// Token ids.
    pub input_ids: Vec<i64>,
    /// Type ids.
    pub token_type_ids: Vec<i64>,
    /// The column of each token in its row.
    pub position_ids: Vec<i64>,
    /// Where each row starts, and where the last ends.
    pub cu_seqlens: Vec<i64>,
    /// The input of each row, where parts cut off have rows of their own.
    pub overflow_to_sample_mapping: Option<Vec<i64>>,
}

/// Writes one list of each row into a rectangle.
fn rectangle<T: Copy, const N: usize>(
    parts: &[Rows],
    columns: usize,
    side: Side,
    padding: [i64; N],
    list: impl Fn(&Rows) -> &[T],
    value: impl Fn(T) -> [i64; N] + Copy,
) -> Vec<i64> {
    let count: usize = parts.iter().map(|part| part.ends.len()).sum();
    let mut array = Vec::with_capacity(count * columns * N);
    for part in parts {
        let values = list(part);
        for range in part.ranges() {
            let missing = columns.saturating_sub(range.len());
            let row = values.get(range).unwrap_or_default();
            let pad = |array: &mut Vec<i64>| {
                array.extend(std::iter::repeat_n(padding, missing).flatten());
            };
            if side == Side::Left {
                pad(&mut array);
            }
            array.extend(row.iter().flat_map(|item| value(*item)));
            if side == Side::Right {
                pad(&mut array);
            }
        }
    }
    array
}

fn samples(parts: &[Rows]) -> Vec<i64> {
    parts.iter().flat_map(|part| &part.samples).map(|sample| i64::from(*sample)).collect()
}

impl Tokenizer {
    /// Encodes a batch into rectangular arrays. Rows of differing lengths without padding are refused.
    pub fn encode_arrays(
        &self,
        inputs: &[Input<'_>],
        settings: &Settings,
        wanted: Wanted,
        attention_mask: bool,
    ) -> Result<Arrays> {
        let parts = self.encode_rows(inputs, settings, wanted)?;
        let (longest, equal) = Rows::lengths(&parts);
        let padding = settings.padding.as_ref();
        let columns = padding.map_or(longest, |padding| padding.target(Rows::longest_input(&parts)));
        let fits = equal || padding.is_some() && longest <= columns;
        let columns = if fits { columns.max(longest) } else { columns };
        if !fits {
            let lengths: Vec<usize> = parts.iter().flat_map(Rows::ranges).map(|range| range.len()).collect();
            let (shortest, count) = (lengths.iter().min().unwrap_or(&0), lengths.len());
            let actual = match padding {
                None => format!("{count} rows of {shortest} to {longest} tokens and no padding"),
                Some(_) => format!("{count} rows of up to {longest} tokens, padded to {columns}"),
            };
            return Err(Error::argument("padding", "rows of equal length, by padding or truncation", actual));
        }
        let rows = parts.iter().map(|part| part.ends.len()).sum();
        if let Some(padding) = padding {
            padding.check(rows, columns)?;
        }
        let side = padding.map_or(Side::Right, |padding| padding.side);
        let (id, type_id) = padding.map_or((0, 0), |padding: &Padding| (padding.id, padding.type_id));
        let size = rows * columns;
        let one = |value: u32| [i64::from(value)];
        let typed = parts.iter().any(|part| !part.type_ids.is_empty()) || type_id != 0;
        Ok(Arrays {
            rows,
            columns,
            input_ids: rectangle(&parts, columns, side, [i64::from(id)], |part| &part.ids, one),
            attention_mask: attention_mask
                .then(|| rectangle(&parts, columns, side, [0], |part| &part.ids, |_| [1])),
            token_type_ids: wanted.type_ids.then(|| {
                // Zeros from the system cost nothing until they are read.
                if !typed {
                    return vec![0; size];
                }
                let filled: Vec<Rows> = parts.iter().map(Rows::with_types).collect();
                rectangle(&filled, columns, side, [i64::from(type_id)], |part| &part.type_ids, one)
            }),
            special_tokens_mask: wanted.special_tokens_mask.then(|| {
                rectangle(&parts, columns, side, [1], |part| &part.special, |flag| [i64::from(flag)])
            }),
            offset_mapping: wanted.offsets.then(|| {
                let pair = |place: (u32, u32)| [i64::from(place.0), i64::from(place.1)];
                rectangle(&parts, columns, side, [0, 0], |part| &part.offsets, pair)
            }),
            overflow_to_sample_mapping: settings.overflow.then(|| samples(&parts)),
        })
    }

    /// Encodes a batch without padding, rows end to end.
    pub fn encode_packed(&self, inputs: &[Input<'_>], settings: &Settings) -> Result<Packed> {
        let parts = self.encode_rows(inputs, settings, Wanted { type_ids: true, ..Wanted::default() })?;
        let total = parts.iter().map(|part| part.ids.len()).sum();
        let mut packed = Packed {
            input_ids: Vec::with_capacity(total),
            token_type_ids: Vec::with_capacity(total),
            position_ids: Vec::with_capacity(total),
            cu_seqlens: vec![0],
            overflow_to_sample_mapping: settings.overflow.then(|| samples(&parts)),
        };
        for part in &parts {
            let shift = packed.input_ids.len() as i64;
            packed.input_ids.extend(part.ids.iter().map(|id| i64::from(*id)));
            packed.token_type_ids.extend(part.type_ids.iter().map(|id| i64::from(*id)));
            packed.token_type_ids.resize(packed.input_ids.len(), 0);
            for range in part.ranges() {
                packed.position_ids.extend(0..range.len() as i64);
                packed.cu_seqlens.push(shift + range.end as i64);
            }
        }
        Ok(packed)
    }

    /// Encodes a batch into one list of ids and where each text starts in it; one more for the end.
    pub fn encode_flat(
        &self,
        inputs: &[Input<'_>],
        add_special_tokens: bool,
    ) -> Result<(Vec<u32>, Vec<i64>)> {
        let settings = Settings { add_special_tokens, ..Settings::default() };
        let parts = self.encode_rows(inputs, &settings, Wanted::default())?;
        let mut offsets = Vec::with_capacity(inputs.len() + 1);
        offsets.push(0);
        let mut ids: Vec<u32> = Vec::with_capacity(parts.iter().map(|part| part.ids.len()).sum());
        for part in &parts {
            offsets.extend(part.ends.iter().map(|end| (ids.len() + end) as i64));
            ids.extend_from_slice(&part.ids);
        }
        Ok((ids, offsets))
    }
}
