//! Pre-tokenizers: where a normalized text is cut into words.

mod behavior;
mod bert;
mod byte_level;
mod metaspace;
mod script_table;
mod split;
mod unicode_scripts;
mod whitespace;

pub use behavior::Behavior;
pub use byte_level::ByteLevel;
pub use metaspace::{Metaspace, PrependScheme};
pub use split::Split;

use super::json::Node;
use super::text::Words;
use super::unicode::is_punctuation;
use crate::Result;
use metaspace::character;
use serde_json::{Value, json};

/// How words are cut. The model sees one word at a time.
#[derive(Debug, Clone, PartialEq)]
pub enum PreTokenizer {
    /// White space removed, each punctuation character a word.
    Bert,
    /// Runs of `\w` and runs of what is neither `\w` nor white space.
    Whitespace,
    /// White space removed.
    WhitespaceSplit,
    /// GPT-2's words as visible characters, one a byte.
    ByteLevel(ByteLevel),
    /// Spaces made visible and words cut before them.
    Metaspace(Metaspace),
    /// Words by the matches of a pattern.
    Split(Split),
    /// Words by punctuation.
    Punctuation(Behavior),
    /// Words by numeric characters, each one alone or in runs.
    Digits {
        /// Each digit is a word.
        individual_digits: bool,
    },
    /// A character removed.
    CharDelimiterSplit(char),
    /// Words of a number of characters.
    FixedLength(usize),
    /// Runs of characters of one script.
    UnicodeScripts,
    /// One after the other.
    Sequence(Vec<PreTokenizer>),
}

const KNOWN: [&str; 12] = [
    "BertPreTokenizer",
    "ByteLevel",
    "CharDelimiterSplit",
    "Digits",
    "FixedLength",
    "Metaspace",
    "Punctuation",
    "Sequence",
    "Split",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
];

impl PreTokenizer {
    /// Reads the `pre_tokenizer` of a tokenizer.json.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let kind = node.field("type")?;
        Ok(match kind.text()? {
            "BertPreTokenizer" => Self::Bert,
            "Whitespace" => Self::Whitespace,
            "WhitespaceSplit" => Self::WhitespaceSplit,
            "ByteLevel" => Self::ByteLevel(ByteLevel::read(node)?),
            "Metaspace" => Self::Metaspace(Metaspace::read(node)?),
            "Split" => Self::Split(Split::read(node)?),
            "Punctuation" => {
                let behavior = node.optional("behavior")?;
                Self::Punctuation(behavior.map_or(Ok(Behavior::Isolated), |node| Behavior::read(&node))?)
            }
            "Digits" => Self::Digits { individual_digits: node.field("individual_digits")?.boolean()? },
            "CharDelimiterSplit" => Self::CharDelimiterSplit(character(&node.field("delimiter")?)?),
            "UnicodeScripts" => Self::UnicodeScripts,
            "FixedLength" => {
                let length = node.optional("length")?;
                let size = length.as_ref().map_or(Ok(5), Node::size)?;
                match length {
                    Some(node) if size == 0 => return Err(node.refuse("at least 1", "0")),
                    _ => Self::FixedLength(size),
                }
            }
            "Sequence" => {
                let all = node.field("pretokenizers")?;
                Self::Sequence(all.items()?.map(|node| Self::read(&node)).collect::<Result<_>>()?)
            }
            _ => return Err(kind.unknown(&KNOWN)),
        })
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bert => "BertPreTokenizer",
            Self::Whitespace => "Whitespace",
            Self::WhitespaceSplit => "WhitespaceSplit",
            Self::ByteLevel(_) => "ByteLevel",
            Self::Metaspace(_) => "Metaspace",
            Self::Split(_) => "Split",
            Self::Punctuation(_) => "Punctuation",
            Self::Digits { .. } => "Digits",
            Self::CharDelimiterSplit(_) => "CharDelimiterSplit",
            Self::FixedLength(_) => "FixedLength",
            Self::UnicodeScripts => "UnicodeScripts",
            Self::Sequence(_) => "Sequence",
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bert | Self::Whitespace | Self::WhitespaceSplit | Self::UnicodeScripts => {
                json!({"type": self.name()})
            }
            Self::ByteLevel(byte_level) => byte_level.to_json(),
            Self::Metaspace(metaspace) => metaspace.to_json(),
            Self::Split(split) => split.to_json(),
            Self::Punctuation(behavior) => json!({"type": "Punctuation", "behavior": behavior.name()}),
            Self::Digits { individual_digits } => {
                json!({"type": "Digits", "individual_digits": individual_digits})
            }
            Self::CharDelimiterSplit(delimiter) => {
                json!({"type": "CharDelimiterSplit", "delimiter": delimiter})
            }
            Self::FixedLength(length) => json!({"type": "FixedLength", "length": length}),
            Self::Sequence(all) => {
                json!({"type": "Sequence", "pretokenizers": all.iter().map(Self::to_json).collect::<Vec<_>>()})
            }
        }
    }

    /// Whether words are cut and left as they are, wherever they come from in the original.
    pub fn only_cuts(&self) -> bool {
        match self {
            Self::ByteLevel(_) | Self::Metaspace(_) => false,
            Self::Sequence(all) => all.iter().all(Self::only_cuts),
            _ => true,
        }
    }

    /// Whether a word that starts the original is treated in its own way.
    pub fn sees_start(&self) -> bool {
        match self {
            Self::Metaspace(metaspace) => metaspace.prepend_scheme == PrependScheme::First,
            Self::Sequence(all) => all.iter().any(Self::sees_start),
            _ => false,
        }
    }

    /// Cuts the words there are into smaller ones.
    pub fn apply(&self, words: &mut Words) -> Result<()> {
        match self {
            Self::Bert => words.split(|text, word| bert::split(text, word)),
            Self::Whitespace => words.split(|text, word| whitespace::split(text, word)),
            Self::WhitespaceSplit => split_at(words, char::is_whitespace, Behavior::Removed),
            Self::ByteLevel(byte_level) => byte_level.apply(words),
            Self::Metaspace(metaspace) => metaspace.apply(words),
            Self::Split(split) => split.apply(words)?,
            Self::Punctuation(behavior) => split_at(words, is_punctuation, *behavior),
            Self::Digits { individual_digits } => {
                let behavior = if *individual_digits { Behavior::Isolated } else { Behavior::Contiguous };
                split_at(words, char::is_numeric, behavior);
            }
            Self::CharDelimiterSplit(delimiter) => split_at(words, |c| c == *delimiter, Behavior::Removed),
            Self::FixedLength(length) => words.split(|text, word| {
                let starts = text.char_indices().map(|(at, _)| at).step_by(*length).skip(1);
                let mut start = 0;
                for end in starts.chain(std::iter::once(text.len())) {
                    word(start..end);
                    start = end;
                }
            }),
            Self::UnicodeScripts => words.split(|text, word| unicode_scripts::split(text, word)),
            Self::Sequence(all) => all.iter().try_for_each(|pre_tokenizer| pre_tokenizer.apply(words))?,
        }
        Ok(())
    }
}

/// Each character of a kind is a match.
fn split_at(words: &mut Words, is_match: impl Fn(char) -> bool, behavior: Behavior) {
    words.split(|text, word| {
        let matches = text.char_indices().filter(|(_, c)| is_match(*c));
        behavior.split(text.len(), matches.map(|(at, c)| at..at + c.len_utf8()), false, word);
    });
}
