//! Metaspace as a decoder: a visible character stands for the space.

use super::read::character;
use super::tokens::Tokens;
use crate::Result;
use crate::tokenizer::json::{Node, quoted};
use serde_json::{Value, json};

/// Where the pre-tokenizer puts a space of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrependScheme {
    /// Before the text.
    First,
    /// Nowhere.
    Never,
    /// Before each part between added tokens.
    Always,
}

/// Turns the character back into spaces; those of the first token are dropped where one was put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metaspace {
    /// What stands for a space.
    pub replacement: char,
    /// Where a space was put.
    pub prepend_scheme: PrependScheme,
    /// Of no meaning here, written back as it was read.
    pub split: bool,
}

impl Metaspace {
    /// Legacy files say `add_prefix_space`, which has to agree with `prepend_scheme`, "always" by default.
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let replacement = character(&node.field("replacement")?)?;
        let scheme = node.optional("prepend_scheme")?;
        let prepend_scheme = match &scheme {
            None => PrependScheme::Always,
            Some(scheme) => match scheme.text()? {
                "first" => PrependScheme::First,
                "never" => PrependScheme::Never,
                "always" => PrependScheme::Always,
                other => return Err(scheme.refuse("first, never or always", quoted(other))),
            },
        };
        if let Some(prefix) = node.present("add_prefix_space")?
            && !prefix.boolean()?
            && prepend_scheme != PrependScheme::Never
        {
            return Err(prefix.refuse("true, or prepend_scheme \"never\" beside false", "false alone"));
        }
        if let Some(text) = node.present("str_rep")? {
            text.text()?;
        }
        let split = node.present("split")?.map_or(Ok(true), |node| node.boolean())?;
        Ok(Self { replacement, prepend_scheme, split })
    }

    pub(super) fn to_json(&self) -> Value {
        let scheme = match self.prepend_scheme {
            PrependScheme::First => "first",
            PrependScheme::Never => "never",
            PrependScheme::Always => "always",
        };
        json!({
            "type": "Metaspace",
            "replacement": self.replacement,
            "prepend_scheme": scheme,
            "split": self.split,
        })
    }

    pub(super) fn decode<'t>(&self, tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) {
        let mut space = if self.prepend_scheme == PrependScheme::Never { " " } else { "" };
        for token in tokens {
            for (index, part) in token.split(self.replacement).enumerate() {
                if index > 0 {
                    out.text.push_str(space);
                }
                out.text.push_str(part);
            }
            out.close();
            space = " ";
        }
    }
}
