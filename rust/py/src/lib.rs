//! The `oxiformers._core` extension module: argument checking and zero-copy hand-over, nothing else.

use pyo3::prelude::*;

mod error;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
