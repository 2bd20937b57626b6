//! Segmentation of normalized text by merging: always the two neighbours whose union is the piece of the best score.

use super::SentencePiece;
use crate::part::PartOf;
use crate::tokenizer::formats::PieceKind;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// No symbol.
const NONE: u32 = u32::MAX;

/// A part of the text. Empty: merged into the one before.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: u32,
    end: u32,
    previous: u32,
    next: u32,
    /// User-defined: never merged.
    fixed: bool,
}

/// Two neighbours that are a piece together.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    length: u32,
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best score first, of equal ones the leftmost.
impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        // Adding 0 makes -0 equal to it; there is no NaN.
        (self.score + 0.0).total_cmp(&(other.score + 0.0)).then(other.left.cmp(&self.left))
    }
}

struct Merging<'m, 't> {
    model: &'m SentencePiece,
    text: &'t str,
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Pair>,
    /// Where pieces that are no longer in use are cut again.
    cuts: HashMap<&'t str, u32>,
}

impl SentencePiece {
    pub(super) fn segment_by_merging(&self, text: &str, found: &mut Vec<(u32, usize)>) {
        let mut symbols: Vec<Symbol> = Vec::new();
        let mut start = 0;
        while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
            let (length, fixed) = self.symbol(rest);
            let (end, index) = (start + length, symbols.len() as u32);
            let next = if end < text.len() { index + 1 } else { NONE };
            let (first, last) = (start as u32, end as u32);
            symbols.push(Symbol { start: first, end: last, previous: index.wrapping_sub(1), next, fixed });
            start = end;
        }
        let mut merging =
            Merging { model: self, text, symbols, queue: BinaryHeap::new(), cuts: HashMap::new() };
        for left in 0..merging.symbols.len() as u32 {
            merging.add(left, left + 1);
        }
        merging.run();
        for symbol in &merging.symbols {
            merging.collect(merging.slice(symbol.start, symbol.end), found);
        }
    }
}

impl<'t> Merging<'_, 't> {
    fn symbol(&self, index: u32) -> Option<Symbol> {
        self.symbols.get(index as usize).copied()
    }

    fn slice(&self, start: u32, end: u32) -> &'t str {
        self.text.part(start as usize..end as usize)
    }

    /// Puts two neighbours in the queue where they are a piece together.
    fn add(&mut self, left: u32, right: u32) {
        let (Some(one), Some(other)) = (self.symbol(left), self.symbol(right)) else { return };
        let length = other.end - one.start;
        if one.fixed || other.fixed || length as usize > self.model.longest {
            return;
        }
        let whole = self.slice(one.start, other.end);
        let Some(number) = self.model.parts.id(whole) else { return };
        self.queue.push(Pair { score: self.model.score(number), left, right, length });
        if self.model.kind(number) == PieceKind::Unused {
            self.cuts.insert(whole, one.end - one.start);
        }
    }

    fn run(&mut self) {
        while let Some(top) = self.queue.pop() {
            let (Some(left), Some(right)) = (self.symbol(top.left), self.symbol(top.right)) else { continue };
            let (one, other) = (left.end - left.start, right.end - right.start);
            if one == 0 || other == 0 || one + other != top.length {
                continue;
            }
            if let Some(merged) = self.symbols.get_mut(top.left as usize) {
                (merged.end, merged.next) = (right.end, right.next);
            }
            if let Some(gone) = self.symbols.get_mut(top.right as usize) {
                gone.start = gone.end;
            }
            if let Some(next) = self.symbols.get_mut(right.next as usize) {
                next.previous = top.left;
            }
            self.add(left.previous, top.left);
            self.add(top.left, right.next);
        }
    }

    /// Appends a piece, or what it was merged of where it is no longer in use.
    fn collect(&self, piece: &'t str, found: &mut Vec<(u32, usize)>) {
        let mut open = vec![piece];
        while let Some(piece) = open.pop() {
            let number = self.model.number(piece);
            let cut = self.cuts.get(piece).filter(|_| self.model.kind(number) == PieceKind::Unused);
            match cut.and_then(|at| piece.split_at_checked(*at as usize)) {
                Some((left, right)) => open.extend([right, left]),
                None => self.model.push(piece, found),
            }
        }
    }
}
