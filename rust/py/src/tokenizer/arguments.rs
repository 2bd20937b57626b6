//! The options of an encode call, as Python passes them.

use oxiformers_core::tokenizer::{Padding, PaddingLength, Settings, Side, Truncation, TruncationStrategy};
use oxiformers_core::{Error, Result};
use pyo3::prelude::*;

use crate::error::to_py;

/// `left` or `right`.
fn side(name: &str, value: &str) -> Result<Side> {
    match value {
        "left" => Ok(Side::Left),
        "right" => Ok(Side::Right),
        _ => Err(Error::argument(name, "left or right", format!("{value:?}"))),
    }
}

/// The truncation arguments. `max_length` without a strategy is for padding.
pub struct TruncationArguments<'a> {
    pub strategy: Option<&'a str>,
    pub max_length: Option<usize>,
    pub stride: usize,
    pub side: &'a str,
}

impl<'a> TruncationArguments<'a> {
    pub fn new(strategy: Option<&'a str>, max_length: Option<usize>, stride: usize, side: &'a str) -> Self {
        Self { strategy, max_length, stride, side }
    }

    fn read(&self) -> Result<Option<Truncation>> {
        let cut = side("truncation_side", self.side)?;
        let Some(strategy) = self.strategy else {
            return Ok(None);
        };
        let strategy = match strategy {
            "longest_first" => TruncationStrategy::LongestFirst,
            "only_first" => TruncationStrategy::OnlyFirst,
            "only_second" => TruncationStrategy::OnlySecond,
            other => {
                let expected = "longest_first, only_first, only_second or None";
                return Err(Error::argument("truncation", expected, format!("{other:?}")));
            }
        };
        let max_length = self.max_length.ok_or_else(|| {
            Error::argument("max_length", "a number of tokens, as truncation is on", "None")
        })?;
        Ok(Some(Truncation { strategy, max_length, stride: self.stride, side: cut }))
    }
}

/// The padding arguments.
pub struct PaddingArguments<'a> {
    pub strategy: Option<&'a str>,
    pub multiple_of: Option<usize>,
    pub side: &'a str,
    pub id: u32,
    pub type_id: u32,
    pub token: &'a str,
}

impl<'a> PaddingArguments<'a> {
    pub fn new(
        strategy: Option<&'a str>,
        multiple_of: Option<usize>,
        side: &'a str,
        id: u32,
        type_id: u32,
        token: &'a str,
    ) -> Self {
        Self { strategy, multiple_of, side, id, type_id, token }
    }

    fn read(&self, max_length: Option<usize>) -> Result<Option<Padding>> {
        let fill = side("padding_side", self.side)?;
        let length = match self.strategy {
            None => return Ok(None),
            Some("longest") => PaddingLength::Longest,
            Some("max_length") => PaddingLength::Fixed(max_length.ok_or_else(|| {
                Error::argument("max_length", "a number of tokens, as padding is to max_length", "None")
            })?),
            Some(other) => {
                let expected = "longest, max_length or None";
                return Err(Error::argument("padding", expected, format!("{other:?}")));
            }
        };
        Ok(Some(Padding {
            length,
            multiple_of: self.multiple_of,
            side: fill,
            id: self.id,
            type_id: self.type_id,
            token: self.token.into(),
        }))
    }
}

/// What is added, matched and kept.
pub struct Extent {
    pub add_special_tokens: bool,
    pub split_special_tokens: bool,
    pub overflow: bool,
}

impl Extent {
    /// All of a call's options.
    pub fn settings(
        self,
        py: Python<'_>,
        truncation: &TruncationArguments<'_>,
        padding: Option<&PaddingArguments<'_>>,
    ) -> PyResult<Settings> {
        let read = || {
            Ok(Settings {
                add_special_tokens: self.add_special_tokens,
                split_special_tokens: self.split_special_tokens,
                truncation: truncation.read()?,
                padding: padding.map(|padding| padding.read(truncation.max_length)).transpose()?.flatten(),
                overflow: self.overflow,
            })
        };
        read().map_err(|error| to_py(py, error))
    }
}
