//! The symbols that words start out as: a token for each character.

use crate::tokenizer::vocab::Vocab;

/// No token.
pub(super) const NONE: u32 = u32::MAX;
const PAGE: usize = 256;

/// The tokens of a single character, by code point.
#[derive(Debug, Clone)]
pub(super) struct Alphabet {
    /// Which page holds 256 code points; 0 is the page without tokens.
    index: Vec<u16>,
    pages: Vec<[u32; PAGE]>,
}

impl Alphabet {
    /// Collects the tokens of one character.
    pub fn new(vocab: &Vocab) -> Self {
        let mut alphabet = Self { index: vec![0; 0x110000 / PAGE], pages: vec![[NONE; PAGE]] };
        for (text, id) in vocab.iter() {
            let mut characters = text.chars();
            if let (Some(character), None) = (characters.next(), characters.next()) {
                alphabet.insert(character as usize, id);
            }
        }
        alphabet
    }

    fn insert(&mut self, code: usize, id: u32) {
        let Some(page) = self.index.get_mut(code / PAGE) else { return };
        if *page == 0 {
            *page = self.pages.len() as u16;
            self.pages.push([NONE; PAGE]);
        }
        if let Some(slot) = self.pages.get_mut(*page as usize).and_then(|page| page.get_mut(code % PAGE)) {
            *slot = id;
        }
    }

    /// The token of a character, or [`NONE`].
    #[inline(always)]
    pub fn id(&self, character: char) -> u32 {
        let code = character as usize;
        let page = self.index.get(code / PAGE).copied().unwrap_or(0);
        self.pages.get(page as usize).and_then(|page| page.get(code % PAGE)).copied().unwrap_or(NONE)
    }
}
