//! Tokenizers from a vocabulary and components, and the files that vocabularies lie in.

use super::inputs::{items, text, type_name};
use crate::detach::detach;
use crate::error::{input_type_error, to_py};
use oxiformers_core::Error;
use oxiformers_core::tokenizer::bpe::BpeOptions;
use oxiformers_core::tokenizer::{
    Bpe, Model, SentencePiece, Tokenizer, Unigram, Vocab, WordLevel, WordPiece, read_merges, read_tiktoken,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

/// Adds the functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(merges_file, module)?)?;
    module.add_function(wrap_pyfunction!(tiktoken_file, module)?)
}

/// Tokens with their ids, as a dict has them.
fn vocabulary(object: &Bound<'_, PyAny>) -> PyResult<Vec<(String, u32)>> {
    let py = object.py();
    let dict = object
        .cast::<PyDict>()
        .map_err(|_| input_type_error(py, "vocab", "a dict of ids by token", &type_name(object)))?;
    let mut pairs = Vec::with_capacity(dict.len());
    for (token, id) in dict {
        let token = text(&token, "vocab")?;
        let number = id.extract().ok().filter(|number| *number != u32::MAX);
        let number: u32 = number.ok_or_else(|| {
            input_type_error(
                py,
                &format!("vocab[{token:?}]"),
                "an integer from 0 to 4294967294",
                &described(&id),
            )
        })?;
        pairs.push((token.to_owned(), number));
    }
    Ok(pairs)
}

/// A value in words for an error.
fn described(object: &Bound<'_, PyAny>) -> String {
    object.repr().map_or_else(|_| type_name(object), |text| text.to_string())
}

/// Pairs of tokens.
fn pairs(object: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let list = items(object, "merges", "a list of pairs of tokens")?;
    let mut pairs = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let name = format!("merges[{index}]");
        let parts = items(item, &name, "two tokens")?;
        let [left, right] = parts.as_slice() else {
            let actual = format!("{} of them", parts.len());
            return Err(to_py(object.py(), Error::argument(name, "two tokens", actual)));
        };
        pairs.push((text(left, &name)?.to_owned(), text(right, &name)?.to_owned()));
    }
    Ok(pairs)
}

fn build(pairs: &[(String, u32)]) -> oxiformers_core::Result<Vocab> {
    Vocab::new(pairs.iter().map(|(token, id)| (token.as_str(), *id))).map_err(|(id, first, second)| {
        Error::argument("vocab", "an id for each token", format!("id {id} for {first:?} and {second:?}"))
    })
}

/// Pieces with their scores.
pub(super) fn scored(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<(String, f64)>> {
    let list = items(object, name, "a list of pieces with their scores")?;
    let mut pieces = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let name = format!("{name}[{index}]");
        let parts = items(item, &name, "a piece and its score")?;
        let [piece, score] = parts.as_slice() else {
            let actual = format!("{} of them", parts.len());
            return Err(to_py(object.py(), Error::argument(name, "a piece and its score", actual)));
        };
        let number = score.extract();
        let number =
            number.map_err(|_| input_type_error(object.py(), &name, "a number", &described(score)))?;
        pieces.push((text(piece, &name)?.to_owned(), number));
    }
    Ok(pieces)
}

/// Builds the model of `make` without the interpreter lock, and the tokenizer with its components.
fn assemble(
    vocab: &Bound<'_, PyAny>,
    components: &str,
    make: impl FnOnce(Vocab) -> oxiformers_core::Result<Model> + Send,
) -> PyResult<Tokenizer> {
    let pairs = vocabulary(vocab)?;
    detach(vocab.py(), || Tokenizer::from_model(make(build(&pairs)?)?, components))
}

pub(super) fn bpe(
    vocab: &Bound<'_, PyAny>,
    merges: &Bound<'_, PyAny>,
    components: &str,
    options: BpeOptions,
) -> PyResult<Tokenizer> {
    let merges = pairs(merges)?;
    assemble(vocab, components, |vocab| {
        let merges = merges.iter().map(|(left, right)| (left.as_str(), right.as_str()));
        Bpe::new(vocab, merges, options)
            .map(|model| Model::Bpe(Box::new(model)))
            .map_err(|misfit| misfit.argument())
    })
}

pub(super) fn word_level(vocab: &Bound<'_, PyAny>, unk_token: &str, components: &str) -> PyResult<Tokenizer> {
    assemble(vocab, components, |vocab| Ok(Model::WordLevel(WordLevel::new(vocab, unk_token))))
}

pub(super) fn word_piece(
    vocab: &Bound<'_, PyAny>,
    unk_token: &str,
    prefix: &str,
    max_input_chars_per_word: usize,
    components: &str,
) -> PyResult<Tokenizer> {
    assemble(vocab, components, |vocab| {
        Ok(Model::WordPiece(WordPiece::new(vocab, unk_token, prefix, max_input_chars_per_word)))
    })
}

pub(super) fn unigram(
    vocab: &Bound<'_, PyAny>,
    unk_id: Option<usize>,
    byte_fallback: bool,
    components: &str,
) -> PyResult<Tokenizer> {
    let pieces = scored(vocab, "vocab")?;
    detach(vocab.py(), || {
        let model = Unigram::new(&pieces, unk_id, byte_fallback)?;
        Tokenizer::from_model(Model::Unigram(model), components)
    })
}

pub(super) fn sentencepiece(
    py: Python<'_>,
    path: &str,
    vocab: Option<&Bound<'_, PyAny>>,
    unk_token: Option<&str>,
    components: &str,
) -> PyResult<Tokenizer> {
    let pairs = vocab.map(vocabulary).transpose()?;
    detach(py, || {
        let file = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        let vocab = pairs.map(|pairs| build(&pairs)).transpose()?;
        let model = SentencePiece::new(file, path, vocab, unk_token)?;
        Tokenizer::from_model(Model::SentencePiece(Box::new(model)), components)
    })
}

#[pyfunction]
#[pyo3(name = "read_merges")]
fn merges_file(py: Python<'_>, path: &str) -> PyResult<Vec<(String, String)>> {
    detach(py, || read_merges(path))
}

/// Each token is one string, however many merges it is part of.
#[pyfunction]
#[pyo3(name = "read_tiktoken")]
fn tiktoken_file<'py>(py: Python<'py>, path: &str) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyList>)> {
    let file = detach(py, || read_tiktoken(path))?;
    let vocab = PyDict::new(py);
    let mut strings = Vec::with_capacity(file.tokens.len());
    for (token, id) in &file.tokens {
        let token = PyString::new(py, token);
        vocab.set_item(&token, id)?;
        strings.push(token);
    }
    let merges = PyList::empty(py);
    for (left, right) in &file.merges {
        if let (Some(left), Some(right)) = (strings.get(*left as usize), strings.get(*right as usize)) {
            merges.append(PyTuple::new(py, [left, right])?)?;
        }
    }
    Ok((vocab, merges))
}
