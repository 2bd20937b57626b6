//! Truncation and padding as a tokenizer.json carries them: kept and written back, never applied by themselves.

use crate::Result;
use crate::tokenizer::json::{Node, quoted};
use crate::tokenizer::{Side, TruncationStrategy};
use serde_json::{Value, json};

/// The `truncation` of a tokenizer.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedTruncation {
    /// The side tokens are taken from.
    pub side: Side,
    /// Tokens in all.
    pub max_length: usize,
    /// Which sequence gives.
    pub strategy: TruncationStrategy,
    /// Tokens that consecutive parts share.
    pub stride: usize,
}

/// The `padding` of a tokenizer.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPadding {
    /// The length of every row, or None for that of the longest.
    pub length: Option<usize>,
    /// The side padding is put on.
    pub side: Side,
    /// Round up to a multiple of this.
    pub multiple_of: Option<usize>,
    /// Id of the padding token.
    pub id: u32,
    /// Type id of padding.
    pub type_id: u32,
    /// Text of the padding token.
    pub token: String,
}

fn side(node: &Node<'_, '_>) -> Result<Side> {
    match node.text()? {
        "Left" => Ok(Side::Left),
        "Right" => Ok(Side::Right),
        other => Err(node.refuse("Left or Right", quoted(other))),
    }
}

fn direction(side: Side) -> &'static str {
    match side {
        Side::Left => "Left",
        Side::Right => "Right",
    }
}

impl SavedTruncation {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let strategy = node.field("strategy")?;
        Ok(Self {
            side: node.optional("direction")?.map_or(Ok(Side::Right), |node| side(&node))?,
            max_length: node.field("max_length")?.size()?,
            strategy: match strategy.text()? {
                "LongestFirst" => TruncationStrategy::LongestFirst,
                "OnlyFirst" => TruncationStrategy::OnlyFirst,
                "OnlySecond" => TruncationStrategy::OnlySecond,
                other => {
                    return Err(strategy.refuse("LongestFirst, OnlyFirst or OnlySecond", quoted(other)));
                }
            },
            stride: node.field("stride")?.size()?,
        })
    }

    pub(super) fn to_json(self) -> Value {
        let strategy = match self.strategy {
            TruncationStrategy::LongestFirst => "LongestFirst",
            TruncationStrategy::OnlyFirst => "OnlyFirst",
            TruncationStrategy::OnlySecond => "OnlySecond",
        };
        json!({
            "direction": direction(self.side),
            "max_length": self.max_length,
            "strategy": strategy,
            "stride": self.stride,
        })
    }
}

impl SavedPadding {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let strategy = node.field("strategy")?;
        let length = match strategy.text() {
            Ok("BatchLongest") => None,
            Ok(other) => return Err(strategy.refuse("BatchLongest or {\"Fixed\": length}", quoted(other))),
            Err(_) => match strategy.fields() {
                Ok([_]) => Some(strategy.field("Fixed")?.size()?),
                _ => return Err(strategy.mismatch("BatchLongest or {\"Fixed\": length}")),
            },
        };
        Ok(Self {
            length,
            side: side(&node.field("direction")?)?,
            multiple_of: node.present("pad_to_multiple_of")?.map(|node| node.size()).transpose()?,
            id: node.field("pad_id")?.id()?,
            type_id: node.field("pad_type_id")?.id()?,
            token: node.field("pad_token")?.text()?.to_owned(),
        })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "strategy": self.length.map_or_else(|| json!("BatchLongest"), |length| json!({"Fixed": length})),
            "direction": direction(self.side),
            "pad_to_multiple_of": self.multiple_of,
            "pad_id": self.id,
            "pad_type_id": self.type_id,
            "pad_token": self.token,
        })
    }
}
