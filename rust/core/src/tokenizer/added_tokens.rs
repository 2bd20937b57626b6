//! Tokens found in the text before the model sees it.

use super::json::Node;
use super::matcher::Matcher;
use super::model::Model;
use super::normalizer::Normalizer;
use super::unicode::is_word;
use crate::Result;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

/// A token added on top of the model's vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// Its text.
    pub content: String,
    /// Only where no word character touches it.
    pub single_word: bool,
    /// Takes the white space before it.
    pub lstrip: bool,
    /// Takes the white space after it.
    pub rstrip: bool,
    /// Found in the normalized text, by its own normalized form; otherwise in the text as given.
    pub normalized: bool,
    /// Left out by decoding that skips special tokens.
    pub special: bool,
}

impl AddedToken {
    /// Reads an element of `added_tokens` but for its id, which follows from the vocabulary.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let flag = |key| node.field(key)?.boolean();
        node.field("id")?.id()?;
        Ok(Self {
            content: node.field("content")?.text()?.to_owned(),
            single_word: flag("single_word")?,
            lstrip: flag("lstrip")?,
            rstrip: flag("rstrip")?,
            normalized: flag("normalized")?,
            special: flag("special")?,
        })
    }
}

/// All added tokens of a tokenizer and the automata that find them.
#[derive(Debug, Clone, Default)]
pub struct AddedVocabulary {
    tokens: BTreeMap<u32, AddedToken>,
    /// From the smallest of their ids to the one after the largest.
    range: Range<u32>,
    ids: HashMap<String, u32>,
    special: HashSet<String>,
    /// Which bytes special tokens start with, so that nearly all others are told from them without a search.
    special_starts: [u64; 4],
    /// Normalized forms, where they differ from the content.
    forms: HashMap<u32, String>,
    raw: Option<Matcher>,
    normalized: Option<Matcher>,
}

impl AddedVocabulary {
    /// Adds tokens: content in the vocabulary keeps its id, new content gets the next free one, repeated content
    /// takes the new flags, empty content is left out.
    pub fn add(
        &mut self,
        tokens: impl IntoIterator<Item = AddedToken>,
        model: &Model,
        normalizer: Option<&Normalizer>,
    ) -> Result<()> {
        let vocab = model.vocab();
        let size = vocab.len() as u32;
        let mut next = self.tokens.keys().next_back().map_or(size, |last| size.max(last.saturating_add(1)));
        for token in tokens {
            let known = self.ids.get(&token.content).copied();
            if token.content.is_empty() || known.is_some_and(|id| self.tokens.get(&id) == Some(&token)) {
                continue;
            }
            let id = known.or_else(|| vocab.id(&token.content)).unwrap_or_else(|| {
                next = next.saturating_add(1);
                next - 1
            });
            if token.normalized {
                self.normalize(id, &token.content, normalizer)?;
            }
            if token.special {
                let first = token.content.as_bytes().first().copied().unwrap_or_default();
                if let Some(bits) = self.special_starts.get_mut(usize::from(first >> 6)) {
                    *bits |= 1 << (first & 63);
                }
                self.special.insert(token.content.clone());
            }
            self.ids.insert(token.content.clone(), id);
            self.tokens.insert(id, token);
        }
        self.build()
    }

    /// Follows a change of the normalizer.
    pub fn refresh(&mut self, normalizer: Option<&Normalizer>) -> Result<()> {
        self.forms.clear();
        let tokens = std::mem::take(&mut self.tokens);
        for (id, token) in tokens.iter().filter(|(_, token)| token.normalized) {
            self.normalize(*id, &token.content, normalizer)?;
        }
        self.tokens = tokens;
        self.build()
    }

    /// Keeps a normalized form. As in the reference it stays with its id, even where the token is added again as one
    /// that is not normalized: decoding goes on giving it.
    fn normalize(&mut self, id: u32, content: &str, normalizer: Option<&Normalizer>) -> Result<()> {
        if let Some(normalizer) = normalizer {
            let form = normalizer.normalize(content)?;
            if form != content {
                self.forms.insert(id, form);
            }
        }
        Ok(())
    }

    fn build(&mut self) -> Result<()> {
        let of = |normalized: bool| self.tokens.iter().filter(move |token| token.1.normalized == normalized);
        let raw = Matcher::new(of(false).map(|(id, token)| (token.content.as_str(), *id)))?;
        let form = |id: &u32, token| self.forms.get(id).unwrap_or(token).as_str();
        let normalized = Matcher::new(of(true).map(|(id, token)| (form(id, &token.content), *id)))?;
        (self.raw, self.normalized) = (raw, normalized);
        let first = self.tokens.first_key_value().map_or(0, |(id, _)| *id);
        self.range = first..self.tokens.last_key_value().map_or(0, |(id, _)| id.saturating_add(1));
        Ok(())
    }

    /// By ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &AddedToken)> {
        self.tokens.iter().map(|(id, token)| (*id, token))
    }

    /// How many distinct contents there are.
    pub fn contents(&self) -> impl Iterator<Item = (&str, u32)> {
        self.ids.iter().map(|(content, id)| (content.as_str(), *id))
    }

    /// The id of an added token.
    pub fn id(&self, content: &str) -> Option<u32> {
        self.ids.get(content).copied()
    }

    /// What decoding makes of an id: the form it was found by.
    pub fn text(&self, id: u32) -> Option<&str> {
        if !self.range.contains(&id) {
            return None;
        }
        let token = self.tokens.get(&id)?;
        Some(self.forms.get(&id).unwrap_or(&token.content))
    }

    /// Whether an added token is searched for in a normalized form that is not its content.
    pub fn has_form(&self, id: u32) -> bool {
        self.forms.contains_key(&id)
    }

    /// Whether a token's text is that of a special token.
    pub fn is_special(&self, text: &str) -> bool {
        let first = text.as_bytes().first().copied().unwrap_or_default();
        let starts = self.special_starts.get(usize::from(first >> 6)).copied().unwrap_or_default();
        starts >> (first & 63) & 1 == 1 && self.special.contains(text)
    }

    /// What is searched for in the text as given.
    pub fn raw(&self) -> Option<&Matcher> {
        self.raw.as_ref()
    }

    /// What is searched for in the normalized text.
    pub fn normalized(&self) -> Option<&Matcher> {
        self.normalized.as_ref()
    }

    /// What a match takes of the text, white space included; None where it does not count.
    ///
    /// `taken` is where the match before ended. `space` remembers the last white space looked through, so that no
    /// space is looked at twice.
    pub(super) fn accept(
        &self,
        id: u32,
        found: Range<usize>,
        text: &str,
        taken: usize,
        space: &mut Range<usize>,
        split_special: bool,
    ) -> Option<Range<usize>> {
        let token = self.tokens.get(&id)?;
        if split_special && self.special.contains(&token.content) {
            return None;
        }
        let Range { mut start, mut end } = found;
        if token.single_word {
            let before = text.get(..start)?.chars().next_back().is_some_and(is_word);
            let after = text.get(end..)?.chars().next().is_some_and(is_word);
            if before || after {
                return None;
            }
        }
        if token.lstrip {
            start = if start > taken { taken + text.get(taken..start)?.trim_end().len() } else { taken };
        }
        if token.rstrip {
            if !space.contains(&end) {
                let rest = text.get(end..)?;
                *space = end..end + (rest.len() - rest.trim_start().len());
            }
            end = end.max(space.end);
        }
        (start < end).then_some(start..end)
    }
}
