//! What decoders pass on: a list of texts in one string.

/// Texts one after another.
#[derive(Debug, Default)]
pub struct Tokens {
    /// All of them.
    pub text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Tokens {
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
        starts.zip(&self.ends).map(|(start, end)| self.text.get(start..*end).unwrap_or_default())
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
