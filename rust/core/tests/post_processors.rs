//! Post-processors: fixed answers (checked against tokenizers 0.23.3), and files that are refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use oxiformers_core::Error;
use oxiformers_core::tokenizer::{
    Encoding, Input, Sequence, Settings, Side, Tokenizer, Truncation, TruncationStrategy, Wanted,
};

const BERT: &str = r#"{"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}"#;
const ROBERTA: &str = r#"{"type": "RobertaProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1],
    "trim_offsets": true, "add_prefix_space": false}"#;
const BYTE_LEVEL: &str = r#"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}"#;
const TEMPLATE: &str = r#"{"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "start", "type_id": 3}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "B", "type_id": 5}}, {"SpecialToken": {"id": "start", "type_id": 4}},
             {"Sequence": {"id": "A", "type_id": 6}}],
    "special_tokens": {"start": {"id": "start", "ids": [1, 900], "tokens": ["[CLS]", "beyond"]}}}"#;

fn read(processor: &str) -> Result<Tokenizer, Error> {
    let json = format!(
        r#"{{"post_processor": {processor}, "model": {{"type": "WordLevel", "unk_token": "[UNK]",
            "vocab": {{"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, " b ": 4, "  c": 5}}}}}}"#
    );
    Tokenizer::from_json(&json, "file")
}

fn sequence(processors: &[&str]) -> String {
    format!(r#"{{"type": "Sequence", "processors": [{}]}}"#, processors.join(","))
}

fn encode(processor: &str, settings: &Settings) -> [Encoding; 2] {
    let first = Sequence::Words(&["a", " b ", "  c"]);
    let second = Some(Sequence::Words(&["a", "a"]));
    let tokenizer = read(processor).unwrap();
    let inputs = [Input { first, second: None }, Input { first, second }];
    let rows =
        tokenizer.encode_rows(&inputs, settings, Wanted { type_ids: true, ..Wanted::default() }).unwrap();
    let encodings: [Encoding; 2] = tokenizer.encode_batch(&inputs, settings).unwrap().try_into().unwrap();
    if settings.truncation.is_none() {
        let ids: Vec<u32> = rows.iter().flat_map(|part| part.ids.clone()).collect();
        assert_eq!(ids, encodings.iter().flat_map(|each| each.ids.clone()).collect::<Vec<u32>>());
    }
    encodings
}

#[test]
fn ids_and_types() {
    type Case<'c> = (&'c str, &'c [u32], &'c [u32], &'c [u32]);
    let cases: [Case<'_>; 6] = [
        ("null", &[3, 4, 5], &[3, 4, 5, 3, 3], &[0, 0, 0, 1, 1]),
        (BERT, &[1, 3, 4, 5, 2], &[1, 3, 4, 5, 2, 3, 3, 2], &[0, 0, 0, 0, 0, 1, 1, 1]),
        (ROBERTA, &[1, 3, 4, 5, 2], &[1, 3, 4, 5, 2, 2, 3, 3, 2], &[0; 9]),
        (BYTE_LEVEL, &[3, 4, 5], &[3, 4, 5, 3, 3], &[0, 0, 0, 1, 1]),
        (TEMPLATE, &[1, 900, 3, 4, 5], &[3, 3, 1, 900, 3, 4, 5], &[5, 5, 4, 4, 6, 6, 6]),
        (
            &sequence(&[BYTE_LEVEL, BERT, BERT]),
            &[1, 1, 3, 4, 5, 2, 2],
            &[1, 1, 3, 4, 5, 2, 2, 3, 3, 2, 2],
            &[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
        ),
    ];
    for (processor, single, pair, types) in cases {
        let [one, two] = encode(processor, &Settings::default());
        assert_eq!((one.ids.as_slice(), two.ids.as_slice()), (single, pair), "{processor}");
        assert_eq!(two.type_ids, types, "{processor}");
        let tokenizer = read(processor).unwrap();
        assert_eq!(tokenizer.num_special_tokens(false), single.len() - 3);
        assert_eq!(tokenizer.num_special_tokens(true), pair.len() - 5);
    }
}

#[test]
fn offsets_are_trimmed() {
    let plain = Settings { add_special_tokens: false, ..Settings::default() };
    let offsets = |processor: &str| encode(processor, &plain)[0].offsets.clone();
    assert_eq!(offsets("null"), [(0, 1), (0, 3), (0, 3)]);
    assert_eq!(offsets(ROBERTA), [(0, 1), (1, 2), (2, 3)]);
    // Its one leading space counts as the one that was put there.
    assert_eq!(offsets(BYTE_LEVEL), [(0, 1), (0, 2), (2, 3)]);
}

#[test]
fn parts_cut_off_are_processed_too() {
    let truncation =
        Truncation { strategy: TruncationStrategy::OnlyFirst, max_length: 6, stride: 0, side: Side::Right };
    let settings = Settings { truncation: Some(truncation), overflow: true, ..Settings::default() };
    let [_, pair] = encode(ROBERTA, &Settings { truncation: None, ..settings.clone() });
    assert!(pair.overflowing.is_empty());
    let [_, pair] = encode(BERT, &settings);
    assert_eq!(pair.ids, [1, 3, 2, 3, 3, 2]);
    let parts: Vec<&[u32]> = pair.overflowing.iter().map(|part| part.ids.as_slice()).collect();
    assert_eq!(parts, [[1, 4, 2, 3, 3, 2], [1, 5, 2, 3, 3, 2]]);
}

#[test]
fn wrong_processors_are_refused() {
    for (processor, place) in [
        (r#"{"type": "Nobody"}"#, "post_processor.type"),
        (r#"{"type": "BertProcessing", "cls": ["[CLS]", 1]}"#, "post_processor.sep"),
        (r#"{"type": "ByteLevel", "add_prefix_space": true}"#, "post_processor.trim_offsets"),
        (r#"{"type": "Sequence", "processors": [{}]}"#, "post_processor.processors[0].type"),
    ] {
        match read(processor) {
            Err(Error::Format { key, .. } | Error::Unsupported { key, .. }) => assert_eq!(key, place),
            other => panic!("{other:?}"),
        }
    }
    let twice = read(&sequence(&[TEMPLATE, TEMPLATE, TEMPLATE])).unwrap();
    let pair = Input { first: Sequence::Text("a"), second: Some(Sequence::Text("a")) };
    assert!(matches!(twice.encode_batch(&[pair], &Settings::default()), Err(Error::Argument { .. })));
}
