//! Tokenizers: text to token ids and back, read from tokenizer.json or a BERT vocab.txt.
//!
//! A [`Tokenizer`] never changes; truncation, padding and special tokens are arguments of a call.

mod added_tokens;
mod arrays;
mod base64;
mod batch;
mod byte_alphabet;
mod cache;
mod decoder;
mod encoding;
mod formats;
mod hash;
mod ids;
mod json;
mod matcher;
mod model;
mod normalizer;
mod padding;
mod pattern;
mod pieces;
mod plain;
mod post_processor;
mod pre_tokenizer;
mod rows;
mod segments;
mod stream;
mod text;
mod truncation;
mod unicode;
mod vocab;

pub use added_tokens::AddedToken;
pub use arrays::{Arrays, Packed};
pub use batch::{Input, Sequence, Settings};
pub use decoder::Decoder;
pub use encoding::{Encoding, NO_WORD};
pub use formats::{
    NormalizerSpec, PieceKind, SavedPadding, SavedTruncation, SentencePieceAlgorithm, SentencePieceModel,
    SpecialPiece, Tiktoken, VocabOptions, read_merges, read_tiktoken,
};
pub use model::{Bpe, Model, Scratch, SentencePiece, Unigram, WordLevel, WordPiece, bpe};
pub use normalizer::{BertNormalizer, Form, FreeCharacters, Normalizer, Precompiled, Replace, Strip};
pub use padding::{Padding, PaddingLength};
pub use pattern::Pattern;
pub use post_processor::PostProcessor;
pub use pre_tokenizer::PreTokenizer;
pub use rows::{Rows, Wanted};
pub use stream::DecodeStream;
pub use text::{Character, Edges, Text, Words, characters};
pub use truncation::{Truncation, TruncationStrategy};
pub use vocab::Vocab;

use crate::{Error, Result, parallel};
use added_tokens::AddedVocabulary;
use decoder::{Origin, Token};
use ids::Way;
use pieces::PieceCache;
use std::sync::Arc;

/// A side of a text or a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The start.
    Left,
    /// The end.
    Right,
}

/// Text to token ids and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    model: Arc<Model>,
    post_processor: Option<PostProcessor>,
    decoder: Option<Decoder>,
    added: AddedVocabulary,
    truncation: Option<SavedTruncation>,
    padding: Option<SavedPadding>,
    /// The tokens of words met before.
    pieces: Arc<PieceCache>,
    /// Set where the components allow a short way to ids.
    way: Option<Arc<Way>>,
}

impl Tokenizer {
    /// Builds from components, the added tokens last.
    fn assemble(
        model: Model,
        normalizer: Option<Normalizer>,
        pre_tokenizer: Option<PreTokenizer>,
        decoder: Option<Decoder>,
        added: Vec<AddedToken>,
    ) -> Result<Self> {
        let mut tokenizer = Self {
            normalizer,
            pre_tokenizer,
            post_processor: None,
            decoder,
            added: AddedVocabulary::default(),
            truncation: None,
            padding: None,
            pieces: Arc::new(PieceCache::new(&model)),
            model: Arc::new(model),
            way: None,
        };
        tokenizer.added.add(added, &tokenizer.model, tokenizer.normalizer.as_ref())?;
        tokenizer.way = Way::new(&tokenizer);
        Ok(tokenizer)
    }

    /// The same tokenizer with further added tokens.
    pub fn with_added_tokens(&self, tokens: Vec<AddedToken>) -> Result<Self> {
        let mut tokenizer = self.clone();
        tokenizer.added.add(tokens, &tokenizer.model, tokenizer.normalizer.as_ref())?;
        tokenizer.way = Way::renew(&tokenizer);
        Ok(tokenizer)
    }

    /// The same tokenizer with another normalizer.
    pub fn with_normalizer(&self, normalizer: Option<Normalizer>) -> Result<Self> {
        let mut tokenizer = Self { normalizer, way: None, ..self.clone() };
        tokenizer.added.refresh(tokenizer.normalizer.as_ref())?;
        tokenizer.way = Way::new(&tokenizer);
        Ok(tokenizer)
    }

    /// The same tokenizer with the template `[CLS] A [SEP] B [SEP]`, whose tokens must be known.
    pub fn with_bert_template(&self, cls_token: &str, sep_token: &str) -> Result<Self> {
        let token = |name: &str, text: &str| {
            let id = self.token_to_id(text);
            let id =
                id.ok_or_else(|| Error::argument(name, "a token of the vocabulary", format!("{text:?}")))?;
            Ok((text.into(), id))
        };
        let template =
            post_processor::Template::bert(token("cls_token", cls_token)?, token("sep_token", sep_token)?);
        Ok(Self { post_processor: Some(PostProcessor::Template(template)), ..self.clone() })
    }

    /// The normalizer.
    pub fn normalizer(&self) -> Option<&Normalizer> {
        self.normalizer.as_ref()
    }

    /// What the normalizer makes of a text; the text itself where there is none.
    pub fn normalize(&self, text: &str) -> Result<String> {
        self.normalizer.as_ref().map_or_else(|| Ok(text.to_owned()), |normalizer| normalizer.normalize(text))
    }

    /// The pre-tokenizer.
    pub fn pre_tokenizer(&self) -> Option<&PreTokenizer> {
        self.pre_tokenizer.as_ref()
    }

    /// The words that the pre-tokenizer makes of a text, each with the characters of the text it was made of; the text
    /// as one word where there is none.
    pub fn pre_tokenize(&self, text: &str) -> Result<Vec<(String, (u32, u32))>> {
        let mut words = text::Words::of(text);
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.apply(&mut words)?;
        }
        let text::Words { text, ranges } = words;
        Ok(ranges
            .into_iter()
            .map(|range| (text.slice(range.clone()).to_owned(), text.original(range)))
            .collect())
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The post-processor.
    pub fn post_processor(&self) -> Option<&PostProcessor> {
        self.post_processor.as_ref()
    }

    /// The decoder.
    pub fn decoder(&self) -> Option<&Decoder> {
        self.decoder.as_ref()
    }

    /// What the file says about truncation. Calls do not apply it.
    pub fn saved_truncation(&self) -> Option<&SavedTruncation> {
        self.truncation.as_ref()
    }

    /// What the file says about padding. Calls do not apply it.
    pub fn saved_padding(&self) -> Option<&SavedPadding> {
        self.padding.as_ref()
    }

    /// The added tokens by ascending id.
    pub fn added_tokens(&self) -> impl Iterator<Item = (u32, &AddedToken)> {
        self.added.iter()
    }

    /// How many tokens there are. Ids may have holes, so the largest can be beyond.
    pub fn vocab_size(&self, with_added: bool) -> usize {
        let vocab = self.model.vocab();
        let added = self.added.contents().filter(|(text, _)| vocab.id(text).is_none()).count();
        vocab.len() + if with_added { added } else { 0 }
    }

    /// All tokens and their ids, added ones after the model's.
    pub fn vocab(&self, with_added: bool) -> impl Iterator<Item = (&str, u32)> {
        self.model.vocab().iter().chain(self.added.contents().filter(move |_| with_added))
    }

    /// The id of a token, added or the model's.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.added.id(token).or_else(|| self.model.vocab().id(token))
    }

    /// The token of an id; of an added token found in normalized text, its normalized form.
    pub fn id_to_token(&self, id: u32) -> Option<&str> {
        self.added.text(id).or_else(|| self.model.vocab().token(id))
    }

    /// The text an [`Encoding`] means by an id it keeps no text for.
    pub fn usual_text(&self, id: u32) -> Option<&str> {
        self.model.vocab().token(id).or_else(|| self.added.text(id))
    }

    /// How many special tokens the post-processor adds.
    pub fn num_special_tokens(&self, pair: bool) -> usize {
        self.post_processor.as_ref().map_or(0, |processor| processor.added(pair))
    }

    /// Ids back to text. Ids of no token are left out.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        // No vocabulary's tokens are longer on average.
        const LONG: usize = 1 << 10;
        let tokens = ids.iter().filter_map(|id| self.decoded_token(*id, skip_special_tokens));
        self.join(tokens, ids.len().saturating_mul(LONG))
    }

    /// Several lists of ids back to texts.
    pub fn decode_batch(&self, batch: &[Vec<u32>], skip_special_tokens: bool) -> Result<Vec<String>> {
        const IDS_PER_THREAD: usize = 1 << 15;
        let total: usize = batch.iter().map(Vec::len).sum();
        let threads = parallel::threads().min(1 + total / IDS_PER_THREAD);
        let rows = batch.len().div_ceil(threads * 8).max(1);
        let decode = |chunk: usize| {
            let rows = batch.iter().skip(chunk * rows).take(rows);
            rows.map(|ids| self.decode(ids, skip_special_tokens)).collect::<Result<Vec<_>>>()
        };
        let parts = parallel::map(batch.len().div_ceil(rows), threads, decode)?;
        Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Token texts to text.
    pub fn decode_tokens(&self, tokens: &[&str]) -> Result<String> {
        let bytes = tokens.iter().map(|token| token.len()).sum();
        let origin = |text| self.added.id(text).map_or(Origin::Model, |id| self.origin(id));
        self.join(tokens.iter().map(|text| Token { text, origin: origin(text) }), bytes)
    }

    /// What an id puts into decoded text: nothing, where it is no token's or that of a special one to skip.
    fn decoded_token(&self, id: u32, skip_special_tokens: bool) -> Option<Token<'_>> {
        let token = match self.added.text(id) {
            Some(text) => Token { text, origin: self.origin(id) },
            None => Token::of_model(self.model.vocab().token(id)?),
        };
        (!skip_special_tokens || !self.added.is_special(token.text)).then_some(token)
    }

    /// Where an added token is from. One that the normalizer writes as bytes is decoded like a token of the model.
    fn origin(&self, id: u32) -> Origin {
        if self.added.has_form(id) && self.normalizer.as_ref().is_some_and(Normalizer::writes_bytes) {
            return Origin::Model;
        }
        if self.model.vocab().token(id).is_some() { Origin::Both } else { Origin::Added }
    }

    fn join<'t>(&self, tokens: impl Iterator<Item = Token<'t>> + Clone, bytes: usize) -> Result<String> {
        match &self.decoder {
            Some(decoder) => decoder.decode_sized(tokens, bytes),
            None => Ok(tokens.map(|token| token.text).collect::<Vec<_>>().join(" ")),
        }
    }
}
