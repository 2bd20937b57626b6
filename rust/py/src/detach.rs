//! Work without the interpreter lock.

use pyo3::prelude::*;

use crate::error::to_py;

/// Runs `work` while other Python threads run, and maps its error.
pub fn detach<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> oxiformers_core::Result<T> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| to_py(py, error))
}
