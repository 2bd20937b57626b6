//! WordPiece as a decoder, and the cleaning up of spaces that it shares with CTC.

use super::tokens::Tokens;
use crate::part::PartOf;

/// Glues continuations on and puts a space before every other token but the first.
pub fn decode<'t>(prefix: &str, cleanup: bool, tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) {
    for (index, token) in tokens.enumerate() {
        let from = out.text.len();
        match token.strip_prefix(prefix) {
            Some(rest) if index > 0 => out.text.push_str(rest),
            _ => {
                if index > 0 {
                    out.text.push(' ');
                }
                out.text.push_str(token);
            }
        }
        if cleanup {
            clean_up(&mut out.text, from);
        }
        out.close();
    }
}

/// Applied to each token with the space before it, one rule after the other, so a rule sees what the one before left.
const RULES: [(&str, &str); 11] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// Cleans what `text` holds from a byte on.
pub fn clean_up(text: &mut String, from: usize) {
    let token = text.part(from..);
    // Each rule starts with a space, and nearly all tokens have one space and a letter after it.
    let bytes = token.as_bytes();
    let inner = bytes.iter().skip(1).any(|byte| *byte == b' ');
    let leading = bytes.first() == Some(&b' ')
        && matches!(bytes.get(1), Some(b'.' | b'?' | b'!' | b',' | b'\'' | b'n'));
    if !inner && !leading {
        return;
    }
    let mut cleaned = token.to_owned();
    for (dirty, clean) in RULES {
        if cleaned.contains(dirty) {
            cleaned = cleaned.replace(dirty, clean);
        }
    }
    text.truncate(from);
    text.push_str(&cleaned);
}
