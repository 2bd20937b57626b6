//! Decoders: tokens back to text.

mod byte_fallback;
mod byte_level;
mod ctc;
mod metaspace;
mod read;
mod replace;
mod strip;
mod tokens;
mod word_piece;

pub use ctc::Ctc;
pub use metaspace::Metaspace;
pub use replace::Replace;
pub use strip::Strip;

pub(super) use byte_fallback::byte_of_token;
pub(super) use byte_level::push_bytes;

use crate::Result;
use serde_json::{Value, json};
use tokens::Tokens;

/// A token as it comes to a decoder.
#[derive(Debug, Clone, Copy)]
pub struct Token<'t> {
    /// Its text.
    pub text: &'t str,
    /// Where it is from.
    pub origin: Origin,
}

impl<'t> Token<'t> {
    /// A token of the model.
    pub fn of_model(text: &'t str) -> Self {
        Self { text, origin: Origin::Model }
    }
}

/// Which vocabulary a token is of: what was added stands for itself, and what the model made may stand for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The model's.
    Model,
    /// It was added.
    Added,
    /// It was added, under the id that the model has for the same text.
    Both,
}

/// How tokens become text. Each takes a list of texts and makes one of it, whose texts are joined in the end.
/// Without a decoder tokens are joined by spaces.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoder {
    /// The end-of-word suffix becomes a space, except in the last token.
    Bpe {
        /// What marks the end of a word.
        suffix: String,
    },
    /// Characters that stand for bytes become them, all tokens one text; what is no UTF-8 becomes U+FFFD.
    ByteLevel {
        /// Of no meaning here, written back as it was read.
        add_prefix_space: bool,
        /// Of no meaning here, written back as it was read.
        trim_offsets: bool,
        /// Of no meaning here, written back as it was read.
        use_regex: bool,
    },
    /// Continuations are glued on, other tokens follow a space.
    WordPiece {
        /// What marks a continuation.
        prefix: String,
        /// Whether the space before punctuation and contractions is removed.
        cleanup: bool,
    },
    /// The character that stands for a space becomes one.
    Metaspace(Metaspace),
    /// Repeated and padding tokens are dropped.
    Ctc(Ctc),
    /// One after the other.
    Sequence(Vec<Decoder>),
    /// Matches are replaced within each text.
    Replace(Replace),
    /// All texts become one.
    Fuse,
    /// A character is taken off both ends of each text.
    Strip(Strip),
    /// Tokens such as `<0xE2>` become bytes; a run of them that is no UTF-8 becomes U+FFFD each.
    ByteFallback,
}

impl Decoder {
    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bpe { .. } => "BPEDecoder",
            Self::ByteLevel { .. } => "ByteLevel",
            Self::WordPiece { .. } => "WordPiece",
            Self::Metaspace(_) => "Metaspace",
            Self::Ctc(_) => "CTC",
            Self::Sequence(_) => "Sequence",
            Self::Replace(_) => "Replace",
            Self::Fuse => "Fuse",
            Self::Strip(_) => "Strip",
            Self::ByteFallback => "ByteFallback",
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bpe { suffix } => json!({"type": "BPEDecoder", "suffix": suffix}),
            Self::ByteLevel { add_prefix_space, trim_offsets, use_regex } => json!({
                "type": "ByteLevel",
                "add_prefix_space": add_prefix_space,
                "trim_offsets": trim_offsets,
                "use_regex": use_regex,
            }),
            Self::WordPiece { prefix, cleanup } => {
                json!({"type": "WordPiece", "prefix": prefix, "cleanup": cleanup})
            }
            Self::Metaspace(metaspace) => metaspace.to_json(),
            Self::Ctc(ctc) => ctc.to_json(),
            Self::Sequence(decoders) => {
                let decoders: Vec<Value> = decoders.iter().map(Self::to_json).collect();
                json!({"type": "Sequence", "decoders": decoders})
            }
            Self::Replace(replace) => replace.to_json(),
            Self::Fuse | Self::ByteFallback => json!({"type": self.name()}),
            Self::Strip(strip) => strip.to_json(),
        }
    }

    /// Whether text ends with U+FFFD where its last tokens are byte tokens that are no UTF-8: ByteFallback, with
    /// nothing around it that touches them.
    pub(super) fn ends_with_byte_run(&self) -> bool {
        match self {
            Self::ByteFallback => true,
            Self::Sequence(decoders) => {
                let mut decoders = decoders.iter();
                decoders.find(|each| !matches!(each, Self::Replace(replace) if replace.spares_byte_tokens()))
                    == Some(&Self::ByteFallback)
                    && decoders.all(|each| matches!(each, Self::Fuse | Self::Strip(Strip { stop: 0, .. })))
            }
            _ => false,
        }
    }

    /// Whether the bytes of the last tokens are the end of the text: ByteLevel, with nothing after it that touches that.
    pub(super) fn ends_with_bytes(&self) -> bool {
        match self {
            Self::ByteLevel { .. } => true,
            Self::Sequence(decoders) => decoders.split_first().is_some_and(|(first, rest)| {
                first.ends_with_bytes()
                    && rest.iter().all(|each| matches!(each, Self::Fuse | Self::Strip(Strip { stop: 0, .. })))
            }),
            _ => false,
        }
    }

    /// Whether tokens become bytes anywhere, of which several make a character.
    pub(super) fn makes_bytes(&self) -> bool {
        match self {
            Self::ByteLevel { .. } | Self::ByteFallback => true,
            Self::Sequence(decoders) => decoders.iter().any(Self::makes_bytes),
            _ => false,
        }
    }

    /// Puts tokens together.
    ///
    /// # Errors
    /// Where a pattern to replace runs out of its limit of steps, and where replacements multiply the text.
    pub fn decode<'t>(&self, tokens: impl Iterator<Item = &'t str> + Clone) -> Result<String> {
        let bytes = tokens.clone().map(str::len).sum();
        self.decode_sized(tokens.map(Token::of_model), bytes)
    }

    /// Puts tokens together that are about `bytes` long, or less.
    pub(super) fn decode_sized<'t>(
        &self,
        tokens: impl Iterator<Item = Token<'t>> + Clone,
        bytes: usize,
    ) -> Result<String> {
        let mut decoded = Tokens::of(bytes);
        self.apply(tokens, &mut decoded)?;
        Ok(decoded.text)
    }

    /// One list to the next; `out` is empty.
    fn apply<'t>(&self, tokens: impl Iterator<Item = Token<'t>> + Clone, out: &mut Tokens) -> Result<()> {
        let texts = tokens.clone().map(|token| token.text);
        match self {
            Self::Bpe { suffix } => replace::end_of_words(suffix, texts, out),
            Self::ByteLevel { .. } => byte_level::decode(tokens, out),
            Self::WordPiece { prefix, cleanup } => word_piece::decode(prefix, *cleanup, texts, out),
            Self::Metaspace(metaspace) => metaspace.decode(texts, out),
            Self::Ctc(ctc) => ctc.decode(texts, out),
            Self::Sequence(decoders) => return Self::apply_all(decoders, tokens, out),
            Self::Replace(replace) => return replace.decode(texts, out),
            Self::Fuse => {
                texts.for_each(|text| out.text.push_str(text));
                out.close();
            }
            Self::Strip(strip) => texts.for_each(|text| out.push(strip.stripped(text))),
            Self::ByteFallback => byte_fallback::decode(texts, out),
        }
        Ok(())
    }

    fn apply_all<'t>(
        decoders: &[Self],
        tokens: impl Iterator<Item = Token<'t>> + Clone,
        out: &mut Tokens,
    ) -> Result<()> {
        let Some((first, rest)) = decoders.split_first() else {
            tokens.for_each(|token| out.push(token.text));
            return Ok(());
        };
        first.apply(tokens, out)?;
        let mut before = out.another();
        for decoder in rest {
            // What leaves the text as it is need not copy it.
            match decoder {
                Self::Fuse => {
                    out.fuse();
                    continue;
                }
                Self::ByteFallback if !out.iter().any(|token| byte_of_token(token).is_some()) => continue,
                _ => {}
            }
            std::mem::swap(&mut before, out);
            out.clear();
            decoder.apply(before.iter().map(Token::of_model), out)?;
            // An empty suffix or delimiter doubles what it is given.
            out.check()?;
        }
        Ok(())
    }
}
