//! BERT's vocab.txt: a token a line, its id the number of the line.

use super::read_text;
use crate::tokenizer::json::quoted;
use crate::tokenizer::model::WordPiece;
use crate::tokenizer::post_processor::{PostProcessor, Template};
use crate::tokenizer::vocab::Vocab;
use crate::tokenizer::{AddedToken, BertNormalizer, Decoder, Model, Normalizer, PreTokenizer, Tokenizer};
use crate::{Error, Result};
use std::collections::HashMap;

/// What a vocab.txt does not say.
#[derive(Debug, Clone)]
pub struct VocabOptions {
    /// The normalizer's options.
    pub normalizer: BertNormalizer,
    /// The unknown token.
    pub unk_token: String,
    /// Starts an input.
    pub cls_token: String,
    /// Ends a sequence.
    pub sep_token: String,
    /// Fills up rows.
    pub pad_token: String,
    /// Stands for a token to be guessed.
    pub mask_token: String,
}

impl Tokenizer {
    /// Reads a vocab.txt. The special tokens become added tokens in the order unk, sep, pad, cls, mask.
    pub fn from_vocab(path: &str, options: &VocabOptions) -> Result<Self> {
        let text = read_text(path)?;
        let vocab = read_lines(&text, path)?;
        let special = |content: &str| AddedToken {
            content: content.to_owned(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        };
        let tokens = [
            &options.unk_token,
            &options.sep_token,
            &options.pad_token,
            &options.cls_token,
            &options.mask_token,
        ];
        let mut tokenizer = Self::assemble(
            Model::WordPiece(WordPiece::new(vocab, &options.unk_token, "##", 100)),
            Some(Normalizer::Bert(options.normalizer)),
            Some(PreTokenizer::Bert),
            Some(Decoder::WordPiece { prefix: "##".into(), cleanup: true }),
            tokens.iter().map(|token| special(token)).collect(),
        )?;
        let token = |text: &String| (text.as_str().into(), tokenizer.token_to_id(text).unwrap_or_default());
        let template = Template::bert(token(&options.cls_token), token(&options.sep_token));
        tokenizer.post_processor = Some(PostProcessor::Template(template));
        Ok(tokenizer)
    }
}

/// Lines end at `\n`, `\r\n` or `\r`, which are no part of the token; of a repeated token the last line counts.
fn read_lines(text: &str, path: &str) -> Result<Vocab> {
    if text.len() > u32::MAX as usize {
        return Err(Error::format(path, "the file", "at most 4 GiB", format!("{} bytes", text.len())));
    }
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let (mut rest, mut line_number) = (text, 0);
    while !rest.is_empty() {
        let (line, after) =
            rest.split_at_checked(rest.find(['\n', '\r']).unwrap_or(rest.len())).unwrap_or((rest, ""));
        ids.insert(line, line_number);
        line_number += 1;
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..)).unwrap_or_default();
    }
    Vocab::new(ids).map_err(|(id, first, second)| {
        let actual = format!("{} and {}", quoted(&first), quoted(&second));
        Error::format(path, format!("line {}", id + 1), "one token a line", actual)
    })
}
