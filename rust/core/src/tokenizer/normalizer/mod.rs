//! Normalizers: what is done to a text before it is split.

mod bert;
pub(super) mod charsmap;
mod forms;
mod free;
mod precompiled;
mod replace;
mod rewrite;
mod simple;
mod strip;

pub use bert::BertNormalizer;
pub use forms::Form;
pub use free::FreeCharacters;
pub use precompiled::Precompiled;
pub use replace::{Replace, is_space};
pub use strip::Strip;

use super::json::Node;
use super::text::{Character, Edges, characters};
use crate::{Error, Result};
use serde_json::{Value, json};
use unicode_normalization_alignments::char::is_combining_mark;

/// What is done to a text before it is split.
#[derive(Debug, Clone, PartialEq)]
pub enum Normalizer {
    /// BERT's cleaning, ideograph spacing, accent stripping and lowercasing.
    Bert(BertNormalizer),
    /// A Unicode normalization form.
    Form(Form),
    /// Lowercases each character.
    Lowercase,
    /// Removes white space at the ends.
    Strip(Strip),
    /// Removes combining marks.
    StripAccents,
    /// Removes controls and makes spaces of odd white space.
    Nmt,
    /// The rules of a sentencepiece model.
    Precompiled(Precompiled),
    /// Replaces the matches of a pattern.
    Replace(Replace),
    /// Puts text before a piece that is not empty.
    Prepend(String),
    /// Writes each byte as a visible character.
    ByteLevel,
    /// One after another.
    Sequence(Vec<Normalizer>),
}

const NAMES: [&str; 14] = [
    "BertNormalizer",
    "Strip",
    "StripAccents",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Sequence",
    "Lowercase",
    "Nmt",
    "Precompiled",
    "Replace",
    "Prepend",
    "ByteLevel",
];

impl Normalizer {
    /// Reads the `normalizer` of a tokenizer.json.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let name = match node.optional("type")? {
            Some(kind) => kind.text()?,
            None => unnamed(node)?,
        };
        Ok(match name {
            "BertNormalizer" | "Bert" => Self::Bert(BertNormalizer::read(node)?),
            "Strip" | "StripNormalizer" => Self::Strip(Strip::read(node)?),
            "StripAccents" => Self::StripAccents,
            "NFC" => Self::Form(Form::Nfc),
            "NFD" => Self::Form(Form::Nfd),
            "NFKC" => Self::Form(Form::Nfkc),
            "NFKD" => Self::Form(Form::Nfkd),
            "Sequence" => Self::Sequence(
                node.field("normalizers")?.items()?.map(|item| Self::read(&item)).collect::<Result<_>>()?,
            ),
            "Lowercase" => Self::Lowercase,
            "Nmt" => Self::Nmt,
            "Precompiled" => Self::Precompiled(Precompiled::read(node)?),
            "Replace" => Self::Replace(Replace::read(node)?),
            "Prepend" => Self::Prepend(node.field("prepend")?.text()?.to_owned()),
            "ByteLevel" => Self::ByteLevel,
            _ => return Err(node.field("type")?.unknown(&NAMES)),
        })
    }

    /// The name in tokenizer.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bert(_) => "BertNormalizer",
            Self::Form(form) => form.name(),
            Self::Lowercase => "Lowercase",
            Self::Strip(_) => "Strip",
            Self::StripAccents => "StripAccents",
            Self::Nmt => "Nmt",
            Self::Precompiled(_) => "Precompiled",
            Self::Replace(_) => "Replace",
            Self::Prepend(_) => "Prepend",
            Self::ByteLevel => "ByteLevel",
            Self::Sequence(_) => "Sequence",
        }
    }

    /// BERT's, if it is that.
    pub fn as_bert(&self) -> Option<&BertNormalizer> {
        match self {
            Self::Bert(bert) => Some(bert),
            _ => None,
        }
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bert(bert) => bert.to_json(),
            Self::Strip(strip) => strip.to_json(),
            Self::Precompiled(precompiled) => precompiled.to_json(),
            Self::Replace(replace) => replace.to_json(),
            Self::Prepend(prefix) => json!({"type": "Prepend", "prepend": prefix}),
            Self::Sequence(all) => {
                let all: Vec<Value> = all.iter().map(Self::to_json).collect();
                json!({"type": "Sequence", "normalizers": all})
            }
            _ => json!({"type": self.name()}),
        }
    }

    /// Whether a text is known to stay as it is; false where finding out takes normalizing it.
    pub fn keeps(&self, text: &str) -> bool {
        match self {
            Self::Form(form) => text.is_ascii() || form.holds(text.chars()),
            Self::Lowercase => text.chars().all(simple::is_lowercase),
            Self::Strip(_) => !text.starts_with(char::is_whitespace) && !text.ends_with(char::is_whitespace),
            Self::StripAccents => text.is_ascii() || !text.contains(is_combining_mark),
            Self::Nmt => text.chars().all(|c| simple::nmt_character(c) == Some(c)),
            Self::Precompiled(precompiled) => precompiled.keeps(text),
            Self::Replace(replace) => replace.keeps(text),
            Self::Prepend(prefix) => prefix.is_empty() || text.is_empty(),
            Self::ByteLevel => text.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::Sequence(all) => all.iter().all(|normalizer| normalizer.keeps(text)),
            Self::Bert(_) => false,
        }
    }

    /// Whether it writes bytes, each as the character that stands for it.
    pub fn writes_bytes(&self) -> bool {
        match self {
            Self::ByteLevel => true,
            Self::Sequence(all) => all.iter().any(Self::writes_bytes),
            _ => false,
        }
    }

    /// Normalizes characters in place. `edges` says which ends of the piece they have.
    ///
    /// Fails where a pattern can't be matched in reasonable time, or the text grows beyond all reason.
    pub fn apply(&self, characters: &mut Vec<Character>, edges: Edges) -> Result<()> {
        let first = characters.first().map_or(0, |first| first.start);
        self.run(characters, Piece { edges, first, most: Piece::most(characters.len()) })
    }

    fn run(&self, characters: &mut Vec<Character>, piece: Piece) -> Result<()> {
        match self {
            Self::Bert(bert) => bert.apply(characters),
            Self::Form(form) => form.apply(characters),
            Self::Lowercase => simple::lowercase(characters),
            Self::Strip(strip) => strip.apply(characters, piece.edges),
            Self::StripAccents => strip::strip_accents(characters),
            Self::Nmt => simple::nmt(characters),
            Self::Precompiled(precompiled) => precompiled.apply(characters, piece)?,
            Self::Replace(replace) => replace.apply(characters, piece)?,
            Self::Prepend(prefix) => replace::prepend(prefix, characters, piece),
            Self::ByteLevel => simple::byte_level(characters),
            Self::Sequence(all) => {
                for normalizer in all {
                    normalizer.run(characters, piece)?;
                }
            }
        }
        piece.check(characters.len())
    }

    /// Normalizes a text whose alignment is of no interest, such as an added token.
    pub fn normalize(&self, text: &str) -> Result<String> {
        if self.keeps(text) {
            return Ok(text.to_owned());
        }
        let mut characters = characters(text, 0);
        self.apply(&mut characters, Edges::BOTH)?;
        Ok(characters.iter().map(|character| character.value).collect())
    }
}

/// Files of old versions leave out the type where the other keys tell it.
fn unnamed(node: &Node<'_, '_>) -> Result<&'static str> {
    let kinds: [(&str, &[&str]); 5] = [
        ("BertNormalizer", &["clean_text", "handle_chinese_chars", "lowercase"]),
        ("Strip", &["strip_left", "strip_right"]),
        ("Sequence", &["normalizers"]),
        ("Replace", &["pattern", "content"]),
        ("Prepend", &["prepend"]),
    ];
    let fields = node.fields()?;
    let has = |key: &&str| fields.iter().any(|field| field.0 == *key);
    let found = kinds.iter().find(|kind| kind.1.iter().all(has));
    found.map(|kind| kind.0).ok_or_else(|| node.refuse_key("type", "this key", "nothing"))
}

/// What is known of the piece that the characters are of.
#[derive(Debug, Clone, Copy)]
struct Piece {
    edges: Edges,
    /// The index of its first original character.
    first: u32,
    /// How many characters it may become, so that a small hostile file can't make a small text fill the memory.
    most: usize,
}

impl Piece {
    /// How many times as long a text may become. Unicode's own forms make at most 18 characters of one.
    const FACTOR: usize = 256;
    /// Any text may become this long.
    const FREE: usize = 1 << 20;

    fn most(characters: usize) -> usize {
        characters.saturating_mul(Self::FACTOR).max(Self::FREE)
    }

    fn check(self, characters: usize) -> Result<()> {
        if characters <= self.most {
            return Ok(());
        }
        let expected = format!("rules that make at most {} characters of the text", self.most);
        Err(Error::argument("normalizer", expected, "more"))
    }
}
