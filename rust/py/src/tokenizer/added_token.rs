//! The `AddedToken` class.

use super::inputs::{items, text, type_name};
use crate::error::input_type_error;
use oxiformers_core::tokenizer::AddedToken;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::hash::{DefaultHasher, Hash, Hasher};

#[pyclass(frozen, name = "AddedToken", module = "oxiformers._core", from_py_object)]
#[derive(Clone, PartialEq, Eq)]
pub struct PyAddedToken {
    #[pyo3(get)]
    content: String,
    #[pyo3(get)]
    single_word: bool,
    #[pyo3(get)]
    lstrip: bool,
    #[pyo3(get)]
    rstrip: bool,
    /// None: as `special` says.
    normalized: Option<bool>,
    #[pyo3(get)]
    special: bool,
}

impl PyAddedToken {
    /// The tokens of a list.
    pub fn list(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<AddedToken>> {
        let list = items(object, name, "a list of AddedToken")?;
        let token = |(index, item): (usize, &Bound<'_, PyAny>)| match item.cast::<Self>() {
            Ok(token) => Ok(token.get().to_core()),
            Err(_) => {
                let key = format!("{name}[{index}]");
                Err(input_type_error(object.py(), &key, "an AddedToken", &type_name(item)))
            }
        };
        list.iter().enumerate().map(token).collect()
    }

    pub fn to_core(&self) -> AddedToken {
        AddedToken {
            content: self.content.clone(),
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            normalized: self.normalized(),
            special: self.special,
        }
    }

    pub fn from_core(token: &AddedToken) -> Self {
        Self {
            content: token.content.clone(),
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            normalized: Some(token.normalized),
            special: token.special,
        }
    }
}

/// The text of a token; anything else is refused with a typed error.
struct Content(String);

impl<'a, 'py> FromPyObject<'a, 'py> for Content {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(text(&object, "content")?.to_owned()))
    }
}

type State = (String, bool, bool, bool, Option<bool>, bool);

#[pymethods]
impl PyAddedToken {
    #[new]
    #[pyo3(
        signature = (
            content=Content(String::new()), single_word=false, lstrip=false, rstrip=false, normalized=None, special=false
        ),
        text_signature = "(content='', single_word=False, lstrip=False, rstrip=False, normalized=None, special=False)"
    )]
    fn new(
        content: Content,
        single_word: bool,
        lstrip: bool,
        rstrip: bool,
        normalized: Option<bool>,
        special: bool,
    ) -> Self {
        Self { content: content.0, single_word, lstrip, rstrip, normalized, special }
    }

    #[getter]
    fn normalized(&self) -> bool {
        self.normalized.unwrap_or(!self.special)
    }

    fn as_special(&self) -> Self {
        Self { special: true, ..self.clone() }
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.to_core() == other.get().to_core())
    }

    fn __ne__(&self, other: &Bound<'_, PyAny>) -> bool {
        !self.__eq__(other)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.content.hash(&mut hasher);
        hasher.finish()
    }

    fn __str__(&self) -> &str {
        &self.content
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        let word = |flag: bool| if flag { "True" } else { "False" };
        let content = pyo3::types::PyString::new(slf.py(), &this.content).repr()?;
        Ok(format!(
            "AddedToken({content}, rstrip={}, lstrip={}, single_word={}, normalized={}, special={})",
            word(this.rstrip),
            word(this.lstrip),
            word(this.single_word),
            word(this.normalized()),
            word(this.special),
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, State) {
        let this = slf.get();
        let content = this.content.clone();
        let state = (content, this.single_word, this.lstrip, this.rstrip, this.normalized, this.special);
        (slf.get_type(), state)
    }
}
