//! Token ids as Python passes them.

use oxiformers_core::Error;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use super::inputs::{is_iterable, items, type_name};
use crate::error::{input_type_error, to_py};

/// A list of ids.
pub fn ids(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<u32>> {
    match object.extract::<Vec<u32>>() {
        Ok(ids) => Ok(ids),
        // The error names the item.
        Err(_) => items(object, name, "a list of integers")?
            .iter()
            .enumerate()
            .map(|(index, item)| id(item, || format!("{name}[{index}]")))
            .collect(),
    }
}

/// A list of lists of ids.
pub fn batch(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<Vec<u32>>> {
    let rows = items(object, name, "a list of lists of integers")?;
    rows.iter().enumerate().map(|(index, row)| ids(row, &format!("{name}[{index}]"))).collect()
}

/// An id or a sequence of them.
pub fn one_or_more(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<u32>> {
    match id(object, || name.to_owned()) {
        Ok(id) => Ok(vec![id]),
        Err(error) => match is_iterable(object) {
            true => ids(object, name),
            false => Err(error),
        },
    }
}

fn id(object: &Bound<'_, PyAny>, key: impl Fn() -> String) -> PyResult<u32> {
    let py = object.py();
    match object.extract::<u32>() {
        Ok(id) => Ok(id),
        Err(_) if object.is_instance_of::<PyInt>() => {
            let expected = "an integer from 0 to 4294967295";
            Err(to_py(py, Error::argument(key(), expected, object.to_string())))
        }
        Err(_) => Err(input_type_error(py, &key(), "an integer", &type_name(object))),
    }
}
