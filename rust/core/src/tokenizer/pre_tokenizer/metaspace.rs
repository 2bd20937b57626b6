//! Metaspace: spaces become a visible character, before which the text is cut.
//! Source: Kudo and Richardson, "SentencePiece" (2018), whose U+2581 it is.

use super::behavior::Behavior;
use crate::Result;
use crate::tokenizer::json::{Node, quoted};
use crate::tokenizer::text::{Character, Words};
use serde_json::{Value, json};

/// When a word that does not start with the visible character gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrependScheme {
    /// Where it starts the original text.
    First,
    /// Never.
    Never,
    /// Always.
    Always,
}

const SCHEMES: [(&str, PrependScheme); 3] =
    [("first", PrependScheme::First), ("never", PrependScheme::Never), ("always", PrependScheme::Always)];

impl PrependScheme {
    /// Reads `prepend_scheme` and the older `add_prefix_space`, of which false contradicts all but "never".
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let scheme = match node.optional("prepend_scheme")? {
            None => Self::Always,
            Some(scheme) => {
                let name = scheme.text()?;
                let known = SCHEMES.iter().find(|known| known.0 == name).map(|known| known.1);
                known.ok_or_else(|| scheme.unknown(&SCHEMES.map(|known| known.0)))?
            }
        };
        if let Some(prefix) = node.present("add_prefix_space")?
            && !prefix.boolean()?
            && scheme != Self::Never
        {
            return Err(prefix.refuse("true, or prepend_scheme \"never\"", "false"));
        }
        Ok(scheme)
    }

    /// Its name in tokenizer.json.
    pub fn name(self) -> &'static str {
        SCHEMES.iter().find(|known| known.1 == self).map_or("", |known| known.0)
    }
}

/// The options of a Metaspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metaspace {
    /// What a space becomes.
    pub replacement: char,
    /// When it is put before a word.
    pub prepend_scheme: PrependScheme,
    /// Whether words are cut before it.
    pub split: bool,
}

impl Metaspace {
    /// Reads the fields of the JSON object.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        if let Some(text) = node.present("str_rep")? {
            text.text()?;
        }
        Ok(Self {
            replacement: character(&node.field("replacement")?)?,
            prepend_scheme: PrependScheme::read(node)?,
            split: node.present("split")?.map_or(Ok(true), |split| split.boolean())?,
        })
    }

    /// The object in a tokenizer.json.
    pub fn to_json(self) -> Value {
        json!({
            "type": "Metaspace",
            "replacement": self.replacement,
            "prepend_scheme": self.prepend_scheme.name(),
            "split": self.split,
        })
    }

    /// Works on each word.
    pub fn apply(self, words: &mut Words) {
        if !words.rewrite_text(|before, after| self.rewrite_text(before, after)) {
            words.rewrite(|before, after| self.rewrite(before, after));
        }
        if self.split {
            words.split(|text, word| {
                let places = text.match_indices(self.replacement);
                let matches = places.map(|(at, found)| at..at + found.len());
                Behavior::MergedWithNext.split(text.len(), matches, false, word);
            });
        }
    }

    fn rewrite(self, before: &[Character], after: &mut Vec<Character>) {
        let visible = |character: &Character| match character.value {
            ' ' => Character { value: self.replacement, ..*character },
            _ => *character,
        };
        let Some(first) = before.first().map(visible) else { return };
        if self.prepends(first.start == 0) && first.value != self.replacement {
            after.push(Character { value: self.replacement, ..first });
        }
        after.extend(before.iter().map(visible));
    }

    /// [`Self::rewrite`] for text that does not start the original.
    fn rewrite_text(self, before: &str, after: &mut String) {
        if self.prepends(false) && !before.starts_with([' ', self.replacement]) {
            after.push(self.replacement);
        }
        for (index, part) in before.split(' ').enumerate() {
            if index > 0 {
                after.push(self.replacement);
            }
            after.push_str(part);
        }
    }

    /// Whether a word gets the visible character that has none.
    fn prepends(self, starts: bool) -> bool {
        match self.prepend_scheme {
            PrependScheme::First => starts,
            PrependScheme::Never => false,
            PrependScheme::Always => true,
        }
    }
}

/// One character.
pub(super) fn character(node: &Node<'_, '_>) -> Result<char> {
    let text = node.text()?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(node.refuse("one character", quoted(text))),
    }
}
