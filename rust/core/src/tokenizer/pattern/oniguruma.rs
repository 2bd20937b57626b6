//! Oniguruma's syntax, which the patterns of tokenizers are written in, brought to that of the engine here.
//!
//! What means something else there is written out: `^` and `$` are the ends of lines, `(?m)` lets `.` match line ends,
//! `\w` and the POSIX brackets have sets of their own. What the engine can't do exactly is refused.

use super::oniguruma_class::{self as class, literal};

/// A pattern in the engine's syntax.
#[derive(Debug, Clone)]
pub struct Translation {
    /// The pattern.
    pub text: String,
    /// It needs an engine that backtracks.
    pub backtracks: bool,
}

/// Why a pattern is refused.
pub type Refusal = String;

/// How deep groups may be nested.
const DEEPEST: usize = 100;
/// How many parts a pattern may have, repetitions by a count written out.
const MOST_PARTS: usize = 20_000;

/// Translates a pattern.
pub fn translate(pattern: &str) -> Result<Translation, Refusal> {
    let mut parser = Parser { rest: pattern, depth: 0, backtracks: false, parts: 0 };
    let branches = parser.branches(Flags::default())?;
    match parser.peek() {
        None => Ok(Translation { text: branches.join("|"), backtracks: parser.backtracks }),
        Some(_) => Err("unmatched close parenthesis".into()),
    }
}

/// Options that hold for a part of a pattern.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Flags {
    ignore_case: bool,
    dot_all: bool,
    extended: bool,
}

/// A part of a pattern.
enum Part {
    /// May be repeated.
    Atom(String),
    /// One character, which may be repeated.
    Literal(char),
    /// A place, which may not.
    Place(String),
    /// The rest of the group, under other options.
    Rest(String),
    /// A comment.
    Nothing,
}

pub(super) struct Parser<'p> {
    rest: &'p str,
    depth: usize,
    backtracks: bool,
    parts: usize,
}

impl<'p> Parser<'p> {
    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// What comes before `end`, which is passed over.
    pub(super) fn until(&mut self, end: &str) -> Result<&'p str, Refusal> {
        let (before, after) =
            self.rest.split_once(end).ok_or_else(|| format!("no {end} where one belongs"))?;
        self.rest = after;
        Ok(before)
    }

    pub(super) fn rest(&self) -> &'p str {
        self.rest
    }

    /// One more level; `work` is done within it.
    pub(super) fn deeper<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("groups more than {DEEPEST} deep"));
        }
        let done = work(self)?;
        self.depth -= 1;
        Ok(done)
    }

    fn branches(&mut self, flags: Flags) -> Result<Vec<String>, Refusal> {
        let mut branches = vec![self.sequence(flags)?];
        while self.eat("|") {
            branches.push(self.sequence(flags)?);
        }
        Ok(branches)
    }

    fn sequence(&mut self, flags: Flags) -> Result<String, Refusal> {
        let mut sequence = String::new();
        // Letters in a row, which may be another way to write one character where case is ignored.
        let mut row = String::new();
        loop {
            if flags.extended && self.peek().is_some_and(char::is_whitespace) {
                self.next();
                continue;
            }
            if flags.extended && self.eat("#") {
                self.rest = self.rest.split_once('\n').map_or("", |line| line.1);
                continue;
            }
            if matches!(self.peek(), None | Some('|' | ')')) {
                break;
            }
            let parts = self.parts;
            self.parts += 1;
            let part = self.part(flags)?;
            let repeated = match part {
                Part::Nothing => continue,
                Part::Rest(rest) => {
                    sequence.push_str(&rest);
                    break;
                }
                Part::Place(place) => {
                    if self.repetition(flags)?.is_some() {
                        return Err("a place is repeated".into());
                    }
                    row.clear();
                    place
                }
                Part::Literal(c) => {
                    let repeated = self.repeat(parts, literal(c), flags)?;
                    if repeated.1 {
                        row.clear();
                    }
                    row.extend(c.to_lowercase());
                    if flags.ignore_case && class::folds(&row) {
                        return Err(format!("{c:?} under (?i), where several letters can be one"));
                    }
                    if repeated.1 {
                        row.clear();
                    }
                    repeated.0
                }
                Part::Atom(atom) => {
                    row.clear();
                    self.repeat(parts, atom, flags)?.0
                }
            };
            sequence.push_str(&repeated);
        }
        Ok(sequence)
    }

    /// An atom with the quantifiers after it, and whether there were any. Before it there were `parts`.
    fn repeat(&mut self, parts: usize, atom: String, flags: Flags) -> Result<(String, bool), Refusal> {
        let mut found = atom;
        let mut any = false;
        while let Some((quantifier, count)) = self.repetition(flags)? {
            found = format!("(?:{found}){quantifier}");
            any = true;
            self.parts = parts + (self.parts - parts).saturating_mul(count.max(1));
            if self.parts > MOST_PARTS {
                return Err(format!("more than {MOST_PARTS} parts, repetitions written out"));
            }
        }
        Ok((found, any))
    }

    /// A quantifier, if there is one, and how many copies of its part it asks for.
    fn repetition(&mut self, flags: Flags) -> Result<Option<(String, usize)>, Refusal> {
        while flags.extended && self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
        let symbol = match self.peek() {
            Some(symbol @ ('*' | '+' | '?')) => symbol,
            Some('{') => return self.interval(),
            _ => return Ok(None),
        };
        self.next();
        let mut quantifier = symbol.to_string();
        if self.eat("?") {
            quantifier.push('?');
        } else if self.eat("+") {
            quantifier.push('+');
            self.backtracks = true;
        }
        Ok(Some((quantifier, 1)))
    }

    /// `{n}`, `{n,}`, `{,m}` or `{n,m}`; anything else in braces is text.
    fn interval(&mut self) -> Result<Option<(String, usize)>, Refusal> {
        let Some((inside, after)) = self.rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            return Ok(None);
        };
        let (low, high) = match inside.split_once(',') {
            Some((low, high)) => (low, Some(high)),
            None => (inside, None),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(low) || !high.is_none_or(digits) || (low.is_empty() && high.is_none_or(str::is_empty)) {
            return Ok(None);
        }
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number <= 1000);
        let too_many = || format!("a repetition of {{{inside}}}");
        let least = if low.is_empty() { 0 } else { number(low).ok_or_else(too_many)? };
        let most = match high {
            None => Some(least),
            Some("") => None,
            Some(high) => Some(number(high).ok_or_else(too_many)?),
        };
        if most.is_some_and(|most| most < least) {
            return Err(too_many());
        }
        self.rest = after;
        let mut quantifier = match (high, most) {
            (None, _) => format!("{{{least}}}"),
            (_, None) => format!("{{{least},}}"),
            (_, Some(most)) => format!("{{{least},{most}}}"),
        };
        // After {n} it is a quantifier of its own.
        if high.is_some() && self.eat("?") {
            quantifier.push('?');
        }
        Ok(Some((quantifier, most.unwrap_or(least))))
    }

    fn part(&mut self, flags: Flags) -> Result<Part, Refusal> {
        let Some(c) = self.next() else { return Ok(Part::Nothing) };
        Ok(match c {
            '*' | '+' | '?' => return Err("a quantifier of nothing".into()),
            '.' if flags.dot_all => Part::Atom("(?s:.)".into()),
            '.' => Part::Atom(r"[^\n]".into()),
            // Not after a line end that ends the text.
            '^' => self.place(r"(?:\A|(?<=\n)(?!\z))"),
            '$' => Part::Place("(?m:$)".into()),
            '[' => Part::Atom(class::bracket(self, flags.ignore_case)?),
            '(' => self.deeper(|parser| parser.group(flags))?,
            '\\' => self.escape(flags)?,
            c => Part::Literal(c),
        })
    }

    fn place(&mut self, text: &str) -> Part {
        self.backtracks = true;
        Part::Place(text.to_owned())
    }

    fn escape(&mut self, flags: Flags) -> Result<Part, Refusal> {
        let start = self.rest;
        let Some(c) = self.next() else { return Err("a backslash at the end".into()) };
        let word = class::WORD;
        Ok(match c {
            'A' => Part::Place(r"\A".into()),
            'z' => Part::Place(r"\z".into()),
            'Z' => self.place(r"(?=\n?\z)"),
            'b' => self.place(&format!("(?:(?<={word})(?!{word})|(?<!{word})(?={word}))")),
            'B' => self.place(&format!("(?:(?<={word})(?={word})|(?<!{word})(?!{word}))")),
            'w' => Part::Atom(word.into()),
            'W' => Part::Atom(class::NOT_WORD.into()),
            'R' => {
                self.backtracks = true;
                Part::Atom(r"(?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}])".into())
            }
            'N' => Part::Atom(r"[^\n]".into()),
            'O' => Part::Atom("(?s:.)".into()),
            'K' | 'G' | 'X' | 'y' | 'Y' | 'k' | 'g' | 'M' | 'C' | 'c' | '1'..='9' => {
                return Err(format!("\\{c} is not supported"));
            }
            _ => {
                self.rest = start;
                match class::escape(self)? {
                    class::Item::Character(c) => Part::Literal(c),
                    class::Item::Set(set) if flags.ignore_case => Part::Atom(format!("(?-i:[{set}])")),
                    class::Item::Set(set) => Part::Atom(format!("[{set}]")),
                }
            }
        })
    }

    /// What stands in parentheses, the first of them passed over.
    fn group(&mut self, flags: Flags) -> Result<Part, Refusal> {
        if !self.eat("?") {
            if self.rest.starts_with('*') {
                return Err("(* is not supported".into());
            }
            return Ok(Part::Atom(format!("(?:{})", self.inside(flags)?.join("|"))));
        }
        if self.eat("#") {
            self.until(")")?;
            return Ok(Part::Nothing);
        }
        for opening in ["=", "!", ">"] {
            if self.eat(opening) {
                self.backtracks = true;
                let text = format!("(?{opening}{})", self.inside(flags)?.join("|"));
                return Ok(if opening == ">" { Part::Atom(text) } else { Part::Place(text) });
            }
        }
        for (opening, between) in [("<=", "|"), ("<!", "")] {
            if self.eat(opening) {
                self.backtracks = true;
                let branches: Vec<String> =
                    self.inside(flags)?.iter().map(|branch| format!("(?{opening}{branch})")).collect();
                return Ok(Part::Place(format!("(?:{})", branches.join(between))));
            }
        }
        if self.eat(":") {
            return Ok(Part::Atom(format!("(?:{})", self.inside(flags)?.join("|"))));
        }
        for (opening, closing) in [("<", ">"), ("'", "'")] {
            if self.eat(opening) {
                let name = self.until(closing)?;
                if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                    return Err(format!("a group named {name:?}"));
                }
                return Ok(Part::Atom(format!("(?:{})", self.inside(flags)?.join("|"))));
            }
        }
        self.options(flags)
    }

    /// The branches up to the closing parenthesis.
    fn inside(&mut self, flags: Flags) -> Result<Vec<String>, Refusal> {
        let branches = self.branches(flags)?;
        if self.eat(")") { Ok(branches) } else { Err("an open parenthesis is not closed".into()) }
    }

    /// `(?imx-imx)` up to the end of the group around it, or `(?imx-imx:...)`.
    fn options(&mut self, before: Flags) -> Result<Part, Refusal> {
        let mut flags = before;
        let mut on = true;
        loop {
            match self.next() {
                Some('-') => on = false,
                Some('i') => flags.ignore_case = on,
                Some('m') => flags.dot_all = on,
                Some('x') => flags.extended = on,
                Some(end @ (')' | ':')) => {
                    let branches = if end == ')' { self.branches(flags)? } else { self.inside(flags)? };
                    let case = if flags.ignore_case { "i" } else { "-i" };
                    let text = format!("(?{case}:{})", branches.join("|"));
                    return Ok(if end == ')' { Part::Rest(text) } else { Part::Atom(text) });
                }
                Some(other) => return Err(format!("the group option {other:?}")),
                None => return Err("an open parenthesis is not closed".into()),
            }
        }
    }
}
