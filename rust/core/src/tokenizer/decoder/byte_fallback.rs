//! ByteFallback: tokens such as `<0xE2>` stand for bytes.

use super::tokens::Tokens;

/// Joins runs of byte tokens to texts, and makes U+FFFD of each byte of a run that is no UTF-8.
pub fn decode<'t>(tokens: impl Iterator<Item = &'t str>, out: &mut Tokens) {
    let mut run = Vec::new();
    for token in tokens {
        match byte_of_token(token) {
            Some(byte) => run.push(byte),
            None => {
                end_run(&mut run, out);
                out.push(token);
            }
        }
    }
    end_run(&mut run, out);
}

fn end_run(run: &mut Vec<u8>, out: &mut Tokens) {
    match std::str::from_utf8(run) {
        Ok("") => {}
        Ok(text) => out.push(text),
        Err(_) => run.iter().for_each(|_| out.push("\u{fffd}")),
    }
    run.clear();
}

/// The byte of a byte token.
pub fn byte_of_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 {
        return None;
    }
    // A sign is taken for a digit by the readers in use.
    u8::from_str_radix(digits, 16).ok()
}
