//! The `Tokenizer` class.

use numpy::PyArray1;
use oxiformers_core::Result;
use oxiformers_core::tokenizer::bpe::BpeOptions;
use oxiformers_core::tokenizer::{BertNormalizer, Input, Normalizer, Rows, Tokenizer, VocabOptions};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

use super::added_token::PyAddedToken;
use super::arguments::{
    ENCODE_BATCH, ENCODE_BATCH_ARRAYS, ENCODE_BATCH_LISTS, ENCODE_BATCH_PACKED, EncodeOptions,
};
use super::build;
use super::component::{PyComponent, PyDecoder, PyNormalizer, PyPostProcessor, PyPreTokenizer};
use super::encoding::PyEncoding;
use super::ids;
use super::inputs::{Texts, inputs as pair_up, text};
use super::output;
use super::stream::PyDecodeStream;
use crate::detach::detach;

#[pyclass(frozen, name = "Tokenizer", module = "oxiformers._core")]
pub struct PyTokenizer {
    tokenizer: Arc<Tokenizer>,
}

impl PyTokenizer {
    fn wrap(tokenizer: Tokenizer) -> Self {
        Self { tokenizer: Arc::new(tokenizer) }
    }

    /// Borrows the texts and does `work` on them without the interpreter lock.
    fn encode<'py, T: Send>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        pairs: Option<&Bound<'py, PyAny>>,
        split: bool,
        work: impl FnOnce(&Tokenizer, &[Input<'_>]) -> Result<T> + Send,
    ) -> PyResult<T> {
        let first = Texts::new(inputs, "inputs", split, false)?;
        let first_utf8 = first.utf8("inputs")?;
        let second = pairs.map(|pairs| Texts::new(pairs, "pairs", split, true)).transpose()?;
        let second_utf8 = second.as_ref().map(|texts| texts.utf8("pairs")).transpose()?;
        let second = second.as_ref().zip(second_utf8.as_deref());
        let inputs = pair_up(py, (&first, &first_utf8), second)?;
        let tokenizer = &*self.tokenizer;
        detach(py, || work(tokenizer, &inputs))
    }
}

#[pymethods]
impl PyTokenizer {
    #[staticmethod]
    fn from_file(py: Python<'_>, path: &str) -> PyResult<Self> {
        detach(py, || Tokenizer::from_file(path)).map(Self::wrap)
    }

    #[staticmethod]
    #[pyo3(signature = (json, source="<string>"))]
    fn from_str(py: Python<'_>, json: &str, source: &str) -> PyResult<Self> {
        detach(py, || Tokenizer::from_json(json, source)).map(Self::wrap)
    }

    #[staticmethod]
    #[pyo3(signature = (
        path, *, lowercase=true, strip_accents=None, handle_chinese_chars=true, unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]"
    ))]
    #[allow(clippy::too_many_arguments)]
    fn from_vocab(
        py: Python<'_>,
        path: &str,
        lowercase: bool,
        strip_accents: Option<bool>,
        handle_chinese_chars: bool,
        unk_token: &str,
        cls_token: &str,
        sep_token: &str,
        pad_token: &str,
        mask_token: &str,
    ) -> PyResult<Self> {
        let options = VocabOptions {
            normalizer: BertNormalizer { clean_text: true, handle_chinese_chars, strip_accents, lowercase },
            unk_token: unk_token.into(),
            cls_token: cls_token.into(),
            sep_token: sep_token.into(),
            pad_token: pad_token.into(),
            mask_token: mask_token.into(),
        };
        detach(py, || Tokenizer::from_vocab(path, &options)).map(Self::wrap)
    }

    #[staticmethod]
    #[pyo3(signature = (
        vocab, merges, *, components="{}", unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
        fuse_unk=false, byte_fallback=false, ignore_merges=false
    ))]
    #[allow(clippy::too_many_arguments)]
    fn from_bpe(
        vocab: &Bound<'_, PyAny>,
        merges: &Bound<'_, PyAny>,
        components: &str,
        unk_token: Option<String>,
        continuing_subword_prefix: Option<String>,
        end_of_word_suffix: Option<String>,
        fuse_unk: bool,
        byte_fallback: bool,
        ignore_merges: bool,
    ) -> PyResult<Self> {
        let options = BpeOptions {
            unk_token,
            continuing_subword_prefix,
            end_of_word_suffix,
            fuse_unk,
            byte_fallback,
            ignore_merges,
            dropout: None,
        };
        build::bpe(vocab, merges, components, options).map(Self::wrap)
    }

    #[staticmethod]
    #[pyo3(signature = (vocab, *, unk_id, byte_fallback=false, components="{}"))]
    fn from_unigram(
        vocab: &Bound<'_, PyAny>,
        unk_id: Option<usize>,
        byte_fallback: bool,
        components: &str,
    ) -> PyResult<Self> {
        build::unigram(vocab, unk_id, byte_fallback, components).map(Self::wrap)
    }

    #[staticmethod]
    #[pyo3(signature = (path, *, vocab=None, unk_token=None, components="{}"))]
    fn from_sentencepiece(
        py: Python<'_>,
        path: &str,
        vocab: Option<&Bound<'_, PyAny>>,
        unk_token: Option<&str>,
        components: &str,
    ) -> PyResult<Self> {
        build::sentencepiece(py, path, vocab, unk_token, components).map(Self::wrap)
    }

    #[staticmethod]
    #[pyo3(signature = (vocab, *, unk_token, components="{}"))]
    fn from_wordlevel(vocab: &Bound<'_, PyAny>, unk_token: &str, components: &str) -> PyResult<Self> {
        build::word_level(vocab, unk_token, components).map(Self::wrap)
    }

    #[staticmethod]
    #[pyo3(signature = (
        vocab, *, unk_token, continuing_subword_prefix="##", max_input_chars_per_word=100, components="{}"
    ))]
    fn from_wordpiece(
        vocab: &Bound<'_, PyAny>,
        unk_token: &str,
        continuing_subword_prefix: &str,
        max_input_chars_per_word: usize,
        components: &str,
    ) -> PyResult<Self> {
        build::word_piece(vocab, unk_token, continuing_subword_prefix, max_input_chars_per_word, components)
            .map(Self::wrap)
    }

    fn with_components(&self, py: Python<'_>, components: &str) -> PyResult<Self> {
        detach(py, || self.tokenizer.with_components(components)).map(Self::wrap)
    }

    #[pyo3(signature = (pretty=false))]
    fn to_str(&self, py: Python<'_>, pretty: bool) -> PyResult<String> {
        detach(py, || self.tokenizer.to_json(pretty))
    }

    fn with_added_tokens(&self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<Self> {
        let tokens = PyAddedToken::list(tokens, "tokens")?;
        detach(py, || self.tokenizer.with_added_tokens(tokens)).map(Self::wrap)
    }

    #[pyo3(signature = (*, lowercase=true, strip_accents=None, handle_chinese_chars=true, clean_text=true))]
    fn with_bert_normalizer(
        &self,
        py: Python<'_>,
        lowercase: bool,
        strip_accents: Option<bool>,
        handle_chinese_chars: bool,
        clean_text: bool,
    ) -> PyResult<Self> {
        let bert = BertNormalizer { clean_text, handle_chinese_chars, strip_accents, lowercase };
        detach(py, || self.tokenizer.with_normalizer(Some(Normalizer::Bert(bert)))).map(Self::wrap)
    }

    #[pyo3(signature = (*, cls_token, sep_token))]
    fn with_bert_template(&self, py: Python<'_>, cls_token: &str, sep_token: &str) -> PyResult<Self> {
        detach(py, || self.tokenizer.with_bert_template(cls_token, sep_token)).map(Self::wrap)
    }

    #[pyo3(signature = (with_added=true))]
    fn vocab_size(&self, with_added: bool) -> usize {
        self.tokenizer.vocab_size(with_added)
    }

    #[pyo3(signature = (with_added=true))]
    fn vocab<'py>(&self, py: Python<'py>, with_added: bool) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (token, id) in self.tokenizer.vocab(with_added) {
            dict.set_item(token, id)?;
        }
        Ok(dict)
    }

    fn token_to_id(&self, token: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
        Ok(self.tokenizer.token_to_id(text(token, "token")?))
    }

    fn id_to_token(&self, id: i64) -> Option<&str> {
        self.tokenizer.id_to_token(u32::try_from(id).ok()?)
    }

    fn num_special_tokens(&self, pair: bool) -> usize {
        self.tokenizer.num_special_tokens(pair)
    }

    #[getter]
    fn added_tokens(&self) -> Vec<(u32, PyAddedToken)> {
        self.tokenizer.added_tokens().map(|(id, token)| (id, PyAddedToken::from_core(token))).collect()
    }

    #[getter]
    fn saved_truncation<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.tokenizer.saved_truncation().map(|saved| output::saved_truncation(py, saved)).transpose()
    }

    #[getter]
    fn saved_padding<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.tokenizer.saved_padding().map(|saved| output::saved_padding(py, saved)).transpose()
    }

    #[getter]
    fn model_type(&self) -> &'static str {
        self.tokenizer.model().name()
    }

    #[getter]
    fn unk_token(&self) -> Option<&str> {
        self.tokenizer.model().unk_token()
    }

    #[getter]
    fn normalizer(&self, py: Python<'_>) -> PyResult<Option<Py<PyNormalizer>>> {
        let component = PyComponent::of(py, &self.tokenizer, "normalizer")?;
        component.map(|component| Py::new(py, (PyNormalizer, component))).transpose()
    }

    #[getter]
    fn pre_tokenizer(&self, py: Python<'_>) -> PyResult<Option<Py<PyPreTokenizer>>> {
        let component = PyComponent::of(py, &self.tokenizer, "pre_tokenizer")?;
        component.map(|component| Py::new(py, (PyPreTokenizer, component))).transpose()
    }

    #[getter]
    fn model(&self, py: Python<'_>) -> PyResult<Option<PyComponent>> {
        PyComponent::of(py, &self.tokenizer, "model")
    }

    #[getter]
    fn post_processor(&self, py: Python<'_>) -> PyResult<Option<Py<PyPostProcessor>>> {
        let component = PyComponent::of(py, &self.tokenizer, "post_processor")?;
        component.map(|component| Py::new(py, (PyPostProcessor, component))).transpose()
    }

    #[getter]
    fn decoder(&self, py: Python<'_>) -> PyResult<Option<Py<PyDecoder>>> {
        let component = PyComponent::of(py, &self.tokenizer, "decoder")?;
        component.map(|component| Py::new(py, (PyDecoder, component))).transpose()
    }

    fn components(&self) -> String {
        self.tokenizer.components().to_string()
    }

    #[pyo3(
        signature = (inputs, pairs=None, **options),
        text_signature = "($self, inputs, pairs=None, *, is_pretokenized=False, add_special_tokens=True, \
            split_special_tokens=False, truncation=None, max_length=None, stride=0, truncation_side='right', \
            padding=None, pad_to_multiple_of=None, padding_side='right', pad_id=0, pad_type_id=0, pad_token='[PAD]', \
            return_overflowing=False)"
    )]
    fn encode_batch<'py>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        pairs: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Vec<PyEncoding>> {
        let options = EncodeOptions::read(py, &ENCODE_BATCH, options)?;
        let encodings = self.encode(py, inputs, pairs, options.is_pretokenized, |tokenizer, inputs| {
            tokenizer.encode_batch(inputs, &options.settings)
        })?;
        encodings.into_iter().map(|encoding| PyEncoding::new(py, encoding, &self.tokenizer)).collect()
    }

    #[pyo3(
        signature = (inputs, pairs=None, **options),
        text_signature = "($self, inputs, pairs=None, *, is_pretokenized=False, add_special_tokens=True, \
            split_special_tokens=False, truncation=None, max_length=None, stride=0, truncation_side='right', \
            padding=None, pad_to_multiple_of=None, padding_side='right', pad_id=0, pad_type_id=0, pad_token='[PAD]', \
            return_overflowing=False, type_ids=True, attention_mask=True, special_tokens_mask=False, offsets=False)"
    )]
    fn encode_batch_arrays<'py>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        pairs: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let options = EncodeOptions::read(py, &ENCODE_BATCH_ARRAYS, options)?;
        let EncodeOptions { is_pretokenized, settings, wanted, attention_mask } = options;
        let arrays = self.encode(py, inputs, pairs, is_pretokenized, |tokenizer, inputs| {
            tokenizer.encode_arrays(inputs, &settings, wanted, attention_mask)
        })?;
        output::arrays(py, arrays)
    }

    #[pyo3(
        signature = (inputs, pairs=None, **options),
        text_signature = "($self, inputs, pairs=None, *, is_pretokenized=False, add_special_tokens=True, \
            split_special_tokens=False, truncation=None, max_length=None, stride=0, truncation_side='right', \
            padding=None, pad_to_multiple_of=None, padding_side='right', pad_id=0, pad_type_id=0, pad_token='[PAD]', \
            return_overflowing=False, type_ids=True, attention_mask=True, special_tokens_mask=False, offsets=False)"
    )]
    fn encode_batch_lists<'py>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        pairs: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let options = EncodeOptions::read(py, &ENCODE_BATCH_LISTS, options)?;
        let EncodeOptions { is_pretokenized, settings, wanted, attention_mask } = options;
        let parts = self.encode(py, inputs, pairs, is_pretokenized, |tokenizer, inputs| {
            let parts = tokenizer.encode_rows(inputs, &settings, wanted)?;
            if let Some(padding) = &settings.padding {
                padding.check(inputs.len(), padding.target(Rows::longest_input(&parts)))?;
            }
            Ok(parts)
        })?;
        output::lists(py, &parts, settings.padding.as_ref(), wanted, attention_mask, settings.overflow)
    }

    #[pyo3(
        signature = (inputs, pairs=None, **options),
        text_signature = "($self, inputs, pairs=None, *, is_pretokenized=False, add_special_tokens=True, \
            split_special_tokens=False, truncation=None, max_length=None, stride=0, truncation_side='right', \
            return_overflowing=False)"
    )]
    fn encode_batch_packed<'py>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        pairs: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let options = EncodeOptions::read(py, &ENCODE_BATCH_PACKED, options)?;
        let packed = self.encode(py, inputs, pairs, options.is_pretokenized, |tokenizer, inputs| {
            tokenizer.encode_packed(inputs, &options.settings)
        })?;
        output::packed(py, packed)
    }

    #[pyo3(signature = (texts, add_special_tokens=true))]
    #[allow(clippy::type_complexity)]
    fn encode_batch_flat<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        add_special_tokens: bool,
    ) -> PyResult<(Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>)> {
        let (ids, offsets) = self.encode(py, texts, None, false, |tokenizer, inputs| {
            tokenizer.encode_flat(inputs, add_special_tokens)
        })?;
        Ok((PyArray1::from_vec(py, ids), PyArray1::from_vec(py, offsets)))
    }

    #[pyo3(signature = (ids, skip_special_tokens=true))]
    fn decode(&self, py: Python<'_>, ids: &Bound<'_, PyAny>, skip_special_tokens: bool) -> PyResult<String> {
        let ids = ids::ids(ids, "ids")?;
        detach(py, || self.tokenizer.decode(&ids, skip_special_tokens))
    }

    #[pyo3(signature = (batch, skip_special_tokens=true))]
    fn decode_batch(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, PyAny>,
        skip_special_tokens: bool,
    ) -> PyResult<Vec<String>> {
        let batch = ids::batch(batch, "batch")?;
        detach(py, || self.tokenizer.decode_batch(&batch, skip_special_tokens))
    }

    fn normalize(&self, py: Python<'_>, text: &str) -> PyResult<String> {
        detach(py, || self.tokenizer.normalize(text))
    }

    fn decode_tokens(&self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<String> {
        let texts = Texts::new(tokens, "tokens", false, false)?;
        let tokens = texts.utf8("tokens")?;
        detach(py, || self.tokenizer.decode_tokens(&tokens))
    }

    #[pyo3(signature = (skip_special_tokens=false, *, prompt=None))]
    fn stream(
        &self,
        skip_special_tokens: bool,
        prompt: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyDecodeStream> {
        PyDecodeStream::start(&self.tokenizer, skip_special_tokens, prompt)
    }

    fn __repr__(&self) -> String {
        format!("Tokenizer(model_type={:?}, vocab_size={})", self.model_type(), self.vocab_size(true))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().getattr("from_str")?, (slf.get().to_str(slf.py(), false)?,)))
    }
}
