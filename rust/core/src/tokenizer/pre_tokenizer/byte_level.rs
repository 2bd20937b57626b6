//! ByteLevel: words by GPT-2's pattern, then a visible character for each byte.
//! Source: Radford et al., "Language models are unsupervised multitask learners" (2019).

use crate::Result;
use crate::tokenizer::byte_alphabet::character_of;
use crate::tokenizer::json::Node;
use crate::tokenizer::pattern::Scanner;
use crate::tokenizer::text::{Character, Words};
use serde_json::{Value, json};

/// The options of a ByteLevel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteLevel {
    /// Put a space before each word that does not start with one.
    pub add_prefix_space: bool,
    /// Of meaning to the post-processor of the same name alone.
    pub trim_offsets: bool,
    /// Whether words are cut by GPT-2's pattern.
    pub use_regex: bool,
}

impl ByteLevel {
    /// Reads the fields of the JSON object.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self {
            add_prefix_space: node.field("add_prefix_space")?.boolean()?,
            trim_offsets: node.field("trim_offsets")?.boolean()?,
            use_regex: node.optional("use_regex")?.map_or(Ok(true), |flag| flag.boolean())?,
        })
    }

    /// The object in a tokenizer.json.
    pub fn to_json(self) -> Value {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": self.add_prefix_space,
            "trim_offsets": self.trim_offsets,
            "use_regex": self.use_regex,
        })
    }

    /// Works on each word.
    pub fn apply(self, words: &mut Words) {
        if self.add_prefix_space {
            words.rewrite(|before, after| {
                if let Some(first) = before.first().filter(|first| first.value != ' ') {
                    after.push(Character { value: ' ', ..*first });
                }
                after.extend_from_slice(before);
            });
        }
        if self.use_regex {
            words.split(|text, word| Scanner::Gpt2.words(text, word));
        }
        words.rewrite(|before, after| {
            let mut buffer = [0; 4];
            for character in before {
                let bytes = character.value.encode_utf8(&mut buffer).bytes();
                after.extend(bytes.map(|byte| Character { value: character_of(byte), ..*character }));
            }
        });
    }
}
