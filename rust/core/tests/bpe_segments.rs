//! A word's segments have the tokens of the word, for random vocabularies of bytes and of characters.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use oxiformers_core::Result;
use oxiformers_core::tokenizer::{Bpe, Model, Scratch, Tokenizer};
use serde_json::{Map, Value, json};
use support::{Draw, alphabet};

/// Words are made of these; each shares bytes with another one.
const CHARACTERS: [&str; 14] = ["a", "b", " ", "\n", "é", "è", "中", "丮", "文", "。", "😀", "😁", "<", "▁"];

/// A model that merges what it has already, and whose first tokens are `symbols`.
fn grown(draw: &mut Draw, symbols: Vec<String>, starts: &[String], options: &Value) -> Tokenizer {
    let text = |key: &str| options[key].as_str().unwrap_or_default().to_owned();
    let (prefix, suffix) = (text("continuing_subword_prefix"), text("end_of_word_suffix"));
    let mut tokens = symbols;
    let (mut parts, mut merges) = (starts.to_vec(), Vec::new());
    for _ in 0..60 {
        let (left, right) = (&parts[draw.below(parts.len())], &parts[draw.below(parts.len())]);
        let right = if draw.below(4) == 0 { format!("{right}{suffix}") } else { right.clone() };
        let (both, right) = (format!("{left}{right}"), format!("{prefix}{right}"));
        if both.chars().count() > 9 || parts.contains(&both) || !tokens.contains(&right) {
            continue;
        }
        merges.push(json!([left, right]));
        for token in [both.clone(), format!("{prefix}{both}")] {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        parts.push(both);
    }
    let vocab: Map<String, Value> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    let mut model = json!({"type": "BPE", "vocab": vocab, "merges": merges});
    model.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    Tokenizer::from_json(&json!({"model": model}).to_string(), "grown").unwrap()
}

fn word(draw: &mut Draw) -> String {
    (0..1 + draw.below(20)).map(|_| CHARACTERS[draw.below(CHARACTERS.len())]).collect()
}

/// The ids of a word by its segments, and how many those are.
fn by_segments(model: &Bpe, word: &str, bytes: bool) -> Result<(Vec<u32>, usize)> {
    let (mut scratch, mut ids, mut count) = (Scratch::default(), Vec::new(), 0);
    match model.whole_word(word, bytes) {
        Some(id) => ids.push(id),
        None => model.segments(word, bytes, |segment| {
            count += 1;
            model.segment_ids(word, segment, bytes, &mut scratch.bpe, &mut ids)
        })?,
    }
    Ok((ids, count))
}

/// Compares many words, given to the plain way as `written`; tells how many segments there were to a hundred words.
fn compare(draw: &mut Draw, tokenizer: &Tokenizer, bytes: bool, written: impl Fn(&str) -> String) -> usize {
    let Model::Bpe(model) = tokenizer.model() else { panic!("BPE") };
    if bytes {
        // So many that seams are looked for.
        (0..300).for_each(|_| drop(by_segments(model, &"ab".repeat(10), true)));
    }
    let mut segments = 0;
    for _ in 0..100 {
        let word = word(draw);
        let (mut scratch, mut expected) = (Scratch::default(), Vec::new());
        let whole = model.ids(&written(&word), &mut scratch.bpe, &mut expected);
        match (whole, by_segments(model, &word, bytes)) {
            (Ok(()), Ok((ids, count))) => {
                assert_eq!(ids, expected, "{word:?} by {}", tokenizer.to_json(false).unwrap());
                segments += count;
            }
            (Err(_), Err(_)) => {}
            (whole, found) => panic!("{word:?}: {whole:?} and {found:?}"),
        }
    }
    segments
}

#[test]
fn segments_of_bytes() {
    let mut draw = Draw::new(3);
    for options in [
        json!({}),
        json!({"ignore_merges": true}),
        json!({"end_of_word_suffix": "</w>"}),
        json!({"end_of_word_suffix": "a"}),
        json!({"continuing_subword_prefix": "##"}),
        json!({"continuing_subword_prefix": "b", "end_of_word_suffix": "Ġ"}),
    ] {
        let affix = |key: &str| options[key].as_str().unwrap_or_default();
        let (prefix, suffix) = (affix("continuing_subword_prefix"), affix("end_of_word_suffix"));
        let single: Vec<String> = (0..=255).map(|byte| alphabet(&[byte])).collect();
        let mut symbols = single.clone();
        for (prefix, suffix) in [(prefix, ""), ("", suffix), (prefix, suffix)] {
            for symbol in &single {
                let token = format!("{prefix}{symbol}{suffix}");
                if !symbols.contains(&token) {
                    symbols.push(token);
                }
            }
        }
        let mut starts: Vec<String> = CHARACTERS.concat().bytes().map(|byte| alphabet(&[byte])).collect();
        starts.sort();
        starts.dedup();
        let mut segments = 0;
        for _ in 0..300 {
            let tokenizer = grown(&mut draw, symbols.clone(), &starts, &options);
            segments += compare(&mut draw, &tokenizer, true, |word| alphabet(word.as_bytes()));
        }
        // Of the longer words, most have seams.
        assert!(segments > 300 * 150, "{segments}");
    }
}

#[test]
fn segments_of_characters() {
    let mut draw = Draw::new(4);
    let known: Vec<String> = CHARACTERS[..10].iter().map(ToString::to_string).collect();
    for options in [
        json!({"unk_token": "<unk>"}),
        json!({"unk_token": "<unk>", "fuse_unk": true}),
        json!({"unk_token": "a"}),
        json!({}),
        json!({"unk_token": "<unk>", "byte_fallback": true, "ignore_merges": true}),
        json!({"unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true}),
        json!({"byte_fallback": true}),
    ] {
        let mut segments = 0;
        for _ in 0..300 {
            let mut symbols = known.clone();
            symbols.push("<unk>".into());
            // Now and then there is no token for some byte, or one of them merges.
            let bytes = if draw.below(3) == 0 { 0..=0xF0u8 } else { 0..=0xFF };
            symbols.extend(bytes.map(|byte| format!("<0x{byte:02X}>")));
            let mut starts = known.clone();
            if draw.below(3) == 0 {
                starts.extend(["<0xF0>".into(), "<unk>".into()]);
            }
            let tokenizer = grown(&mut draw, symbols, &starts, &options);
            segments += compare(&mut draw, &tokenizer, false, str::to_owned);
        }
        assert!(segments > 300 * 150, "{segments}");
    }
}
