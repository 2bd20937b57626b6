//! The `Encoding` class: the core's encoding and the tokenizer that knows its texts.

use oxiformers_core::tokenizer::{Encoding, NO_WORD, Tokenizer};
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::sync::Arc;

#[pyclass(frozen, name = "Encoding", module = "oxiformers._core")]
pub struct PyEncoding {
    encoding: Encoding,
    overflowing: Vec<Py<PyEncoding>>,
    /// None once unpickled: then the encoding keeps all texts itself.
    tokenizer: Option<Arc<Tokenizer>>,
}

impl PyEncoding {
    pub fn new(py: Python<'_>, mut encoding: Encoding, tokenizer: &Arc<Tokenizer>) -> PyResult<Self> {
        let overflowing = std::mem::take(&mut encoding.overflowing)
            .into_iter()
            .map(|part| Py::new(py, Self::new(py, part, tokenizer)?))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(Self { encoding, overflowing, tokenizer: Some(tokenizer.clone()) })
    }

    fn text(&self, token: usize) -> &str {
        let id = self.encoding.ids.get(token).copied().unwrap_or_default();
        let usual = || self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.usual_text(id));
        self.encoding.text(token).or_else(usual).unwrap_or_default()
    }
}

/// ids, types, texts, offsets, attention, special, words, sequences, overflowing.
type State = (
    Vec<u32>,
    Vec<u32>,
    Vec<String>,
    Vec<(u32, u32)>,
    Vec<u32>,
    Vec<u32>,
    Vec<Option<u32>>,
    Vec<(usize, usize, usize)>,
    Vec<Py<PyEncoding>>,
);

#[pymethods]
impl PyEncoding {
    #[getter]
    fn ids(&self) -> &[u32] {
        &self.encoding.ids
    }

    #[getter]
    fn type_ids(&self) -> &[u32] {
        &self.encoding.type_ids
    }

    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyString>> {
        (0..self.encoding.len()).map(|token| PyString::new(py, self.text(token))).collect()
    }

    #[getter]
    fn offsets(&self) -> Vec<(u32, u32)> {
        self.encoding.offsets.clone()
    }

    #[getter]
    fn attention_mask(&self) -> Vec<u32> {
        self.encoding.attention.iter().map(|flag| u32::from(*flag)).collect()
    }

    #[getter]
    fn special_tokens_mask(&self) -> Vec<u32> {
        self.encoding.special.iter().map(|flag| u32::from(*flag)).collect()
    }

    #[getter]
    fn word_ids(&self) -> Vec<Option<u32>> {
        self.encoding.words.iter().map(|word| (*word != NO_WORD).then_some(*word)).collect()
    }

    #[getter]
    fn words(&self) -> Vec<Option<u32>> {
        self.word_ids()
    }

    #[getter]
    fn sequence_ids(&self) -> Vec<Option<usize>> {
        self.encoding.sequence_ids()
    }

    #[getter]
    fn n_sequences(&self) -> usize {
        self.encoding.sequence_count()
    }

    #[getter]
    fn overflowing(&self, py: Python<'_>) -> Vec<Py<PyEncoding>> {
        self.overflowing.iter().map(|part| part.clone_ref(py)).collect()
    }

    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_token(&self, char_pos: usize, sequence_index: usize) -> Option<usize> {
        self.encoding.char_to_token(char_pos, sequence_index)
    }

    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_word(&self, char_pos: usize, sequence_index: usize) -> Option<u32> {
        self.encoding.char_to_word(char_pos, sequence_index)
    }

    fn token_to_chars(&self, token_index: usize) -> Option<(u32, u32)> {
        self.encoding.token_to_chars(token_index)
    }

    fn token_to_word(&self, token_index: usize) -> Option<u32> {
        self.encoding.token_to_word(token_index)
    }

    fn token_to_sequence(&self, token_index: usize) -> Option<usize> {
        self.encoding.token_to_sequence(token_index)
    }

    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_tokens(&self, word_index: u32, sequence_index: usize) -> Option<(usize, usize)> {
        self.encoding.word_to_tokens(word_index, sequence_index)
    }

    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_chars(&self, word_index: u32, sequence_index: usize) -> Option<(u32, u32)> {
        self.encoding.word_to_chars(word_index, sequence_index)
    }

    fn __len__(&self) -> usize {
        self.encoding.len()
    }

    fn __repr__(&self) -> String {
        format!(
            "Encoding(num_tokens={}, attributes=[ids, type_ids, tokens, offsets, attention_mask, \
             special_tokens_mask, overflowing])",
            self.encoding.len()
        )
    }

    /// Rebuilds what `__reduce__` took apart.
    #[staticmethod]
    fn _restore(state: State) -> PyResult<Self> {
        let (ids, type_ids, texts, offsets, attention, special, words, sequences, overflowing) = state;
        let lengths =
            [type_ids.len(), texts.len(), offsets.len(), attention.len(), special.len(), words.len()];
        if lengths.iter().any(|length| *length != ids.len()) {
            return Err(pyo3::exceptions::PyValueError::new_err("the lists differ in length"));
        }
        let flags = |list: Vec<u32>| list.into_iter().map(|flag| u8::from(flag != 0)).collect();
        let encoding = Encoding {
            ids,
            type_ids,
            offsets,
            words: words.into_iter().map(|word| word.unwrap_or(NO_WORD)).collect(),
            special: flags(special),
            attention: flags(attention),
            texts: (0..).zip(texts).map(|(index, text)| (index, text.into())).collect(),
            starts: Vec::new(),
            sequences: sequences.into_iter().map(|(number, start, end)| (number, start..end)).collect(),
            overflowing: Vec::new(),
        };
        Ok(Self { encoding, overflowing, tokenizer: None })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (State,))> {
        let this = slf.get();
        let encoding = &this.encoding;
        let state = (
            encoding.ids.clone(),
            encoding.type_ids.clone(),
            (0..encoding.len()).map(|token| this.text(token).to_owned()).collect(),
            this.offsets(),
            this.attention_mask(),
            this.special_tokens_mask(),
            this.word_ids(),
            encoding.sequences.iter().map(|(number, range)| (*number, range.start, range.end)).collect(),
            this.overflowing(slf.py()),
        );
        Ok((slf.get_type().getattr("_restore")?, (state,)))
    }
}
