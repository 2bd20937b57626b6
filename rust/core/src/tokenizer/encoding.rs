//! The full detail of an encoded input: ids, places, words, masks, and the parts cut off.

use crate::part::PartOf;
use std::ops::Range;
use std::sync::Arc;

/// No word: a special token or padding.
pub const NO_WORD: u32 = u32::MAX;

/// One encoded input. All lists have one element a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// 0 or 1 as the post-processor says.
    pub type_ids: Vec<u32>,
    /// Half-open ranges of characters in the input sequence; (0, 0) for special tokens.
    pub offsets: Vec<(u32, u32)>,
    /// Index of the word in its sequence, [`NO_WORD`] for special tokens.
    pub words: Vec<u32>,
    /// 1 for special tokens and padding.
    pub special: Vec<u8>,
    /// 0 for padding.
    pub attention: Vec<u8>,
    /// Texts that differ from the vocabulary's, by ascending token index.
    pub texts: Vec<(u32, Arc<str>)>,
    /// The first character that is not white space, of tokens that begin with white space which the text does not have
    /// as characters of its own, by ascending token index.
    pub starts: Vec<(u32, u32)>,
    /// Sequence number and its range of tokens. Empty: one sequence that is everything.
    pub sequences: Vec<(usize, Range<usize>)>,
    /// The parts cut off, in order.
    pub overflowing: Vec<Encoding>,
}

impl Encoding {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Makes room for further tokens.
    pub fn reserve(&mut self, tokens: usize) {
        self.ids.reserve(tokens);
        self.type_ids.reserve(tokens);
        self.offsets.reserve(tokens);
        self.words.reserve(tokens);
        self.special.reserve(tokens);
        self.attention.reserve(tokens);
    }

    /// Appends a token of type 0 from the text.
    pub fn push(&mut self, id: u32, offsets: (u32, u32), word: u32) {
        self.ids.push(id);
        self.type_ids.push(0);
        self.offsets.push(offsets);
        self.words.push(word);
        self.special.push(0);
        self.attention.push(1);
    }

    /// Appends a special token.
    pub fn push_special(&mut self, id: u32, type_id: u32, text: Option<&Arc<str>>) {
        if let Some(text) = text {
            self.texts.push((self.len() as u32, text.clone()));
        }
        self.ids.push(id);
        self.type_ids.push(type_id);
        self.offsets.push((0, 0));
        self.words.push(NO_WORD);
        self.special.push(1);
        self.attention.push(1);
    }

    /// Keeps the first `length` tokens.
    pub fn shorten(&mut self, length: usize) {
        if length < self.len() {
            *self = self.part(0..length);
        }
    }

    /// The text of a token where it is not the vocabulary's.
    pub fn text(&self, token: usize) -> Option<&str> {
        let at = self.texts.binary_search_by_key(&token, |text| text.0 as usize).ok()?;
        self.texts.get(at).map(|text| &*text.1)
    }

    /// Where a token starts without white space that the text does not have.
    pub fn start(&self, token: usize) -> Option<u32> {
        let at = self.starts.binary_search_by_key(&token, |start| start.0 as usize).ok()?;
        self.starts.get(at).map(|start| start.1)
    }

    /// Gives all tokens one type.
    pub fn set_type(&mut self, type_id: u32) {
        self.type_ids.fill(type_id);
    }

    /// Says that all tokens belong to one sequence.
    pub fn set_sequence(&mut self, sequence: usize) {
        let range = 0..self.len();
        match self.sequences.iter_mut().find(|(number, _)| *number == sequence) {
            Some(known) => known.1 = range,
            None => self.sequences.push((sequence, range)),
        }
    }

    /// How many sequences were combined.
    pub fn sequence_count(&self) -> usize {
        self.sequences.len().max(1)
    }

    /// The tokens of a sequence; all of them where nothing is known of it.
    pub fn sequence_range(&self, sequence: usize) -> Range<usize> {
        let known = self.sequences.iter().find(|(number, _)| *number == sequence);
        known.map_or(0..self.len(), |(_, range)| range.clone())
    }

    /// The sequence of each token, None for special tokens.
    pub fn sequence_ids(&self) -> Vec<Option<usize>> {
        let mut ids = vec![None; self.len()];
        for sequence in 0..self.sequence_count() {
            if let Some(part) = ids.get_mut(self.sequence_range(sequence)) {
                part.fill(Some(sequence));
            }
        }
        ids
    }

    /// The sequence of one token.
    pub fn token_to_sequence(&self, token: usize) -> Option<usize> {
        if token > self.len() {
            return None;
        }
        if self.sequences.is_empty() {
            return Some(0);
        }
        self.sequences.iter().find(|(_, range)| range.contains(&token)).map(|(number, _)| *number)
    }

    /// The characters of a token.
    pub fn token_to_chars(&self, token: usize) -> Option<(u32, u32)> {
        self.token_to_sequence(token)?;
        self.offsets.get(token).copied()
    }

    /// The word of a token.
    pub fn token_to_word(&self, token: usize) -> Option<u32> {
        self.token_to_sequence(token)?;
        self.words.get(token).copied().filter(|word| *word != NO_WORD)
    }

    /// The range of tokens of a word.
    pub fn word_to_tokens(&self, word: u32, sequence: usize) -> Option<(usize, usize)> {
        let range = self.sequence_range(sequence);
        let words = self.words.get(range.clone())?;
        // Words ascend; special tokens count as before all of them.
        let reach = words.iter().position(|w| *w != NO_WORD && *w > word).unwrap_or(words.len());
        let words = words.get(..reach)?;
        let first = words.iter().position(|w| *w == word)?;
        let last = words.iter().rposition(|w| *w == word)?;
        Some((range.start + first, range.start + last + 1))
    }

    /// The characters of a word.
    pub fn word_to_chars(&self, word: u32, sequence: usize) -> Option<(u32, u32)> {
        let (first, end) = self.word_to_tokens(word, sequence)?;
        Some((self.offsets.get(first)?.0, self.offsets.get(end - 1)?.1))
    }

    /// The token that covers a character.
    pub fn char_to_token(&self, character: usize, sequence: usize) -> Option<usize> {
        let range = self.sequence_range(sequence);
        let covers = |place: &(u32, u32)| place.0 as usize <= character && character < place.1 as usize;
        self.offsets.get(range.clone())?.iter().position(covers).map(|token| range.start + token)
    }

    /// The word that covers a character.
    pub fn char_to_word(&self, character: usize, sequence: usize) -> Option<u32> {
        self.token_to_word(self.char_to_token(character, sequence)?)
    }

    /// A copy of some tokens, without sequences and what was cut off.
    pub fn part(&self, range: Range<usize>) -> Self {
        fn cut<T: Clone>(list: &[T], range: &Range<usize>) -> Vec<T> {
            list.part(range.clone()).to_vec()
        }
        Self {
            ids: cut(&self.ids, &range),
            type_ids: cut(&self.type_ids, &range),
            offsets: cut(&self.offsets, &range),
            words: cut(&self.words, &range),
            special: cut(&self.special, &range),
            attention: cut(&self.attention, &range),
            texts: self
                .texts
                .iter()
                .filter(|text| range.contains(&(text.0 as usize)))
                .map(|text| (text.0 - range.start as u32, text.1.clone()))
                .collect(),
            starts: self
                .starts
                .iter()
                .filter(|start| range.contains(&(start.0 as usize)))
                .map(|(token, start)| (token - range.start as u32, *start))
                .collect(),
            sequences: Vec::new(),
            overflowing: Vec::new(),
        }
    }

    /// Appends `other`. Each part cut off from one is combined with the other and with each of its parts; such a
    /// combination again has the parts cut off that its second half has.
    pub fn append(&mut self, other: &Self) {
        let mut overflowing = Vec::with_capacity(
            self.overflowing.len() * (1 + other.overflowing.len()) + other.overflowing.len(),
        );
        for mine in &self.overflowing {
            overflowing.push(mine.clone().appended(other));
            overflowing.extend(other.overflowing.iter().map(|theirs| mine.clone().appended(theirs)));
        }
        overflowing.extend(other.overflowing.iter().map(|theirs| self.clone().appended(theirs)));
        self.extend(other);
        self.overflowing = overflowing;
    }

    fn appended(mut self, other: &Self) -> Self {
        self.append(other);
        self
    }

    /// Appends tokens alone; what was cut off stays as it is.
    pub fn extend(&mut self, other: &Self) {
        let shift = self.len();
        for (sequence, range) in &other.sequences {
            let range = range.start + shift..range.end + shift;
            match self.sequences.iter_mut().find(|(number, _)| number == sequence) {
                Some(known) => known.1 = range,
                None => self.sequences.push((*sequence, range)),
            }
        }
        self.ids.extend_from_slice(&other.ids);
        self.type_ids.extend_from_slice(&other.type_ids);
        self.offsets.extend_from_slice(&other.offsets);
        self.words.extend_from_slice(&other.words);
        self.special.extend_from_slice(&other.special);
        self.attention.extend_from_slice(&other.attention);
        self.texts.extend(other.texts.iter().map(|text| (text.0 + shift as u32, text.1.clone())));
        self.starts.extend(other.starts.iter().map(|(token, start)| (token + shift as u32, *start)));
    }
}
