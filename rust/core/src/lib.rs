//! Tokenization, collation and weight loading: everything oxiformers does without an interpreter.

pub mod error;

pub use error::{Error, Result};
