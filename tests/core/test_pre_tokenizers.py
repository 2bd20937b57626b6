"""Every pre-tokenizer cuts the words, at the places, that tokenizers cuts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxiformers._core import Tokenizer
from oxiformers.errors import FormatError, UnsupportedError
from tests.core.component_strategies import KNOWN_PATTERNS
from tests.core.text_strategies import PIECES

RELAXED = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def split(pattern: dict[str, str], behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(*pre_tokenizers: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(pre_tokenizers)}


def metaspace(**fields: Any) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True} | fields


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
EACH = [
    {"type": "BertPreTokenizer"},
    {"type": "Whitespace"},
    {"type": "WhitespaceSplit"},
    {"type": "UnicodeScripts"},
    {"type": "CharDelimiterSplit", "delimiter": "a"},
    {"type": "FixedLength", "length": 3},
    *({"type": "Digits", "individual_digits": alone} for alone in (True, False)),
    *({"type": "Punctuation", "behavior": behavior} for behavior in BEHAVIORS),
    *(
        BYTE_LEVEL | {"add_prefix_space": prefix, "use_regex": regex}
        for prefix in (True, False)
        for regex in (True, False)
    ),
    *(
        metaspace(prepend_scheme=scheme, split=cut)
        for scheme in ("always", "first", "never")
        for cut in (True, False)
    ),
    *(split({"String": " "}, behavior, invert) for behavior in BEHAVIORS for invert in (True, False)),
    *(
        split({"Regex": r"\d+|[a-z](?!\s)"}, behavior, invert)
        for behavior in BEHAVIORS
        for invert in (True, False)
    ),
    *(split({"Regex": pattern}) for pattern in KNOWN_PATTERNS),
    *(split({"Regex": pattern}, "Removed", True) for pattern in KNOWN_PATTERNS),
]


class Both:
    """A pre-tokenizer in our core and in tokenizers, before a model that knows bytes as characters and no others."""

    def __init__(self, pre_tokenizer: dict[str, Any]) -> None:
        alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
        vocab = {token: index for index, token in enumerate(["[UNK]", "▁", *alphabet])}
        words = {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
        letters = {"type": "BPE", "vocab": vocab, "merges": [], "unk_token": "[UNK]"}
        parts: dict[str, Any] = {
            "added_tokens": [],
            "normalizer": None,
            "post_processor": None,
            "decoder": None,
        }
        trees = [
            json.dumps({"version": "1.0", **parts, "pre_tokenizer": pre_tokenizer, "model": model})
            for model in (words, letters)
        ]
        self.pairs = [(Tokenizer.from_str(tree), tokenizers.Tokenizer.from_str(tree)) for tree in trees]

    def check(self, text: str) -> None:
        for ours, theirs in self.pairs:
            expected = theirs.encode(text, add_special_tokens=False)
            found = ours.encode_batch([text], add_special_tokens=False)[0]
            for field in ("offsets", "ids", "word_ids"):
                assert getattr(found, field) == getattr(expected, field), (field, text)
            assert ours.encode_batch_flat([text], False)[0].tolist() == expected.ids


TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=20).map("".join)


@RELAXED
@given(
    pre_tokenizer=st.lists(st.sampled_from(EACH), min_size=1, max_size=3), texts=st.lists(TEXTS, max_size=5)
)
def test_one_after_another(pre_tokenizer: list[dict[str, Any]], texts: list[str]) -> None:
    both = Both(sequence(*pre_tokenizer))
    for text in texts:
        both.check(text)


SAMPLE = (
    "Hello, world!  It's 2024;  it'LL cost $1,234.50 (naïve café).\r\n\n\tdéjà-vu 中文字。ｱﾊﾟ「x」 "
    "#hashtag @user e\u0301 \u200b\u200d👩\u200d👧 ½²Ⅷ٣ \u00a0\u3000end   "
)


@pytest.mark.parametrize("pre_tokenizer", EACH, ids=lambda value: value["type"])
def test_each(pre_tokenizer: dict[str, Any]) -> None:
    both = Both(pre_tokenizer)
    for text in ("", " ", "a", "\n", SAMPLE, SAMPLE[::-1], SAMPLE.upper(), "  " + SAMPLE * 3):
        both.check(text)


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        *({"type": kind} for kind in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts")),
        {"type": "Punctuation"},
        {"type": "Digits", "individual_digits": False},
        *map(split, [{"Regex": p} for p in KNOWN_PATTERNS[:5]]),
    ],
    ids=lambda value: value["type"],
)
def test_every_code_point(pre_tokenizer: dict[str, Any]) -> None:
    """Before and after letters, and after another of its kind."""
    ours, theirs = Both(pre_tokenizer).pairs[0]
    for start in (*range(0, 0x33480, 4096), 0xE0000):
        points = [chr(code) for code in range(start, start + 4096) if not 0xD800 <= code < 0xE000]
        text = "".join(f"x{point}a{point}{point} " for point in points)
        expected = theirs.encode(text, add_special_tokens=False).offsets
        assert ours.encode_batch([text], add_special_tokens=False)[0].offsets == expected, (
            f"from U+{start:04X}"
        )


READ = [
    {"type": "Digits", "individual_digits": True, "more": 1},
    {"type": "Punctuation"},
    {"type": "Metaspace", "replacement": "_"},
    {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False, "prepend_scheme": "never"},
    {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "prepend_scheme": "first"},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
    {"type": "FixedLength"},
    {"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated", "invert": False, "more": None},
    sequence(),
]


@pytest.mark.parametrize("pre_tokenizer", READ)
def test_spellings(pre_tokenizer: dict[str, Any]) -> None:
    both = Both(pre_tokenizer)
    both.check(SAMPLE)
    ours, theirs = both.pairs[0]
    assert json.loads(ours.to_str())["pre_tokenizer"] == json.loads(theirs.to_str())["pre_tokenizer"]


@pytest.mark.parametrize(
    ("pre_tokenizer", "error"),
    [
        ({"type": "Foo"}, UnsupportedError),
        ({"type": "whitespace"}, UnsupportedError),
        ({"type": "Digits"}, FormatError),
        ({"type": "CharDelimiterSplit", "delimiter": "ab"}, FormatError),
        ({"type": "Metaspace", "replacement": "ab"}, FormatError),
        ({"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}, FormatError),
        ({"type": "FixedLength", "length": 0}, FormatError),
        (split({"String": "a"}, "isolated"), UnsupportedError),
        (split({"String": "a", "Regex": "a"}), FormatError),
        (split({"Glob": "a"}), FormatError),
        (sequence({"type": "Whitespace"}, {"type": "Foo"}), UnsupportedError),
    ],
)
def test_refused(pre_tokenizer: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="pre_tokenizer"):
        Both(pre_tokenizer)


@pytest.mark.parametrize(
    "name", ["gpt2", "llama-3", "qwen2.5", "gpt-oss-o200k", "llama-2", "t5-small", "clip-vit-base-patch32"]
)
def test_tokenizers_in_use(shared: Path, name: str) -> None:
    file = shared / "tokenizers" / name / "tokenizer.json"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    pre_tokenizer = json.loads(file.read_text(encoding="utf-8"))["pre_tokenizer"]
    if pre_tokenizer is None:
        pytest.skip(f"{name} has no pre-tokenizer")
    both = Both(pre_tokenizer)
    for corpus in ("multilingual", "cjk", "code"):
        both.check((shared / "corpora" / f"{corpus}.txt").read_text(encoding="utf-8")[:40_000])
