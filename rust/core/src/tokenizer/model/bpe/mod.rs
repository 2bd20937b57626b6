//! Byte-pair encoding: a word's characters, of which the pair that was learned first is merged, and so on.
//! Source: Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units" (2016).

mod alphabet;
mod bytes;
mod file;
mod seams;
mod table;
mod word;

pub use word::Scratch;

use super::{Piece, missing_unknown};
use crate::part::PartOf;
use crate::tokenizer::json::quoted;
use crate::tokenizer::vocab::Vocab;
use crate::{Error, Result};
use alphabet::{Alphabet, NONE};
use bytes::ByteBpe;
use seams::Seams;
use std::ops::Range;
use std::sync::OnceLock;
use table::{Merge, MergeTable};

/// The longest prefix or suffix in bytes: each character of a word is looked up with them.
const LONGEST_AFFIX: usize = 1 << 12;

/// What the vocabulary and the merges leave open.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BpeOptions {
    /// Stands for characters that have no token; without it they are dropped.
    pub unk_token: Option<String>,
    /// Put before each character of a word but the first.
    pub continuing_subword_prefix: Option<String>,
    /// Put after the last character of a word.
    pub end_of_word_suffix: Option<String>,
    /// Consecutive unknown characters become one unknown token.
    pub fuse_unk: bool,
    /// Characters that have no token become those of their bytes (`<0x0A>`) where there is one for each byte.
    pub byte_fallback: bool,
    /// A word that is a token is not merged from its characters.
    pub ignore_merges: bool,
    /// None or 0: kept to be written back. No merge is ever skipped at random.
    pub dropout: Option<f64>,
}

/// What does not fit in the parts of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The part: `merges`, or an option's name.
    pub key: &'static str,
    /// Which merge.
    pub index: Option<usize>,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub actual: String,
}

impl Misfit {
    /// As the error of a call whose argument this is.
    pub fn argument(self) -> Error {
        let name = self.index.map_or_else(|| self.key.to_owned(), |index| format!("{}[{index}]", self.key));
        Error::argument(name, self.expected, self.actual)
    }
}

impl BpeOptions {
    fn check(&self) -> std::result::Result<(), Misfit> {
        let affixes = [
            ("continuing_subword_prefix", &self.continuing_subword_prefix),
            ("end_of_word_suffix", &self.end_of_word_suffix),
        ];
        for (key, affix) in affixes {
            if let Some(long) = affix.as_ref().filter(|affix| affix.len() > LONGEST_AFFIX) {
                let (expected, actual) =
                    (format!("at most {LONGEST_AFFIX} bytes"), format!("{} bytes", long.len()));
                return Err(Misfit { key, index: None, expected, actual });
            }
        }
        Ok(())
    }

    fn affixes(&self, first: bool, last: bool) -> (&str, &str) {
        let prefix = self.continuing_subword_prefix.as_deref().filter(|_| !first).unwrap_or_default();
        let suffix = self.end_of_word_suffix.as_deref().filter(|_| last).unwrap_or_default();
        (prefix, suffix)
    }
}

/// A vocabulary with the merges that build its tokens.
#[derive(Debug, Clone)]
pub struct Bpe {
    vocab: Vocab,
    options: BpeOptions,
    unk_id: Option<u32>,
    table: MergeTable,
    alphabet: Alphabet,
    /// Ids of `<0x00>` to `<0xFF>`; empty without byte fallback.
    byte_tokens: Vec<u32>,
    /// With byte fallback, each byte has a token.
    all_bytes: bool,
    seams: OnceLock<Option<Box<Seams>>>,
    bytes: OnceLock<Option<Box<ByteBpe>>>,
}

impl Bpe {
    /// Builds the model. Merges are pairs of tokens in the order they were learned.
    pub fn new<'m>(
        vocab: Vocab,
        merges: impl IntoIterator<Item = (&'m str, &'m str)>,
        options: BpeOptions,
    ) -> std::result::Result<Self, Misfit> {
        options.check()?;
        let prefix = options.continuing_subword_prefix.as_ref().map_or(0, String::len);
        let merges = merges.into_iter();
        let mut list = Vec::with_capacity(merges.size_hint().0);
        let mut distinct = true;
        let mut text = String::new();
        for (index, (left, right)) in merges.enumerate() {
            let misfit = |missing: &str| Misfit {
                key: "merges",
                index: Some(index),
                expected: "two tokens of the vocabulary that are one together".into(),
                actual: format!("{} and {}, as {} is no token", quoted(left), quoted(right), quoted(missing)),
            };
            let token = |text: &str| vocab.id(text).ok_or_else(|| misfit(text));
            let (left_id, right_id) = (token(left)?, token(right)?);
            let rest = right.get(prefix..).ok_or_else(|| Misfit {
                expected: "a right part that starts with continuing_subword_prefix".into(),
                actual: quoted(right),
                ..misfit(right)
            })?;
            // A right part that adds nothing would make the pair at a place change without changing its result.
            distinct &= !rest.is_empty();
            text.clear();
            text.push_str(left);
            text.push_str(rest);
            list.push(Merge { left: left_id, right: right_id, result: token(&text)? });
        }
        let count = list.len();
        if count >= u32::MAX as usize {
            let (expected, actual) = ("fewer than 4294967295 of them".into(), count.to_string());
            return Err(Misfit { key: "merges", index: None, expected, actual });
        }
        let byte_token = |byte: u8| vocab.id(&format!("<0x{byte:02X}>")).unwrap_or(NONE);
        let byte_tokens = options.byte_fallback.then(|| (0..=u8::MAX).map(byte_token).collect());
        let byte_tokens: Vec<u32> = byte_tokens.unwrap_or_default();
        Ok(Self {
            unk_id: options.unk_token.as_ref().and_then(|token| vocab.id(token)),
            table: MergeTable::new(list, distinct),
            alphabet: Alphabet::new(&vocab),
            all_bytes: !byte_tokens.is_empty() && !byte_tokens.contains(&NONE),
            byte_tokens,
            seams: OnceLock::new(),
            bytes: OnceLock::new(),
            vocab,
            options,
        })
    }

    /// The vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Everything but the vocabulary and the merges.
    pub fn settings(&self) -> &BpeOptions {
        &self.options
    }

    /// The text of the unknown token; it need not be in the vocabulary.
    pub fn unk_token(&self) -> Option<&str> {
        self.options.unk_token.as_deref()
    }

    /// The merges in the order they count, as tokens.
    pub fn merges(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..).zip(self.table.merges()).filter_map(|(rank, merge)| {
            let counts = self.table.rank(merge.left, merge.right) == rank;
            counts.then(|| Some((self.vocab.token(merge.left)?, self.vocab.token(merge.right)?)))?
        })
    }

    /// Whether each byte has a token, as a character of the byte-level alphabet, so that words can be given as bytes.
    pub fn is_byte_level(&self) -> bool {
        self.bytes().is_some()
    }

    fn bytes(&self) -> Option<&ByteBpe> {
        self.bytes.get_or_init(|| ByteBpe::new(self).map(Box::new)).as_deref()
    }

    /// Whether a text may be cut before any `marker` that follows another character, so that the parts have the tokens
    /// of the whole: no merge reaches across such a place, and `marker` is a token. Looks through all merges.
    pub fn no_token_crosses(&self, marker: char) -> bool {
        // The unknown token has another text than the characters it stands for.
        let unknown = self.unk_token().is_some_and(|token| token.is_empty() || token.ends_with(marker));
        // Where characters are dropped, what is on their two sides comes together.
        let dropped = self.unk_token().is_none() && !self.all_bytes;
        let crosses = |text: &str| {
            let pairs = text.chars().zip(text.chars().skip(1));
            pairs.into_iter().any(|(before, after)| after == marker && (dropped || before != marker))
        };
        let results = self.table.merges().iter().filter_map(|merge| self.vocab.token(merge.result));
        self.alphabet.id(marker) != NONE
            && !self.options.ignore_merges
            && self.options.affixes(false, true) == ("", "")
            && !unknown
            // Tokens of bytes end with it.
            && marker != '>'
            && !results.into_iter().any(crosses)
    }

    /// The id of a character at its place in a word, or [`NONE`]. `text` is room to write it with prefix and suffix.
    #[inline]
    fn symbol(&self, character: char, first: bool, last: bool, text: &mut String) -> u32 {
        let (prefix, suffix) = self.options.affixes(first, last);
        if prefix.is_empty() && suffix.is_empty() {
            return self.alphabet.id(character);
        }
        text.clear();
        text.push_str(prefix);
        text.push(character);
        text.push_str(suffix);
        self.vocab.id(text).unwrap_or(NONE)
    }

    /// The tokens of a character's bytes, prefix and suffix included.
    fn fallback(&self, character: char, first: bool, last: bool) -> Option<impl Iterator<Item = u32>> {
        let (prefix, suffix) = self.options.affixes(first, last);
        let mut buffer = [0; 4];
        let length = character.encode_utf8(&mut buffer).len();
        let bytes = prefix.bytes().chain(buffer.into_iter().take(length)).chain(suffix.bytes());
        let ids = bytes.map(|byte| self.byte_tokens.get(usize::from(byte)).copied().unwrap_or(NONE));
        (!ids.clone().any(|id| id == NONE)).then_some(ids)
    }

    /// Puts the symbols of a word into `scratch`, with their lengths where `LENGTHS` says so.
    ///
    /// An unknown token is put down when a token of the vocabulary or another unknown one follows, so tokens of bytes
    /// come before one that stood to their left.
    fn symbols<const LENGTHS: bool>(&self, word: &str, scratch: &mut Scratch) -> Result<()> {
        scratch.clear();
        let Scratch { ids, lengths, text, .. } = scratch;
        let mut push = |id, length| {
            ids.push(id);
            if LENGTHS {
                lengths.push(length);
            }
        };
        let mut unknown: Option<(u32, u32)> = None;
        for (at, character) in word.char_indices() {
            let length = character.len_utf8() as u32;
            let (first, last) = (at == 0, at + length as usize == word.len());
            let id = self.symbol(character, first, last, text);
            if id != NONE {
                if let Some((id, length)) = unknown.take() {
                    push(id, length);
                }
                push(id, length);
                continue;
            }
            if self.options.byte_fallback
                && let Some(tokens) = self.fallback(character, first, last)
            {
                tokens.for_each(|id| push(id, 1));
                continue;
            }
            let Some(token) = &self.options.unk_token else { continue };
            unknown = match unknown {
                Some((id, before)) if self.options.fuse_unk => Some((id, before + length)),
                other => {
                    if let Some((id, length)) = other {
                        push(id, length);
                    }
                    let id = self.unk_id.ok_or_else(|| missing_unknown(token))?;
                    Some((id, length))
                }
            };
        }
        if let Some((id, length)) = unknown {
            push(id, length);
        }
        Ok(())
    }

    fn merge(&self, scratch: &mut Scratch) {
        scratch.merge(&self.table);
    }

    fn whole(&self, word: &str) -> Option<u32> {
        self.options.ignore_merges.then(|| self.vocab.id(word)).flatten()
    }

    /// The id of a word that is taken as the token it is. `bytes`: as in [`Self::segment_ids`].
    pub fn whole_word(&self, word: &str, bytes: bool) -> Option<u32> {
        match bytes {
            true => self.bytes()?.whole(word.as_bytes()),
            false => self.whole(word),
        }
    }

    /// The token that a character of a word starts out as, where that does not depend on its place.
    #[inline]
    pub fn symbol_of(&self, character: char) -> Option<u32> {
        let id = self.alphabet.id(character);
        (id != NONE && self.options.affixes(false, true) == ("", "")).then_some(id)
    }

    /// Appends the ids of one of a word's [`Self::segments`]. With `bytes`, the ids are those of the word as the
    /// byte-level alphabet writes it, where [`Self::is_byte_level`]. Fails where the unknown token is needed and missing.
    pub fn segment_ids(
        &self,
        word: &str,
        segment: Range<usize>,
        bytes: bool,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        match self.bytes().filter(|_| bytes) {
            Some(bytes) => bytes.symbols(word.as_bytes(), segment, scratch),
            None => self.symbols::<false>(word.part(segment), scratch)?,
        }
        self.merge(scratch);
        ids.extend_from_slice(&scratch.ids);
        Ok(())
    }

    /// Appends the ids of a word. Fails where the word needs the unknown token and the vocabulary lacks it.
    pub fn ids(&self, word: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(id) = self.whole(word) {
            ids.push(id);
            return Ok(());
        }
        self.symbols::<false>(word, scratch)?;
        self.merge(scratch);
        ids.extend_from_slice(&scratch.ids);
        Ok(())
    }

    /// Appends the tokens of a word, as [`Self::ids`].
    ///
    /// Each starts where the one before ends: characters that are dropped move the following tokens to the left, and
    /// bytes of prefix and suffix move them to the right, beyond the word's end even.
    pub fn tokenize(&self, word: &str, scratch: &mut Scratch, pieces: &mut Vec<Piece>) -> Result<()> {
        if let Some(id) = self.whole(word) {
            pieces.push(Piece { id, start: 0, end: word.len() as u32 });
            return Ok(());
        }
        self.symbols::<true>(word, scratch)?;
        self.merge(scratch);
        let mut start = 0u32;
        pieces.extend(scratch.ids.iter().zip(&scratch.lengths).map(|(id, length)| {
            let piece = Piece { id: *id, start, end: start.saturating_add(*length) };
            start = piece.end;
            piece
        }));
        Ok(())
    }
}
