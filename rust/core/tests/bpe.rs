//! Byte-pair encoding: against its definition, in odd settings, on words of any length, and files that are wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use oxiformers_core::Error;
use oxiformers_core::tokenizer::{Model, Scratch, Tokenizer};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use support::{Draw, alphabet};

/// A model by itself; `options` are the fields beside vocabulary and merges.
fn bpe(tokens: &[&str], merges: &[(&str, &str)], options: Value) -> Tokenizer {
    load(tokens, merges, options).unwrap()
}

fn load(tokens: &[&str], merges: &[(&str, &str)], options: Value) -> Result<Tokenizer, Error> {
    let vocab: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id.into())).collect();
    let mut model = json!({"type": "BPE", "vocab": vocab, "merges": merges});
    for (key, value) in options.as_object().unwrap() {
        model[key] = value.clone();
    }
    Tokenizer::from_json(&json!({"version": "1.0", "model": model}).to_string(), "file")
}

/// The ids of a word, and its tokens with their places; both must have the same ids.
fn pieces(tokenizer: &Tokenizer, word: &str) -> Result<Vec<(u32, u32, u32)>, Error> {
    let (mut scratch, mut ids, mut pieces) = (Scratch::default(), Vec::new(), Vec::new());
    tokenizer.model().tokenize(word, &mut scratch, &mut pieces)?;
    tokenizer.model().ids(word, &mut scratch, &mut ids)?;
    assert_eq!(pieces.iter().map(|piece| piece.id).collect::<Vec<_>>(), ids);
    Ok(pieces.iter().map(|piece| (piece.id, piece.start, piece.end)).collect())
}

fn ids(tokenizer: &Tokenizer, word: &str) -> Vec<u32> {
    pieces(tokenizer, word).unwrap().iter().map(|piece| piece.0).collect()
}

#[test]
fn the_lowest_rank_goes_first_and_of_equal_ones_the_leftmost() {
    let tokens = ["a", "b", "c", "ab", "bc", "aa", "abc"];
    let found = bpe(&tokens, &[("b", "c"), ("a", "b"), ("a", "a"), ("ab", "c")], json!({}));
    assert_eq!(ids(&found, "abc"), [0, 4]);
    assert_eq!(ids(&found, "aaaaa"), [5, 5, 0]);
    // Of a repeated pair the last counts: now ab is merged before bc.
    let merges = [("b", "c"), ("a", "b"), ("a", "a"), ("ab", "c"), ("b", "c")];
    assert_eq!(ids(&bpe(&tokens, &merges, json!({})), "abc"), [6]);
}

#[test]
fn unknown_characters() {
    let tokens = ["a", "b", "ab", "<unk>"];
    let merges = [("a", "b")];
    let with = |options| bpe(&tokens, &merges, options);
    // Dropped: what follows moves to the left, and neighbours merge over the gap.
    assert_eq!(pieces(&with(json!({})), "aéb").unwrap(), [(2, 0, 2)]);
    assert_eq!(pieces(&with(json!({})), "é").unwrap(), []);
    let unknown = with(json!({"unk_token": "<unk>"}));
    assert_eq!(pieces(&unknown, "aéxb").unwrap(), [(0, 0, 1), (3, 1, 3), (3, 3, 4), (1, 4, 5)]);
    let fused = with(json!({"unk_token": "<unk>", "fuse_unk": true}));
    assert_eq!(pieces(&fused, "aéxb").unwrap(), [(0, 0, 1), (3, 1, 4), (1, 4, 5)]);
    let missing = with(json!({"unk_token": "<none>"}));
    assert_eq!(ids(&missing, "ab"), [2]);
    assert!(matches!(pieces(&missing, "aéb"), Err(Error::Argument { .. })));
}

#[test]
fn unknown_characters_as_bytes() {
    let tokens = ["a", "<unk>", "<0xC3>", "<0xA9>", "<0x78>"];
    let found = bpe(&tokens, &[], json!({"unk_token": "<unk>", "byte_fallback": true}));
    assert_eq!(pieces(&found, "aé").unwrap(), [(0, 0, 1), (2, 1, 2), (3, 2, 3)]);
    // ê lacks a byte; its unknown token waits for a token that is no byte's.
    assert_eq!(pieces(&found, "êxa").unwrap(), [(4, 0, 1), (1, 1, 3), (0, 3, 4)]);
    // The suffix is written in bytes too, beyond the word.
    let suffix = bpe(&tokens, &[], json!({"byte_fallback": true, "end_of_word_suffix": "x"}));
    assert_eq!(pieces(&suffix, "é").unwrap(), [(2, 0, 1), (3, 1, 2), (4, 2, 3)]);
}

#[test]
fn prefix_and_suffix() {
    let tokens = ["a", "##b", "##c</w>", "a</w>", "ab", "abc</w>"];
    let merges = [("a", "##b"), ("ab", "##c</w>")];
    let options = json!({"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"});
    let found = bpe(&tokens, &merges, options);
    assert_eq!(ids(&found, "abc"), [5]);
    assert_eq!(ids(&found, "a"), [3]);
    assert_eq!(ids(&found, "abb"), [4]);
}

#[test]
fn whole_words() {
    let tokens = ["a", "b", "ab", "aba"];
    let found = |ignore| bpe(&tokens, &[("a", "b")], json!({"ignore_merges": ignore}));
    assert_eq!((ids(&found(true), "aba"), ids(&found(false), "aba")), (vec![3], vec![2, 0]));
    assert_eq!(ids(&found(true), "abaa"), [2, 0, 0]);
}

/// Merges learned from random text, shuffled now and then so that ranks go up and down.
fn learn(draw: &mut Draw) -> (Vec<String>, Vec<(String, String)>) {
    let mut tokens: Vec<String> = ["a", "b", "é", "中"].map(str::to_owned).to_vec();
    let mut merges = Vec::new();
    for _ in 0..draw.below(40) {
        let pair = [draw.below(tokens.len()), draw.below(tokens.len())].map(|index| tokens[index].clone());
        let result = pair.concat();
        if result.len() < 20 {
            let at = if draw.below(3) == 0 { draw.below(merges.len() + 1) } else { merges.len() };
            let [left, right] = pair;
            merges.insert(at, (left, right));
            if !tokens.contains(&result) {
                tokens.push(result);
            }
        }
    }
    (tokens, merges)
}

/// The definition: look at all pairs, merge the first of the lowest rank, begin again.
fn defined(tokens: &[String], merges: &[(String, String)], word: &str) -> Vec<u32> {
    let ranks: HashMap<(&str, &str), usize> =
        merges.iter().enumerate().map(|(rank, (left, right))| ((&**left, &**right), rank)).collect();
    let mut symbols: Vec<String> = word.chars().map(String::from).collect();
    loop {
        let pairs = symbols.windows(2).enumerate();
        let lowest = pairs.filter_map(|(at, pair)| Some((*ranks.get(&(&*pair[0], &*pair[1]))?, at))).min();
        let Some((_, at)) = lowest else { break };
        let right = symbols.remove(at + 1);
        symbols[at].push_str(&right);
    }
    let id = |symbol: &String| tokens.iter().position(|token| token == symbol).unwrap() as u32;
    symbols.iter().map(id).collect()
}

#[test]
fn words_of_any_length_follow_the_definition() {
    let mut draw = Draw::new(5);
    for round in 0..300 {
        let (tokens, merges) = learn(&mut draw);
        let names: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let pairs: Vec<(&str, &str)> = merges.iter().map(|(left, right)| (&**left, &**right)).collect();
        let found = bpe(&names, &pairs, json!({}));
        // Each way to merge has its lengths.
        for length in [1, 2, 9, 128, 129, if round % 30 == 0 { 5000 } else { 300 }] {
            let few = 1 + draw.below(4);
            let word: String = (0..length).map(|_| tokens[draw.below(few)].as_str()).collect();
            let pieces = pieces(&found, &word).unwrap();
            let ids: Vec<u32> = pieces.iter().map(|piece| piece.0).collect();
            assert_eq!(ids, defined(&tokens, &merges, &word), "{merges:?} {word}");
            for (id, start, end) in pieces {
                assert_eq!(word[start as usize..end as usize], tokens[id as usize]);
            }
        }
    }
}

/// A vocabulary of all bytes with some merges on top, as the byte-level alphabet writes them.
fn byte_level(options: Value) -> Tokenizer {
    let suffix = options["end_of_word_suffix"].as_str().unwrap_or_default().to_owned();
    let mut tokens: Vec<String> = (0..=255).map(|byte| alphabet(&[byte])).collect();
    if !suffix.is_empty() {
        tokens.extend((0..=255).map(|byte| alphabet(&[byte]) + &suffix));
    }
    let parts: [(&[u8], &[u8]); 6] =
        [(b"a", b"b"), (b" ", b"a"), (b"\xc3", b"\xa9"), (b"ab", b"a"), (b"a", b"ba"), (b" a", b"\n")];
    let merges: Vec<(String, String)> =
        parts.iter().map(|(left, right)| (alphabet(left), alphabet(right))).collect();
    tokens.extend(["ba", "abab", "Ġab"].map(str::to_owned));
    for (left, right) in &merges {
        let result = format!("{left}{right}");
        if !tokens.contains(&result) {
            tokens.push(result);
        }
    }
    let names: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let pairs: Vec<(&str, &str)> = merges.iter().map(|(left, right)| (&**left, &**right)).collect();
    bpe(&names, &pairs, options)
}

#[test]
fn bytes_are_the_characters_that_stand_for_them() {
    let mut draw = Draw::new(11);
    for options in [json!({}), json!({"ignore_merges": true}), json!({"end_of_word_suffix": "</w>"})] {
        let found = byte_level(options.clone());
        let Model::Bpe(model) = found.model() else { panic!("BPE") };
        assert!(model.is_byte_level());
        let mut scratch = Scratch::default();
        for _ in 0..3000 {
            let length = if draw.below(50) == 0 { 400 } else { draw.below(12) };
            let character = |draw: &mut Draw| match draw.below(4) {
                0 => char::from_u32(draw.below(0x110000) as u32).unwrap_or('é'),
                _ => ['a', 'b', ' ', 'é', '\n'][draw.below(5)],
            };
            let word: String = (0..length).map(|_| character(&mut draw)).collect();
            let (mut bytes, mut characters) = (Vec::new(), Vec::new());
            match model.whole_word(&word, true) {
                Some(id) => bytes.push(id),
                None => model.segment_ids(&word, 0..word.len(), true, &mut scratch.bpe, &mut bytes).unwrap(),
            }
            model.ids(&alphabet(word.as_bytes()), &mut scratch.bpe, &mut characters).unwrap();
            assert_eq!(bytes, characters, "{word:?} {options}");
        }
    }
    let Model::Bpe(model) = &bpe(&["a", "b"], &[], json!({})).model().clone() else { panic!("BPE") };
    assert!(!model.is_byte_level());
}

#[test]
fn ids_may_have_holes_and_be_large() {
    for step in [7u32, 1 << 22, (u32::MAX - 2) / 3] {
        let model = json!({
            "type": "BPE", "merges": [["a", "b"], ["ab", "a"]],
            "vocab": {"a": 0, "b": step, "ab": 2 * step, "aba": 3 * step},
        });
        let found = Tokenizer::from_json(&json!({"model": model}).to_string(), "file").unwrap();
        assert_eq!(ids(&found, "abaab"), [3 * step, 2 * step]);
        assert_eq!(found.id_to_token(2 * step), Some("ab"));
        assert_eq!(found.id_to_token(2 * step + 1), None);
    }
}

#[test]
fn where_a_text_may_be_cut() {
    let crosses = |merges: &[(&str, &str)], options| {
        let tokens = ["a", "▁", "▁a", "▁▁", "a▁", "▁▁a", "<unk>", ""];
        let found = bpe(&tokens, merges, options);
        let Model::Bpe(model) = found.model() else { panic!("BPE") };
        !model.no_token_crosses('▁')
    };
    assert!(!crosses(&[("▁", "a"), ("▁", "▁"), ("▁▁", "a")], json!({"unk_token": "<unk>"})));
    assert!(crosses(&[("a", "▁")], json!({"unk_token": "<unk>"})));
    // What is on the two sides of a dropped character can merge.
    assert!(crosses(&[("▁", "▁")], json!({})) && !crosses(&[("▁", "a")], json!({})));
    for options in [
        json!({"ignore_merges": true}),
        json!({"unk_token": "▁"}),
        json!({"unk_token": ""}),
        json!({"end_of_word_suffix": "a"}),
        json!({"continuing_subword_prefix": "▁"}),
    ] {
        assert!(crosses(&[], options));
    }
    let Model::Bpe(model) = &bpe(&["a"], &[], json!({})).model().clone() else { panic!("BPE") };
    assert!(!model.no_token_crosses('▁') && model.no_token_crosses('a'));
}

#[test]
fn older_files() {
    let lines = json!(["#version: 0.2", "a b", "ab c"]);
    let vocab = json!({"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4});
    // Without a type, with merges as lines.
    let file = json!({"model": {"vocab": vocab, "merges": lines, "dropout": null, "unk_token": null}});
    let found = Tokenizer::from_json(&file.to_string(), "file").unwrap();
    assert_eq!(ids(&found, "abc"), [4]);
    let written: Value = serde_json::from_str(&found.to_json(false).unwrap()).unwrap();
    assert_eq!(written["model"]["merges"], json!([["a", "b"], ["ab", "c"]]));
    assert_eq!(written["model"]["type"], "BPE");
    let again = Tokenizer::from_json(&found.to_json(true).unwrap(), "file").unwrap();
    assert_eq!(again.to_json(false).unwrap(), found.to_json(false).unwrap());
}

#[test]
fn files_that_are_wrong() {
    let cases = [
        (json!({"merges": [["a", "b"], ["a", "x"]]}), "model.merges[1]"),
        (json!({"merges": ["#version: 1", "a b", "b a"]}), "model.merges[2]"),
        (json!({"merges": ["a b", "a b c"]}), "model.merges[1]"),
        (json!({"merges": ["a b", ["a", "b"]]}), "model.merges[1]"),
        (json!({"merges": [["a", "b", "c"]]}), "model.merges[0]"),
        (json!({"merges": [["a", 1]]}), "model.merges[0]"),
        (json!({"merges": {"a": "b"}}), "model.merges"),
        (json!({"merges": null}), "model.merges"),
        (json!({"vocab": {"a": 0, "b": 0, "ab": 1}}), "model.vocab"),
        (json!({"vocab": [["a", 0.0]]}), "model.vocab"),
        (json!({"vocab": {"a": 0.5, "b": 1, "ab": 2}}), "model.vocab.a"),
        (json!({"dropout": 1.5}), "model.dropout"),
        (json!({"dropout": "0"}), "model.dropout"),
        (json!({"fuse_unk": 1}), "model.fuse_unk"),
        (json!({"unk_token": 1}), "model.unk_token"),
        (json!({"continuing_subword_prefix": "##"}), "model.merges[0]"),
        (json!({"continuing_subword_prefix": "#".repeat(5000)}), "model.continuing_subword_prefix"),
    ];
    for (options, place) in cases {
        match load(&["a", "b", "ab"], &[("a", "b")], options.clone()).map(|_| ()).unwrap_err() {
            Error::Format { path, key, .. } => assert_eq!((&*path, &*key), ("file", place), "{options}"),
            other => panic!("{options}: {other}"),
        }
    }
    for dropout in [json!(0.1), json!(1)] {
        let error = load(&["a"], &[], json!({"dropout": dropout})).map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Unsupported { key, .. } if key == "model.dropout"), "{error}");
    }
    for dropout in [json!(0), json!(0.0), json!(null)] {
        assert!(load(&["a"], &[], json!({"dropout": dropout})).is_ok());
    }
    // Of a repeated token the last id counts.
    let text = r#"{"model": {"type": "BPE", "merges": [], "vocab": {"a": 0, "b": 1, "a": 5}}}"#;
    let found = Tokenizer::from_json(text, "file").unwrap();
    assert_eq!((ids(&found, "ab"), found.vocab_size(false), found.id_to_token(0)), (vec![5, 1], 2, None));
}

#[test]
fn time_grows_with_the_length_of_a_word() {
    // Pairs of every rank, and pairs that lead back to lower ranks.
    let powers: Vec<String> = (0..12).map(|power| "a".repeat(1 << power)).collect();
    let mut tokens: Vec<&str> = powers.iter().map(String::as_str).collect();
    tokens.extend(["b", "ab", "ba", "aab", "aba"]);
    let mut merges: Vec<(&str, &str)> = powers.iter().take(11).map(|part| (&**part, &**part)).collect();
    merges.insert(0, ("ab", "a"));
    merges.extend([("b", "a"), ("a", "b"), ("aa", "b")]);
    let found = bpe(&tokens, &merges, json!({}));
    let Model::Bpe(model) = found.model() else { panic!("BPE") };
    let (mut scratch, mut ids) = (Scratch::default(), Vec::new());
    for part in ["a", "ab", "aab", "aaaaaaab", "x"] {
        // As many bytes in words that are 64 times as long: quadratic time would be 64 times as much. What else the
        // machine does meanwhile slows both.
        let mut time = |bytes: usize, words: usize| {
            let word = part.repeat(bytes / part.len());
            let start = Instant::now();
            for _ in 0..words {
                ids.clear();
                model.ids(&word, &mut scratch.bpe, &mut ids).unwrap();
            }
            start.elapsed()
        };
        let mut least = [Duration::MAX; 2];
        for _ in 0..4 {
            least = [least[0].min(time(1 << 14, 64)), least[1].min(time(1 << 20, 1))];
        }
        assert!(least[1] < 24 * least[0].max(Duration::from_millis(2)), "{part}: {least:?}");
    }
}
