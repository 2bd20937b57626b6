//! The components of a tokenizer as objects: `backend_tokenizer.normalizer` and its like.

use oxiformers_core::tokenizer::Tokenizer;
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::sync::Arc;

use super::inputs::Texts;
use crate::detach::detach;

/// A word and the characters of the text it was made of.
type Word = (String, (u32, u32));

/// A component that cannot be changed; its settings are attributes, by the names that tokenizer.json has for them.
#[pyclass(frozen, subclass, name = "Component", module = "oxiformers._core")]
pub struct PyComponent {
    tokenizer: Arc<Tokenizer>,
    json: String,
    settings: Py<PyDict>,
}

impl PyComponent {
    /// The component under that key of tokenizer.json; None where there is none.
    pub fn of(py: Python<'_>, tokenizer: &Arc<Tokenizer>, key: &str) -> PyResult<Option<Self>> {
        let components = tokenizer.components();
        let Some(component) = components.get(key).filter(|component| !component.is_null()) else {
            return Ok(None);
        };
        let json = component.to_string();
        let settings = py.import("json")?.call_method1("loads", (&json,))?;
        let settings = settings.cast_into::<PyDict>()?.unbind();
        Ok(Some(Self { tokenizer: Arc::clone(tokenizer), json, settings }))
    }
}

#[pymethods]
impl PyComponent {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let settings = self.settings.bind(py);
        settings.get_item(name)?.ok_or_else(|| PyAttributeError::new_err(format!("no setting {name:?}")))
    }

    fn __getstate__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.json.as_bytes())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut kind = String::new();
        let mut settings = Vec::new();
        for (name, value) in self.settings.bind(py) {
            if name.eq("type")? {
                kind = value.extract()?;
            } else {
                settings.push(format!("{name}={}", value.repr()?));
            }
        }
        Ok(format!("{kind}({})", settings.join(", ")))
    }
}

#[pyclass(frozen, extends = PyComponent, name = "Normalizer", module = "oxiformers._core")]
pub struct PyNormalizer;

#[pymethods]
impl PyNormalizer {
    fn normalize_str(slf: PyRef<'_, Self>, sequence: &str) -> PyResult<String> {
        let tokenizer = Arc::clone(&slf.as_super().tokenizer);
        detach(slf.py(), || tokenizer.normalize(sequence))
    }
}

#[pyclass(frozen, extends = PyComponent, name = "PreTokenizer", module = "oxiformers._core")]
pub struct PyPreTokenizer;

#[pymethods]
impl PyPreTokenizer {
    fn pre_tokenize_str(slf: PyRef<'_, Self>, sequence: &str) -> PyResult<Vec<Word>> {
        let tokenizer = Arc::clone(&slf.as_super().tokenizer);
        detach(slf.py(), || tokenizer.pre_tokenize(sequence))
    }
}

#[pyclass(frozen, extends = PyComponent, name = "PostProcessor", module = "oxiformers._core")]
pub struct PyPostProcessor;

#[pymethods]
impl PyPostProcessor {
    fn num_special_tokens_to_add(slf: PyRef<'_, Self>, is_pair: bool) -> usize {
        slf.as_super().tokenizer.num_special_tokens(is_pair)
    }
}

#[pyclass(frozen, extends = PyComponent, name = "Decoder", module = "oxiformers._core")]
pub struct PyDecoder;

#[pymethods]
impl PyDecoder {
    fn decode(slf: PyRef<'_, Self>, tokens: &Bound<'_, PyAny>) -> PyResult<String> {
        let tokenizer = Arc::clone(&slf.as_super().tokenizer);
        let texts = Texts::new(tokens, "tokens", false, false)?;
        let tokens = texts.utf8("tokens")?;
        detach(slf.py(), || tokenizer.decode_tokens(&tokens))
    }
}
