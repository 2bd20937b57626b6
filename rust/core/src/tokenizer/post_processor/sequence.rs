//! Sequence: post-processors one after the other.

use super::{PostProcessor, Template};
use crate::Result;
use crate::tokenizer::json::Node;
use serde_json::{Value, json};

/// Processors, each of which gets what the one before left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorSequence {
    processors: Vec<PostProcessor>,
    /// That of the one processor that does more than trim offsets; None where there are several.
    template: Option<Template>,
}

impl ProcessorSequence {
    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let list = node.field("processors")?;
        Ok(Self::new(list.items()?.map(|item| PostProcessor::read(&item)).collect::<Result<_>>()?))
    }

    /// Chains processors.
    pub fn new(processors: Vec<PostProcessor>) -> Self {
        let mut others = processors.iter().filter(|processor| !processor.only_trims());
        let template = match (others.next(), others.next()) {
            (None, _) => Some(Template::plain()),
            (Some(only), None) => only.template().cloned(),
            (Some(_), Some(_)) => None,
        };
        Self { processors, template }
    }

    /// The processors in their order.
    pub fn processors(&self) -> &[PostProcessor] {
        &self.processors
    }

    pub(super) fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    pub(super) fn to_json(&self) -> Value {
        let processors: Vec<Value> = self.processors.iter().map(PostProcessor::to_json).collect();
        json!({"type": "Sequence", "processors": processors})
    }
}
