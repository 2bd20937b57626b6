//! Tokenization, collation and weight loading: everything oxiformers does without an interpreter.

pub mod collate;
pub mod error;
pub mod weights;

pub use error::{Error, Result};
