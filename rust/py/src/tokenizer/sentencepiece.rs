//! The `SentencePieceModel` class.

use oxiformers_core::tokenizer::{SentencePieceAlgorithm, SentencePieceModel};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::sync::Arc;

use super::build::scored;
use crate::detach::detach;
use crate::error::to_py;

#[pyclass(frozen, name = "SentencePieceModel", module = "oxiformers._core")]
pub struct PySentencePieceModel {
    model: Arc<SentencePieceModel>,
}

#[pymethods]
impl PySentencePieceModel {
    #[staticmethod]
    fn from_file(py: Python<'_>, path: &str) -> PyResult<Self> {
        Ok(Self { model: Arc::new(detach(py, || SentencePieceModel::from_file(path))?) })
    }

    #[getter]
    fn pieces<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.model.pieces().map(|(text, score, kind)| (text, f64::from(score), kind as u8)))
    }

    #[getter]
    fn model_type(&self) -> &'static str {
        match self.model.algorithm {
            SentencePieceAlgorithm::Unigram => "unigram",
            SentencePieceAlgorithm::Bpe => "bpe",
            SentencePieceAlgorithm::Word => "word",
            SentencePieceAlgorithm::Character => "char",
        }
    }

    #[getter]
    fn unk_id(&self) -> i32 {
        self.model.unk.id
    }

    #[getter]
    fn bos_id(&self) -> i32 {
        self.model.bos.id
    }

    #[getter]
    fn eos_id(&self) -> i32 {
        self.model.eos.id
    }

    #[getter]
    fn pad_id(&self) -> i32 {
        self.model.pad.id
    }

    #[getter]
    fn unk_piece(&self) -> &str {
        &self.model.unk.text
    }

    #[getter]
    fn bos_piece(&self) -> &str {
        &self.model.bos.text
    }

    #[getter]
    fn eos_piece(&self) -> &str {
        &self.model.eos.text
    }

    #[getter]
    fn pad_piece(&self) -> &str {
        &self.model.pad.text
    }

    #[getter]
    fn unk_surface(&self) -> &str {
        &self.model.unk_surface
    }

    #[getter]
    fn byte_fallback(&self) -> bool {
        self.model.byte_fallback
    }

    #[getter]
    fn treat_whitespace_as_suffix(&self) -> bool {
        self.model.treat_whitespace_as_suffix
    }

    #[getter]
    fn user_defined_symbols(&self) -> Vec<String> {
        self.model.user_defined_symbols.clone()
    }

    #[getter]
    fn add_dummy_prefix(&self) -> bool {
        self.model.normalizer.add_dummy_prefix
    }

    #[getter]
    fn remove_extra_whitespaces(&self) -> bool {
        self.model.normalizer.remove_extra_whitespaces
    }

    #[getter]
    fn escape_whitespaces(&self) -> bool {
        self.model.normalizer.escape_whitespaces
    }

    #[getter]
    fn normalizer_name(&self) -> &str {
        &self.model.normalizer.name
    }

    #[getter]
    fn precompiled_charsmap<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.model.normalizer.precompiled_charsmap)
    }

    #[pyo3(signature = (scores=None, *, tab_from_byte=false))]
    fn merges<'py>(
        &self,
        py: Python<'py>,
        scores: Option<&Bound<'py, PyAny>>,
        tab_from_byte: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let scores = scores.map(|scores| scored(scores, "scores")).transpose()?;
        let merges = self.model.merges(scores.as_deref(), tab_from_byte).map_err(|error| to_py(py, error))?;
        PyList::new(py, merges)
    }
}
