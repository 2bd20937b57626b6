//! A small tokenizer and repeatable random numbers for tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code)]

use oxiformers_core::tokenizer::Tokenizer;

/// Normalizers as they stand in a tokenizer.json.
pub fn normalizers() -> &'static [&'static str] {
    &[
        r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}"#,
        r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": false}"#,
        r#"{"type": "BertNormalizer", "clean_text": false, "handle_chinese_chars": false, "strip_accents": true, "lowercase": true}"#,
        r#"{"type": "BertNormalizer", "clean_text": false, "handle_chinese_chars": true, "strip_accents": false, "lowercase": true}"#,
        "null",
    ]
}

/// The tokens of [`tokenizer`] in the order of their ids.
pub fn tokens() -> Vec<String> {
    let mut tokens: Vec<String> =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].iter().map(ToString::to_string).collect();
    let words = "ab un able aff ##aff ##able new york 中 文 ж ##ж é ## ##b## ss ##ss \u{1112}\u{1161}";
    let letters = (33..127u8).map(|byte| char::from(byte).to_string());
    let continued = (b'a'..=b'z').map(|byte| format!("##{}", char::from(byte)));
    tokens.extend(letters.chain(continued).chain(words.split(' ').map(str::to_owned)));
    tokens.extend(["a".repeat(16), format!("##{}", "a".repeat(16))]);
    tokens
}

/// A tokenizer.json with BERT's template.
pub fn json(normalizer: &str, pre_tokenizer: &str) -> String {
    let vocab: Vec<String> = tokens()
        .iter()
        .enumerate()
        .map(|(id, token)| format!("{}: {id}", serde_json::to_string(token).unwrap()))
        .collect();
    let added: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .iter()
        .enumerate()
        .map(|(id, token)| {
            format!(
                r#"{{"id": {id}, "content": "{token}", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}}"#
            )
        })
        .collect();
    format!(
        r####"{{
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [{}],
            "normalizer": {normalizer}, "pre_tokenizer": {{"type": "{pre_tokenizer}"}},
            "post_processor": {{"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}},
            "decoder": {{"type": "WordPiece", "prefix": "##", "cleanup": true}},
            "model": {{
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": {{{}}}
            }}
        }}"####,
        added.join(","),
        vocab.join(",")
    )
}

/// The tokenizer of [`json`].
pub fn tokenizer(normalizer: &str, pre_tokenizer: &str) -> Tokenizer {
    Tokenizer::from_json(&json(normalizer, pre_tokenizer), "test").unwrap()
}

/// Bytes as byte-level vocabularies write them, from the bytes that stand for themselves.
pub fn alphabet(bytes: &[u8]) -> String {
    let own = |byte: &u8| matches!(*byte, 33..=126 | 161..=172 | 174..=255);
    let character = |byte: &u8| match own(byte) {
        true => char::from(*byte),
        false => char::from_u32(256 + (0..*byte).filter(|other| !own(other)).count() as u32).unwrap(),
    };
    bytes.iter().map(character).collect()
}

/// A charsmap of one rule for each of some bytes.
pub fn charsmap(rules: &[(u8, &str)]) -> Vec<u8> {
    let mut cells = vec![0u32; 1024];
    let mut texts = Vec::new();
    cells[0] = 256 << 10;
    for (index, (byte, text)) in rules.iter().enumerate() {
        let at = 256 ^ usize::from(*byte);
        let leaf = 512 + index;
        cells[at] = u32::from(*byte) | 1 << 8 | ((leaf ^ at) as u32) << 10;
        cells[leaf] = 1 << 31 | texts.len() as u32;
        texts.extend_from_slice(text.as_bytes());
        texts.push(0);
    }
    let size = (cells.len() * 4) as u32;
    size.to_le_bytes()
        .into_iter()
        .chain(cells.iter().flat_map(|cell| cell.to_le_bytes()))
        .chain(texts)
        .collect()
}

/// Pseudo-random numbers (SplitMix64; Steele, Lea and Flood, 2014).
pub struct Draw(u64);

impl Draw {
    /// A repeatable sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
