//! Patterns with look-around and atomic groups as programs.

use super::classes::ranges;
use fancy_regex::{Assertion, Expr, LookAround};

/// How many instructions a program may have.
const MOST_INSTRUCTIONS: usize = 30_000;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) instructions: Vec<Instruction>,
    pub(super) sets: Vec<Set>,
    /// How many instructions have alternatives.
    pub(super) splits: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Instruction {
    /// The next character is in a set.
    Character {
        set: usize,
    },
    /// The first of two ways, else the second; `number` counts these instructions.
    Split {
        first: usize,
        second: usize,
        number: usize,
    },
    Jump {
        to: usize,
    },
    /// Text before or after a place.
    Place {
        kind: Place,
    },
    /// What follows up to `next` matches here, or from `back` characters before; or does not.
    Look {
        back: Option<usize>,
        negative: bool,
        next: usize,
    },
    /// What follows up to `next` matches in one way only.
    Atomic {
        next: usize,
    },
    /// The end of the pattern or of a part of it.
    End,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
}

/// A set of characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Set {
    ascii: u128,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn new(class: &str) -> Self {
        let ranges = ranges(class);
        let within = |byte: &u8| ranges.iter().any(|range| (range.0..=range.1).contains(&char::from(*byte)));
        let ascii = (0..128u8).filter(within).fold(0, |bits, byte| bits | 1 << byte);
        Self { ascii, ranges }
    }

    pub(super) fn has(&self, c: char) -> bool {
        if c.is_ascii() {
            return self.ascii >> (c as u32) & 1 == 1;
        }
        let after = self.ranges.partition_point(|range| range.0 <= c);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|range| c <= range.1)
    }
}

impl Program {
    /// Compiles a pattern in the engine's syntax; None where it has what is not done here.
    pub fn new(pattern: &str) -> Option<Self> {
        let tree = Expr::parse_tree(pattern).ok()?;
        let mut program = Self { instructions: Vec::new(), sets: Vec::new(), splits: 0 };
        program.compile(&tree.expr)?;
        program.push(Instruction::End)?;
        Some(program)
    }

    fn push(&mut self, instruction: Instruction) -> Option<usize> {
        self.instructions.push(instruction);
        (self.instructions.len() <= MOST_INSTRUCTIONS).then(|| self.instructions.len() - 1)
    }

    fn set(&mut self, class: &str) -> Option<()> {
        let set = Set::new(class);
        let known = self.sets.iter().position(|known| *known == set);
        let set = known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        self.push(Instruction::Character { set }).map(|_| ())
    }

    /// A split whose ways are set later.
    fn split(&mut self) -> Option<usize> {
        self.splits += 1;
        self.push(Instruction::Split { first: 0, second: 0, number: self.splits - 1 })
    }

    fn ways(&mut self, split: usize, ways: (usize, usize)) {
        if let Some(Instruction::Split { first, second, .. }) = self.instructions.get_mut(split) {
            (*first, *second) = ways;
        }
    }

    fn here(&self) -> usize {
        self.instructions.len()
    }

    fn compile(&mut self, expression: &Expr) -> Option<()> {
        match expression {
            Expr::Empty => {}
            Expr::Any { newline } => self.set(if *newline { "(?s:.)" } else { r"[^\n]" })?,
            Expr::Assertion(assertion) => {
                let kind = match assertion {
                    Assertion::StartText => Place::TextStart,
                    Assertion::EndText => Place::TextEnd,
                    Assertion::StartLine { crlf: false } => Place::LineStart,
                    Assertion::EndLine { crlf: false } => Place::LineEnd,
                    _ => return None,
                };
                self.push(Instruction::Place { kind })?;
            }
            Expr::Literal { val, casei } => {
                for c in val.chars() {
                    let case = if *casei { "i" } else { "-i" };
                    self.set(&format!("(?{case}:[\\x{{{:x}}}])", u32::from(c)))?;
                }
            }
            Expr::Delegate { inner, size: 1, casei } => {
                let case = if *casei { "i" } else { "-i" };
                self.set(&format!("(?{case}:{inner})"))?;
            }
            Expr::Concat(parts) => parts.iter().try_for_each(|part| self.compile(part))?,
            Expr::Alt(branches) => self.alternatives(branches)?,
            Expr::Group(inner) => self.compile(inner)?,
            Expr::Repeat { child, lo, hi, greedy } => self.repeat(child, *lo, *hi, *greedy)?,
            Expr::AtomicGroup(inner) => self.enclosed(inner, Instruction::Atomic { next: 0 })?,
            Expr::LookAround(inner, kind) => {
                let negative = matches!(kind, LookAround::LookAheadNeg | LookAround::LookBehindNeg);
                let behind = matches!(kind, LookAround::LookBehind | LookAround::LookBehindNeg);
                let back = if behind { Some(length(inner)?) } else { None };
                self.enclosed(inner, Instruction::Look { back, negative, next: 0 })?;
            }
            _ => return None,
        }
        Some(())
    }

    /// A part with an end of its own.
    fn enclosed(&mut self, inner: &Expr, around: Instruction) -> Option<()> {
        let at = self.push(around)?;
        self.compile(inner)?;
        let after = self.push(Instruction::End)? + 1;
        if let Some(Instruction::Look { next, .. } | Instruction::Atomic { next }) =
            self.instructions.get_mut(at)
        {
            *next = after;
        }
        Some(())
    }

    fn alternatives(&mut self, branches: &[Expr]) -> Option<()> {
        let mut jumps = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            if index + 1 == branches.len() {
                self.compile(branch)?;
                continue;
            }
            let split = self.split()?;
            self.compile(branch)?;
            jumps.push(self.push(Instruction::Jump { to: 0 })?);
            self.ways(split, (split + 1, self.here()));
        }
        let end = self.here();
        for jump in jumps {
            if let Some(Instruction::Jump { to }) = self.instructions.get_mut(jump) {
                *to = end;
            }
        }
        Some(())
    }

    fn repeat(&mut self, child: &Expr, low: usize, high: usize, greedy: bool) -> Option<()> {
        let order =
            |inside: usize, outside: usize| if greedy { (inside, outside) } else { (outside, inside) };
        if high == usize::MAX && nullable(child) {
            // What an empty round means differs between engines.
            return None;
        }
        for _ in 0..low {
            self.compile(child)?;
        }
        if high == usize::MAX {
            let split = self.split()?;
            self.compile(child)?;
            self.push(Instruction::Jump { to: split })?;
            self.ways(split, order(split + 1, self.here()));
            return Some(());
        }
        let mut splits = Vec::new();
        for _ in low..high {
            splits.push(self.split()?);
            self.compile(child)?;
        }
        let end = self.here();
        for split in splits {
            self.ways(split, order(split + 1, end));
        }
        Some(())
    }
}

/// How many characters an expression matches, where that is always the same.
fn length(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Empty | Expr::Assertion(_) | Expr::LookAround(..) => Some(0),
        Expr::Any { .. } | Expr::Delegate { size: 1, .. } => Some(1),
        Expr::Literal { val, .. } => Some(val.chars().count()),
        Expr::Concat(parts) => parts.iter().map(length).sum(),
        Expr::Alt(branches) => {
            let mut lengths = branches.iter().map(length);
            let first = lengths.next()??;
            lengths.all(|length| length == Some(first)).then_some(first)
        }
        Expr::Group(inner) | Expr::AtomicGroup(inner) => length(inner),
        Expr::Repeat { child, lo, hi, .. } if lo == hi => length(child)?.checked_mul(*lo),
        _ => None,
    }
}

fn nullable(expression: &Expr) -> bool {
    match expression {
        Expr::Any { .. } | Expr::Delegate { .. } => false,
        Expr::Literal { val, .. } => val.is_empty(),
        Expr::Concat(parts) => parts.iter().all(nullable),
        Expr::Alt(branches) => branches.iter().any(nullable),
        Expr::Group(inner) | Expr::AtomicGroup(inner) => nullable(inner),
        Expr::Repeat { child, lo, .. } => *lo == 0 || nullable(child),
        _ => true,
    }
}
