//! Normalizers: what they make of text, which places its characters have, and that hostile input costs no more than
//! its length.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use oxiformers_core::Error;
use oxiformers_core::tokenizer::{
    Character, Edges, Form, Normalizer, Pattern, Precompiled, Replace, Strip, Tokenizer, characters,
};
use std::time::{Duration, Instant};
use support::{Draw, charsmap};

fn literal(pattern: &str, content: &str) -> Normalizer {
    Normalizer::Replace(Replace::new(Pattern::Literal(pattern.into()), content))
}

fn apply(normalizer: &Normalizer, text: &str, edges: Edges) -> Vec<Character> {
    let mut found = characters(text, 5);
    normalizer.apply(&mut found, edges).unwrap();
    found
}

/// For each character its range of the original's characters.
type Places = Vec<(u32, u32)>;

fn aligned(normalizer: &Normalizer, text: &str) -> (String, Places) {
    let found = apply(normalizer, text, Edges::BOTH);
    found.iter().map(|character| (character.value, (character.start - 5, character.end - 5))).unzip()
}

fn own(length: u32) -> Places {
    (0..length).map(|index| (index, index + 1)).collect()
}

const STRIP: Normalizer = Normalizer::Strip(Strip { left: true, right: true });

#[test]
fn text_and_places() {
    let cases: Vec<(Normalizer, &str, &str, Places)> = vec![
        (Normalizer::Form(Form::Nfc), "e\u{301}a", "éa", vec![(0, 1), (2, 3)]),
        (Normalizer::Form(Form::Nfd), "éa", "e\u{301}a", vec![(0, 1), (0, 1), (1, 2)]),
        (Normalizer::Form(Form::Nfkc), "ﬁ①", "fi1", vec![(0, 1), (0, 1), (1, 2)]),
        (Normalizer::Form(Form::Nfkd), "½", "1\u{2044}2", vec![(0, 1); 3]),
        // Sorting moves the marks, not the places.
        (Normalizer::Form(Form::Nfd), "a\u{301}\u{323}", "a\u{323}\u{301}", own(3)),
        (Normalizer::Form(Form::Nfc), "한글 text", "한글 text", own(7)),
        (Normalizer::Lowercase, "AİΣ", "ai\u{307}σ", vec![(0, 1), (1, 2), (1, 2), (2, 3)]),
        (STRIP, " \u{3000}a b\t", "a b", vec![(2, 3), (3, 4), (4, 5)]),
        (STRIP, " \n ", "", vec![]),
        (Normalizer::StripAccents, "\u{301}e\u{301}é\u{93f}", "eé", vec![(1, 2), (3, 4)]),
        (Normalizer::Nmt, "a\u{1}\t\u{200b}\u{feff}b", "a   b", vec![(0, 1), (2, 3), (3, 4), (4, 5), (5, 6)]),
        (Normalizer::ByteLevel, "é ", "Ã©Ġ", vec![(0, 1), (0, 1), (1, 2)]),
        (Normalizer::Prepend("▁x".into()), "ab", "▁xab", vec![(0, 1), (0, 1), (0, 1), (1, 2)]),
        (Normalizer::Prepend("▁".into()), "", "", vec![]),
        (literal(" ", "▁"), "a b ", "a▁b▁", own(4)),
        (literal("ab", "xyz"), "aabb", "axyzb", vec![(0, 1), (2, 3), (2, 3), (2, 3), (3, 4)]),
        (literal("a", ""), "aba", "b", vec![(1, 2)]),
        (literal("", "-"), "ab", "-a-b-", vec![(0, 0), (0, 1), (0, 1), (1, 2), (1, 2)]),
    ];
    for (normalizer, text, expected, places) in cases {
        assert_eq!(aligned(&normalizer, text), (expected.to_owned(), places), "{normalizer:?} {text:?}");
        assert_eq!(normalizer.normalize(text).unwrap(), expected);
    }
}

#[test]
fn only_the_ends_of_a_piece_are_treated_as_such() {
    let text = |normalizer: &Normalizer, start, end| -> String {
        apply(normalizer, " a ", Edges { start, end }).iter().map(|character| character.value).collect()
    };
    assert_eq!(text(&STRIP, false, true), " a");
    assert_eq!(text(&STRIP, true, false), "a ");
    assert_eq!(text(&Normalizer::Prepend("x".into()), false, true), " a ");
    assert_eq!(text(&Normalizer::Prepend("x".into()), true, false), "x a ");
}

#[test]
fn one_after_another() {
    let llama = Normalizer::Sequence(vec![Normalizer::Prepend("▁".into()), literal(" ", "▁")]);
    assert_eq!(aligned(&llama, "a b"), ("▁a▁b".into(), vec![(0, 1), (0, 1), (1, 2), (2, 3)]));
    let nested = Normalizer::Sequence(vec![
        Normalizer::Sequence(vec![Normalizer::Form(Form::Nfd), Normalizer::StripAccents]),
        Normalizer::Lowercase,
    ]);
    assert_eq!(aligned(&nested, "ÀB"), ("ab".into(), own(2)));
    assert_eq!(aligned(&Normalizer::Sequence(Vec::new()), "x"), ("x".into(), own(1)));
}

#[test]
fn rules_of_a_charsmap() {
    let map = charsmap(&[(b'a', "xyz"), (b'b', ""), (b'\r', "c")]);
    let normalizer = Normalizer::Precompiled(Precompiled::new(&map).unwrap());
    assert_eq!(aligned(&normalizer, "1a2"), ("1xyz2".into(), vec![(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]));
    assert_eq!(aligned(&normalizer, "1b2"), ("12".into(), vec![(0, 1), (2, 3)]));
    // What vanishes before anything was written is not accounted for.
    assert_eq!(aligned(&normalizer, "b12"), ("12".into(), vec![(0, 1), (1, 2)]));
    // A rule for the start of a grapheme goes for the whole.
    assert_eq!(normalizer.normalize("a\u{301}\r\n\r").unwrap(), "xyzcc");
    assert_eq!(normalizer.normalize("1\0é").unwrap(), "1\0é");
    assert_eq!(normalizer.normalize("").unwrap(), "");
}

#[test]
fn damaged_charsmaps_are_refused_or_harmless() {
    let whole = charsmap(&[(b'a', "xyz"), (b'b', "é"), (0xC3, "q")]);
    for length in 0..40 {
        assert!(Precompiled::new(&whole[..length]).is_err(), "{length} bytes");
    }
    assert!(Precompiled::new(&[3, 0, 0, 0, 1, 2, 3]).is_err());
    assert!(Precompiled::new(&[0, 0, 0, 0, 0xFF]).is_err());
    let empty = Normalizer::Precompiled(Precompiled::new(&[0; 4]).unwrap());
    assert_eq!(empty.normalize("aé\r\n").unwrap(), "aé\r\n");
    let mut draw = Draw::new(7);
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + draw.below(8) {
            let at = 4 + draw.below(bytes.len() - 4);
            bytes[at] = draw.below(256) as u8;
        }
        if let Ok(precompiled) = Precompiled::new(&bytes) {
            let normalizer = Normalizer::Precompiled(precompiled);
            assert!(normalizer.normalize("aab\u{301}b éa\r\n中").is_ok());
        }
    }
}

#[test]
fn text_that_grows_beyond_reason_is_an_error() {
    let bomb = Normalizer::Sequence(vec![literal("a", "aaaaaaaa"); 12]);
    assert!(matches!(bomb.normalize("a"), Err(Error::Argument { .. })));
    assert_eq!(bomb.normalize("b").unwrap(), "b");
    let rule = "x".repeat(100_000);
    let long = Normalizer::Precompiled(Precompiled::new(&charsmap(&[(b'a', &rule)])).unwrap());
    assert!(matches!(long.normalize(&"a".repeat(1000)), Err(Error::Argument { .. })));
    assert_eq!(long.normalize("a").unwrap(), rule);
}

/// Every kind, and of the composed ones what they are used for.
fn every() -> Vec<Normalizer> {
    let map = charsmap(&[(b'a', "xyz"), (b' ', "\u{2581}"), (b'\t', " ")]);
    let bert =
        Tokenizer::from_json(&support::json(support::normalizers()[0], "BertPreTokenizer"), "test").unwrap();
    vec![
        bert.normalizer().unwrap().clone(),
        Normalizer::Form(Form::Nfc),
        Normalizer::Form(Form::Nfd),
        Normalizer::Form(Form::Nfkc),
        Normalizer::Form(Form::Nfkd),
        Normalizer::Lowercase,
        STRIP,
        Normalizer::StripAccents,
        Normalizer::Nmt,
        Normalizer::Precompiled(Precompiled::new(&map).unwrap()),
        literal(" ", "▁"),
        literal("aa", ""),
        Normalizer::Replace(Replace::new(Pattern::regex(r"\s+").unwrap(), " ")),
        Normalizer::Prepend("▁".into()),
        Normalizer::ByteLevel,
    ]
}

#[test]
fn hostile_text_takes_linear_time() {
    let units = [
        " ",
        "\t",
        "a",
        "\u{301}",
        "\u{301}\u{316}\u{f71}",
        "e\u{301}",
        "가",
        "\u{fdfa}",
        "\u{200d}👩",
        "🇫",
        "क\u{94d}",
        "\u{600}",
        "\r\n",
        "\u{2581}",
    ];
    let time = |normalizer: &Normalizer, text: &str| -> Duration {
        let run = |_| {
            let start = Instant::now();
            normalizer.normalize(text).unwrap();
            start.elapsed()
        };
        (0..2).map(run).min().unwrap()
    };
    for normalizer in every() {
        for unit in units {
            let short = time(&normalizer, &unit.repeat(20_000 / unit.len()));
            let long = time(&normalizer, &unit.repeat(320_000 / unit.len()));
            let most = short * 16 * 5 + Duration::from_millis(40);
            assert!(long < most, "{normalizer:?} {unit:?}: {short:?}, then {long:?} for 16 times as much");
        }
    }
}
