//! The `DecodeStream` class.

use oxiformers_core::tokenizer::{DecodeStream, Tokenizer};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Arc, Mutex, PoisonError};

use super::ids::{ids, one_or_more};
use crate::error::to_py;

/// The state is behind a lock that is held for one step and never while waiting for the interpreter.
#[pyclass(frozen, name = "DecodeStream", module = "oxiformers._core")]
pub struct PyDecodeStream {
    stream: Mutex<DecodeStream>,
}

impl PyDecodeStream {
    pub fn start(
        tokenizer: &Arc<Tokenizer>,
        skip_special_tokens: bool,
        prompt: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let prompt = prompt.map(|prompt| ids(prompt, "prompt")).transpose()?.unwrap_or_default();
        let stream = DecodeStream::new(tokenizer.clone(), skip_special_tokens, &prompt);
        Ok(Self { stream: Mutex::new(stream) })
    }
}

#[pymethods]
impl PyDecodeStream {
    fn step(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let ids = one_or_more(id, "id")?;
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.step(&ids).map_err(|error| to_py(py, error))
    }

    fn __copy__(&self) -> Self {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        Self { stream: Mutex::new(stream.clone()) }
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyDict>) -> Self {
        self.__copy__()
    }
}
