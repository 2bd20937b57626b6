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
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let Some(kind) = node.optional("type")? else {
            return Self::read_untyped(node);
        };
        match kind.text()? {
            "BPEDecoder" => Self::read_bpe(node),
            "ByteLevel" => Ok(Self::ByteLevel {
                add_prefix_space: node.field("add_prefix_space")?.boolean()?,
                trim_offsets: node.field("trim_offsets")?.boolean()?,
                use_regex: node.optional("use_regex")?.map_or(Ok(true), |node| node.boolean())?,
            }),
            "WordPiece" => Self::read_word_piece(node),
            "Metaspace" => Metaspace::read(node).map(Self::Metaspace),
            "CTC" => Ctc::read(node).map(Self::Ctc),
            "Sequence" => {
                let list = node.field("decoders")?;
                let decoders = list.items()?.map(|item| Self::read(&item)).collect::<Result<_>>()?;
                Ok(Self::Sequence(decoders))
            }
            "Replace" => Replace::read(node).map(Self::Replace),
            "Fuse" => Ok(Self::Fuse),
            "Strip" => Strip::read(node).map(Self::Strip),
            "ByteFallback" => Ok(Self::ByteFallback),
            _ => Err(kind.unknown(&NAMES)),
        }
    }

    /// One without a type is what its fields say, as in files from before there was a type.
    fn read_untyped(node: &Node<'_, '_>) -> Result<Self> {
        let mut readers = [
            Self::read_bpe,
            Self::read_word_piece,
            |node: &Node<'_, '_>| Ctc::read(node).map(Self::Ctc),
            |node: &Node<'_, '_>| Replace::read(node).map(Self::Replace),
            |node: &Node<'_, '_>| Strip::read(node).map(Self::Strip),
        ]
        .into_iter();
        let missing = || node.refuse_key("type", format!("one of {}", NAMES.join(", ")), "nothing");
        readers.find_map(|read| read(node).ok()).ok_or_else(missing)
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
