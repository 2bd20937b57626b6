//! Post-processors: special tokens around and between the sequences, their type ids, and trimmed offsets.

mod byte_level;
mod enclosing;
mod sequence;
mod template;

pub use byte_level::ByteLevelProcessor;
pub use enclosing::{BertProcessing, RobertaProcessing};
pub use sequence::ProcessorSequence;
pub use template::{Part, Template};

use super::encoding::Encoding;
use super::json::Node;
use crate::{Error, Result};
use serde_json::Value;

/// The names in tokenizer.json.
const NAMES: [&str; 5] =
    ["TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence"];

/// What is done to the tokens of an input's sequences before they become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostProcessor {
    /// A template as the file gives it.
    Template(Template),
    /// `[CLS] A [SEP] B [SEP]`.
    Bert(BertProcessing),
    /// `<s> A </s> </s> B </s>`, all of type 0.
    Roberta(RobertaProcessing),
    /// Offsets without the white space that byte-level tokens begin or end with.
    ByteLevel(ByteLevelProcessor),
    /// One after the other.
    Sequence(ProcessorSequence),
}

/// What processors are told beside the encodings.
#[derive(Clone, Copy)]
pub struct Context<'c> {
    /// Whether special tokens are added.
    pub add_special_tokens: bool,
    /// The text an encoding means by an id that it keeps no text for.
    pub vocabulary: &'c dyn Fn(u32) -> Option<&'c str>,
}

impl PostProcessor {
    /// Reads the `post_processor` of a tokenizer.json.
    ///
    /// Where its fields are those of one, they say what it is, whatever other known `type` it names: so do the readers
    /// in use, and files rely on it.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let kind = node.optional("type")?;
        let named = kind.as_ref().map(|kind| kind.text()).transpose()?;
        if let (Some(kind), Some(name)) = (&kind, named)
            && !NAMES.contains(&name)
        {
            return Err(kind.unknown(&NAMES));
        }
        let roberta = RobertaProcessing::read(node);
        if let Ok(roberta) = roberta {
            return Ok(Self::Roberta(roberta));
        }
        let bert = BertProcessing::read(node);
        if let Ok(bert) = bert {
            return Ok(Self::Bert(bert));
        }
        if named == Some("ByteLevel")
            && let Ok(byte_level) = ByteLevelProcessor::read(node)
        {
            return Ok(Self::ByteLevel(byte_level));
        }
        match (named, Template::read(node)) {
            (_, Ok(template)) => Ok(Self::Template(template)),
            (Some("Sequence"), _) => ProcessorSequence::read(node).map(Self::Sequence),
            (Some("RobertaProcessing"), _) => roberta.map(Self::Roberta),
            (Some("BertProcessing"), _) => bert.map(Self::Bert),
            (Some("ByteLevel"), _) => ByteLevelProcessor::read(node).map(Self::ByteLevel),
            (Some(_), Err(error)) => Err(error),
            // Nothing else has this key: what is wrong in it says more than that no type is named.
            (None, Err(error)) if node.optional("single")?.is_some() => Err(error),
            (None, _) => {
                node.fields()?;
                Err(node.refuse_key("type", format!("one of {}", NAMES.join(", ")), "nothing"))
            }
        }
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Template(_) => "TemplateProcessing",
            Self::Bert(_) => "BertProcessing",
            Self::Roberta(_) => "RobertaProcessing",
            Self::ByteLevel(_) => "ByteLevel",
            Self::Sequence(_) => "Sequence",
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Template(template) => template.to_json(),
            Self::Bert(bert) => bert.to_json(),
            Self::Roberta(roberta) => roberta.to_json(),
            Self::ByteLevel(byte_level) => byte_level.to_json(),
            Self::Sequence(sequence) => sequence.to_json(),
        }
    }

    /// The template that ids, type ids and the mask of special tokens follow. None where there is none: then only
    /// the full way knows what comes out.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Template(template) => Some(template),
            Self::Bert(bert) => Some(bert.template()),
            Self::Roberta(roberta) => Some(roberta.template()),
            Self::ByteLevel(byte_level) => Some(byte_level.template()),
            Self::Sequence(sequence) => sequence.template(),
        }
    }

    /// Whether it leaves everything but offsets as it is.
    fn only_trims(&self) -> bool {
        match self {
            Self::ByteLevel(_) => true,
            Self::Sequence(sequence) => sequence.processors().iter().all(Self::only_trims),
            Self::Template(_) | Self::Bert(_) | Self::Roberta(_) => false,
        }
    }

    /// Whether offsets are changed.
    pub fn trims_offsets(&self) -> bool {
        match self {
            Self::Template(_) | Self::Bert(_) => false,
            Self::Roberta(roberta) => roberta.trim_offsets,
            Self::ByteLevel(byte_level) => byte_level.trim_offsets,
            Self::Sequence(sequence) => sequence.processors().iter().any(Self::trims_offsets),
        }
    }

    /// How many special tokens a single sequence or a pair gets.
    pub fn added(&self, pair: bool) -> usize {
        match self {
            Self::Template(template) => template.added(pair),
            Self::Bert(bert) => bert.template().added(pair),
            Self::Roberta(roberta) => roberta.template().added(pair),
            Self::ByteLevel(_) => 0,
            Self::Sequence(sequence) => sequence.processors().iter().map(|each| each.added(pair)).sum(),
        }
    }

    /// Changes the encodings that are to be joined: one for each sequence at first, but a template makes one of
    /// each of its parts.
    fn process(&self, encodings: Vec<Encoding>, context: Context<'_>) -> Result<Vec<Encoding>> {
        match self {
            Self::Template(template) => template.process(encodings, context),
            Self::Bert(bert) => Ok(bert.process(encodings, context)),
            Self::Roberta(roberta) => Ok(roberta.process(encodings, context)),
            Self::ByteLevel(byte_level) => Ok(byte_level.process(encodings, context)),
            Self::Sequence(sequence) => sequence
                .processors()
                .iter()
                .try_fold(encodings, |encodings, processor| processor.process(encodings, context)),
        }
    }
}

/// Combines the sequences of an input.
pub fn process(
    processor: Option<&PostProcessor>,
    first: Encoding,
    second: Option<Encoding>,
    context: Context<'_>,
) -> Result<Encoding> {
    let pair = second.is_some();
    let mut encodings: Vec<Encoding> = std::iter::once(first).chain(second).collect();
    for (index, encoding) in encodings.iter_mut().enumerate() {
        encoding.set_type(index as u32);
        // Without a post-processor a single sequence has no number of its own, nor have the parts cut off.
        if processor.is_some() || pair {
            encoding.set_sequence(index);
        }
        for part in &mut encoding.overflowing {
            part.set_type(index as u32);
            if processor.is_some() {
                part.set_sequence(index);
            }
        }
    }
    if let Some(processor) = processor {
        encodings = processor.process(encodings, context)?;
    }
    check_size(&encodings)?;
    let mut encodings = encodings.into_iter();
    let mut whole = encodings.next().unwrap_or_default();
    encodings.for_each(|encoding| whole.append(&encoding));
    Ok(whole)
}

/// Refuses combinations of parts cut off that would fill the memory: their number is the product of the sequences'.
fn check_size(encodings: &[Encoding]) -> Result<()> {
    const MOST_TOKENS: usize = 1 << 27;
    let parts = |encoding: &Encoding| 1 + encoding.overflowing.len();
    let combinations = encodings.iter().map(parts).fold(1_usize, usize::saturating_mul);
    let length: usize = encodings.iter().map(Encoding::len).sum();
    let several = encodings.iter().filter(|encoding| !encoding.overflowing.is_empty()).count() > 1;
    if several && combinations.saturating_mul(length) > MOST_TOKENS {
        let expected = format!("parts of at most {MOST_TOKENS} tokens in all to be cut off");
        return Err(Error::argument(
            "return_overflowing",
            expected,
            format!("{combinations} parts of {length}"),
        ));
    }
    Ok(())
}
