//! The texts of a call, borrowed from Python's strings.

use oxiformers_core::Error;
use oxiformers_core::tokenizer::{Input, Sequence};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyString, PyTuple};
use std::ops::Range;

use crate::error::{input_type_error, to_py};

/// The strings of one argument. They are held here, so changing the caller's list meanwhile does no harm.
pub struct Texts<'py> {
    strings: Vec<Bound<'py, PyString>>,
    /// The strings of each item; None where it is absent. Empty: item `i` is string `i`.
    spans: Vec<Option<Range<usize>>>,
    split: bool,
}

/// An object's type as an error names it.
pub(super) fn type_name(object: &Bound<'_, PyAny>) -> String {
    if object.is_none() {
        return "None".into();
    }
    object.get_type().name().map_or_else(|_| "an object".into(), |name| format!("a {name}"))
}

/// The items of a list or tuple; anything else, a string above all, is no batch.
pub(super) fn items<'py>(
    object: &Bound<'py, PyAny>,
    key: &str,
    expected: &str,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if let Ok(list) = object.cast::<PyList>() {
        return Ok(list.iter().collect());
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        return Ok(tuple.iter().collect());
    }
    match object.try_iter() {
        Ok(iterator) if is_iterable(object) => iterator.collect(),
        _ => Err(input_type_error(object.py(), key, expected, &type_name(object))),
    }
}

/// Whether an object may stand for a list: not if its items are characters, bytes or keys.
pub(super) fn is_iterable(object: &Bound<'_, PyAny>) -> bool {
    let text = object.is_instance_of::<PyString>()
        || object.is_instance_of::<PyBytes>()
        || object.is_instance_of::<PyByteArray>();
    !text && !object.is_instance_of::<PyDict>() && object.try_iter().is_ok()
}

/// The UTF-8 of one string.
pub(super) fn text<'t>(object: &'t Bound<'_, PyAny>, key: &str) -> PyResult<&'t str> {
    let py = object.py();
    let string = object.cast::<PyString>();
    let string = string.map_err(|_| input_type_error(py, key, "a string", &type_name(object)))?;
    string.to_str().map_err(|error| not_utf8(py, error, key))
}

/// The typed form of the error that a string with lone surrogates raises.
fn not_utf8(py: Python<'_>, error: PyErr, key: &str) -> PyErr {
    if !error.is_instance_of::<pyo3::exceptions::PyUnicodeEncodeError>(py) {
        return error;
    }
    to_py(py, Error::argument(key, "text that can be encoded as UTF-8", error.value(py).to_string()))
}

impl<'py> Texts<'py> {
    /// Takes the strings of a list, or of a list of lists of words. `optional` allows None for an item.
    pub fn new(object: &Bound<'py, PyAny>, name: &str, split: bool, optional: bool) -> PyResult<Self> {
        let py = object.py();
        let batch = items(object, name, "a list of texts")?;
        let mut texts = Self { strings: Vec::with_capacity(batch.len()), spans: Vec::new(), split };
        for (index, item) in batch.into_iter().enumerate() {
            if optional && item.is_none() {
                texts.write_spans(index);
                texts.spans.push(None);
                continue;
            }
            if !split {
                match item.cast_into::<PyString>() {
                    Ok(string) => texts.strings.push(string),
                    Err(error) => {
                        let actual = type_name(&error.into_inner());
                        return Err(input_type_error(py, &format!("{name}[{index}]"), "a string", &actual));
                    }
                }
                if !texts.spans.is_empty() {
                    texts.spans.push(Some(texts.strings.len() - 1..texts.strings.len()));
                }
                continue;
            }
            let start = texts.strings.len();
            for (place, word) in
                items(&item, &format!("{name}[{index}]"), "a list of words")?.into_iter().enumerate()
            {
                match word.cast_into::<PyString>() {
                    Ok(string) => texts.strings.push(string),
                    Err(error) => {
                        let actual = type_name(&error.into_inner());
                        let key = format!("{name}[{index}][{place}]");
                        return Err(input_type_error(py, &key, "a string", &actual));
                    }
                }
            }
            texts.spans.push(Some(start..texts.strings.len()));
        }
        Ok(texts)
    }

    /// Writes out the spans that were left implicit, before the first that can't be.
    fn write_spans(&mut self, count: usize) {
        if self.spans.is_empty() && !self.split {
            self.spans = (0..count).map(|index| Some(index..index + 1)).collect();
        }
    }

    fn len(&self) -> usize {
        if self.spans.is_empty() { self.strings.len() } else { self.spans.len() }
    }

    /// The UTF-8 of each string. Lone surrogates have none.
    pub fn utf8(&self, name: &str) -> PyResult<Vec<&str>> {
        let text = |(index, string)| self.text(index, string, name);
        self.strings.iter().enumerate().map(text).collect()
    }

    fn text<'t>(&'t self, index: usize, string: &'t Bound<'py, PyString>, name: &str) -> PyResult<&'t str> {
        string.to_str().map_err(|error| {
            let spans = self.spans.iter().flatten();
            let item =
                self.spans.iter().position(|span| span.as_ref().is_some_and(|span| span.contains(&index)));
            let key = match (self.split, item) {
                (true, Some(item)) => {
                    let start = spans.clone().find(|span| span.contains(&index)).map_or(0, |span| span.start);
                    format!("{name}[{item}][{}]", index - start)
                }
                (_, item) => format!("{name}[{}]", item.unwrap_or(index)),
            };
            not_utf8(string.py(), error, &key)
        })
    }

    fn sequence<'t>(&self, item: usize, utf8: &'t [&'t str]) -> Option<Sequence<'t>> {
        let span = if self.spans.is_empty() { item..item + 1 } else { self.spans.get(item)?.clone()? };
        let strings = utf8.get(span)?;
        if self.split {
            Some(Sequence::Words(strings))
        } else {
            strings.first().map(|text| Sequence::Text(text))
        }
    }
}

/// Pairs up first and second sequences.
pub fn inputs<'t>(
    py: Python<'_>,
    first: (&Texts<'_>, &'t [&'t str]),
    second: Option<(&Texts<'_>, &'t [&'t str])>,
) -> PyResult<Vec<Input<'t>>> {
    if let Some((pairs, _)) = &second
        && pairs.len() != first.0.len()
    {
        let expected = format!("{} second texts, one for each input", first.0.len());
        return Err(to_py(py, Error::argument("pairs", expected, pairs.len().to_string())));
    }
    let empty = Sequence::Words(&[]);
    let input = |item| Input {
        first: first.0.sequence(item, first.1).unwrap_or(empty),
        second: second.as_ref().and_then(|(texts, utf8)| texts.sequence(item, utf8)),
    };
    Ok((0..first.0.len()).map(input).collect())
}
