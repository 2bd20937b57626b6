//! `oxiformers_core::Error` to the exception classes of `oxiformers.errors`.

use oxiformers_core::Error;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Builds the Python exception for a core error.
///
/// The classes live in Python (`oxiformers.errors`), so that they can be documented, subclassed and imported there.
pub fn to_py(py: Python<'_>, error: Error) -> PyErr {
    build(py, &error).unwrap_or_else(|lookup_failed| lookup_failed)
}

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let errors = py.import("oxiformers.errors")?;
    let fields = PyDict::new(py);
    let class = match error {
        Error::Io { path, source } => {
            fields.set_item("path", path)?;
            fields.set_item("errno", source.raw_os_error())?;
            match source.kind() {
                std::io::ErrorKind::NotFound => "MissingFileError",
                _ => "FileError",
            }
        }
        Error::Format { path, key, expected, actual } => {
            fields.set_item("path", path)?;
            fields.set_item("key", key)?;
            fields.set_item("expected", expected)?;
            fields.set_item("actual", actual)?;
            "FormatError"
        }
        Error::Unsupported { path, key, expected, actual } => {
            fields.set_item("path", path)?;
            fields.set_item("key", key)?;
            fields.set_item("expected", expected)?;
            fields.set_item("actual", actual)?;
            "UnsupportedError"
        }
        Error::Argument { name, expected, actual } => {
            fields.set_item("key", name)?;
            fields.set_item("expected", expected)?;
            fields.set_item("actual", actual)?;
            "ArgumentError"
        }
    };
    let value = errors.getattr(class)?.call((error.to_string(),), Some(&fields))?;
    Ok(PyErr::from_value(value))
}

/// `InputTypeError` for an item of the wrong type.
pub fn input_type_error(py: Python<'_>, key: &str, expected: &str, actual: &str) -> PyErr {
    let build = || -> PyResult<PyErr> {
        let fields = PyDict::new(py);
        fields.set_item("key", key)?;
        fields.set_item("expected", expected)?;
        fields.set_item("actual", actual)?;
        let message = format!("{key}: expected {expected}, got {actual}");
        let class = py.import("oxiformers.errors")?.getattr("InputTypeError")?;
        Ok(PyErr::from_value(class.call((message,), Some(&fields))?))
    };
    build().unwrap_or_else(|lookup_failed| lookup_failed)
}
