//! merges.txt: two tokens a line, in the order they were learned.

use super::read_text;
use crate::tokenizer::json::quoted;
use crate::{Error, Result};

/// Reads a merges.txt. A first line that states the version and blank lines do not count; a number after the two
/// tokens, as other tools write it, is left out.
pub fn read_merges(path: &str) -> Result<Vec<(String, String)>> {
    parse(&read_text(path)?, path)
}

fn parse(text: &str, path: &str) -> Result<Vec<(String, String)>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut merges = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // A merge of these characters can't be the first: they would have to be merged before.
        let states_version = merges.is_empty() && line.contains("#version");
        if states_version || line.bytes().all(|byte| byte.is_ascii_whitespace()) {
            continue;
        }
        let (left, right) = pair(line).ok_or_else(|| {
            Error::format(
                path,
                format!("line {}", index + 1),
                "two tokens with a space between",
                quoted(line),
            )
        })?;
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}

fn pair(line: &str) -> Option<(&str, &str)> {
    // Tokens may hold other white space than the space itself.
    let exact = line.split_once(' ').filter(|(left, right)| !left.is_empty() && !right.is_empty());
    if let Some(pair) = exact.filter(|pair| !pair.1.contains(' ')) {
        return Some(pair);
    }
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    match fields.as_slice() {
        [left, right] => Some((left, right)),
        [left, right, count] if count.bytes().all(|byte| byte.is_ascii_digit()) => Some((left, right)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;

    #[test]
    fn lines() {
        let text = "#version: 0.2\r\na b\r\n\n \n# #\nab c \na\tb \u{a0}\nx y 12\n#version x\n\u{3000} z";
        let merges = parse(text, "merges.txt").unwrap();
        let expected = [
            ("a", "b"),
            ("#", "#"),
            ("ab", "c"),
            ("a\tb", "\u{a0}"),
            ("x", "y"),
            ("#version", "x"),
            ("\u{3000}", "z"),
        ];
        let pairs: Vec<(&str, &str)> = merges.iter().map(|(left, right)| (&**left, &**right)).collect();
        assert_eq!(pairs, expected);
        for first in ["\u{feff}#version: 0.2\n", "\"bpe_simple_vocab.txt#version: 0.2\n", ""] {
            for end in ["", "\n", "\r\n"] {
                let merges = parse(&format!("{first}a b\nab c{end}"), "merges.txt").unwrap();
                assert_eq!(merges, [("a".into(), "b".into()), ("ab".into(), "c".into())]);
            }
        }
    }

    #[test]
    fn lines_that_are_no_merges() {
        for (text, line) in
            [("a b\nc", "line 2"), ("a b c", "line 1"), ("\n\na  ", "line 3"), ("a b 1x", "line 1")]
        {
            let error = parse(text, "merges.txt").unwrap_err().to_string();
            assert!(error.starts_with(&format!("merges.txt: {line}: ")), "{error}");
        }
    }
}
