//! TemplateProcessing: special tokens and sequences in a given order, each of a given type.

use super::Context;
use crate::tokenizer::encoding::Encoding;
use crate::tokenizer::json::{Node, quoted};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// More would let a small file make a short text fill the memory.
const MOST_PARTS: usize = 1 << 10;
/// More would let a small file make a short text fill the memory.
const MOST_ADDED: usize = 1 << 16;

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The first (0) or second (1) sequence.
    Sequence {
        /// 0 or 1.
        index: usize,
        /// Type of its tokens.
        type_id: u32,
    },
    /// A special token, by its place in [`Template::special`].
    Special {
        /// Index into [`Template::special`].
        index: usize,
        /// Type of its tokens.
        type_id: u32,
    },
}

/// A named special token: one or more ids with their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// What the template calls it.
    pub name: String,
    /// What it calls itself, of no meaning here.
    pub id: String,
    /// Ids and texts.
    pub tokens: Vec<(u32, Arc<str>)>,
}

/// What a single sequence and a pair become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// For one sequence.
    pub single: Vec<Part>,
    /// For two.
    pub pair: Vec<Part>,
    /// The special tokens used.
    pub special: Vec<SpecialToken>,
}

fn sequence(index: usize, type_id: u32) -> Part {
    Part::Sequence { index, type_id }
}

fn special(index: usize, type_id: u32) -> Part {
    Part::Special { index, type_id }
}

impl SpecialToken {
    /// A token under its own text.
    fn one((text, id): (Arc<str>, u32)) -> Self {
        Self { name: text.to_string(), id: text.to_string(), tokens: vec![(id, text)] }
    }
}

impl Template {
    /// `A` and `A B`, which types 0 and 1: nothing is added.
    pub fn plain() -> Self {
        let [first, second] = [0, 1].map(|index| sequence(index, index as u32));
        Self { single: vec![first.clone()], pair: vec![first, second], special: Vec::new() }
    }

    /// `[CLS] A [SEP] B [SEP]`.
    pub fn bert(cls: (Arc<str>, u32), sep: (Arc<str>, u32)) -> Self {
        Self {
            single: vec![special(0, 0), sequence(0, 0), special(1, 0)],
            pair: vec![special(0, 0), sequence(0, 0), special(1, 0), sequence(1, 1), special(1, 1)],
            special: [cls, sep].map(SpecialToken::one).into(),
        }
    }

    /// `<s> A </s> </s> B </s>`.
    pub fn roberta(cls: (Arc<str>, u32), sep: (Arc<str>, u32)) -> Self {
        let pair =
            [special(0, 0), sequence(0, 0), special(1, 0), special(1, 0), sequence(1, 0), special(1, 0)];
        Self {
            single: vec![special(0, 0), sequence(0, 0), special(1, 0)],
            pair: pair.into(),
            special: [cls, sep].map(SpecialToken::one).into(),
        }
    }

    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let tokens = node.field("special_tokens")?;
        let mut special: Vec<SpecialToken> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (name, value) in tokens.fields()? {
            let entry = tokens.child(name, value);
            let ids = entry.field("ids")?;
            let ids = ids.items()?.map(|id| id.id()).collect::<Result<Vec<u32>>>()?;
            let texts = entry.field("tokens")?;
            let texts =
                texts.items()?.map(|text| Ok(text.text()?.into())).collect::<Result<Vec<Arc<str>>>>()?;
            let own_id = entry.field("id")?.text()?.to_owned();
            if texts.len() != ids.len() {
                let actual = format!("{} ids and {} tokens", ids.len(), texts.len());
                return Err(entry.refuse("as many ids as tokens", actual));
            }
            if places.insert(name, special.len()).is_some() {
                return Err(entry.refuse("the key once", "it repeated"));
            }
            let tokens = ids.into_iter().zip(texts).collect();
            special.push(SpecialToken { name: name.to_string(), id: own_id, tokens });
        }
        let single = Self::read_parts(&node.field("single")?, &places, 1)?;
        let pair = Self::read_parts(&node.field("pair")?, &places, 2)?;
        let template = Self { single, pair, special };
        let added = template.added(false).max(template.added(true));
        if added > MOST_ADDED {
            let expected = format!("templates that add at most {MOST_ADDED} tokens");
            return Err(node.refuse(expected, format!("{added} tokens")));
        }
        Ok(template)
    }

    fn read_parts(
        node: &Node<'_, '_>,
        special: &HashMap<&str, usize>,
        sequences: usize,
    ) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for item in node.items()? {
            if parts.len() == MOST_PARTS {
                return Err(node.refuse(format!("at most {MOST_PARTS} parts"), "more"));
            }
            let [(kind, value)] = item.fields()? else {
                return Err(item.mismatch("one key, Sequence or SpecialToken"));
            };
            let piece = item.child(kind, value);
            let id = piece.field("id")?;
            let type_id = piece.field("type_id")?.id()?;
            parts.push(match &**kind {
                "Sequence" => {
                    let index = match id.text()? {
                        "A" => 0,
                        "B" if sequences == 2 => 1,
                        _ if sequences == 2 => return Err(id.mismatch("A or B")),
                        _ => return Err(id.mismatch("A, the one sequence")),
                    };
                    Part::Sequence { index, type_id }
                }
                "SpecialToken" => {
                    let name = id.text()?;
                    let index = special
                        .get(name)
                        .copied()
                        .ok_or_else(|| id.refuse("a token listed in special_tokens", quoted(name)))?;
                    Part::Special { index, type_id }
                }
                _ => return Err(item.refuse("Sequence or SpecialToken", quoted(kind))),
            });
        }
        Ok(parts)
    }

    pub(super) fn to_json(&self) -> Value {
        let mut special: Vec<&SpecialToken> = self.special.iter().collect();
        special.sort_by(|left, right| left.name.cmp(&right.name));
        json!({
            "type": "TemplateProcessing",
            "single": self.parts_to_json(&self.single),
            "pair": self.parts_to_json(&self.pair),
            "special_tokens": special.iter().map(|token| {
                let (ids, texts): (Vec<u32>, Vec<&str>) = token.tokens.iter().map(|(id, text)| (*id, &**text)).unzip();
                (token.name.clone(), json!({"id": token.id, "ids": ids, "tokens": texts}))
            }).collect::<serde_json::Map<String, Value>>(),
        })
    }

    fn parts_to_json(&self, parts: &[Part]) -> Vec<Value> {
        let part = |part: &Part| match part {
            Part::Sequence { index, type_id } => {
                json!({"Sequence": {"id": if *index == 0 { "A" } else { "B" }, "type_id": type_id}})
            }
            Part::Special { index, type_id } => {
                let name = self.special.get(*index).map(|token| &token.name);
                json!({"SpecialToken": {"id": name, "type_id": type_id}})
            }
        };
        parts.iter().map(part).collect()
    }

    /// The tokens of a special part.
    pub fn tokens(&self, index: usize) -> &[(u32, Arc<str>)] {
        self.special.get(index).map_or(&[], |token| token.tokens.as_slice())
    }

    /// How many special tokens a single sequence or a pair gets.
    pub fn added(&self, pair: bool) -> usize {
        let count = |part: &Part| match part {
            Part::Sequence { .. } => 0,
            Part::Special { index, .. } => self.tokens(*index).len(),
        };
        self.parts(pair).iter().map(count).sum()
    }

    /// The parts for one sequence or for two.
    pub fn parts(&self, pair: bool) -> &[Part] {
        if pair { &self.pair } else { &self.single }
    }

    pub(super) fn process(
        &self,
        mut encodings: Vec<Encoding>,
        context: Context<'_>,
    ) -> Result<Vec<Encoding>> {
        let parts = match encodings.len() {
            1 => &self.single,
            2 => &self.pair,
            other => {
                let actual = format!("{other}, as a processor before it in the Sequence leaves them");
                return Err(Error::argument("post_processor", "one or two encodings for a template", actual));
            }
        };
        let mut whole = Vec::with_capacity(parts.len());
        for (place, part) in parts.iter().enumerate() {
            match part {
                Part::Sequence { index, type_id } => {
                    let again = |later: &Part| matches!(later, Part::Sequence { index: i, .. } if i == index);
                    let again = parts.iter().skip(place + 1).any(again);
                    let Some(sequence) = encodings.get_mut(*index) else {
                        continue;
                    };
                    sequence.set_type(*type_id);
                    sequence.set_sequence(*index);
                    whole.push(if again { sequence.clone() } else { std::mem::take(sequence) });
                }
                Part::Special { index, type_id } if context.add_special_tokens => {
                    let mut special = Encoding::default();
                    for (id, text) in self.tokens(*index) {
                        let differs = (context.vocabulary)(*id) != Some(text);
                        special.push_special(*id, *type_id, differs.then_some(text));
                    }
                    whole.push(special);
                }
                Part::Special { .. } => {}
            }
        }
        Ok(whole)
    }
}
