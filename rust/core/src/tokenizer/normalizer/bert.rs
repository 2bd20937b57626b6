//! BERT's normalizer: clean, space out ideographs, strip accents, lowercase; in this order.

use super::forms::Form;
use super::rewrite::{expand, filter, map};
use super::simple::lowercase;
use crate::Result;
use crate::tokenizer::json::Node;
use crate::tokenizer::text::Character;
use crate::tokenizer::unicode::{is_accent, is_ideograph, is_removed};
use serde_json::{Value, json};

/// The options of a BertNormalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BertNormalizer {
    /// Remove control characters and turn every white space into a space.
    pub clean_text: bool,
    /// Put spaces around ideographs.
    pub handle_chinese_chars: bool,
    /// Decompose and remove nonspacing marks; None means "where lowercase is on".
    pub strip_accents: Option<bool>,
    /// Lowercase each character.
    pub lowercase: bool,
}

impl BertNormalizer {
    /// Reads the fields of the JSON object.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self {
            clean_text: node.field("clean_text")?.boolean()?,
            handle_chinese_chars: node.field("handle_chinese_chars")?.boolean()?,
            strip_accents: node.present("strip_accents")?.map(|flag| flag.boolean()).transpose()?,
            lowercase: node.field("lowercase")?.boolean()?,
        })
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        json!({
            "type": "BertNormalizer",
            "clean_text": self.clean_text,
            "handle_chinese_chars": self.handle_chinese_chars,
            "strip_accents": self.strip_accents,
            "lowercase": self.lowercase,
        })
    }

    /// Whether accents are stripped, the default resolved.
    pub fn strips_accents(&self) -> bool {
        self.strip_accents.unwrap_or(self.lowercase)
    }

    /// Normalizes in place.
    pub fn apply(&self, characters: &mut Vec<Character>) {
        if self.clean_text {
            filter(characters, |c| !is_removed(c));
            map(characters, |c| if c.is_whitespace() { ' ' } else { c });
        }
        if self.handle_chinese_chars && characters.iter().any(|character| is_ideograph(character.value)) {
            expand(characters, spaced);
        }
        if self.strips_accents() {
            Form::Nfd.apply(characters);
            filter(characters, |c| !is_accent(c));
        }
        if self.lowercase {
            lowercase(characters);
        }
    }
}

fn spaced(c: char) -> impl Iterator<Item = char> {
    let (all, length) = if is_ideograph(c) { ([' ', c, ' '], 3) } else { ([c, c, c], 1) };
    all.into_iter().take(length)
}
