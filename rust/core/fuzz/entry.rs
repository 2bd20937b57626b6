//! What is fuzzed: whatever the bytes, the readers give a value or an error, and what they gave can be used.
#![allow(clippy::unwrap_used)]

use oxiformers_core::tokenizer::bpe::BpeOptions;
use oxiformers_core::tokenizer::{
    Bpe, Input, Model, SentencePiece, SentencePieceModel, Sequence, Settings, Tiktoken, Tokenizer, Vocab,
};
use std::sync::OnceLock;

const TEXTS: [&str; 4] = [
    "",
    "Hello, wörld! unable 123 <s>[MASK]\u{2581}",
    "  a\tb\u{301}中文\u{1f600}\r\n",
    "ab</w>##able aaaaaaaa'll",
];

/// Encodes in both ways, which must agree, and decodes.
fn encode(tokenizer: &Tokenizer, text: &str) {
    let input = [Input { first: Sequence::Text(text), second: None }];
    let settings = Settings::default();
    let Ok(encodings) = tokenizer.encode_batch(&input, &settings) else { return };
    let characters = text.chars().count() as u32;
    for encoding in &encodings {
        // Bytes of a prefix or suffix may lie beyond the text, nothing else.
        let beyond = matches!(tokenizer.model(), Model::Bpe(model) if model.settings().byte_fallback);
        assert!(beyond || encoding.offsets.iter().all(|(start, end)| start <= end && *end <= characters));
        let packed = tokenizer.encode_packed(&input, &settings).unwrap();
        assert_eq!(encoding.ids.iter().map(|id| i64::from(*id)).collect::<Vec<_>>(), packed.input_ids);
        let _text = tokenizer.decode(&encoding.ids, true);
    }
}

/// A tokenizer.json.
pub fn tokenizer_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(tokenizer) = Tokenizer::from_json(text, "file") else { return };
    TEXTS.iter().for_each(|text| encode(&tokenizer, text));
    let written = tokenizer.to_json(false).unwrap();
    let again = Tokenizer::from_json(&written, "file").unwrap();
    assert_eq!(again.to_json(false).unwrap(), written);
}

/// A sentencepiece model.
pub fn sentencepiece(data: &[u8]) {
    if let Ok(model) = SentencePieceModel::from_bytes(data, "file") {
        let merges = model.merges(None, true);
        let vocab = Vocab::with_repeats(model.pieces().map(|piece| piece.0));
        if let Ok(merges) = merges {
            let _model = Bpe::new(vocab, merges, BpeOptions::default());
        }
    }
    if let Ok(model) = SentencePiece::new(data.to_vec(), "file", None, None) {
        let tokenizer = Tokenizer::from_model(Model::SentencePiece(Box::new(model)), "{}").unwrap();
        TEXTS.iter().for_each(|text| encode(&tokenizer, text));
    }
}

/// A tiktoken file.
pub fn tiktoken(data: &[u8]) {
    let Ok(file) = Tiktoken::from_bytes(data, "file") else { return };
    let vocab = Vocab::new(file.tokens.iter().map(|(token, id)| (token.as_str(), *id))).unwrap();
    let options = BpeOptions { ignore_merges: true, ..BpeOptions::default() };
    let model = Bpe::new(vocab, file.merges(), options).unwrap();
    let tokenizer = Tokenizer::from_model(
        Model::Bpe(Box::new(model)),
        r#"{"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}}"#,
    );
    TEXTS.iter().for_each(|text| encode(tokenizer.as_ref().unwrap(), text));
}

/// A text: its first byte says which tokenizer gets it.
pub fn text(data: &[u8]) {
    static TOKENIZERS: OnceLock<Vec<Tokenizer>> = OnceLock::new();
    let tokenizers = TOKENIZERS
        .get_or_init(|| SEEDS.iter().map(|seed| Tokenizer::from_json(seed, "seed").unwrap()).collect());
    let Some((first, rest)) = data.split_first() else { return };
    encode(&tokenizers[usize::from(*first) % tokenizers.len()], &String::from_utf8_lossy(rest));
}

/// Tokenizers of every model, with components of every kind.
const SEEDS: [&str; 5] = [
    include_str!("seeds/tokenizer_json/wordpiece.json"),
    include_str!("seeds/tokenizer_json/bytelevel.json"),
    include_str!("seeds/tokenizer_json/bpe.json"),
    include_str!("seeds/tokenizer_json/unigram.json"),
    include_str!("seeds/tokenizer_json/clip.json"),
];
