//! Decoders and streams: fixed answers (checked against tokenizers 0.23.3), and files that are refused.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use oxiformers_core::Error;
use oxiformers_core::tokenizer::{DecodeStream, Tokenizer};
use std::sync::Arc;
use support::Draw;

const TOKENS: [&str; 14] = [
    "[UNK]", "▁a", "b▁", "<0xC3>", "<0xA9>", "<0xFF>", "Ġa", "Ã", "©", "##b", "a</w>", "</w>b", "<pad>", ".",
];

fn read(decoder: &str) -> Result<Tokenizer, Error> {
    let vocab: Vec<String> =
        TOKENS.iter().enumerate().map(|(id, token)| format!("{}: {id}", serde_json::json!(token))).collect();
    let json = format!(
        r#"{{"decoder": {decoder}, "model": {{"type": "WordLevel", "unk_token": "[UNK]", "vocab": {{{}}}}}}}"#,
        vocab.join(",")
    );
    Tokenizer::from_json(&json, "file")
}

fn sequence(decoders: &[&str]) -> String {
    format!(r#"{{"type": "Sequence", "decoders": [{}]}}"#, decoders.join(","))
}

const BYTE_LEVEL: &str = r#"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}"#;
const SPACES: &str = r#"{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}"#;
const FALLBACK: &str = r#"{"type": "ByteFallback"}"#;
const FUSE: &str = r#"{"type": "Fuse"}"#;
const STRIP: &str = r#"{"type": "Strip", "content": " ", "start": 1, "stop": 0}"#;

#[test]
fn fixed_answers() {
    let all: Vec<u32> = (1..TOKENS.len() as u32).collect();
    let cases = [
        ("null", "▁a b▁ <0xC3> <0xA9> <0xFF> Ġa Ã © ##b a</w> </w>b <pad> ."),
        (BYTE_LEVEL, "▁ab▁<0xC3><0xA9><0xFF> a\u{e9}##ba</w></w>b<pad>."),
        (FALLBACK, "▁ab▁\u{fffd}\u{fffd}\u{fffd}ĠaÃ©##ba</w></w>b<pad>."),
        (FUSE, "▁ab▁<0xC3><0xA9><0xFF>ĠaÃ©##ba</w></w>b<pad>."),
        (
            r###"{"type": "WordPiece", "prefix": "##", "cleanup": true}"###,
            "▁a b▁ <0xC3> <0xA9> <0xFF> Ġa Ã ©b a</w> </w>b <pad>.",
        ),
        (r#"{"type": "Metaspace", "replacement": "▁"}"#, "ab <0xC3><0xA9><0xFF>ĠaÃ©##ba</w></w>b<pad>."),
        (r#"{"type": "BPEDecoder", "suffix": "</w>"}"#, "▁ab▁<0xC3><0xA9><0xFF>ĠaÃ©##ba  b<pad>."),
        (
            r#"{"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "a", "cleanup": true}"#,
            "▁ b▁<0xC3><0xA9><0xFF>Ġ Ã©##b </w></w>b.",
        ),
    ];
    for (decoder, expected) in cases {
        assert_eq!(read(decoder).unwrap().decode(&all, false).unwrap(), expected, "{decoder}");
    }
    let chain = sequence(&[SPACES, FALLBACK, FUSE, STRIP]);
    let llama = read(&chain).unwrap();
    assert_eq!(llama.decode(&[1, 2, 3, 4, 1], false).unwrap(), "ab é a");
    assert_eq!(llama.decode(&[], false).unwrap(), "");
    assert_eq!(llama.decode(&[99, 1, 4_000_000_000], true).unwrap(), "a");
}

#[test]
fn legacy_forms_are_what_their_fields_say() {
    for (decoder, name) in [
        (r#"{"suffix": "</w>"}"#, "BPEDecoder"),
        (r#"{"prefix": "", "cleanup": true}"#, "WordPiece"),
        (r#"{"content": "a", "start": 1, "stop": 1}"#, "Strip"),
        (r#"{"pattern": {"String": "a"}, "content": ""}"#, "Replace"),
    ] {
        assert_eq!(read(decoder).unwrap().decoder().unwrap().name(), name);
    }
}

#[test]
fn wrong_decoders_are_refused_by_place() {
    for (decoder, place) in [
        (r#"{"type": "Nobody"}"#, "decoder.type"),
        (r#"{"type": "Metaspace", "replacement": "ab"}"#, "decoder.replacement"),
        (r#"{"type": "Strip", "content": "a", "start": -1, "stop": 0}"#, "decoder.start"),
        (r#"{"type": "Sequence", "decoders": [{"type": "Fuse"}, 3]}"#, "decoder.decoders[1]"),
    ] {
        match read(decoder) {
            Err(Error::Format { key, .. } | Error::Unsupported { key, .. }) => assert_eq!(key, place),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stream_gives_whole_characters_and_all_of_them() {
    for decoder in [BYTE_LEVEL.to_owned(), sequence(&[SPACES, FALLBACK, FUSE, STRIP]), "null".to_owned()] {
        let tokenizer = Arc::new(read(&decoder).unwrap());
        let mut draw = Draw::new(7);
        for _ in 0..300 {
            // Bytes that are no UTF-8 are left out: after them text given out before can change.
            let ids: Vec<u32> = (0..20).map(|_| [1, 2, 6, 9, 13][draw.below(5)]).collect();
            let mut stream = DecodeStream::new(tokenizer.clone(), false, &[]);
            let mut text = String::new();
            for id in &ids {
                text.push_str(&stream.step(&[*id]).unwrap().unwrap_or_default());
            }
            assert_eq!(text, tokenizer.decode(&ids, false).unwrap());
        }
    }
    let tokenizer = Arc::new(read(&sequence(&[SPACES, FALLBACK, FUSE, STRIP])).unwrap());
    let mut stream = DecodeStream::new(tokenizer.clone(), false, &[]);
    assert_eq!(stream.step(&[1]).unwrap().as_deref(), Some("a"));
    assert_eq!(stream.step(&[3]).unwrap(), None);
    assert_eq!(stream.clone().step(&[4]).unwrap().as_deref(), Some("é"));
    assert_eq!(stream.step(&[13]).unwrap().as_deref(), Some("\u{fffd}."));
    let mut stream = DecodeStream::new(tokenizer, false, &[1]);
    assert_eq!(stream.step(&[1]).unwrap().as_deref(), Some(" a"));
}

#[test]
fn replacements_do_not_fill_the_memory() {
    let long = "a".repeat(1000);
    let replace = format!(r#"{{"type": "Replace", "pattern": {{"String": "a"}}, "content": "{long}"}}"#);
    let doubling = r#"{"type": "BPEDecoder", "suffix": ""}"#;
    for decoders in [vec![replace.as_str(); 3], vec![doubling; 60]] {
        let tokenizer = read(&sequence(&decoders)).unwrap();
        assert!(matches!(tokenizer.decode(&[1, 1, 1], false), Err(Error::Argument { .. })));
    }
}
