//! What decoders pass on: a list of texts in one string.

use crate::part::PartOf;
use crate::{Error, Result};

/// Texts one after another.
#[derive(Debug)]
pub struct Tokens {
    /// All of them.
    pub text: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// The most bytes the text may have.
    limit: usize,
}

impl Tokens {
    /// None yet; the text may become as long as what is made of `bytes` of tokens by any decoder that is meant to be
    /// used: a chain of replacements can multiply text.
    pub fn of(bytes: usize) -> Self {
        const LEAST: usize = 16 << 20;
        Self { text: String::new(), ends: Vec::new(), limit: LEAST.max(bytes.saturating_mul(64)) }
    }

    /// None yet, under the same limit.
    pub fn another(&self) -> Self {
        Self { text: String::new(), ends: Vec::new(), limit: self.limit }
    }

    /// Refuses a text that has become too long.
    pub fn check(&self) -> Result<()> {
        if self.text.len() > self.limit {
            let expected = format!("tokens that decode to at most {} bytes", self.limit);
            return Err(Error::argument("tokens", expected, "more, by the decoder's replacements"));
        }
        Ok(())
    }

    /// Ends a text at what has been written so far.
    pub fn close(&mut self) {
        self.ends.push(self.text.len());
    }

    /// Appends a text.
    pub fn push(&mut self, token: &str) {
        self.text.push_str(token);
        self.close();
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.text.part(start..*end))
    }

    /// Makes one text of all.
    pub fn fuse(&mut self) {
        self.ends.clear();
        self.close();
    }

    /// Makes room for another list.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}
