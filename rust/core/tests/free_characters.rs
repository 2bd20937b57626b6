//! What characters become one by one is what the normalizer makes of the text.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use oxiformers_core::tokenizer::{
    BertNormalizer, Edges, Form, FreeCharacters, Normalizer, Pattern, Precompiled, Replace, Strip, characters,
};
use std::borrow::Cow;
use support::{Draw, charsmap};

/// What normalizers tell apart, and characters that join their neighbours in one way or another.
const PARTS: &[&str] = &[
    "a",
    "b",
    "ab",
    "A",
    "İ",
    "é",
    "e\u{301}",
    "ﬁ",
    "中",
    "文",
    "が",
    "か\u{3099}",
    "ｶﾞ",
    "，",
    "ﷺ",
    "①",
    "각",
    "\u{1100}",
    "\u{1161}",
    "\u{11A8}",
    "\u{1100}\u{1161}\u{11A8}",
    "\u{0928}\u{093C}",
    "\u{09C7}\u{09BE}",
    "\u{301}",
    "\u{323}",
    "\u{345}",
    "\u{200D}",
    "\u{200B}",
    "😀",
    "👩\u{200D}🚀",
    "🇩🇪",
    "🇩",
    "\u{600}",
    "\u{E33}",
    " ",
    "  ",
    "\u{a0}",
    "\u{3000}",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\u{1}",
    "`",
    "'",
    "``",
    "''",
    "▁",
    "ß",
    "ẞ",
    "\u{212B}",
    "\u{1D15E}",
    "\u{FB1D}",
    "\u{2126}",
    "\u{FEFF}",
    "\u{AD}",
    "\u{302E}",
    "\u{1D165}",
];

fn of<'p>(draw: &mut Draw, parts: &[&'p str]) -> &'p str {
    parts[draw.below(parts.len())]
}

fn step(draw: &mut Draw) -> Normalizer {
    let flag = |draw: &mut Draw| draw.below(2) == 0;
    match draw.below(16) {
        0 => Normalizer::Form(Form::Nfc),
        1 => Normalizer::Form(Form::Nfd),
        2 => Normalizer::Form(Form::Nfkc),
        3 => Normalizer::Form(Form::Nfkd),
        4 | 5 => Normalizer::Lowercase,
        6 => Normalizer::Strip(Strip { left: flag(draw), right: flag(draw) }),
        7 | 8 => Normalizer::StripAccents,
        9 => Normalizer::Nmt,
        10 => Normalizer::Prepend(of(draw, &["▁", "a", "e", "か", ""]).to_owned()),
        11 => Normalizer::ByteLevel,
        12 => Normalizer::Bert(BertNormalizer {
            clean_text: flag(draw),
            handle_chinese_chars: flag(draw),
            strip_accents: [None, Some(true), Some(false)][draw.below(3)],
            lowercase: flag(draw),
        }),
        13 => {
            let rules = [(b'a', "é"), (b'b', ""), (b'\r', "c"), (b' ', "▁"), (b'\'', "\u{301}")];
            let map = charsmap(&rules[..draw.below(rules.len() + 1)]);
            Normalizer::Precompiled(Precompiled::new(&map).unwrap())
        }
        _ => {
            let pattern = match draw.below(3) {
                0 => Pattern::regex(of(draw, &[r"\s+", " {2,}", "[ab]+", "^"])).unwrap(),
                _ => Pattern::Literal(of(draw, &["a", "ab", "``", " ", "  ", "e", "か\u{3099}"]).to_owned()),
            };
            Normalizer::Replace(Replace::new(pattern, of(draw, &["b", "", " ", "▁", "ab", "\u{301}"])))
        }
    }
}

#[test]
fn what_is_found_by_characters_is_what_the_normalizer_makes() {
    let mut draw = Draw::new(1);
    let (mut found, mut kept) = (0, 0);
    for _ in 0..4000 {
        let steps = 1 + draw.below(4);
        let normalizer = match steps {
            1 => step(&mut draw),
            _ => Normalizer::Sequence((0..steps).map(|_| step(&mut draw)).collect()),
        };
        let Some(free) = FreeCharacters::new(&normalizer) else { continue };
        for _ in 0..40 {
            let length = draw.below(14);
            let part = |draw: &mut Draw| match draw.below(12) {
                0 => char::from_u32(draw.below(0x1_2000) as u32).map(String::from).unwrap_or_default(),
                _ => of(draw, PARTS).to_owned(),
            };
            let text: String = (0..length).map(|_| part(&mut draw)).collect();
            let edges = Edges { start: draw.below(2) == 0, end: draw.below(2) == 0 };
            let mut whole = characters(&text, 1);
            normalizer.apply(&mut whole, edges).unwrap();
            let expected: String = whole.iter().map(|character| character.value).collect();
            let normalized = free.normalize(&normalizer, &text, edges).unwrap();
            assert_eq!(normalized, expected, "{text:?} {edges:?} {normalizer:?}");
            found += 1;
            kept += usize::from(matches!(normalized, Cow::Borrowed(_)));
        }
    }
    assert!(found > 60_000 && kept > 1000, "{found} {kept}");
}

#[test]
fn every_character_between_others() {
    let chains = [
        vec![Normalizer::Form(Form::Nfkc), Normalizer::Lowercase],
        vec![Normalizer::Form(Form::Nfkd), Normalizer::StripAccents, Normalizer::Lowercase],
        vec![Normalizer::Form(Form::Nfc)],
        vec![Normalizer::Precompiled(Precompiled::new(&[0; 4]).unwrap())],
    ];
    for chain in chains {
        let normalizer = Normalizer::Sequence(chain);
        let free = FreeCharacters::new(&normalizer).unwrap();
        for c in (0..0x3_0000).chain(0xE_0000..0xE_0200).filter_map(char::from_u32) {
            let text = String::from_iter(['中', c, 'e', c, c, '각']);
            let expected = normalizer.normalize(&text).unwrap();
            assert_eq!(free.normalize(&normalizer, &text, Edges::BOTH).unwrap(), expected, "{text:?}");
        }
    }
}
