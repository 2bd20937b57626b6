//! `Tokenizer`, `Encoding` and `AddedToken`.

mod added_token;
mod arguments;
mod encoding;
mod inputs;
mod output;
#[allow(clippy::module_inception)]
mod tokenizer;

use pyo3::prelude::*;

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<added_token::PyAddedToken>()?;
    module.add_class::<encoding::PyEncoding>()?;
    module.add_class::<tokenizer::PyTokenizer>()
}
