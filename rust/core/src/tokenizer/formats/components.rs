//! Components by themselves, written as in a tokenizer.json, put in place of those a tokenizer has.

use crate::Result;
use crate::tokenizer::ids::Way;
use crate::tokenizer::json::{Node, parse};
use crate::tokenizer::{AddedToken, Decoder, Model, Normalizer, PostProcessor, PreTokenizer, Tokenizer};
use serde_json::{Value, json};

/// What `components` names in errors.
const SOURCE: &str = "components";

impl Tokenizer {
    /// A model with components: see [`Self::with_components`].
    pub fn from_model(model: Model, components: &str) -> Result<Self> {
        Self::assemble(model, None, None, None, Vec::new())?.with_components(components)
    }

    /// The same tokenizer with other components. `components` is a JSON object with any of `normalizer`,
    /// `pre_tokenizer`, `post_processor`, `decoder` (null: none) and `added_tokens` (added to those that are there);
    /// what it does not name stays.
    pub fn with_components(&self, components: &str) -> Result<Self> {
        let tree = parse(SOURCE, components)?;
        let root = Node::root(SOURCE, &tree);
        let mut tokenizer = self.clone();
        let mut added = Vec::new();
        for (key, value) in root.fields()? {
            // A repeated key is refused.
            root.field(key)?;
            let node = root.child(key, value);
            let present = Some(&node).filter(|node| !node.is_null());
            match &**key {
                "normalizer" => tokenizer.normalizer = present.map(Normalizer::read).transpose()?,
                "pre_tokenizer" => tokenizer.pre_tokenizer = present.map(PreTokenizer::read).transpose()?,
                "post_processor" => {
                    tokenizer.post_processor = present.map(PostProcessor::read).transpose()?
                }
                "decoder" => tokenizer.decoder = present.map(Decoder::read).transpose()?,
                "added_tokens" => {
                    added = node.items()?.map(|token| AddedToken::read(&token)).collect::<Result<_>>()?
                }
                _ => {
                    let known = "normalizer, pre_tokenizer, post_processor, decoder or added_tokens";
                    return Err(root.refuse_key(key, known, "another key"));
                }
            }
        }
        tokenizer.added.refresh(tokenizer.normalizer.as_ref())?;
        tokenizer.added.add(added, &tokenizer.model, tokenizer.normalizer.as_ref())?;
        tokenizer.way = Way::new(&tokenizer);
        Ok(tokenizer)
    }

    /// The components as in tokenizer.json, and the model's options without vocabulary and merges.
    pub fn components(&self) -> Value {
        json!({
            "normalizer": self.normalizer.as_ref().map(Normalizer::to_json),
            "pre_tokenizer": self.pre_tokenizer.as_ref().map(PreTokenizer::to_json),
            "post_processor": self.post_processor.as_ref().map(PostProcessor::to_json),
            "decoder": self.decoder.as_ref().map(Decoder::to_json),
            "model": self.model.options(),
        })
    }
}
