//! `Tokenizer` and its components, `Encoding`, `DecodeStream`, `AddedToken` and `SentencePieceModel`.

mod added_token;
mod arguments;
mod build;
mod component;
mod encoding;
mod ids;
mod inputs;
mod output;
mod sentencepiece;
mod stream;
#[allow(clippy::module_inception)]
mod tokenizer;

use pyo3::prelude::*;

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<added_token::PyAddedToken>()?;
    module.add_class::<encoding::PyEncoding>()?;
    module.add_class::<stream::PyDecodeStream>()?;
    module.add_class::<tokenizer::PyTokenizer>()?;
    module.add_class::<component::PyComponent>()?;
    module.add_class::<component::PyNormalizer>()?;
    module.add_class::<component::PyPreTokenizer>()?;
    module.add_class::<component::PyPostProcessor>()?;
    module.add_class::<component::PyDecoder>()?;
    module.add_class::<sentencepiece::PySentencePieceModel>()?;
    build::register(module)
}
