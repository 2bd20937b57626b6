//! BertProcessing and RobertaProcessing: fixed special tokens around each sequence.

use super::byte_level::trim_all;
use super::{Context, Template};
use crate::Result;
use crate::tokenizer::encoding::Encoding;
use crate::tokenizer::json::Node;
use serde_json::{Value, json};
use std::sync::Arc;

/// A special token: its text and id.
type Token = (Arc<str>, u32);

fn read_token(node: &Node<'_, '_>, key: &str) -> Result<Token> {
    let pair = node.field(key)?;
    let items: Vec<Node<'_, '_>> = pair.items()?.collect();
    let [text, id] = items.as_slice() else {
        return Err(pair.mismatch("a token and its id"));
    };
    Ok((text.text()?.into(), id.id()?))
}

fn token_to_json((text, id): &Token) -> Value {
    json!([&**text, id])
}

/// An encoding between special tokens. Its tokens count as text from now on.
fn enclose(
    encoding: &Encoding,
    sequence: usize,
    before: Option<&Token>,
    after: &Token,
    type_id: u32,
    context: Context<'_>,
) -> Encoding {
    let special = |whole: &mut Encoding, (text, id): &Token| {
        let differs = (context.vocabulary)(*id) != Some(text);
        whole.push_special(*id, type_id, differs.then_some(text));
    };
    let mut whole = Encoding::default();
    if let Some(token) = before {
        special(&mut whole, token);
    }
    let start = whole.len();
    whole.extend(encoding);
    let end = whole.len();
    if let Some(flags) = whole.special.get_mut(start..end) {
        flags.fill(0);
    }
    special(&mut whole, after);
    whole.sequences = vec![(sequence, start..end)];
    whole
}

/// Encloses an encoding and each part cut off from it.
fn enclose_all(mut encoding: Encoding, enclose: impl Fn(&Encoding) -> Encoding) -> Encoding {
    let parts = std::mem::take(&mut encoding.overflowing);
    let mut whole = enclose(&encoding);
    whole.overflowing = parts.iter().map(enclose).collect();
    whole
}

/// `[CLS] A [SEP]`, and `B [SEP]` for a second sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BertProcessing {
    cls: Token,
    sep: Token,
    template: Template,
}

impl BertProcessing {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let (cls, sep) = (read_token(node, "cls")?, read_token(node, "sep")?);
        Ok(Self { template: Template::bert(cls.clone(), sep.clone()), cls, sep })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"type": "BertProcessing", "sep": token_to_json(&self.sep), "cls": token_to_json(&self.cls)})
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    pub(super) fn process(&self, encodings: Vec<Encoding>, context: Context<'_>) -> Vec<Encoding> {
        if !context.add_special_tokens {
            return encodings;
        }
        let process = |(index, encoding)| match index {
            0 => enclose_all(encoding, |part| enclose(part, 0, Some(&self.cls), &self.sep, 0, context)),
            _ => enclose_all(encoding, |part| enclose(part, 1, None, &self.sep, 1, context)),
        };
        encodings.into_iter().enumerate().map(process).collect()
    }
}

/// `<s> A </s>`, and `</s> B </s>` for a second sequence, all of type 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RobertaProcessing {
    cls: Token,
    sep: Token,
    /// Whether offsets leave out the white space tokens begin or end with.
    pub trim_offsets: bool,
    /// Whether the pre-tokenizer put a space before the text, which then has no place in it.
    pub add_prefix_space: bool,
    template: Template,
}

impl RobertaProcessing {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let (cls, sep) = (read_token(node, "cls")?, read_token(node, "sep")?);
        Ok(Self {
            trim_offsets: node.field("trim_offsets")?.boolean()?,
            add_prefix_space: node.field("add_prefix_space")?.boolean()?,
            template: Template::roberta(cls.clone(), sep.clone()),
            cls,
            sep,
        })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "type": "RobertaProcessing",
            "sep": token_to_json(&self.sep),
            "cls": token_to_json(&self.cls),
            "trim_offsets": self.trim_offsets,
            "add_prefix_space": self.add_prefix_space,
        })
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    pub(super) fn process(&self, mut encodings: Vec<Encoding>, context: Context<'_>) -> Vec<Encoding> {
        if self.trim_offsets {
            trim_all(&mut encodings, self.add_prefix_space, context);
        }
        encodings.iter_mut().for_each(|encoding| encoding.set_type(0));
        if !context.add_special_tokens {
            return encodings;
        }
        let process = |(index, encoding)| {
            let (sequence, before) = if index == 0 { (0, &self.cls) } else { (1, &self.sep) };
            enclose_all(encoding, |part| {
                let mut whole = enclose(part, sequence, Some(before), &self.sep, 0, context);
                // The parts cut off from a first sequence keep the types they have.
                if index > 0 {
                    whole.set_type(0);
                }
                whole
            })
        };
        encodings.into_iter().enumerate().map(process).collect()
    }
}
