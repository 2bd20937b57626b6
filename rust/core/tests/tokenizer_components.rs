//! Each component by itself, and files that are wrong.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use oxiformers_core::Error;
use oxiformers_core::tokenizer::{
    BertNormalizer, Decoder, Input, Model, NO_WORD, Normalizer, PreTokenizer, Sequence, Settings, Side,
    Tokenizer, Truncation, TruncationStrategy, Words,
};
use support::{Draw, json, normalizers, tokenizer, tokens};

fn bert(strip_accents: Option<bool>, lowercase: bool) -> Normalizer {
    Normalizer::Bert(BertNormalizer {
        clean_text: true,
        handle_chinese_chars: true,
        strip_accents,
        lowercase,
    })
}

#[test]
fn normalizing() {
    let cases = [
        (bert(None, true), "Ünïcödé \tIs\u{200b} ÀLL\u{0}", "unicode  is all"),
        (bert(None, false), "Ünï\u{fffd}", "Ünï"),
        (bert(Some(true), false), "Ünï", "Uni"),
        (bert(Some(false), true), "ÜNÏ", "ünï"),
        (bert(None, true), "a中b", "a 中 b"),
        (bert(Some(false), true), "İ", "i\u{307}"),
        (bert(None, true), "가", "\u{1100}\u{1161}"),
        // Marks that stay are put in canonical order.
        (bert(None, true), "e\u{1d165}\u{302e}", "e\u{1d165}\u{302e}"),
        (bert(None, true), "e\u{302f}\u{1d165}", "e\u{1d165}\u{302f}"),
        (bert(None, true), "", ""),
    ];
    for (normalizer, text, expected) in cases {
        assert_eq!(normalizer.normalize(text).ok().as_deref(), Some(expected), "{text:?}");
    }
}

fn words(pre_tokenizer: PreTokenizer, text: &str) -> Vec<&str> {
    let mut words = Words::of(text);
    assert!(pre_tokenizer.apply(&mut words).is_ok());
    words.ranges.into_iter().map(|range| &text[range]).collect()
}

#[test]
fn splitting() {
    assert_eq!(
        words(PreTokenizer::Bert, " a,b  c!? $5_x "),
        ["a", ",", "b", "c", "!", "?", "$", "5", "_", "x"]
    );
    assert_eq!(words(PreTokenizer::Bert, "“é”\u{3000}。"), ["“", "é", "”", "。"]);
    assert_eq!(words(PreTokenizer::Whitespace, " a,b  c!? $5_x "), ["a", ",", "b", "c", "!?", "$", "5_x"]);
    assert_eq!(words(PreTokenizer::Whitespace, "e\u{301}é 中文。"), ["e\u{301}é", "中文", "。"]);
    for text in ["", " ", "\n\u{2003}"] {
        assert!(
            words(PreTokenizer::Bert, text).is_empty() && words(PreTokenizer::Whitespace, text).is_empty()
        );
    }
}

/// Longest match as the definition says it, by looking every candidate up.
fn longest_matches(vocab: &[String], word: &str, longest: usize) -> Option<Vec<u32>> {
    if word.chars().count() > longest {
        return None;
    }
    let mut ids = Vec::new();
    let mut start = 0;
    while start < word.len() {
        let ends = (start + 1..=word.len()).rev().filter(|end| word.is_char_boundary(*end));
        let prefix = if start > 0 { "##" } else { "" };
        let found = ends.into_iter().find_map(|end| {
            let candidate = format!("{prefix}{}", &word[start..end]);
            Some((end, vocab.iter().position(|token| *token == candidate)?))
        });
        let (end, id) = found?;
        ids.push(id as u32);
        start = end;
    }
    Some(ids)
}

#[test]
fn wordpiece_takes_the_longest_match() {
    let tokenizer = tokenizer("null", "BertPreTokenizer");
    let Model::WordPiece(model) = tokenizer.model() else { panic!("WordPiece") };
    let vocab = tokens();
    let mut draw = Draw::new(7);
    let parts =
        ["a", "b", "un", "aff", "able", "##", "ж", "中", "é", "aaaaaaaa", "\u{1112}\u{1161}", "x", "y", "ss"];
    for _ in 0..5000 {
        let word: String = (0..1 + draw.below(20)).map(|_| parts[draw.below(parts.len())]).collect();
        let mut ids = Vec::new();
        let known = model.tokenize(word.as_bytes(), |id, _| ids.push(id));
        assert_eq!(known.then_some(ids), longest_matches(&vocab, &word, 100), "{word}");
    }
    assert!(!model.is_too_long("é".repeat(100).as_bytes()) && model.is_too_long("é".repeat(101).as_bytes()));
}

#[test]
fn decoding() {
    let decoder = Decoder::WordPiece { prefix: "##".into(), cleanup: true };
    let decode = |tokens: &[&str]| decoder.decode(tokens.iter().copied()).unwrap();
    assert_eq!(decode(&["un", "##able", ",", "do", "n't", ".", "?"]), "unable, don't.?");
    assert_eq!(decode(&["##a", "##b", "do not", "x ' y", "'s"]), "##ab don't x'y's");
    assert_eq!(decode(&[]), "");
    let raw = Decoder::WordPiece { prefix: "##".into(), cleanup: false };
    assert_eq!(raw.decode(["a", ".", "##b"].into_iter()).unwrap(), "a .b");
}

fn cut(
    strategy: TruncationStrategy,
    room: usize,
    first: usize,
    second: Option<usize>,
) -> Option<(usize, usize)> {
    let truncation = Truncation { strategy, max_length: room, stride: 0, side: Side::Right };
    truncation.keep(room, first, second).unwrap()
}

#[test]
fn truncating_pairs() {
    use TruncationStrategy::{LongestFirst, OnlyFirst, OnlySecond};
    assert_eq!(cut(LongestFirst, 10, 4, Some(6)), None);
    assert_eq!(cut(LongestFirst, 10, 3, Some(20)), Some((3, 7)));
    assert_eq!(cut(LongestFirst, 10, 20, Some(3)), Some((7, 3)));
    assert_eq!(cut(LongestFirst, 9, 20, Some(30)), Some((4, 5)));
    assert_eq!(cut(LongestFirst, 9, 30, Some(20)), Some((5, 4)));
    assert_eq!(cut(LongestFirst, 9, 20, Some(20)), Some((4, 5)));
    assert_eq!(cut(LongestFirst, 10, 20, None), Some((10, 0)));
    assert_eq!(cut(OnlyFirst, 10, 20, Some(4)), Some((6, 4)));
    assert_eq!(cut(OnlySecond, 10, 4, Some(20)), Some((4, 6)));
    assert_eq!(cut(LongestFirst, 0, 4, Some(2)), Some((0, 0)));
    let truncation = Truncation { strategy: OnlySecond, max_length: 10, stride: 0, side: Side::Right };
    assert!(truncation.keep(10, 20, None).is_err() && truncation.keep(10, 20, Some(5)).is_err());
    assert!(truncation.room(11).is_err() && truncation.room(10).is_ok());
    assert!(Truncation { stride: 8, ..truncation }.room(2).is_err());
}

#[test]
fn parts_overlap_by_the_stride() {
    let tokenizer = tokenizer(normalizers()[0], "BertPreTokenizer");
    let input = [Input { first: Sequence::Text("a b c d e f g h i"), second: None }];
    for (side, first, last) in [(Side::Right, "abcd", "ghi"), (Side::Left, "fghi", "abc")] {
        let truncation =
            Truncation { strategy: TruncationStrategy::LongestFirst, max_length: 6, stride: 1, side };
        let settings = Settings { truncation: Some(truncation), overflow: true, ..Settings::default() };
        let encoding = &tokenizer.encode_batch(&input, &settings).unwrap()[0];
        let text = |ids: &[u32]| tokenizer.decode(ids, true).unwrap().replace(' ', "");
        assert_eq!(text(&encoding.ids), first);
        assert_eq!(encoding.overflowing.len(), 2);
        assert_eq!(text(&encoding.overflowing[1].ids), last);
        let words = &encoding.overflowing[0].words;
        assert_eq!((words[0], words[words.len() - 1]), (NO_WORD, NO_WORD));
    }
}

fn error(text: &str) -> Error {
    Tokenizer::from_json(text, "file").map(|_| ()).unwrap_err()
}

#[test]
fn wrong_files_are_refused_by_place() {
    let good = json(normalizers()[0], "BertPreTokenizer");
    let cases = [
        (r#""[UNK]": 1,"#, r#""[UNK]": -1,"#, "model.vocab.[UNK]"),
        (r#""[UNK]": 1,"#, r#""[UNK]": 4294967295,"#, "model.vocab.[UNK]"),
        (r#""[UNK]": 1,"#, r#""[UNK]": 2,"#, "model.vocab"),
        (r#""lowercase": true"#, r#""lowercase": 1"#, "normalizer.lowercase"),
        (r#""type": "BertPreTokenizer""#, r#""type": "Bert""#, "pre_tokenizer.type"),
        (r#""cleanup": true"#, r#""cleanup": true, "cleanup": true"#, "decoder.cleanup"),
        (r#""version": "1.0""#, r#""version": "3""#, "version"),
    ];
    for (old, new, place) in cases {
        assert!(good.contains(old), "{old}");
        match error(&good.replacen(old, new, 1)) {
            Error::Format { path, key, .. } | Error::Unsupported { path, key, .. } => {
                assert_eq!((path.as_str(), key.as_str()), ("file", place));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn every_shortened_or_changed_file_is_read_or_refused() {
    let good = json(normalizers()[0], "BertPreTokenizer");
    for end in (0..good.len()).step_by(7) {
        assert!(Tokenizer::from_json(&String::from_utf8_lossy(&good.as_bytes()[..end]), "file").is_err());
    }
    let mut draw = Draw::new(2);
    for _ in 0..3000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..1 + draw.below(3) {
            let at = draw.below(bytes.len());
            bytes[at] = b"\"{}[],:0-9aBx\\ "[draw.below(15)];
        }
        // Ids may change, so only that it does not panic is said here.
        if let Ok(found) = Tokenizer::from_json(&String::from_utf8_lossy(&bytes), "file") {
            let input = [Input { first: Sequence::Text("un able [MASK] é"), second: None }];
            let _either = found.encode_batch(&input, &Settings::default());
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{\"a\":"] {
        assert!(matches!(error(&open.repeat(100_000)), Error::Format { .. }));
    }
}

#[test]
fn written_files_are_read_back() {
    for normalizer in normalizers() {
        for pre_tokenizer in ["BertPreTokenizer", "Whitespace"] {
            let found = tokenizer(normalizer, pre_tokenizer);
            let written = found.to_json(false).unwrap();
            assert_eq!(Tokenizer::from_json(&written, "file").unwrap().to_json(false).unwrap(), written);
        }
    }
}
