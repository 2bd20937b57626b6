//! What a batch is and how each of its inputs is encoded.

use super::encoding::Encoding;
use super::padding::Padding;
use super::plain::Scope;
use super::post_processor::{Context, process};
use super::truncation::{Truncation, TruncationStrategy};
use super::{Side, Tokenizer};
use crate::part::PartOf;
use crate::{Error, Result, parallel};
use std::ops::Range;

/// One sequence of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence<'t> {
    /// A text.
    Text(&'t str),
    /// A text already split into words; each is encoded by itself.
    Words(&'t [&'t str]),
}

impl Sequence<'_> {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Words(words) => words.iter().map(|word| word.len() + 1).sum(),
        }
    }
}

/// One input: a sequence or a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input<'t> {
    /// The first sequence.
    pub first: Sequence<'t>,
    /// The second, if it is a pair.
    pub second: Option<Sequence<'t>>,
}

impl Input<'_> {
    /// About how much work this is.
    pub fn bytes(&self) -> usize {
        self.first.bytes() + self.second.as_ref().map_or(0, Sequence::bytes)
    }
}

/// The options of a call.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Add the post-processor's special tokens.
    pub add_special_tokens: bool,
    /// Split special added tokens in the text like any other text.
    pub split_special_tokens: bool,
    /// Shorten inputs.
    pub truncation: Option<Truncation>,
    /// Make rows equally long.
    pub padding: Option<Padding>,
    /// Keep what truncation cuts off as further parts.
    pub overflow: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            add_special_tokens: true,
            split_special_tokens: false,
            truncation: None,
            padding: None,
            overflow: false,
        }
    }
}

/// Bytes of text from which a further thread pays for itself.
const BYTES_PER_THREAD: usize = 16 << 10;

/// Cuts a batch into ranges of about equal work, and says how many threads to use.
pub(super) fn chunks(inputs: &[Input<'_>], limit: Option<usize>) -> (Vec<Range<usize>>, usize) {
    // Of a text that is truncated only the start costs.
    let work = |input: &Input<'_>| {
        32 + limit.map_or(input.bytes(), |limit| input.bytes().min(limit.saturating_mul(16)))
    };
    let total: usize = inputs.iter().map(work).sum();
    let threads = parallel::threads().min(total / BYTES_PER_THREAD).max(1);
    let share = if threads == 1 { usize::MAX } else { (total / (threads * 8)).max(BYTES_PER_THREAD / 4) };
    let mut ranges = Vec::with_capacity(threads * 8 + 1);
    let (mut start, mut weight) = (0, 0);
    for (index, input) in inputs.iter().enumerate() {
        weight += work(input);
        if weight >= share {
            ranges.push(start..index + 1);
            (start, weight) = (index + 1, 0);
        }
    }
    ranges.push(start..inputs.len());
    (ranges, threads)
}

/// Says in an error which input it is about.
pub(super) fn at_input(error: Error, index: usize) -> Error {
    match error {
        Error::Argument { name, expected, actual } => {
            Error::Argument { name, expected, actual: format!("{actual} (input {index})") }
        }
        other => other,
    }
}

impl Tokenizer {
    /// Encodes a batch in full detail.
    pub fn encode_batch(&self, inputs: &[Input<'_>], settings: &Settings) -> Result<Vec<Encoding>> {
        self.check(settings)?;
        let (ranges, threads) = chunks(inputs, self.text_limit(settings));
        let parts = parallel::map(ranges.len(), threads, |chunk| {
            let range = ranges.get(chunk).cloned().unwrap_or_default();
            let part = inputs.part(range.clone());
            let encode =
                |(index, input)| self.encode(input, settings).map_err(|error| at_input(error, index));
            range.zip(part).map(encode).collect::<Result<Vec<Encoding>>>()
        })?;
        let mut encodings = Vec::with_capacity(inputs.len());
        for part in parts {
            encodings.extend(part?);
        }
        if let Some(padding) = &settings.padding {
            let target = padding.target(encodings.iter().map(Encoding::len).max().unwrap_or(0));
            padding.check(encodings.len(), target)?;
            encodings.iter_mut().for_each(|encoding| padding.pad(encoding, target));
        }
        Ok(encodings)
    }

    /// Refuses settings that can't work for any input.
    pub(super) fn check(&self, settings: &Settings) -> Result<()> {
        if let Some(truncation) = &settings.truncation {
            truncation.room(self.special_tokens(false, settings))?;
        }
        Ok(())
    }

    pub(super) fn special_tokens(&self, pair: bool, settings: &Settings) -> usize {
        if settings.add_special_tokens { self.num_special_tokens(pair) } else { 0 }
    }

    /// How many tokens of a text are looked at, where it is cut on the right for good.
    pub(super) fn text_limit(&self, settings: &Settings) -> Option<usize> {
        let truncation = settings.truncation.as_ref()?;
        (truncation.side == Side::Right && !settings.overflow)
            .then_some(truncation.max_length.saturating_add(1))
    }

    /// Encodes one input in full detail, without padding.
    pub(super) fn encode(&self, input: &Input<'_>, settings: &Settings) -> Result<Encoding> {
        let scope = |limit| Scope { split_special: settings.split_special_tokens, limit };
        let limit = self.text_limit(settings);
        let mut first = self.encode_sequence(&input.first, scope(limit))?;
        let mut second =
            input.second.as_ref().map(|second| self.encode_sequence(second, scope(limit))).transpose()?;
        if let Some(truncation) = &settings.truncation {
            let room = truncation.room(self.special_tokens(second.is_some(), settings))?;
            if let Some(second) = &mut second
                && self.must_compare(truncation, room, limit, first.len(), second.len())
            {
                first = self.encode_sequence(&input.first, scope(None))?;
                if let Some(whole) = &input.second {
                    *second = self.encode_sequence(whole, scope(None))?;
                }
            }
            if let Some((left, right)) =
                truncation.keep(room, first.len(), second.as_ref().map(Encoding::len))?
            {
                truncation.shorten(&mut first, left, settings.overflow)?;
                if let Some(second) = &mut second {
                    truncation.shorten(second, right, settings.overflow)?;
                }
            }
        }
        let vocabulary = |id| self.usual_text(id);
        let context = Context { add_special_tokens: settings.add_special_tokens, vocabulary: &vocabulary };
        process(self.post_processor.as_ref(), first, second, context)
    }

    /// Whether the true lengths of a pair matter: of two that are both too long the longer one gets the odd token.
    pub(super) fn must_compare(
        &self,
        truncation: &Truncation,
        room: usize,
        limit: Option<usize>,
        first: usize,
        second: usize,
    ) -> bool {
        truncation.strategy == TruncationStrategy::LongestFirst
            && room % 2 == 1
            && limit.is_some_and(|limit| first >= limit && second >= limit)
    }
}
