//! Tokenization, collation and weight loading: everything oxiformers does without an interpreter.

pub mod collate;
pub mod error;
pub mod parallel;
mod part;
pub mod tokenizer;
pub mod weights;

pub use error::{Error, Result};
