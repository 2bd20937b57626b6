//! The short way to ids equals the plain way, on random text made of what normalization and splitting tell apart.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use oxiformers_core::tokenizer::{
    AddedToken, Encoding, Input, Padding, PaddingLength, Rows, Sequence, Settings, Side, Truncation,
    TruncationStrategy, Wanted,
};
use support::{Draw, normalizers, tokenizer};

const ALPHABET: &[&str] = &[
    "a",
    "b",
    "ab",
    "un",
    "able",
    "X",
    "É",
    "ß",
    "İ",
    "ж",
    "中",
    "文",
    "\u{f900}",
    "한",
    "각",
    "\u{1112}",
    "あ",
    " ",
    "  ",
    "\t",
    "\n",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{b}",
    "\u{85}",
    ".",
    ",",
    "'",
    "「",
    "\u{37e}",
    "\u{1fef}",
    "≠",
    "\0",
    "\u{1}",
    "\u{200b}",
    "\u{fffd}",
    "\u{301}",
    "\u{323}",
    "\u{302e}",
    "\u{1d165}",
    "\u{f73}",
    "\u{f74}",
    "\u{344}",
    "[MASK]",
    "[CLS]",
    "[",
    "##",
    "😀",
    "aaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaa",
    "new york",
    "0123456789abcdef",
];

fn text(draw: &mut Draw) -> String {
    let length = draw.below(24);
    (0..length).map(|_| ALPHABET[draw.below(ALPHABET.len())]).collect()
}

fn ids(parts: &[Rows]) -> Vec<Vec<u32>> {
    parts.iter().flat_map(|part| part.ranges().map(|range| part.ids[range].to_vec())).collect()
}

fn settings(draw: &mut Draw) -> Settings {
    let side = |draw: &mut Draw| if draw.below(2) == 0 { Side::Left } else { Side::Right };
    let strategies =
        [TruncationStrategy::LongestFirst, TruncationStrategy::OnlyFirst, TruncationStrategy::OnlySecond];
    let strategy = strategies[draw.below(3)];
    let truncation = Truncation { strategy, max_length: 3 + draw.below(20), stride: 0, side: side(draw) };
    Settings {
        add_special_tokens: draw.below(2) == 0,
        split_special_tokens: draw.below(4) == 0,
        truncation: (draw.below(3) > 0).then_some(truncation),
        padding: None,
        overflow: false,
    }
}

#[test]
fn ids_types_and_masks_are_equal() {
    let mut draw = Draw::new(11);
    let odd = AddedToken {
        content: "ab".into(),
        single_word: true,
        lstrip: true,
        rstrip: true,
        normalized: false,
        special: true,
    };
    let flags = |content: &str, single_word, lstrip| AddedToken {
        content: content.into(),
        single_word,
        lstrip,
        rstrip: false,
        normalized: true,
        special: false,
    };
    // Found in the normalized text: alone, and where texts can't be cut at spaces.
    let found =
        [vec![flags("X", false, true), flags(" é", false, false)], vec![flags("new york", true, false)]];
    // Words by table, and parts of texts remembered.
    let splits = ["BertPreTokenizer", "Whitespace"];
    for (normalizer, split) in normalizers().iter().flat_map(|one| splits.map(|split| (one, split))) {
        let plain = tokenizer(normalizer, split);
        let mut all = vec![plain.clone(), plain.with_added_tokens(vec![odd.clone()]).unwrap()];
        all.extend(found.iter().map(|tokens| plain.with_added_tokens(tokens.clone()).unwrap()));
        for round in 0..2000 {
            let tokenizer = &all[round % all.len()];
            let (first, second) = (text(&mut draw), text(&mut draw));
            let words: Vec<&str> = second.split(' ').collect();
            let inputs = [
                Input { first: Sequence::Text(&first), second: None },
                Input { first: Sequence::Text(&first), second: Some(Sequence::Text(&second)) },
                Input { first: Sequence::Words(&words), second: Some(Sequence::Text(&first)) },
            ];
            let settings = settings(&mut draw);
            let wanted = Wanted { type_ids: true, special_tokens_mask: true, offsets: false };
            for input in inputs {
                let expected = tokenizer.encode_batch(&[input], &settings);
                let found = tokenizer.encode_rows(&[input], &settings, wanted);
                let (expected, found) = match (expected, found) {
                    (Ok(expected), Ok(found)) => (expected, found),
                    (Err(left), Err(right)) => {
                        assert_eq!(left.to_string(), right.to_string());
                        continue;
                    }
                    (left, right) => panic!("{left:?} but {right:?} for {input:?} with {settings:?}"),
                };
                let (expected, found) = (&expected[0], &found[0]);
                assert_eq!(found.ids, expected.ids, "{input:?} with {settings:?}");
                assert_eq!(found.special, expected.special, "{input:?} with {settings:?}");
                let mut types = found.type_ids.clone();
                types.resize(expected.len(), 0);
                assert_eq!(types, expected.type_ids, "{input:?} with {settings:?}");
            }
        }
    }
}

#[test]
fn a_long_text_is_equal_whatever_the_window_ends_in() {
    let mut draw = Draw::new(3);
    let tokenizer = tokenizer(normalizers()[0], "BertPreTokenizer");
    for _ in 0..60 {
        // Longer than the first windows that a truncated text is read in.
        let text: String = (0..700).map(|_| text(&mut draw)).collect();
        let input = [Input { first: Sequence::Text(&text), second: None }];
        let whole = ids(&tokenizer.encode_rows(&input, &Settings::default(), Wanted::default()).unwrap());
        for max_length in [2, 3, 500, 1500, 4000, 100_000] {
            let truncation = Truncation {
                strategy: TruncationStrategy::LongestFirst,
                max_length,
                stride: 0,
                side: Side::Right,
            };
            let settings = Settings { truncation: Some(truncation), ..Settings::default() };
            let found = ids(&tokenizer.encode_rows(&input, &settings, Wanted::default()).unwrap());
            let detailed = tokenizer.encode_batch(&input, &settings).unwrap();
            let text_length = (max_length - 2).min(whole[0].len() - 2);
            assert_eq!(found[0][..=text_length], whole[0][..=text_length]);
            assert_eq!(found[0].len(), text_length + 2);
            assert_eq!(detailed[0].ids, found[0]);
        }
    }
}

#[test]
fn arrays_hold_rows_and_padding() {
    let tokenizer = tokenizer(normalizers()[0], "BertPreTokenizer");
    let texts = ["a b ab", "", "un"];
    let inputs = texts.map(|text| Input { first: Sequence::Text(text), second: None });
    for side in [Side::Left, Side::Right] {
        for (length, multiple_of) in [
            (PaddingLength::Longest, None),
            (PaddingLength::Longest, Some(4)),
            (PaddingLength::Fixed(9), Some(0)),
            (PaddingLength::Fixed(2), None),
        ] {
            let padding = Padding { length, multiple_of, side, id: 7, type_id: 3, token: "pad".into() };
            let settings = Settings { padding: Some(padding), ..Settings::default() };
            let wanted = Wanted { type_ids: true, special_tokens_mask: true, offsets: true };
            let arrays = tokenizer.encode_arrays(&inputs, &settings, wanted, true);
            if length == PaddingLength::Fixed(2) {
                assert!(arrays.is_err());
                continue;
            }
            let arrays = arrays.unwrap();
            let expected = tokenizer.encode_batch(&inputs, &settings).unwrap();
            let flat = |list: &dyn Fn(&Encoding) -> Vec<i64>| -> Vec<i64> {
                expected.iter().flat_map(list).collect()
            };
            let wide = |list: &[u32]| list.iter().map(|value| i64::from(*value)).collect::<Vec<_>>();
            let flags = |list: &[u8]| list.iter().map(|value| i64::from(*value)).collect::<Vec<_>>();
            assert_eq!(arrays.rows * arrays.columns, arrays.input_ids.len());
            assert_eq!(arrays.input_ids, flat(&|encoding| wide(&encoding.ids)));
            assert_eq!(arrays.token_type_ids.unwrap(), flat(&|encoding| wide(&encoding.type_ids)));
            assert_eq!(arrays.attention_mask.unwrap(), flat(&|encoding| flags(&encoding.attention)));
            assert_eq!(arrays.special_tokens_mask.unwrap(), flat(&|encoding| flags(&encoding.special)));
            let places = |encoding: &Encoding| {
                encoding.offsets.iter().flat_map(|place| [i64::from(place.0), i64::from(place.1)]).collect()
            };
            assert_eq!(arrays.offset_mapping.unwrap(), flat(&places));
        }
    }
}
