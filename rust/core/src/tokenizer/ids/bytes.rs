//! Byte-level tokenizers without their alphabet: words of raw bytes go to the model.

use crate::Result;
use crate::part::PartOf;
use crate::tokenizer::Tokenizer;
use crate::tokenizer::model::Model;
use crate::tokenizer::pattern::{Pattern, Scanner};
use crate::tokenizer::pre_tokenizer::{Behavior, PreTokenizer, Split};
use crate::tokenizer::text::Words;

/// How a byte-level tokenizer's words are cut.
#[derive(Debug)]
pub struct ByteWords {
    steps: Steps,
    add_prefix_space: bool,
}

#[derive(Debug)]
enum Steps {
    /// One known pattern that leaves nothing out.
    Scanner(Scanner),
    /// Anything that cuts words and leaves their text as it is, then GPT-2's pattern or not.
    Any(Vec<PreTokenizer>, bool),
}

impl ByteWords {
    /// None where words are not cut first and then written in the byte-level alphabet, or the model lacks a byte.
    pub fn new(tokenizer: &Tokenizer) -> Option<Self> {
        if !matches!(&*tokenizer.model, Model::Bpe(model) if model.is_byte_level()) {
            return None;
        }
        let mut steps = Vec::new();
        flatten(tokenizer.pre_tokenizer.as_ref()?, &mut steps);
        let Some(PreTokenizer::ByteLevel(last)) = steps.pop() else {
            return None;
        };
        if !steps.iter().all(PreTokenizer::only_cuts) {
            return None;
        }
        let scanner = match steps.as_slice() {
            [] if last.use_regex => Some(Scanner::Gpt2),
            [PreTokenizer::Split(Split { pattern, behavior: Behavior::Isolated, invert: false })]
                if !last.use_regex =>
            {
                Some(pattern).and_then(Pattern::scanner).filter(|scanner| scanner.covers())
            }
            _ => None,
        };
        let steps = scanner
            .filter(|_| !last.add_prefix_space || last.use_regex)
            .map_or(Steps::Any(steps, last.use_regex), Steps::Scanner);
        Some(Self { steps, add_prefix_space: last.add_prefix_space })
    }

    /// Calls `word` with the words of a normalized text without added tokens.
    pub fn words(&self, text: &str, mut word: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let mut done = Ok(());
        let mut take = |text: &str| {
            if done.is_ok() {
                done = word(text);
            }
        };
        match &self.steps {
            Steps::Scanner(scanner) => {
                self.prefixed(text, |text| {
                    scanner.words(text, |word| take(text.part(word)));
                });
            }
            Steps::Any(steps, use_regex) => {
                let mut words = Words::unplaced(text.to_owned(), false);
                for step in steps {
                    step.apply(&mut words)?;
                }
                for range in &words.ranges {
                    self.prefixed(words.text.slice(range.clone()), |text| {
                        if *use_regex {
                            Scanner::Gpt2.words(text, |word| take(text.part(word)));
                        } else {
                            take(text);
                        }
                    });
                }
            }
        }
        done
    }

    fn prefixed(&self, text: &str, mut take: impl FnMut(&str)) {
        if self.add_prefix_space && !text.starts_with(' ') && !text.is_empty() {
            take(&format!(" {text}"));
        } else {
            take(text);
        }
    }
}

/// The steps of a sequence, one after the other.
fn flatten(pre_tokenizer: &PreTokenizer, steps: &mut Vec<PreTokenizer>) {
    match pre_tokenizer {
        PreTokenizer::Sequence(all) => all.iter().for_each(|step| flatten(step, steps)),
        step => steps.push(step.clone()),
    }
}
