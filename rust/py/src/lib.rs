//! The `oxiformers._core` extension module: argument checking and zero-copy hand-over, nothing else.

use pyo3::prelude::*;

mod collate;
mod detach;
mod error;
mod tokenizer;
mod weights;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    collate::register(module)?;
    tokenizer::register(module)?;
    weights::register(module)?;
    Ok(())
}
