//! tokenizer.json, version 1.0.

use super::{SavedPadding, SavedTruncation, read_text};
use crate::tokenizer::json::{Node, parse, quoted};
use crate::tokenizer::{AddedToken, Decoder, Model, Normalizer, PostProcessor, PreTokenizer, Tokenizer};
use crate::{Error, Result};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

/// The keys of a tokenizer.json in the order they are written in. There are no others.
const SECTIONS: [&str; 9] = [
    "version",
    "truncation",
    "padding",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "model",
];

impl Tokenizer {
    /// Reads a tokenizer.json.
    pub fn from_file(path: &str) -> Result<Self> {
        Self::from_json(&read_text(path)?, path)
    }

    /// Reads the text of a tokenizer.json; `source` names it in errors.
    pub fn from_json(text: &str, source: &str) -> Result<Self> {
        let tree = parse(source, text)?;
        let root = Node::root(source, &tree);
        for (key, value) in root.fields()? {
            if !SECTIONS.contains(&&**key) {
                return Err(root
                    .child(key, value)
                    .refuse(format!("one of {}", SECTIONS.join(", ")), "another key"));
            }
        }
        if let Some(version) = root.optional("version")? {
            let text = version.text()?;
            if text != "1.0" {
                return Err(version.refuse("\"1.0\"", quoted(text)));
            }
        }
        let truncation = root.present("truncation")?.map(|node| SavedTruncation::read(&node)).transpose()?;
        let padding = root.present("padding")?.map(|node| SavedPadding::read(&node)).transpose()?;
        let mut added = Vec::new();
        if let Some(tokens) = root.optional("added_tokens")? {
            for token in tokens.items()? {
                added.push(AddedToken::read(&token)?);
            }
        }
        let mut tokenizer = Self::assemble(
            Model::read(&root.field("model")?)?,
            root.present("normalizer")?.map(|node| Normalizer::read(&node)).transpose()?,
            root.present("pre_tokenizer")?.map(|node| PreTokenizer::read(&node)).transpose()?,
            root.present("decoder")?.map(|node| Decoder::read(&node)).transpose()?,
            added,
        )?;
        let processor = root.present("post_processor")?;
        tokenizer.post_processor = processor.map(|node| PostProcessor::read(&node)).transpose()?;
        tokenizer.truncation = truncation;
        tokenizer.padding = padding;
        Ok(tokenizer)
    }

    /// Writes a tokenizer.json.
    pub fn to_json(&self, pretty: bool) -> Result<String> {
        let text = if pretty { serde_json::to_string_pretty(self) } else { serde_json::to_string(self) };
        text.map_err(|error| Error::io("tokenizer.json", error.into()))
    }
}

/// Keys in the order other readers write them.
impl Serialize for Tokenizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(9))?;
        map.serialize_entry("version", "1.0")?;
        map.serialize_entry("truncation", &self.truncation.map(SavedTruncation::to_json))?;
        map.serialize_entry("padding", &self.padding.as_ref().map(SavedPadding::to_json))?;
        let added: Vec<Value> = self.added_tokens().map(|(id, token)| added_token(id, token)).collect();
        map.serialize_entry("added_tokens", &added)?;
        map.serialize_entry("normalizer", &self.normalizer.as_ref().map(Normalizer::to_json))?;
        map.serialize_entry("pre_tokenizer", &self.pre_tokenizer.as_ref().map(PreTokenizer::to_json))?;
        map.serialize_entry("post_processor", &self.post_processor.as_ref().map(PostProcessor::to_json))?;
        map.serialize_entry("decoder", &self.decoder.as_ref().map(Decoder::to_json))?;
        map.serialize_entry("model", &*self.model)?;
        map.end()
    }
}

fn added_token(id: u32, token: &AddedToken) -> Value {
    json!({
        "id": id,
        "content": token.content,
        "single_word": token.single_word,
        "lstrip": token.lstrip,
        "rstrip": token.rstrip,
        "normalized": token.normalized,
        "special": token.special,
    })
}
