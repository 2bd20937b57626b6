//! Sets of characters in Oniguruma's syntax, written as the engine writes them.

use super::classes::ranges;
use super::oniguruma::{Parser, Refusal};
use std::fmt::Write;
use std::sync::OnceLock;

/// `\w` outside of brackets. Superscript digits and fractions of Latin-1 are words only there.
pub const WORD: &str = r"[[\w\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}]&&[^\x{200c}\x{200d}]]";
/// `\W` outside of brackets.
pub const NOT_WORD: &str = r"[[\W\x{200c}\x{200d}]&&[^\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}]]";

/// What may stand in brackets.
pub enum Item {
    /// One character.
    Character(char),
    /// A set, to be put in brackets.
    Set(String),
}

/// A character as the engine reads it, in brackets and outside.
pub fn literal(c: char) -> String {
    if c.is_ascii_alphanumeric() || (!c.is_ascii() && c.is_alphanumeric()) {
        c.to_string()
    } else {
        format!("\\x{{{:x}}}", u32::from(c))
    }
}

/// The characters of which case folding makes several letters, and those letters.
fn several() -> &'static [(char, String)] {
    static TABLE: OnceLock<Vec<(char, String)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let folded = |c: char| -> String {
            match c {
                'İ' => "i\u{307}".into(),
                'ẞ' => "ss".into(),
                _ => c.to_uppercase().flat_map(char::to_lowercase).collect(),
            }
        };
        let all = ('\u{80}'..='\u{FFFF}').map(|c| (c, folded(c)));
        all.filter(|(_, folded)| folded.chars().nth(1).is_some()).collect()
    })
}

/// Whether lower-case letters in a row contain some that are another way to write one character, or such a character.
pub fn folds(row: &str) -> bool {
    several().iter().any(|(c, letters)| row.ends_with(letters.as_str()) || row.ends_with(*c))
}

/// A set that has a name in POSIX brackets.
fn posix(name: &str) -> Option<&'static str> {
    Some(match name {
        "alpha" => r"\p{Alphabetic}",
        "alnum" => r"\p{Alphabetic}\p{Nd}",
        "upper" => r"\p{Uppercase}",
        "lower" => r"\p{Lowercase}",
        "space" => r"\s",
        "blank" => r"\p{Zs}\t",
        "cntrl" => r"\p{Cc}",
        "digit" => r"\p{Nd}",
        "xdigit" => "0-9A-Fa-f",
        "punct" => r"\p{P}\p{S}",
        "graph" => r"[^\s\p{Cc}\p{Cn}]",
        "print" => r"[^\s\p{Cc}\p{Cn}]\p{Zs}",
        "word" => r"[\w&&[^\x{200c}\x{200d}]]",
        "ascii" => r"\x{0}-\x{7f}",
        _ => return None,
    })
}

fn negated(set: &str) -> String {
    format!("[^{set}]")
}

/// What follows a backslash.
pub fn escape(parser: &mut Parser<'_>) -> Result<Item, Refusal> {
    let Some(c) = parser.next() else { return Err("a backslash at the end".into()) };
    let set = |set: &str| Ok(Item::Set(set.to_owned()));
    let character = |code: Option<u32>| {
        code.and_then(char::from_u32)
            .map(Item::Character)
            .ok_or_else(|| "the code of no character".to_owned())
    };
    match c {
        'd' => set(r"\d"),
        'D' => set(r"\D"),
        's' => set(r"\s"),
        'S' => set(r"\S"),
        'w' => set(r"[\w&&[^\x{200c}\x{200d}]]"),
        'W' => set(r"\W\x{200c}\x{200d}"),
        'h' => set("0-9a-fA-F"),
        'H' => set("[^0-9a-fA-F]"),
        'p' | 'P' if parser.rest().starts_with('{') => property(parser, c == 'P').map(Item::Set),
        'n' => Ok(Item::Character('\n')),
        't' => Ok(Item::Character('\t')),
        'r' => Ok(Item::Character('\r')),
        'f' => Ok(Item::Character('\u{C}')),
        'v' => Ok(Item::Character('\u{B}')),
        'a' => Ok(Item::Character('\u{7}')),
        'e' => Ok(Item::Character('\u{1B}')),
        'b' => Ok(Item::Character('\u{8}')),
        'x' if parser.eat("{") => {
            let digits = parser.until("}")?;
            character(u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')))
        }
        'x' => character(number(parser, 2, 16)),
        'u' => {
            let before = parser.rest().len();
            let code = number(parser, 4, 16);
            character(code.filter(|_| before - parser.rest().len() == 4))
        }
        '0'..='7' => {
            let mut code = c.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                if let Some(digit) = parser.peek().and_then(|c| c.to_digit(8)) {
                    parser.next();
                    code = code * 8 + digit;
                }
            }
            character(Some(code).filter(|code| *code < 0x80))
        }
        'c' | 'C' | 'M' | 'R' | 'X' | 'N' | 'O' | 'k' | 'g' | '8' | '9' => {
            Err(format!("\\{c} is not supported here"))
        }
        c => Ok(Item::Character(c)),
    }
}

/// Up to `most` digits. A byte beyond ASCII is no character by itself.
fn number(parser: &mut Parser<'_>, most: usize, radix: u32) -> Option<u32> {
    let mut code = None;
    for _ in 0..most {
        let Some(digit) = parser.peek().and_then(|c| c.to_digit(radix)) else { break };
        parser.next();
        code = Some(code.unwrap_or(0) * radix + digit);
    }
    code.filter(|code| most > 2 || *code < 0x80)
}

/// `{Name}` or `{^Name}`.
fn property(parser: &mut Parser<'_>, mut negative: bool) -> Result<String, Refusal> {
    parser.eat("{");
    let written = parser.until("}")?;
    let name = written.strip_prefix('^').unwrap_or(written);
    negative ^= name.len() < written.len();
    let bare: String = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
    let bare = bare.to_ascii_lowercase();
    let refused = bare.is_empty()
        || !bare.bytes().all(|byte| byte.is_ascii_alphanumeric())
        || name.starts_with("In_")
        || name.starts_with("in_");
    if refused {
        return Err(format!("the property {written:?}"));
    }
    let set = match posix(&bare).filter(|_| bare != "punct") {
        Some(set) => set.to_owned(),
        None => format!("\\p{{{bare}}}"),
    };
    if ranges(&format!("[{set}]")).is_empty() {
        return Err(format!("the property {written:?}"));
    }
    Ok(if negative { negated(&set) } else { set })
}

/// A set in brackets, the first of them passed over.
pub fn bracket(parser: &mut Parser<'_>, ignore_case: bool) -> Result<String, Refusal> {
    let (set, negative) = parser.deeper(inside)?;
    let folded = ignore_case && !negative && {
        let members = ranges(&format!("[{set}]"));
        several().iter().any(|(c, _)| members.iter().any(|(first, last)| (*first..=*last).contains(c)))
    };
    if folded {
        return Err("a set under (?i) with a character that several letters stand for".into());
    }
    Ok(if negative { negated(&set) } else { format!("[{set}]") })
}

/// What brackets hold, and whether it is everything else that they mean.
fn inside(parser: &mut Parser<'_>) -> Result<(String, bool), Refusal> {
    let negative = parser.eat("^");
    // Sets that are intersected.
    let mut sets = vec![String::new()];
    let mut first = true;
    loop {
        let start = std::mem::replace(&mut first, false);
        if parser.eat("&&") {
            sets.push(String::new());
            continue;
        }
        let item = match parser.next() {
            None => return Err("brackets are not closed".into()),
            Some(']') if !start => break,
            // The first one is a member, if another one closes.
            Some(']') if !parser.rest().contains(']') => return Err("an empty set".into()),
            Some('[') => match posix_bracket(parser)? {
                Some(set) => Item::Set(set),
                None => {
                    let (set, negative) = parser.deeper(inside)?;
                    Item::Set(if negative { negated(&set) } else { format!("[{set}]") })
                }
            },
            Some('\\') => escape(parser)?,
            Some(c) => Item::Character(c),
        };
        let Some(set) = sets.last_mut() else { break };
        let Item::Character(low) = item else {
            if let Item::Set(item) = item {
                set.push_str(&item);
            }
            if parser.rest().starts_with('-') && !parser.rest().starts_with("-]") {
                return Err("a set at the start of a range".into());
            }
            continue;
        };
        set.push_str(&literal(low));
        if !parser.rest().starts_with('-')
            || parser.rest().starts_with("-]")
            || parser.rest().starts_with("-&&")
        {
            continue;
        }
        parser.next();
        let high = match parser.next() {
            Some('\\') => escape(parser)?,
            Some('[') | None => return Err("a range without an end".into()),
            Some(c) => Item::Character(c),
        };
        match high {
            Item::Character(high) if high >= low => {
                let _ = write!(set, "-{}", literal(high));
            }
            Item::Character(_) => return Err("a range that ends before it starts".into()),
            Item::Set(_) => return Err("a set at the end of a range".into()),
        }
    }
    if sets.iter().any(String::is_empty) {
        return Err("an empty set".into());
    }
    let joined = match sets.as_slice() {
        [only] => only.clone(),
        several => several.iter().map(|set| format!("[{set}]")).collect::<Vec<_>>().join("&&"),
    };
    Ok((joined, negative))
}

/// `[:name:]` or `[:^name:]`, the first bracket passed over; None where brackets hold something else.
fn posix_bracket(parser: &mut Parser<'_>) -> Result<Option<String>, Refusal> {
    let Some((name, _)) = parser.rest().strip_prefix(':').and_then(|rest| rest.split_once(":]")) else {
        return Ok(None);
    };
    let bare = name.strip_prefix('^').unwrap_or(name);
    if !bare.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let set = posix(bare).ok_or_else(|| format!("the POSIX bracket {name:?}"))?;
    parser.until(":]")?;
    Ok(Some(if bare.len() < name.len() { negated(set) } else { set.to_owned() }))
}
