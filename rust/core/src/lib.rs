//! Tokenization, collation and weight loading: everything oxiformers does without an interpreter.

pub mod error;
pub mod parallel;
pub mod tokenizer;

pub use error::{Error, Result};
