//! Encoded batches as numpy arrays and as lists.

use numpy::ndarray::{Array2, Array3};
use numpy::{IntoPyArray, PyArray1};
use oxiformers_core::tokenizer::{Arrays, Packed, Padding, Rows, Side, Wanted};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple};

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

/// Python's integers for ids, each made once a call: an id comes up again and again.
struct Integers<'py> {
    py: Python<'py>,
    known: Vec<Option<Bound<'py, PyInt>>>,
}

impl<'py> Integers<'py> {
    /// Ids from here on are made each time.
    const KEPT: usize = 1 << 18;

    fn get(&mut self, value: u32) -> PyResult<Bound<'py, PyInt>> {
        let index = value as usize;
        if index >= Self::KEPT {
            return Ok(value.into_pyobject(self.py)?);
        }
        if index >= self.known.len() {
            self.known.resize(index + 1, None);
        }
        if let Some(Some(known)) = self.known.get(index) {
            return Ok(known.clone());
        }
        let made = value.into_pyobject(self.py)?;
        if let Some(place) = self.known.get_mut(index) {
            *place = Some(made.clone());
        }
        Ok(made)
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
    let mut integers = Integers { py, known: Vec::new() };
    let target = padding.map_or(0, |padding| padding.target(Rows::longest_input(parts)));
    let left = padding.is_some_and(|padding| padding.side == Side::Left);
    let (pad_id, pad_type) = padding.map_or((0, 0), |padding| (padding.id, padding.type_id));
    let zero = integers.get(0)?;
    let one = integers.get(1)?;
    let fill = |values: Vec<Bound<'py, PyAny>>, pad: &Bound<'py, PyAny>| {
        let missing = target.saturating_sub(values.len());
        let before = if left { missing } else { 0 };
        let padding = |count| std::iter::repeat_n(pad, count).cloned();
        if missing == 0 {
            return PyList::new(py, values);
        }
        let all: Vec<_> = padding(before).chain(values).chain(padding(missing - before)).collect();
        PyList::new(py, all)
    };
    let [ids, types, masks, special, offsets] = std::array::from_fn(|_| PyList::empty(py));
    let pad_id = integers.get(pad_id)?.into_any();
    let pad_type = integers.get(pad_type)?.into_any();
    let (zero, one) = (zero.into_any(), one.into_any());
    let nowhere = PyTuple::new(py, [&zero, &zero])?.into_any();
    for part in parts {
        for range in part.ranges() {
            let values = part.ids.get(range.clone()).unwrap_or_default();
            let values = values.iter().map(|id| Ok(integers.get(*id)?.into_any()));
            ids.append(fill(values.collect::<PyResult<_>>()?, &pad_id)?)?;
            if wanted.type_ids {
                let values: Vec<_> = match part.type_ids.get(range.clone()) {
                    Some(values) => {
                        let values = values.iter().map(|id| Ok(integers.get(*id)?.into_any()));
                        values.collect::<PyResult<_>>()?
                    }
                    None => vec![zero.clone(); range.len()],
                };
                types.append(fill(values, &pad_type)?)?;
            }
            if attention_mask {
                masks.append(fill(vec![one.clone(); range.len()], &zero)?)?;
            }
            if wanted.special_tokens_mask {
                let flags = part.special.get(range.clone()).unwrap_or_default();
                let values = flags.iter().map(|flag| if *flag == 0 { zero.clone() } else { one.clone() });
                special.append(fill(values.collect(), &one)?)?;
            }
            if wanted.offsets {
                let places = part.offsets.get(range).unwrap_or_default();
                let values = places.iter().map(|place| Ok(place.into_pyobject(py)?.into_any()));
                offsets.append(fill(values.collect::<PyResult<_>>()?, &nowhere)?)?;
            }
        }
    }
    let dict = PyDict::new(py);
    dict.set_item("input_ids", ids)?;
    let columns = [
        ("token_type_ids", types, wanted.type_ids),
        ("attention_mask", masks, attention_mask),
        ("special_tokens_mask", special, wanted.special_tokens_mask),
        ("offset_mapping", offsets, wanted.offsets),
    ];
    for (name, list, asked) in columns {
        if asked {
            dict.set_item(name, list)?;
        }
    }
    if overflow {
        let samples: Vec<u32> = parts.iter().flat_map(|part| part.samples.iter().copied()).collect();
        dict.set_item("overflow_to_sample_mapping", samples)?;
    }
    Ok(dict)
}
