//! Ids by way of remembered parts equal the plain way's, for random components and text full of places to cut at.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use oxiformers_core::tokenizer::{
    AddedToken, Input, Sequence, Settings, Side, Tokenizer, Truncation, TruncationStrategy, Wanted,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::Draw;

/// What normalizers, patterns and vocabularies tell apart, in words of few letters so that they come again.
const PARTS: &[&str] = &[
    "a", "b", "ab", "ba", "B", "é", "e\u{301}", "ﬁ", "中", "文", "1", "23", "'s", "'", "’", ".", ",", "!",
    "<", "▁", "Ġ", " ", " ", " ", " ", "  ", "   ", "\n", " \n", "\t", "\u{a0}", "\u{3000}", "\u{85}",
    "\u{301}", " \u{301}", "\u{600}", "\0", " \0", "\u{200b}", "x y", "<x>", "X", "İ", "😀", "\u{feff}",
    "\u{ad}", "／", "１",
];

fn text(draw: &mut Draw) -> String {
    let length = draw.below(16);
    (0..length).map(|_| PARTS[draw.below(PARTS.len())]).collect()
}

fn pick(draw: &mut Draw, from: &[Value]) -> Value {
    from[draw.below(from.len())].clone()
}

fn normalizer(draw: &mut Draw) -> Value {
    let replace =
        |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let all = [
        json!({"type": "NFC"}),
        json!({"type": "NFKC"}),
        json!({"type": "NFD"}),
        json!({"type": "Lowercase"}),
        json!({"type": "StripAccents"}),
        json!({"type": "Nmt"}),
        json!({"type": "Strip", "strip_left": draw.below(2) == 0, "strip_right": draw.below(2) == 0}),
        json!({"type": "Prepend", "prepend": "▁"}),
        json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}),
        replace(json!({"String": " "}), "▁"),
        replace(json!({"String": "ab"}), "b"),
        replace(json!({"String": "a b"}), "ab"),
        replace(json!({"String": " a"}), "a"),
        replace(json!({"Regex": r"\s+"}), " "),
        replace(json!({"Regex": " {2,}"}), "▁"),
        replace(json!({"Regex": "[ab]+"}), " "),
    ];
    match draw.below(4) {
        0 => Value::Null,
        1 => pick(draw, &all),
        _ => {
            let some: Vec<Value> = (0..1 + draw.below(3)).map(|_| pick(draw, &all)).collect();
            json!({"type": "Sequence", "normalizers": some})
        }
    }
}

fn pre_tokenizer(draw: &mut Draw) -> Value {
    let behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
    let behavior = behaviors[draw.below(5)];
    let invert = draw.below(4) == 0;
    let split =
        |pattern: Value| json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert});
    let scheme = ["first", "always", "never"][draw.below(3)];
    let flag = |draw: &mut Draw| draw.below(2) == 0;
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": flag(draw), "trim_offsets": true, "use_regex": flag(draw)});
    let cl100k = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let clip = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let deep_seek = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
    let all = [
        json!({"type": "BertPreTokenizer"}),
        json!({"type": "Whitespace"}),
        json!({"type": "WhitespaceSplit"}),
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": flag(draw)}),
        json!({"type": "Digits", "individual_digits": flag(draw)}),
        json!({"type": "Punctuation", "behavior": behavior}),
        json!({"type": "CharDelimiterSplit", "delimiter": if flag(draw) { " " } else { "a" }}),
        split(json!({"String": " "})),
        split(json!({"String": "b"})),
        split(json!({"Regex": cl100k})),
        split(json!({"Regex": clip})),
        split(json!({"Regex": deep_seek})),
        split(json!({"Regex": r"\p{N}{1,3}"})),
        split(json!({"Regex": "a b"})),
        byte_level.clone(),
    ];
    match draw.below(6) {
        0 => Value::Null,
        1 => pick(draw, &all),
        2 => byte_level,
        3 => {
            let isolated = |pattern| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
            json!({"type": "Sequence", "pretokenizers": [isolated(cl100k), byte_level]})
        }
        _ => {
            let some: Vec<Value> = (0..1 + draw.below(3)).map(|_| pick(draw, &all)).collect();
            json!({"type": "Sequence", "pretokenizers": some})
        }
    }
}

/// A vocabulary of characters, with merges of what is there already.
fn bpe(draw: &mut Draw, byte_level: bool) -> Value {
    let mut tokens: Vec<String> = vec!["<unk>".into()];
    if byte_level {
        tokens.extend((0x21..0x144u32).filter_map(char::from_u32).map(|c| c.to_string()));
    } else {
        tokens.extend("ab▁1e .'é中".chars().map(|c| c.to_string()));
        tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    }
    let starts: Vec<String> =
        if byte_level { "abĠÃ©1'.Ċ" } else { "ab▁1e .é中" }.chars().map(String::from).collect();
    let mut merged = starts;
    let mut merges = Vec::new();
    for _ in 0..40 {
        let (left, right) =
            (merged[draw.below(merged.len())].clone(), merged[draw.below(merged.len())].clone());
        // Now and then one that reaches over a space.
        let crosses = !left.ends_with(['▁', 'Ġ', ' ']) && right.contains(['▁', 'Ġ', ' ']);
        let both = format!("{left}{right}");
        if both.len() > 14 || tokens.contains(&both) || (crosses && draw.below(30) > 0) {
            continue;
        }
        merges.push(json!([left, right]));
        tokens.push(both.clone());
        merged.push(both);
    }
    let vocab: BTreeMap<String, usize> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, id)).collect();
    json!({
        "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": draw.below(2) == 0, "byte_fallback": draw.below(2) == 0,
        "ignore_merges": draw.below(4) == 0, "vocab": vocab, "merges": merges,
    })
}

fn tokenizer(draw: &mut Draw) -> Tokenizer {
    let pre_tokenizer = pre_tokenizer(draw);
    let byte_level = pre_tokenizer.to_string().contains("ByteLevel");
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": normalizer(draw),
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": null, "model": bpe(draw, byte_level),
    });
    let tokenizer = Tokenizer::from_json(&file.to_string(), "random").unwrap();
    let flag = |draw: &mut Draw| draw.below(3) == 0;
    let contents = ["<x>", "ab", " a", "a ", "x y", "  ", "\n", "é"];
    let added: Vec<AddedToken> = (0..draw.below(3))
        .map(|_| AddedToken {
            content: contents[draw.below(contents.len())].into(),
            single_word: flag(draw),
            lstrip: flag(draw),
            rstrip: flag(draw),
            normalized: flag(draw),
            special: flag(draw),
        })
        .collect();
    tokenizer.with_added_tokens(added).unwrap()
}

#[test]
fn ids_of_parts_are_those_of_the_whole() {
    let mut draw = Draw::new(5);
    let truncation = Truncation {
        strategy: TruncationStrategy::LongestFirst,
        max_length: 5,
        stride: 0,
        side: Side::Right,
    };
    for _ in 0..3000 {
        let tokenizer = tokenizer(&mut draw);
        for round in 0..24 {
            let (first, second) = (text(&mut draw), text(&mut draw));
            let words: Vec<&str> = second.split('a').collect();
            let input = match round % 3 {
                0 => Input { first: Sequence::Text(&first), second: Some(Sequence::Text(&second)) },
                1 => Input { first: Sequence::Words(&words), second: None },
                _ => Input { first: Sequence::Text(&first), second: None },
            };
            let settings = Settings {
                split_special_tokens: draw.below(8) == 0,
                truncation: (draw.below(4) == 0).then_some(truncation),
                ..Settings::default()
            };
            let expected = tokenizer.encode_batch(&[input], &settings).unwrap();
            // Twice: what is remembered equals what was worked out.
            for _ in 0..2 {
                let found = tokenizer.encode_rows(&[input], &settings, Wanted::default()).unwrap();
                assert_eq!(
                    found[0].ids,
                    expected[0].ids,
                    "{input:?} with {settings:?} by {}",
                    tokenizer.to_json(false).unwrap()
                );
            }
        }
    }
}

/// A part that ends a text with what a space becomes has other ids within one, where the space after it joins it.
#[test]
fn what_is_remembered_of_the_end_of_a_text() {
    let vocab = json!({"<unk>": 0, "a": 1, "b": 2, "▁": 3, "▁▁": 4});
    let file = json!({
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "model": {"type": "BPE", "unk_token": "<unk>", "vocab": vocab, "merges": [["▁", "▁"]]},
    });
    let tokenizer = Tokenizer::from_json(&file.to_string(), "file").unwrap();
    for text in ["a b▁", "a b▁ a", "b▁", "b▁ a"] {
        let input = Input { first: Sequence::Text(text), second: None };
        let settings = Settings::default();
        let expected = tokenizer.encode_batch(&[input], &settings).unwrap();
        let found = tokenizer.encode_rows(&[input], &settings, Wanted::default()).unwrap();
        assert_eq!(found[0].ids, expected[0].ids, "{text:?}");
    }
}
