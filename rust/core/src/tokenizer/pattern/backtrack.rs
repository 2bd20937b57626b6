//! Running a program by backtracking that never tries the same thing twice: what became of an alternative at a place is
//! remembered, so that time grows with the length of the text alone.

use super::program::{Instruction, Place, Program};
use crate::part::PartOf;
use std::collections::HashMap;
use std::ops::Range;

/// Steps of one attempt before what becomes of alternatives is remembered: short attempts cost no memory.
const UNREMEMBERED: usize = 256;

impl Program {
    /// Calls `found` with each match, in ascending order, as Oniguruma's callers do: no empty one right after another.
    pub fn find_matches(&self, text: &str, found: &mut dyn FnMut(Range<usize>)) {
        self.find(text, UNREMEMBERED, found);
    }

    fn find(&self, text: &str, unremembered: usize, found: &mut dyn FnMut(Range<usize>)) {
        let remembered = Remembered::new(self.splits);
        let mut run =
            Run { program: self, text, unremembered, patience: unremembered, remembered, stack: Vec::new() };
        let mut start = 0;
        let mut last = None;
        while start <= text.len() {
            let step = || text.get(start..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
            match run.attempt(start) {
                Some(end) if end > start => {
                    found(start..end);
                    last = Some(end);
                    start = end;
                }
                Some(end) => {
                    if last != Some(end) {
                        found(start..end);
                    }
                    start += step();
                }
                None => start += step(),
            }
        }
    }
}

/// What became of alternatives at places, whichever attempt came there.
struct Remembered {
    splits: usize,
    /// A bit for each split at each place of a block, blocks made when needed.
    failed: HashMap<usize, Vec<u64>>,
    /// Where the part that a split is in ended; for some of them, as that is enough to meet one soon.
    ended: HashMap<(u32, u32), u32>,
}

/// Places in a block.
const BLOCK: usize = 256;

impl Remembered {
    fn new(splits: usize) -> Self {
        Self { splits, failed: HashMap::new(), ended: HashMap::new() }
    }

    fn bit(&self, split: usize, at: usize) -> (usize, usize, u64) {
        let bit = (at % BLOCK) * self.splits + split;
        (at / BLOCK, bit / 64, 1 << (bit % 64))
    }

    /// Whether it is one of those whose end is kept.
    fn keeps(split: u32, at: u32) -> bool {
        (at ^ split.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0x9E37_79B1) >> 29 == 0
    }

    fn failed(&self, split: usize, at: usize) -> bool {
        let (block, word, bit) = self.bit(split, at);
        self.failed.get(&block).and_then(|block| block.get(word)).is_some_and(|bits| bits & bit != 0)
    }

    fn fail(&mut self, split: usize, at: usize) {
        let (block, word, bit) = self.bit(split, at);
        let words = (BLOCK * self.splits).div_ceil(64);
        let block = self.failed.entry(block).or_insert_with(|| vec![0; words]);
        if let Some(bits) = block.get_mut(word) {
            *bits |= bit;
        }
    }
}

/// What is still to be tried.
#[derive(Debug, Clone, Copy)]
enum Pending {
    /// From an instruction at a place.
    Try { instruction: u32, at: u32 },
    /// Both ways of a split were tried.
    Tried { split: u32, at: u32 },
}

struct Run<'r> {
    program: &'r Program,
    text: &'r str,
    unremembered: usize,
    /// Steps of this attempt without remembering: fewer after a long one, as more of those follow.
    patience: usize,
    remembered: Remembered,
    stack: Vec<Pending>,
}

impl Run<'_> {
    /// Where a match that starts at a place ends.
    fn attempt(&mut self, start: usize) -> Option<usize> {
        let mut steps = 0;
        self.stack.clear();
        let end = self.part(0, start, false, &mut steps);
        self.patience = match self.patience {
            patience if steps > patience => self.unremembered / 16,
            patience => patience.saturating_mul(2).saturating_add(1).min(self.unremembered),
        };
        end
    }

    /// Runs from an instruction to the end of the pattern, or of an inner part.
    fn part(
        &mut self,
        mut instruction: usize,
        mut at: usize,
        inner: bool,
        steps: &mut usize,
    ) -> Option<usize> {
        let base = self.stack.len();
        loop {
            *steps += 1;
            let remembers = *steps > self.patience;
            let passed = match *self.program.instructions.get(instruction)? {
                Instruction::Character { set } => {
                    let next = self.text.get(at..).and_then(|rest| rest.chars().next());
                    let set = self.program.sets.get(set)?;
                    next.filter(|c| set.has(*c)).map(|c| (instruction + 1, at + c.len_utf8()))
                }
                Instruction::Jump { to } => Some((to, at)),
                Instruction::Place { kind } => self.is_at(kind, at).then_some((instruction + 1, at)),
                Instruction::Split { first, second, number } => {
                    if remembers && self.remembered.failed(number, at) {
                        None
                    } else if let Some(end) =
                        self.remembered.ended.get(&(number as u32, at as u32)).filter(|_| remembers)
                    {
                        let end = *end as usize;
                        self.finish(base, end, inner);
                        return Some(end);
                    } else {
                        if remembers {
                            self.stack.push(Pending::Tried { split: number as u32, at: at as u32 });
                        }
                        self.stack.push(Pending::Try { instruction: second as u32, at: at as u32 });
                        Some((first, at))
                    }
                }
                Instruction::Look { back, negative, next } => {
                    let from = back.map_or(Some(at), |count| self.before(at, count));
                    let holds = match from {
                        Some(from) => self.part(instruction + 1, from, true, steps).is_some(),
                        None => false,
                    };
                    (holds != negative).then_some((next, at))
                }
                Instruction::Atomic { next } => {
                    self.part(instruction + 1, at, true, steps).map(|end| (next, end))
                }
                Instruction::End => {
                    self.finish(base, at, inner && remembers);
                    return Some(at);
                }
            };
            (instruction, at) = match passed {
                Some(on) => on,
                None => self.back(base)?,
            };
        }
    }

    /// The splits on the way to an end are known to lead there.
    fn finish(&mut self, base: usize, end: usize, remembers: bool) {
        if remembers {
            for pending in self.stack.part(base..) {
                if let Pending::Tried { split, at } = pending
                    && Remembered::keeps(*split, *at)
                {
                    self.remembered.ended.insert((*split, *at), end as u32);
                }
            }
        }
        self.stack.truncate(base);
    }

    /// What to try next.
    fn back(&mut self, base: usize) -> Option<(usize, usize)> {
        while self.stack.len() > base {
            match self.stack.pop()? {
                Pending::Try { instruction, at } => return Some((instruction as usize, at as usize)),
                Pending::Tried { split, at } => self.remembered.fail(split as usize, at as usize),
            }
        }
        None
    }

    fn is_at(&self, kind: Place, at: usize) -> bool {
        let bytes = self.text.as_bytes();
        match kind {
            Place::TextStart => at == 0,
            Place::TextEnd => at == bytes.len(),
            Place::LineStart => at == 0 || at.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b'\n'),
            Place::LineEnd => matches!(bytes.get(at), None | Some(b'\n')),
        }
    }

    /// The place `count` characters before, if there are as many.
    fn before(&self, at: usize, count: usize) -> Option<usize> {
        let before = self.text.get(..at)?;
        if count == 0 {
            return Some(at);
        }
        before.char_indices().rev().nth(count - 1).map(|found| found.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Program;

    /// Repeatable random numbers.
    struct Draw(u32);

    impl Draw {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 12) as usize % most
        }

        fn pattern(&mut self, depth: usize) -> String {
            let mut pattern = String::new();
            for _ in 0..=self.below(3) {
                let inner =
                    if depth < 3 && self.below(3) == 0 { self.pattern(depth + 1) } else { String::new() };
                let part = match self.below(12) {
                    _ if inner.is_empty() => ["a", "b", "[ab]", "[^a]", ".", "é"][self.below(6)].to_owned(),
                    0 | 1 => format!("(?={inner})"),
                    2 => format!("(?!{inner})"),
                    3 => format!("(?>{inner})"),
                    4 | 5 => format!("(?:{inner}|{})", self.pattern(depth + 1)),
                    6 => "(?<=[ab])".to_owned(),
                    7 => "(?<!ab)".to_owned(),
                    _ => format!("(?:{inner})"),
                };
                pattern.push_str(&part);
                if !part.starts_with("(?=") && !part.starts_with("(?!") && !part.starts_with("(?<") {
                    pattern.push_str(["", "", "*", "+", "?", "*?", "+?", "{2,3}"][self.below(8)]);
                }
            }
            pattern
        }
    }

    #[test]
    fn remembering_changes_nothing() {
        let mut draw = Draw(5);
        let mut compiled = 0;
        for _ in 0..4000 {
            let pattern = draw.pattern(0);
            let Some(program) = Program::new(&pattern) else { continue };
            compiled += 1;
            for _ in 0..4 {
                let text: String = (0..draw.below(12)).map(|_| ['a', 'b', 'é', 'a'][draw.below(4)]).collect();
                let all = |unremembered: usize| {
                    let mut found = Vec::new();
                    program.find(&text, unremembered, &mut |range| found.push(range));
                    found
                };
                assert_eq!(all(0), all(usize::MAX), "{pattern:?} {text:?}");
                assert_eq!(all(3), all(usize::MAX), "{pattern:?} {text:?}");
            }
        }
        assert!(compiled > 2000, "{compiled}");
    }

    #[test]
    fn time_grows_with_the_text() {
        let patterns = [
            r"\d{1,3}(?=(?:\d{3})*(?!\d))",
            r"\d+(?=x)",
            r"(?:\d|\d\d)+(?=x)",
            r"(?>\d*)x",
            r"(?:\d+)+(?!\d)x",
            r"(?<=\d)\d*?x",
        ];
        for pattern in patterns {
            let program = Program::new(pattern);
            assert!(program.is_some(), "{pattern}");
            let Some(program) = program else { continue };
            let cost = |length: usize| {
                let text = "1".repeat(length);
                let started = std::time::Instant::now();
                program.find_matches(&text, &mut |_| ());
                started.elapsed()
            };
            let (short, long) = (cost(5_000), cost(80_000));
            let most = short * 16 * 5 + std::time::Duration::from_millis(40);
            assert!(long < most, "{pattern}: {short:?}, then {long:?} for 16 times as much");
        }
    }
}
