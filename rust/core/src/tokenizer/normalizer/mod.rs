//! Normalizers: what is done to a text before it is split.

mod bert;

pub use bert::BertNormalizer;

use super::json::Node;
use super::text::{Character, Edges, characters};
use crate::Result;
use serde_json::Value;

/// What is done to a text before it is split.
#[derive(Debug, Clone, PartialEq)]
pub enum Normalizer {
    /// BERT's cleaning, ideograph spacing, accent stripping and lowercasing.
    Bert(BertNormalizer),
}

impl Normalizer {
    /// Reads the `normalizer` of a tokenizer.json.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let kind = node.field("type")?;
        match kind.text()? {
            "BertNormalizer" => Ok(Self::Bert(BertNormalizer::read(node)?)),
            _ => Err(kind.unsupported()),
        }
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bert(_) => "BertNormalizer",
        }
    }

    /// BERT's, if it is that.
    pub fn as_bert(&self) -> Option<&BertNormalizer> {
        match self {
            Self::Bert(bert) => Some(bert),
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bert(bert) => bert.to_json(),
        }
    }

    /// Normalizes characters in place. `edges` says which ends of the piece they have.
    pub fn apply(&self, characters: &mut Vec<Character>, _edges: Edges) -> Result<()> {
        match self {
            Self::Bert(bert) => bert.apply(characters),
        }
        Ok(())
    }

    /// Normalizes a text whose alignment is of no interest, such as an added token.
    pub fn normalize(&self, text: &str) -> Result<String> {
        let mut characters = characters(text, 0);
        self.apply(&mut characters, Edges::BOTH)?;
        Ok(characters.iter().map(|character| character.value).collect())
    }
}
