"""Every normalizer gives the text, and each of its characters the place in the original, that tokenizers gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxiformers._core import Tokenizer
from oxiformers.errors import ArgumentError, FormatError, UnsupportedError
from tests.core.charsmaps import charsmap, precompiled

RELAXED = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))

EACH_CHARACTER = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
BERT = {
    "type": "BertNormalizer",
    "clean_text": False,
    "handle_chinese_chars": False,
    "strip_accents": False,
    "lowercase": False,
}
STRIP = {"type": "Strip", "strip_left": True, "strip_right": True}
RULES = {
    "ﬁ": "fi",
    "é": "e",
    "e\u0301": "é",
    "a": "",
    "\r": "",
    "㎏": "kg",
    "b\u0301": "中",
    "中": "b\u0301b\u0301",
}


def sequence(*normalizers: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(normalizers)}


def replace(kind: str, pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def prepend(prefix: str) -> dict[str, Any]:
    return {"type": "Prepend", "prepend": prefix}


def tree(normalizer: Any) -> str:
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
    parts = {
        "normalizer": normalizer,
        "pre_tokenizer": EACH_CHARACTER,
        "post_processor": None,
        "decoder": None,
    }
    return json.dumps(
        {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], **parts, "model": model}
    )


class Both:
    """A normalizer in our core and in tokenizers."""

    def __init__(self, normalizer: Any) -> None:
        self.ours = Tokenizer.from_str(tree(normalizer))
        self.theirs = tokenizers.Tokenizer.from_str(tree(normalizer))

    def expected(self, text: str) -> tuple[str, list[tuple[int, int]]] | None:
        """The text and its places; None where tokenizers does not survive the text."""
        try:
            places = self.theirs.encode(text, add_special_tokens=False).offsets
            return self.theirs.normalizer.normalize_str(text), places
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            return None

    def found(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        encoding = self.ours.encode_batch([text], add_special_tokens=False)[0]
        return self.ours.normalize(text), encoding.offsets

    def check(self, text: str) -> None:
        expected, found = self.expected(text), self.found(text)
        assert expected is None or found == expected, ascii(text)


ALPHABET = [
    *" \t\n\r\x00\x01\x0b\x1f\x7f\x85\x8f\x9f\xa0\xad abAB-.019",
    *"éÉçßŸİıſǅΣσς\u1ec7\u1e69\u0958\u0cca",
    *"\u0301\u0308\u0316\u0323\u0327\u0334\u0344\u0345\u0f71\u0f73\u093c\u094d\u302f\U0001d165",
    *"가각\u1100\u1161\u11a8\u11a7ﬁ①㎏ｱﾊﾟＡ½ﷺ…™中。\uf900\U0002f800",
    *"👩\u200d👧👍🏽🇫🇷\ufe0f\u0600क\u200b\u200f\u2028\u2581\u3000\ufeff\ufffdิำ",
    *["\r\n", "e\u0301", "  ", "b\u0301", "क्षि"],
]
TEXTS = st.lists(st.sampled_from(ALPHABET) | st.characters(codec="utf-8"), max_size=16).map("".join)
KEYS = [part for part in ALPHABET if part != "\x00"]
CONTENTS = st.sampled_from(["", "▁", " ", "xy", "\u0301", "<unk>"])
SIMPLE = st.one_of(
    st.sampled_from(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"]).map(
        lambda kind: {"type": kind}
    ),
    st.fixed_dictionaries(
        {"type": st.just("Strip"), "strip_left": st.booleans(), "strip_right": st.booleans()}
    ),
    st.builds(prepend, st.sampled_from(["▁", "xy", "", " "])),
    st.builds(
        replace, st.just("String"), st.sampled_from(["a", " ", "  ", "▁", "e\u0301", "\n", "中"]), CONTENTS
    ),
    st.builds(
        replace, st.just("Regex"), st.sampled_from([r"\s+", " {2,}", "[a-z]", r"\A", "(?=b)", "x*"]), CONTENTS
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("BertNormalizer"),
            "clean_text": st.booleans(),
            "handle_chinese_chars": st.booleans(),
            "strip_accents": st.none() | st.booleans(),
            "lowercase": st.booleans(),
        }
    ),
    st.just(precompiled(charsmap(RULES))),
)
NORMALIZERS = SIMPLE | st.recursive(
    SIMPLE, lambda inner: st.builds(lambda all: sequence(*all), st.lists(inner, max_size=4)), max_leaves=6
)


@RELAXED
@given(normalizer=NORMALIZERS, texts=st.lists(TEXTS, min_size=1, max_size=8))
def test_random_pipelines(normalizer: dict[str, Any], texts: list[str]) -> None:
    both = Both(normalizer)
    assert json.loads(both.ours.to_str())["normalizer"] == json.loads(both.theirs.to_str())["normalizer"]
    for text in texts:
        both.check(text)


@RELAXED
@given(
    rules=st.dictionaries(
        st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map("".join),
        st.text("ab é中\u0301", max_size=4),
        max_size=12,
    ),
    texts=st.lists(TEXTS, min_size=1, max_size=6),
)
def test_random_charsmaps(rules: dict[str, str], texts: list[str]) -> None:
    both = Both(precompiled(charsmap(rules)))
    for text in [*texts, "".join(rules), " ".join(rules)]:
        both.check(text)


@RELAXED
@given(
    damage=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12),
    length=st.none() | st.integers(0, 4000),
    texts=st.lists(TEXTS, min_size=1, max_size=4),
)
def test_damaged_charsmaps(damage: list[tuple[int, int]], length: int | None, texts: list[str]) -> None:
    """Refused, or harmless: as tokenizers has it where that survives it."""
    data = bytearray(charsmap(RULES))
    for at, byte in damage:
        data[at % len(data)] = byte
    normalizer = precompiled(bytes(data[:length]))
    try:
        Tokenizer.from_str(tree(normalizer))
    except FormatError:
        with pytest.raises(FormatError, match="precompiled_charsmap"):
            Tokenizer.from_str(tree(normalizer))
        return
    both = Both(normalizer)
    for text in [*texts, "".join(RULES)]:
        both.check(text)


def code_points() -> Iterator[str]:
    """All that are assigned lie in these planes; of the others some."""
    for plane in range(17):
        step = 1 if plane in (0, 1, 2, 3, 14) else 61
        points = range(plane << 16, (plane + 1) << 16, step)
        yield "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


SWEPT = [
    *(
        {"type": kind}
        for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel")
    ),
    *(
        BERT | {option: True}
        for option in ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    ),
    precompiled(charsmap(RULES | {"x": "y"})),
]


@pytest.mark.parametrize("normalizer", SWEPT, ids=lambda normalizer: next(iter(normalizer.values())))
def test_every_code_point(normalizer: dict[str, Any]) -> None:
    both = Both(normalizer)
    for plane in code_points():
        text = "".join(f"x{point}\ne{point}\u0323" for point in plane)
        theirs = both.theirs.normalizer.normalize_str(text)
        if both.ours.normalize(text) != theirs:
            wrong = [
                f"U+{ord(c):04X}"
                for c in plane
                if both.ours.normalize(c) != both.theirs.normalizer.normalize_str(c)
            ]
            pytest.fail(f"{normalizer}: {wrong or 'only in context'}")


ODD = [
    # What is put before everything stands for nothing of the original.
    (prepend(""), "abc"),
    (replace("String", "", "-"), "a b"),
    (replace("Regex", r"\A", "▁"), "abc"),
    (sequence(STRIP, prepend("")), "  abc"),
    # It is out of reach of what comes after, which writes the whole text behind it.
    (sequence(prepend(""), {"type": "StripAccents"}), "a\u0301b\u0301"),
    (sequence(replace("Regex", r"\A", "▁"), STRIP), "a  "),
    # A first character that becomes nothing moves all places by one.
    (precompiled(charsmap(RULES)), "abab"),
    (precompiled(charsmap(RULES)), "baba"),
    # Marks take places in the order they have after sorting.
    ({"type": "NFD"}, "a\u0323\u0301\u0316é\u0323"),
    ({"type": "NFC"}, "e\u0323\u0301\u0302a\u0344\u0316"),
    ({"type": "NFKC"}, "ﷺ\u1100\u1161\u11a8ﬁ\u0301"),
]


@pytest.mark.parametrize(("normalizer", "text"), ODD)
def test_odd_places(normalizer: dict[str, Any], text: str) -> None:
    both = Both(normalizer)
    assert both.found(text) == both.expected(text)


def test_where_tokenizers_does_not_survive() -> None:
    both = Both(sequence(prepend(""), {"type": "Lowercase"}))
    assert both.expected("ABC") is None
    assert both.found("ABC") == ("abc", [(0, 0), (1, 2), (2, 3)])


READ = [
    {"type": "Bert", **{key: value for key, value in BERT.items() if key != "type"}},
    {key: value for key, value in BERT.items() if key not in ("type", "strip_accents")},
    {"type": "StripNormalizer", "strip_left": True, "strip_right": False},
    {"strip_left": False, "strip_right": True},
    {"normalizers": [{"type": "NFC"}]},
    {"pattern": {"String": "a"}, "content": "b"},
    {"prepend": "▁"},
    {"type": "Lowercase", "language": "tr"},
    {"type": "Precompiled", "precompiled_charsmap": "AAAAAA"},
    sequence(),
]


@pytest.mark.parametrize("normalizer", READ)
def test_spellings(normalizer: dict[str, Any]) -> None:
    both = Both(normalizer)
    assert json.loads(both.ours.to_str())["normalizer"] == json.loads(both.theirs.to_str())["normalizer"]


REFUSED = [
    ({"type": "Foo"}, UnsupportedError, "normalizer.type"),
    ({"type": "Foo", "strip_left": True, "strip_right": True}, UnsupportedError, "normalizer.type"),
    ({"type": "nfc"}, UnsupportedError, "one of"),
    ({"type": 3}, FormatError, "normalizer.type"),
    ({}, FormatError, "normalizer.type"),
    ("NFC", FormatError, "an object"),
    ({"type": "Strip", "strip_left": True}, FormatError, "normalizer.strip_right"),
    ({"type": "Strip", "strip_left": 1, "strip_right": True}, FormatError, "normalizer.strip_left"),
    ({"type": "Sequence"}, FormatError, "normalizer.normalizers"),
    (sequence({"type": "NFC"}, {"type": "Foo"}), UnsupportedError, r"normalizer.normalizers\[1\].type"),
    (sequence() | {"normalizers": [None]}, FormatError, r"normalizer.normalizers\[0\]"),
    (prepend("") | {"prepend": None}, FormatError, "normalizer.prepend"),
    (replace("String", "a", "b") | {"pattern": "a"}, FormatError, "normalizer.pattern"),
    (replace("Regex", "a(", "b"), FormatError, "normalizer.pattern.Regex"),
    ({"type": "Precompiled", "precompiled_charsmap": "A"}, FormatError, "base64"),
    ({"type": "Precompiled", "precompiled_charsmap": ""}, FormatError, "4 bytes"),
    ({"type": "Precompiled", "precompiled_charsmap": "/////w=="}, FormatError, "trie"),
    ({"type": "Precompiled", "precompiled_charsmap": "AAAAAP8="}, FormatError, "UTF-8"),
]


@pytest.mark.parametrize(("normalizer", "error", "words"), REFUSED)
def test_refused(normalizer: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Tokenizer.from_str(tree(normalizer))


def test_growth_is_bounded() -> None:
    doubling = Tokenizer.from_str(tree(sequence(*[replace("String", "a", "aa")] * 64)))
    assert doubling.normalize("b") == "b"
    with pytest.raises(ArgumentError, match="at most"):
        doubling.normalize("a")
    long = Tokenizer.from_str(tree(replace("String", "a", "b" * 5000)))
    assert len(long.normalize("a" * 100)) == 500_000
    with pytest.raises(ArgumentError, match="at most"):
        long.normalize("a" * 100_000)


@pytest.mark.parametrize(
    "name", ["t5-small", "albert-base-v2", "xlm-roberta-base", "pegasus", "llama-2", "qwen2.5"]
)
def test_tokenizers_in_use(shared: Path, name: str) -> None:
    file = shared / "tokenizers" / name / "tokenizer.json"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    both = Both(json.loads(file.read_text(encoding="utf-8"))["normalizer"])
    for corpus in ("multilingual", "cjk"):
        text = (shared / "corpora" / f"{corpus}.txt").read_text(encoding="utf-8")[:60_000]
        assert both.found(text) == both.expected(text)
