//! The `decoder` of a tokenizer.json, legacy forms included.

use super::{Ctc, Decoder, Metaspace, Replace, Strip};
use crate::Result;
use crate::tokenizer::json::Node;

/// The names in tokenizer.json.
const NAMES: [&str; 10] = [
    "BPEDecoder",
    "ByteLevel",
    "WordPiece",
    "Metaspace",
    "CTC",
    "Sequence",
    "Replace",
    "Fuse",
    "Strip",
    "ByteFallback",
];

impl Decoder {
    /// Reads the `decoder` of a tokenizer.json.
    ///
    /// One without a known `type` is what its fields say, as in files from before there was a type.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let kind = node.optional("type")?;
        let named = kind.as_ref().and_then(|kind| kind.text().ok());
        match named {
            Some("BPEDecoder") => Self::read_bpe(node),
            Some("ByteLevel") => Ok(Self::ByteLevel {
                add_prefix_space: node.field("add_prefix_space")?.boolean()?,
                trim_offsets: node.field("trim_offsets")?.boolean()?,
                use_regex: node.optional("use_regex")?.map_or(Ok(true), |node| node.boolean())?,
            }),
            Some("WordPiece") => Self::read_word_piece(node),
            Some("Metaspace") => Metaspace::read(node).map(Self::Metaspace),
            Some("CTC") => Ctc::read(node).map(Self::Ctc),
            Some("Sequence") => {
                let list = node.field("decoders")?;
                let decoders = list.items()?.map(|item| Self::read(&item)).collect::<Result<_>>()?;
                Ok(Self::Sequence(decoders))
            }
            Some("Replace") => Replace::read(node).map(Self::Replace),
            Some("Fuse") => Ok(Self::Fuse),
            Some("Strip") => Strip::read(node).map(Self::Strip),
            Some("ByteFallback") => Ok(Self::ByteFallback),
            _ => {
                let mut readers = [
                    Self::read_bpe,
                    Self::read_word_piece,
                    |node: &Node<'_, '_>| Ctc::read(node).map(Self::Ctc),
                    |node: &Node<'_, '_>| Replace::read(node).map(Self::Replace),
                    |node: &Node<'_, '_>| Strip::read(node).map(Self::Strip),
                ]
                .into_iter();
                match readers.find_map(|read| read(node).ok()) {
                    Some(decoder) => Ok(decoder),
                    None => Err(node.field("type")?.unknown(&NAMES)),
                }
            }
        }
    }

    fn read_bpe(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self::Bpe { suffix: node.field("suffix")?.text()?.to_owned() })
    }

    fn read_word_piece(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self::WordPiece {
            prefix: node.field("prefix")?.text()?.to_owned(),
            cleanup: node.field("cleanup")?.boolean()?,
        })
    }
}

/// A string of one character.
pub fn character(node: &Node<'_, '_>) -> Result<char> {
    let mut characters = node.text()?.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(node.mismatch("a string of one character")),
    }
}
