//! Encoded batches as numpy arrays and as lists.

use numpy::ndarray::{Array2, Array3};
use numpy::{IntoPyArray, PyArray1};
use oxiformers_core::tokenizer::{
    Arrays, Packed, Padding, Rows, SavedPadding, SavedTruncation, Side, TruncationStrategy, Wanted,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple};

fn side(side: Side) -> &'static str {
    match side {
        Side::Left => "left",
        Side::Right => "right",
    }
}

/// The truncation a tokenizer.json carries, by the names of a call's arguments.
pub fn saved_truncation<'py>(py: Python<'py>, saved: &SavedTruncation) -> PyResult<Bound<'py, PyDict>> {
    let strategy = match saved.strategy {
        TruncationStrategy::LongestFirst => "longest_first",
        TruncationStrategy::OnlyFirst => "only_first",
        TruncationStrategy::OnlySecond => "only_second",
    };
    let dict = PyDict::new(py);
    dict.set_item("max_length", saved.max_length)?;
    dict.set_item("strategy", strategy)?;
    dict.set_item("stride", saved.stride)?;
    dict.set_item("direction", side(saved.side))?;
    Ok(dict)
}

/// The padding a tokenizer.json carries, by the names of a call's arguments.
pub fn saved_padding<'py>(py: Python<'py>, saved: &SavedPadding) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("strategy", if saved.length.is_some() { "max_length" } else { "longest" })?;
    dict.set_item("length", saved.length)?;
    dict.set_item("direction", side(saved.side))?;
    dict.set_item("pad_to_multiple_of", saved.multiple_of)?;
    dict.set_item("pad_id", saved.id)?;
    dict.set_item("pad_type_id", saved.type_id)?;
    dict.set_item("pad_token", &saved.token)?;
    Ok(dict)
}

/// A vector as an array of two dimensions, moved, not copied.
fn rectangle<'py>(
    py: Python<'py>,
    rows: usize,
    columns: usize,
    values: Vec<i64>,
) -> PyResult<Bound<'py, PyAny>> {
    let array = Array2::from_shape_vec((rows, columns), values);
    Ok(array.map_err(|error| PyRuntimeError::new_err(error.to_string()))?.into_pyarray(py).into_any())
}

/// The arrays that were wanted, by their names in transformers.
pub fn arrays(py: Python<'_>, arrays: Arrays) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    let (rows, columns) = (arrays.rows, arrays.columns);
    dict.set_item("input_ids", rectangle(py, rows, columns, arrays.input_ids)?)?;
    let flat = [
        ("token_type_ids", arrays.token_type_ids),
        ("attention_mask", arrays.attention_mask),
        ("special_tokens_mask", arrays.special_tokens_mask),
    ];
    for (name, values) in flat {
        if let Some(values) = values {
            dict.set_item(name, rectangle(py, rows, columns, values)?)?;
        }
    }
    if let Some(values) = arrays.offset_mapping {
        let array = Array3::from_shape_vec((rows, columns, 2), values);
        let array = array.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        dict.set_item("offset_mapping", array.into_pyarray(py))?;
    }
    if let Some(values) = arrays.overflow_to_sample_mapping {
        dict.set_item("overflow_to_sample_mapping", PyArray1::from_vec(py, values))?;
    }
    Ok(dict)
}

/// Packed rows by their names.
pub fn packed(py: Python<'_>, packed: Packed) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("input_ids", PyArray1::from_vec(py, packed.input_ids))?;
    dict.set_item("token_type_ids", PyArray1::from_vec(py, packed.token_type_ids))?;
    dict.set_item("position_ids", PyArray1::from_vec(py, packed.position_ids))?;
    dict.set_item("cu_seqlens", PyArray1::from_vec(py, packed.cu_seqlens))?;
    if let Some(values) = packed.overflow_to_sample_mapping {
        dict.set_item("overflow_to_sample_mapping", PyArray1::from_vec(py, values))?;
    }
    Ok(dict)
}

/// From how many ids on a table of integers pays for itself, and from how many rows on collections are held off.
const MANY: usize = 1 << 13;

/// Python's integers for ids. In a large batch each is made once: an id comes up again and again.
struct Integers<'py> {
    py: Python<'py>,
    known: Vec<Option<Bound<'py, PyInt>>>,
}

impl<'py> Integers<'py> {
    /// Ids from here on are made each time.
    const KEPT: usize = 1 << 18;

    fn new(py: Python<'py>, parts: &[Rows]) -> Self {
        let count: usize = parts.iter().map(|part| part.ids.len()).sum();
        let largest = parts.iter().flat_map(|part| &part.ids).max().map_or(0, |id| *id as usize + 1);
        Self { py, known: vec![None; if count < MANY { 0 } else { largest.min(Self::KEPT) }] }
    }

    fn get(&mut self, value: u32) -> PyResult<Bound<'py, PyAny>> {
        let made = match self.known.get_mut(value as usize) {
            Some(Some(known)) => known.clone(),
            Some(place) => place.insert(value.into_pyobject(self.py)?).clone(),
            None => value.into_pyobject(self.py)?,
        };
        Ok(made.into_any())
    }
}

/// Holds off Python's cyclic garbage collection: thousands of new lists would trigger it again and again in vain.
/// The interpreter lock is held all the while, so no one else notices.
struct NoCollection<'py>(Option<Bound<'py, PyModule>>);

impl<'py> NoCollection<'py> {
    fn start(py: Python<'py>) -> PyResult<Self> {
        let collector = py.import("gc")?;
        if !collector.call_method0("isenabled")?.extract::<bool>()? {
            return Ok(Self(None));
        }
        collector.call_method0("disable")?;
        Ok(Self(Some(collector)))
    }
}

impl Drop for NoCollection<'_> {
    fn drop(&mut self) {
        if let Some(collector) = &self.0
            && let Err(error) = collector.call_method0("enable")
        {
            error.write_unraisable(collector.py(), None);
        }
    }
}

/// Makes rows of one column, each filled up to the target.
struct Column<'py> {
    rows: Bound<'py, PyList>,
    padding: Bound<'py, PyAny>,
    target: usize,
    left: bool,
}

impl<'py> Column<'py> {
    fn push(&self, values: impl ExactSizeIterator<Item = PyResult<Bound<'py, PyAny>>>) -> PyResult<()> {
        let missing = self.target.saturating_sub(values.len());
        let before = if self.left { missing } else { 0 };
        let padding = |count| std::iter::repeat_n(&self.padding, count).map(|value| Ok(value.clone()));
        let all: Vec<_> = if missing == 0 {
            values.collect::<PyResult<_>>()?
        } else {
            padding(before).chain(values).chain(padding(missing - before)).collect::<PyResult<_>>()?
        };
        self.rows.append(PyList::new(self.rows.py(), all)?)
    }

    /// A row of one value.
    fn repeat(&self, value: &Bound<'py, PyAny>, length: usize) -> PyResult<()> {
        if length < self.target {
            return self.push(std::iter::repeat_n(value, length).map(|value| Ok(value.clone())));
        }
        let one = PyList::new(self.rows.py(), [value])?;
        self.rows.append(one.as_sequence().repeat(length)?)
    }
}

/// The lists that were wanted, padded where padding is given.
pub fn lists<'py>(
    py: Python<'py>,
    parts: &[Rows],
    padding: Option<&Padding>,
    wanted: Wanted,
    attention_mask: bool,
    overflow: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let many = parts.iter().map(|part| part.ends.len()).sum::<usize>() >= MANY / 16;
    let _held = if many { Some(NoCollection::start(py)?) } else { None };
    let mut integers = Integers::new(py, parts);
    let target = padding.map_or(0, |padding| padding.target(Rows::longest_input(parts)));
    let left = padding.is_some_and(|padding| padding.side == Side::Left);
    let (pad_id, pad_type) = padding.map_or((0, 0), |padding| (padding.id, padding.type_id));
    let (zero, one) = (integers.get(0)?, integers.get(1)?);
    let column = |padding| Column { rows: PyList::empty(py), padding, target, left };
    let ids = column(integers.get(pad_id)?);
    let types = column(integers.get(pad_type)?);
    let masks = column(zero.clone());
    let special = column(one.clone());
    let offsets = column(PyTuple::new(py, [&zero, &zero])?.into_any());
    for part in parts {
        for range in part.ranges() {
            let values = part.ids.get(range.clone()).unwrap_or_default();
            ids.push(values.iter().map(|id| integers.get(*id)))?;
            if wanted.type_ids {
                match part.type_ids.get(range.clone()) {
                    Some(values) => types.push(values.iter().map(|id| integers.get(*id)))?,
                    None => types.repeat(&zero, range.len())?,
                }
            }
            if attention_mask {
                masks.repeat(&one, range.len())?;
            }
            if wanted.special_tokens_mask {
                let flags = part.special.get(range.clone()).unwrap_or_default();
                special.push(flags.iter().map(|flag| Ok(if *flag == 0 { &zero } else { &one }.clone())))?;
            }
            if wanted.offsets {
                let places = part.offsets.get(range).unwrap_or_default();
                offsets.push(places.iter().map(|place| Ok(place.into_pyobject(py)?.into_any())))?;
            }
        }
    }
    let dict = PyDict::new(py);
    dict.set_item("input_ids", ids.rows)?;
    let columns = [
        ("token_type_ids", types, wanted.type_ids),
        ("attention_mask", masks, attention_mask),
        ("special_tokens_mask", special, wanted.special_tokens_mask),
        ("offset_mapping", offsets, wanted.offsets),
    ];
    for (name, column, asked) in columns {
        if asked {
            dict.set_item(name, column.rows)?;
        }
    }
    if overflow {
        let samples: Vec<u32> = parts.iter().flat_map(|part| part.samples.iter().copied()).collect();
        dict.set_item("overflow_to_sample_mapping", samples)?;
    }
    Ok(dict)
}
