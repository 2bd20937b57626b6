//! The files tokenizers are read from and written to.

mod components;
mod merges;
mod protobuf;
mod saved;
mod sentencepiece;
mod tiktoken;
mod tokenizer_json;
mod vocab_txt;

pub use merges::read_merges;
pub use saved::{SavedPadding, SavedTruncation};
pub use sentencepiece::{
    NormalizerSpec, PieceKind, SentencePieceAlgorithm, SentencePieceModel, SpecialPiece,
};
pub use tiktoken::{Tiktoken, read_tiktoken};
pub use vocab_txt::VocabOptions;

use crate::{Error, Result};

/// Reads a text file.
fn read_text(path: &str) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    String::from_utf8(bytes).map_err(|error| {
        let place = format!("byte {}", error.utf8_error().valid_up_to());
        Error::format(path, place, "UTF-8", "a byte that is not")
    })
}
