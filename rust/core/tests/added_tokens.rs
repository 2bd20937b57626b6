//! Added tokens: what they take of the text, however far ahead it is looked at, and at what cost.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use oxiformers_core::tokenizer::{
    AddedToken, Input, Sequence, Settings, Side, Tokenizer, Truncation, TruncationStrategy,
};
use std::time::{Duration, Instant};
use support::Draw;

fn token(content: &str, flags: &str) -> AddedToken {
    AddedToken {
        content: content.to_owned(),
        single_word: flags.contains('w'),
        lstrip: flags.contains('l'),
        rstrip: flags.contains('r'),
        normalized: flags.contains('n'),
        special: flags.contains('s'),
    }
}

/// Words "a", "b" and "[UNK]", cut at white space, with added tokens from id 3 on.
fn tokenizer(normalizer: &str, tokens: &[(&str, &str)]) -> Tokenizer {
    let json = format!(
        r#"{{"normalizer": {normalizer}, "pre_tokenizer": {{"type": "Whitespace"}},
            "model": {{"type": "WordLevel", "vocab": {{"[UNK]": 0, "a": 1, "b": 2}}, "unk_token": "[UNK]"}}}}"#
    );
    let tokens = tokens.iter().map(|(content, flags)| token(content, flags)).collect();
    Tokenizer::from_json(&json, "test").unwrap().with_added_tokens(tokens).unwrap()
}

fn encode(tokenizer: &Tokenizer, text: &str, truncation: Option<Truncation>) -> Vec<(u32, (u32, u32))> {
    let settings = Settings { add_special_tokens: false, truncation, ..Settings::default() };
    let input = Input { first: Sequence::Text(text), second: None };
    let mut found = tokenizer.encode_batch(&[input], &settings).unwrap();
    let encoding = found.pop().unwrap();
    encoding.ids.iter().copied().zip(encoding.offsets.iter().copied()).collect()
}

#[test]
fn what_a_token_takes() {
    type Case<'t> = (&'t [(&'t str, &'t str)], &'t str, &'t [(u32, (u32, u32))]);
    let cases: &[Case<'_>] = &[
        (&[("<m>", "")], "a <m> b", &[(1, (0, 1)), (3, (2, 5)), (2, (6, 7))]),
        (&[("<m>", "lr")], "a <m> \tb", &[(1, (0, 1)), (3, (1, 7)), (2, (7, 8))]),
        // The longest of those that start first.
        (&[("a", ""), ("ab", ""), ("ba", "")], "abab", &[(3, (0, 2)), (3, (2, 4))]),
        (&[("a", "w")], "a aé a", &[(1, (0, 1)), (0, (2, 4)), (1, (5, 6))]),
        // White space that one took is not taken again by the next.
        (&[("<m>", "r"), ("<n>", "l")], "<m>  <n>", &[(3, (0, 5)), (4, (5, 8))]),
        // A token within the white space of another gives back what follows it.
        (&[("<m>", "r"), ("  ", "")], "<m>   b", &[(3, (0, 6)), (4, (3, 5)), (2, (6, 7))]),
    ];
    for (tokens, text, expected) in cases {
        assert_eq!(encode(&tokenizer("null", tokens), text, None), *expected, "{tokens:?} {text:?}");
    }
}

#[test]
fn adding_again() {
    let first = tokenizer(r#"{"type": "Lowercase"}"#, &[("<M>", "n"), ("b", "s"), ("", ""), ("<M>", "n")]);
    assert_eq!(first.vocab_size(true), 4);
    assert_eq!(first.token_to_id("<M>"), Some(3));
    assert_eq!(first.id_to_token(3), Some("<m>"));
    assert_eq!(first.token_to_id("b"), Some(2));
    // The new flags count; the form it was decoded by stays.
    let again = first.with_added_tokens(vec![token("<M>", "r")]).unwrap();
    assert_eq!(again.added_tokens().find(|token| token.0 == 3).unwrap().1, &token("<M>", "r"));
    assert_eq!(again.id_to_token(3), Some("<m>"));
    assert_eq!(encode(&first, "<m><M>", None).len(), 2);
    assert_eq!(encode(&again, "<M> a", None), [(3, (0, 4)), (1, (4, 5))]);
    let bare = again.with_normalizer(None).unwrap();
    assert_eq!(bare.id_to_token(3), Some("<M>"));
}

#[test]
fn tokens_whose_form_is_empty_are_never_found() {
    let found = tokenizer(r#"{"type": "StripAccents"}"#, &[("\u{301}", "n"), ("a\u{301}", "n")]);
    assert_eq!(encode(&found, "a\u{301} b", None), [(4, (0, 1)), (2, (3, 4))]);
}

/// The start of a text gives the start of its tokens, though no more of it is looked at than that takes.
#[test]
fn the_start_of_a_text() {
    let mut draw = Draw::new(3);
    for round in 0..60 {
        let letters: Vec<char> = ["ab ", "a    ", "ab  \t", "abé中 <"][round % 4].chars().collect();
        let mut text =
            |length: usize| -> String { (0..length).map(|_| letters[draw.below(letters.len())]).collect() };
        let contents: Vec<String> = [1, 3, 10, 4000].map(&mut text).into_iter().collect();
        let mut whole = text(9000);
        whole.push_str(&contents[3]);
        whole.push_str(&" ".repeat(5000));
        whole.push_str(&text(3000));
        let flags = ["", "l", "r", "lr", "w", "wr", "s"];
        let tokens: Vec<(&str, &str)> =
            contents.iter().map(|content| (content.as_str(), flags[draw.below(flags.len())])).collect();
        let tokenizer = tokenizer(["null", r#"{"type": "NFC"}"#][round % 2], &tokens);
        let all = encode(&tokenizer, &whole, None);
        for most in [1, 40, 3000, 6000] {
            let truncation = Truncation {
                max_length: most,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
                side: Side::Right,
            };
            let start = encode(&tokenizer, &whole, Some(truncation));
            assert_eq!(start, all[..most.min(all.len())], "{tokens:?}");
        }
    }
}

fn time(work: impl Fn()) -> Duration {
    let run = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..2).map(run).min().unwrap()
}

#[test]
fn hostile_tokens_take_linear_time() {
    let long = format!("{}b", "a".repeat(20_000));
    let many: Vec<String> = (0..300).map(|length| "a".repeat(length + 1)).collect();
    let sets: Vec<Vec<(&str, &str)>> = vec![
        vec![("a", ""), (&long, "")],
        vec![("a", "n"), (&long, "n")],
        many.iter().map(|content| (content.as_str(), "")).collect(),
        vec![(" ", "l"), ("a", "wl")],
        vec![("<m>", "lr")],
    ];
    for tokens in &sets {
        let tokenizer = tokenizer("null", tokens);
        for unit in ["a", " ", "a ", "<m> "] {
            let cost = |length: usize| {
                let text = unit.repeat(length / unit.len());
                time(|| {
                    encode(&tokenizer, &text, None);
                })
            };
            let (short, long) = (cost(20_000), cost(320_000));
            let most = short * 16 * 5 + Duration::from_millis(40);
            assert!(long < most, "{unit:?}: {short:?}, then {long:?} for 16 times as much");
        }
    }
}

#[test]
fn white_space_shared_by_tokens_is_bounded() {
    let tokenizer = tokenizer("null", &[(" ", "r")]);
    assert_eq!(encode(&tokenizer, "   ", None), [(3, (0, 3)), (3, (1, 3)), (3, (2, 3))]);
    let spaces = " ".repeat(100_000);
    let input = Input { first: Sequence::Text(&spaces), second: None };
    assert!(tokenizer.encode_batch(&[input], &Settings::default()).is_err());
}

#[test]
fn a_hundred_thousand_tokens_load_in_time() {
    let contents: Vec<String> = (0..100_000).map(|index| format!("<Token{index}>")).collect();
    let tokens: Vec<(&str, &str)> = contents.iter().map(|content| (content.as_str(), "n")).collect();
    let started = Instant::now();
    let tokenizer = tokenizer(r#"{"type": "Lowercase"}"#, &tokens);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(
        encode(&tokenizer, "a<token99999><Token12>", None),
        [(1, (0, 1)), (100_002, (1, 13)), (15, (13, 22))]
    );
}
