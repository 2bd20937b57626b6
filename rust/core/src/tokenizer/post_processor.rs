//! Post-processors: special tokens around and between the sequences, and their type ids.

use super::encoding::Encoding;
use super::json::{Node, quoted};
use crate::Result;
use serde_json::{Value, json};
use std::sync::Arc;

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

/// The post-processor of a tokenizer.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostProcessor {
    /// A template as the file gives it.
    Template(Template),
    /// `[CLS] A [SEP] B [SEP]`, kept as the template it stands for.
    Bert {
        /// Text and id.
        cls: (String, u32),
        /// Text and id.
        sep: (String, u32),
        /// The same as a template.
        template: Template,
    },
}

impl PostProcessor {
    /// Reads the `post_processor` of a tokenizer.json. `known` says whether an id is a token's.
    pub fn read(node: &Node<'_, '_>, known: impl Fn(u32) -> bool) -> Result<Self> {
        let kind = node.field("type")?;
        match kind.text()? {
            "TemplateProcessing" => Template::read(node, known).map(Self::Template),
            "BertProcessing" => {
                let token = |key: &str| -> Result<(String, u32)> {
                    let pair = node.field(key)?;
                    let items: Vec<Node<'_, '_>> = pair.items()?.collect();
                    let [text, id] = items.as_slice() else {
                        return Err(pair.mismatch("a token and its id"));
                    };
                    let value = id.id()?;
                    if !known(value) {
                        return Err(id.mismatch("the id of a token"));
                    }
                    Ok((text.text()?.to_owned(), value))
                };
                Ok(Self::bert(token("cls")?, token("sep")?))
            }
            _ => Err(kind.unsupported()),
        }
    }

    /// `[CLS] A [SEP] B [SEP]` as BertProcessing.
    pub fn bert(cls: (String, u32), sep: (String, u32)) -> Self {
        let template = Template::bert(cls.clone(), sep.clone());
        Self::Bert { cls, sep, template }
    }

    /// The template.
    pub fn template(&self) -> &Template {
        match self {
            Self::Template(template) | Self::Bert { template, .. } => template,
        }
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Template(_) => "TemplateProcessing",
            Self::Bert { .. } => "BertProcessing",
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bert { cls, sep, .. } => json!({"type": "BertProcessing", "sep": sep, "cls": cls}),
            Self::Template(template) => template.to_json(),
        }
    }

    /// The parts that are used; BertProcessing leaves sequences as they are without special tokens, which comes to
    /// the same.
    pub fn parts(&self, pair: bool) -> &[Part] {
        let template = self.template();
        if pair { &template.pair } else { &template.single }
    }
}

impl Template {
    /// `[CLS] A [SEP] B [SEP]`.
    pub fn bert(cls: (String, u32), sep: (String, u32)) -> Self {
        let token =
            |(text, id): (String, u32)| SpecialToken { tokens: vec![(id, text.as_str().into())], name: text };
        let special = |index, type_id| Part::Special { index, type_id };
        let sequence = |index, type_id| Part::Sequence { index, type_id };
        Self {
            single: vec![special(0, 0), sequence(0, 0), special(1, 0)],
            pair: vec![special(0, 0), sequence(0, 0), special(1, 0), sequence(1, 1), special(1, 1)],
            special: vec![token(cls), token(sep)],
        }
    }

    fn read(node: &Node<'_, '_>, known: impl Fn(u32) -> bool) -> Result<Self> {
        let tokens = node.field("special_tokens")?;
        let mut special: Vec<SpecialToken> = Vec::new();
        for (name, value) in tokens.fields()? {
            let entry = tokens.child(name, value);
            let mut ids = Vec::new();
            for id in entry.field("ids")?.items()? {
                let value = id.id()?;
                if !known(value) {
                    return Err(id.mismatch("the id of a token"));
                }
                ids.push(value);
            }
            let texts = entry.field("tokens")?;
            let texts =
                texts.items()?.map(|text| Ok(text.text()?.into())).collect::<Result<Vec<Arc<str>>>>()?;
            entry.field("id")?.text()?;
            if texts.len() != ids.len() {
                let actual = format!("{} ids and {} tokens", ids.len(), texts.len());
                return Err(entry.refuse("as many ids as tokens", actual));
            }
            if special.iter().any(|token| token.name == **name) {
                return Err(entry.refuse("the key once", "it repeated"));
            }
            special
                .push(SpecialToken { name: name.to_string(), tokens: ids.into_iter().zip(texts).collect() });
        }
        let single = Self::read_parts(&node.field("single")?, &special, 1)?;
        let pair = Self::read_parts(&node.field("pair")?, &special, 2)?;
        Ok(Self { single, pair, special })
    }

    fn read_parts(node: &Node<'_, '_>, special: &[SpecialToken], sequences: usize) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for item in node.items()? {
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
                        .iter()
                        .position(|token| token.name == name)
                        .ok_or_else(|| id.refuse("a token listed in special_tokens", quoted(name)))?;
                    Part::Special { index, type_id }
                }
                _ => return Err(item.refuse("Sequence or SpecialToken", quoted(kind))),
            });
        }
        Ok(parts)
    }

    fn to_json(&self) -> Value {
        json!({
            "type": "TemplateProcessing",
            "single": self.parts_to_json(&self.single),
            "pair": self.parts_to_json(&self.pair),
            "special_tokens": self.special.iter().map(|token| {
                let (ids, texts): (Vec<u32>, Vec<&str>) = token.tokens.iter().map(|(id, text)| (*id, &**text)).unzip();
                (token.name.clone(), json!({"id": token.name, "ids": ids, "tokens": texts}))
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
        let parts = if pair { &self.pair } else { &self.single };
        let count = |part: &Part| match part {
            Part::Sequence { .. } => 0,
            Part::Special { index, .. } => self.tokens(*index).len(),
        };
        parts.iter().map(count).sum()
    }
}

/// Combines the sequences of an input. `vocabulary` gives a token's usual text.
pub fn process<'v>(
    processor: Option<&PostProcessor>,
    first: Encoding,
    second: Option<Encoding>,
    add_special_tokens: bool,
    vocabulary: impl Fn(u32) -> Option<&'v str>,
) -> Encoding {
    let mut sequences = vec![first];
    sequences.extend(second);
    let pair = sequences.len() == 2;
    for (index, sequence) in sequences.iter_mut().enumerate() {
        sequence.set_type(index as u32);
        for part in &mut sequence.overflowing {
            part.set_type(index as u32);
        }
        // Without a post-processor a single sequence has no number of its own.
        if processor.is_some() || pair {
            sequence.set_sequence(index);
        }
        if processor.is_some() {
            sequence.overflowing.iter_mut().for_each(|part| part.set_sequence(index));
        }
    }
    let mut whole = Encoding::default();
    let Some(processor) = processor else {
        if !pair {
            return sequences.pop().unwrap_or_default();
        }
        sequences.iter().for_each(|sequence| whole.append(sequence));
        return whole;
    };
    let template = processor.template();
    for part in processor.parts(pair) {
        match part {
            Part::Sequence { index, type_id } => {
                if let Some(sequence) = sequences.get_mut(*index) {
                    sequence.set_type(*type_id);
                    whole.append(sequence);
                }
            }
            Part::Special { index, type_id } if add_special_tokens => {
                let mut special = Encoding::default();
                for (id, text) in template.tokens(*index) {
                    let differs = vocabulary(*id) != Some(text);
                    special.push_special(*id, *type_id, differs.then_some(text));
                }
                whole.append(&special);
            }
            Part::Special { .. } => {}
        }
    }
    whole
}
