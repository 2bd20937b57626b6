//! Decoding a token at a time, as a model generates them: text is given out once no later token can change it.

use super::Tokenizer;
use super::decoder::{Decoder, Token, byte_of_token, push_bytes};
use crate::part::PartOf;
use crate::{Error, Result};
use std::str::Utf8Error;
use std::sync::Arc;

/// The text of a growing list of ids.
///
/// Only the tokens of the last text given out and those after it are kept, so a step costs the same however long the
/// text has become.
#[derive(Debug, Clone)]
pub struct DecodeStream {
    tokenizer: Arc<Tokenizer>,
    skip_special_tokens: bool,
    /// Ids of tokens: first those that are only decoded so that the others have something before them.
    window: Vec<u32>,
    /// The text of the first tokens, given out already.
    prefix: String,
    /// How many tokens the prefix is the text of.
    prefix_tokens: usize,
    /// How many tokens of the prompt make up whole characters; None once they are decoded.
    prompt: Option<usize>,
    tail: Tail,
}

impl DecodeStream {
    /// Starts after a prompt, whose text is not given out, but for that of the tokens at its end that later ones
    /// complete to a character.
    pub fn new(tokenizer: Arc<Tokenizer>, skip_special_tokens: bool, prompt: &[u32]) -> Self {
        let tail = Tail::new(tokenizer.decoder());
        let (window, prefix) = (Vec::new(), String::new());
        let mut stream =
            Self { tokenizer, skip_special_tokens, window, prefix, prefix_tokens: 0, prompt: None, tail };
        let mut whole = 0;
        for id in prompt {
            stream.push(*id);
            if !stream.tail.is_open() {
                whole = stream.window.len();
            }
        }
        stream.prompt = Some(whole);
        stream
    }

    /// Takes the next ids. None: the text so far does not end with a whole character, or has not grown.
    ///
    /// # Errors
    /// Where later tokens changed text that was given out, which no common decoder does.
    pub fn step(&mut self, ids: &[u32]) -> Result<Option<String>> {
        if let Some(whole) = self.prompt {
            (self.prefix, self.prefix_tokens) = self.prompt_text(whole)?;
            self.prompt = None;
        }
        ids.iter().for_each(|id| self.push(*id));
        if self.tail.is_broken() {
            return Ok(None);
        }
        let text = self.decode()?;
        if text.len() <= self.prefix.len() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(None);
        }
        let Some(new) = text.strip_prefix(self.prefix.as_str()) else {
            let expected = format!("tokens whose text goes on from {:?}", self.prefix);
            return Err(Error::argument("id", expected, format!("{text:?}")));
        };
        let new = new.to_owned();
        self.window.drain(..self.prefix_tokens);
        self.prefix_tokens = self.window.len();
        self.prefix = self.decode()?;
        Ok(Some(new))
    }

    fn push(&mut self, id: u32) {
        if let Some(token) = self.tokenizer.decoded_token(id, self.skip_special_tokens)
            && self.tail.takes(token)
        {
            self.window.push(id);
        }
    }

    fn decode(&self) -> Result<String> {
        self.decode_first(self.window.len())
    }

    fn decode_first(&self, tokens: usize) -> Result<String> {
        self.tokenizer.decode(self.window.part(..tokens), self.skip_special_tokens)
    }

    /// The text of the prompt's first `whole` tokens, and their number: fewer, where the tail can't tell and the text
    /// shows that the last ones are a part of a character.
    fn prompt_text(&self, whole: usize) -> Result<(String, usize)> {
        // A character that is not complete has at most three bytes, and a token at least one.
        const PARTS: usize = 3;
        let text = self.decode_first(whole)?;
        if matches!(self.tail, Tail::Unknown) && text.ends_with(char::REPLACEMENT_CHARACTER) {
            for tokens in (whole.saturating_sub(PARTS)..whole).rev() {
                let shorter = self.decode_first(tokens)?;
                if !shorter.ends_with(char::REPLACEMENT_CHARACTER) {
                    return Ok((shorter, tokens));
                }
            }
        }
        Ok((text, whole))
    }
}

/// What the last tokens say about the end of the text, without decoding all that waits to be given out: otherwise
/// a text that never becomes UTF-8 would take quadratic time.
#[derive(Debug, Clone)]
enum Tail {
    /// Nothing is known.
    Unknown,
    /// Each token has whole characters.
    Whole,
    /// Tokens of bytes: the last ones.
    Bytes(Vec<u8>),
    /// A run of byte tokens, how many of its bytes are whole characters, and whether it can still become UTF-8.
    Run { bytes: Vec<u8>, whole: usize, hopeless: bool },
    /// Repetitions do not count: the last token.
    Repeated(String),
}

impl Tail {
    fn new(decoder: Option<&Decoder>) -> Self {
        match decoder {
            Some(decoder) if decoder.ends_with_bytes() => Self::Bytes(Vec::new()),
            Some(Decoder::Ctc(_)) => Self::Repeated(String::new()),
            Some(decoder) if decoder.ends_with_byte_run() => {
                Self::Run { bytes: Vec::new(), whole: 0, hopeless: false }
            }
            Some(decoder) if decoder.makes_bytes() => Self::Unknown,
            _ => Self::Whole,
        }
    }

    /// Looks at the next token. False: it changes nothing and need not be kept.
    fn takes(&mut self, token: Token<'_>) -> bool {
        match self {
            Self::Unknown | Self::Whole => {}
            Self::Bytes(last) => {
                push_bytes(token, last);
                last.drain(..last.len().saturating_sub(4));
            }
            Self::Run { bytes, whole, hopeless } => {
                let Some(byte) = byte_of_token(token.text) else {
                    bytes.clear();
                    (*whole, *hopeless) = (0, false);
                    return true;
                };
                bytes.push(byte);
                match std::str::from_utf8(bytes.part(*whole..)) {
                    Ok(_) => *whole = bytes.len(),
                    Err(error) => *hopeless |= error.error_len().is_some(),
                }
            }
            Self::Repeated(last) => {
                if last == token.text {
                    return false;
                }
                token.text.clone_into(last);
            }
        }
        true
    }

    /// Whether the text surely ends with U+FFFD.
    fn is_broken(&self) -> bool {
        match self {
            Self::Unknown | Self::Whole | Self::Repeated(_) => false,
            Self::Bytes(last) => last_character(last).is_err(),
            Self::Run { bytes, whole, hopeless } => *hopeless || *whole < bytes.len(),
        }
    }

    /// Whether the last tokens are a part of a character that later ones may complete.
    fn is_open(&self) -> bool {
        match self {
            Self::Unknown | Self::Whole | Self::Repeated(_) => false,
            Self::Bytes(last) => last_character(last).is_err_and(|error| error.error_len().is_none()),
            Self::Run { bytes, whole, hopeless } => !*hopeless && *whole < bytes.len(),
        }
    }
}

/// The character that ends a text, of whose bytes these are the last four or fewer.
fn last_character(bytes: &[u8]) -> std::result::Result<&str, Utf8Error> {
    let start = bytes.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
    std::str::from_utf8(bytes.part(start..))
}
