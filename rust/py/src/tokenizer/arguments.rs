//! The options of an encode call, as Python passes them.

use oxiformers_core::tokenizer::{Padding, PaddingLength, Settings, Side, Truncation, TruncationStrategy};
use oxiformers_core::{Error, Result};

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

impl TruncationArguments<'_> {
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

impl PaddingArguments<'_> {
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

/// All of it.
pub fn settings(
    add_special_tokens: bool,
    split_special_tokens: bool,
    overflow: bool,
    truncation: &TruncationArguments<'_>,
    padding: Option<&PaddingArguments<'_>>,
) -> Result<Settings> {
    let padding = padding.map(|padding| padding.read(truncation.max_length)).transpose()?.flatten();
    Ok(Settings {
        add_special_tokens,
        split_special_tokens,
        truncation: truncation.read()?,
        padding,
        overflow,
    })
}
