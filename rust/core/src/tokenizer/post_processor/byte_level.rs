//! ByteLevel as a post-processor: offsets that leave out the white space tokens begin or end with.

use super::{Context, Template};
use crate::Result;
use crate::tokenizer::byte_alphabet::is_space;
use crate::tokenizer::encoding::Encoding;
use crate::tokenizer::json::Node;
use serde_json::{Value, json};

/// Trims offsets; adds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteLevelProcessor {
    /// Whether the pre-tokenizer put a space before the text, which then has no place in it.
    pub add_prefix_space: bool,
    /// Whether offsets are trimmed at all.
    pub trim_offsets: bool,
    /// Of no meaning here, written back as it was read.
    pub use_regex: bool,
    template: Template,
}

impl ByteLevelProcessor {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self {
            add_prefix_space: node.field("add_prefix_space")?.boolean()?,
            trim_offsets: node.field("trim_offsets")?.boolean()?,
            use_regex: node.optional("use_regex")?.map_or(Ok(true), |node| node.boolean())?,
            template: Template::plain(),
        })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": self.add_prefix_space,
            "trim_offsets": self.trim_offsets,
            "use_regex": self.use_regex,
        })
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    pub(super) fn process(&self, mut encodings: Vec<Encoding>, context: Context<'_>) -> Vec<Encoding> {
        if self.trim_offsets {
            trim_all(&mut encodings, self.add_prefix_space, context);
        }
        for (index, encoding) in encodings.iter_mut().enumerate() {
            encoding.set_sequence(index);
        }
        encodings
    }
}

/// Trims the offsets of encodings and of the parts cut off from them.
pub fn trim_all(encodings: &mut [Encoding], add_prefix_space: bool, context: Context<'_>) {
    for encoding in encodings {
        trim(encoding, add_prefix_space, context);
        for part in &mut encoding.overflowing {
            trim(part, add_prefix_space, context);
        }
    }
}

fn trim(encoding: &mut Encoding, add_prefix_space: bool, context: Context<'_>) {
    for token in 0..encoding.len() {
        let id = encoding.ids.get(token).copied().unwrap_or_default();
        let text = encoding.text(token).or_else(|| (context.vocabulary)(id)).unwrap_or_default();
        let leading = text.chars().take_while(|c| is_space(*c)).count() as u32;
        let trailing = text.chars().rev().take_while(|c| is_space(*c)).count() as u32;
        let known = encoding.start(token);
        let Some((start, end)) = encoding.offsets.get_mut(token).filter(|_| leading + trailing > 0) else {
            continue;
        };
        // A lone space before the text's first token counts as one that was put there, even where the text has it.
        let first = token == 0 || *start == 0;
        match known {
            Some(known) => *start = known,
            None if first && add_prefix_space && leading == 1 => {}
            None => *start = (*start + leading).min(*end),
        }
        if *end >= trailing {
            *end = (*end - trailing).max(*start);
        }
    }
}
