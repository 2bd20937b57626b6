//! The options of an encode call, as Python passes them: parsed once, into a struct.

use oxiformers_core::tokenizer::{
    Padding, PaddingLength, Settings, Side, Truncation, TruncationStrategy, Wanted,
};
use oxiformers_core::{Error, Result};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::error::to_py;

/// An encode method: its name, and which groups of options it has.
pub struct Method {
    name: &'static str,
    /// How rows are made equally long.
    pads: bool,
    /// What is returned beside the ids.
    selects: bool,
}

pub const ENCODE_BATCH: Method = Method { name: "encode_batch", pads: true, selects: false };
pub const ENCODE_BATCH_ARRAYS: Method = Method { name: "encode_batch_arrays", pads: true, selects: true };
pub const ENCODE_BATCH_LISTS: Method = Method { name: "encode_batch_lists", pads: true, selects: true };
pub const ENCODE_BATCH_PACKED: Method = Method { name: "encode_batch_packed", pads: false, selects: false };

/// The options of an encode call.
pub struct EncodeOptions {
    /// Whether a text is a list of words.
    pub is_pretokenized: bool,
    /// What is done.
    pub settings: Settings,
    /// What is returned beside the ids, of which the attention mask is made in the end.
    pub wanted: Wanted,
    pub attention_mask: bool,
}

impl EncodeOptions {
    /// Reads the keyword arguments of a call.
    pub fn read(py: Python<'_>, method: &Method, keywords: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut given = Given::default();
        for (name, value) in keywords.into_iter().flat_map(|keywords| keywords.iter()) {
            let name = name.cast::<PyString>()?;
            given.set(method, name.to_str()?, &value)?;
        }
        given.options().map_err(|error| to_py(py, error))
    }
}

/// The options by their names in Python, before it is known whether they go together.
struct Given {
    is_pretokenized: bool,
    add_special_tokens: bool,
    split_special_tokens: bool,
    truncation: Option<String>,
    max_length: Option<usize>,
    stride: usize,
    truncation_side: String,
    padding: Option<String>,
    pad_to_multiple_of: Option<usize>,
    padding_side: String,
    pad_id: u32,
    pad_type_id: u32,
    pad_token: String,
    return_overflowing: bool,
    type_ids: bool,
    attention_mask: bool,
    special_tokens_mask: bool,
    offsets: bool,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            is_pretokenized: false,
            add_special_tokens: true,
            split_special_tokens: false,
            truncation: None,
            max_length: None,
            stride: 0,
            truncation_side: "right".into(),
            padding: None,
            pad_to_multiple_of: None,
            padding_side: "right".into(),
            pad_id: 0,
            pad_type_id: 0,
            pad_token: "[PAD]".into(),
            return_overflowing: false,
            type_ids: true,
            attention_mask: true,
            special_tokens_mask: false,
            offsets: false,
        }
    }
}

impl Given {
    fn set(&mut self, method: &Method, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        fn read<'py, T: FromPyObjectOwned<'py>>(
            field: &mut T,
            name: &str,
            value: &Bound<'py, PyAny>,
        ) -> PyResult<()> {
            match value.extract() {
                Ok(read) => *field = read,
                Err(error) => {
                    let error: PyErr = error.into();
                    if !error.is_instance_of::<PyTypeError>(value.py()) {
                        return Err(error);
                    }
                    let message = format!("argument '{name}': {}", error.value(value.py()));
                    return Err(PyTypeError::new_err(message));
                }
            }
            Ok(())
        }
        match name {
            "is_pretokenized" => read(&mut self.is_pretokenized, name, value),
            "add_special_tokens" => read(&mut self.add_special_tokens, name, value),
            "split_special_tokens" => read(&mut self.split_special_tokens, name, value),
            "truncation" => read(&mut self.truncation, name, value),
            "max_length" => read(&mut self.max_length, name, value),
            "stride" => read(&mut self.stride, name, value),
            "truncation_side" => read(&mut self.truncation_side, name, value),
            "return_overflowing" => read(&mut self.return_overflowing, name, value),
            "padding" if method.pads => read(&mut self.padding, name, value),
            "pad_to_multiple_of" if method.pads => read(&mut self.pad_to_multiple_of, name, value),
            "padding_side" if method.pads => read(&mut self.padding_side, name, value),
            "pad_id" if method.pads => read(&mut self.pad_id, name, value),
            "pad_type_id" if method.pads => read(&mut self.pad_type_id, name, value),
            "pad_token" if method.pads => read(&mut self.pad_token, name, value),
            "type_ids" if method.selects => read(&mut self.type_ids, name, value),
            "attention_mask" if method.selects => read(&mut self.attention_mask, name, value),
            "special_tokens_mask" if method.selects => read(&mut self.special_tokens_mask, name, value),
            "offsets" if method.selects => read(&mut self.offsets, name, value),
            _ => {
                let message = format!("{}() got an unexpected keyword argument '{name}'", method.name);
                Err(PyTypeError::new_err(message))
            }
        }
    }

    fn options(self) -> Result<EncodeOptions> {
        let (truncation, padding) = (self.truncation()?, self.padding()?);
        Ok(EncodeOptions {
            is_pretokenized: self.is_pretokenized,
            settings: Settings {
                add_special_tokens: self.add_special_tokens,
                split_special_tokens: self.split_special_tokens,
                truncation,
                padding,
                overflow: self.return_overflowing,
            },
            wanted: Wanted {
                type_ids: self.type_ids,
                special_tokens_mask: self.special_tokens_mask,
                offsets: self.offsets,
            },
            attention_mask: self.attention_mask,
        })
    }

    /// `max_length` without a strategy is for padding.
    fn truncation(&self) -> Result<Option<Truncation>> {
        let side = side("truncation_side", &self.truncation_side)?;
        let strategy = match self.truncation.as_deref() {
            None => return Ok(None),
            Some("longest_first") => TruncationStrategy::LongestFirst,
            Some("only_first") => TruncationStrategy::OnlyFirst,
            Some("only_second") => TruncationStrategy::OnlySecond,
            Some(other) => {
                let expected = "longest_first, only_first, only_second or None";
                return Err(Error::argument("truncation", expected, format!("{other:?}")));
            }
        };
        let max_length = self.max_length.ok_or_else(|| {
            Error::argument("max_length", "a number of tokens, as truncation is on", "None")
        })?;
        Ok(Some(Truncation { strategy, max_length, stride: self.stride, side }))
    }

    fn padding(&self) -> Result<Option<Padding>> {
        let side = side("padding_side", &self.padding_side)?;
        let length = match self.padding.as_deref() {
            None => return Ok(None),
            Some("longest") => PaddingLength::Longest,
            Some("max_length") => PaddingLength::Fixed(self.max_length.ok_or_else(|| {
                Error::argument("max_length", "a number of tokens, as padding is to max_length", "None")
            })?),
            Some(other) => {
                let expected = "longest, max_length or None";
                return Err(Error::argument("padding", expected, format!("{other:?}")));
            }
        };
        Ok(Some(Padding {
            length,
            multiple_of: self.pad_to_multiple_of,
            side,
            id: self.pad_id,
            type_id: self.pad_type_id,
            token: self.pad_token.as_str().into(),
        }))
    }
}

/// `left` or `right`.
fn side(name: &str, value: &str) -> Result<Side> {
    match value {
        "left" => Ok(Side::Left),
        "right" => Ok(Side::Right),
        other => Err(Error::argument(name, "left or right", format!("{other:?}"))),
    }
}
