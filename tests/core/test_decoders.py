"""Every decoder and chains of them, on random tokens and on their legacy forms: the text equals tokenizers'."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxiformers._core import Tokenizer
from oxiformers.errors import FormatError, OxiformersError, UnsupportedError
from tests.core.reference import wordpiece

RELAXED = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))

BYTES = [
    f"<0x{byte:02X}>" for byte in (0x20, 0x41, 0xC3, 0xA9, 0xE2, 0x96, 0x81, 0xF0, 0x9F, 0x98, 0x80, 0xFF)
]
ODD_BYTES = ["<0x+f>", "<0xé>", "<0xZZ>", "<0x1>", "<0xff>", "<0xfF>", "<0xFFF>", "<0x€>", "<<0x20>"]
PIECES = [
    "▁",
    "▁a",
    "a▁b",
    "▁▁",
    "a",
    "b",
    "##b",
    "##",
    "a</w>",
    "</w>",
    "</w>a</w>",
    "Ġ",
    "Ġa",
    "âĸģ",
    "Ã",
    "©",
]
PUNCTUATION = [
    ".",
    "?",
    "'s",
    " .",
    "n't",
    "'",
    "do not",
    "x ' y",
    " 'm",
    "!",
    " , ",
    "|",
    "||",
    "<pad>",
    "a<pad>b",
]
OTHERS = [
    "",
    " ",
    "  ",
    " a ",
    "�",
    "é",
    "e\u0301",
    "ßß",
    "日",
    "👍🏽",
    "\u00ad",
    "Ń",
    "ń",
    "\x00",
    "ab",
    "aab",
    "aaa",
]
TOKENS = st.lists(
    st.sampled_from(BYTES + ODD_BYTES + PIECES + PUNCTUATION + OTHERS) | st.text(max_size=4), max_size=12
)
SHORT = st.sampled_from(["", "a", "aa", "b", "▁", " ", "</w>", "##", "|", "<pad>", "é", "ab"])
CHARACTERS = st.sampled_from(list("▁ ab_é日👍"))

ONE = st.one_of(
    st.builds(lambda suffix: {"type": "BPEDecoder", "suffix": suffix}, SHORT),
    st.builds(
        lambda flags: {
            "type": "ByteLevel",
            "add_prefix_space": flags[0],
            "trim_offsets": flags[1],
            **flags[2],
        },
        st.tuples(
            st.booleans(), st.booleans(), st.sampled_from([{}, {"use_regex": True}, {"use_regex": False}])
        ),
    ),
    st.builds(
        lambda prefix, cleanup: {"type": "WordPiece", "prefix": prefix, "cleanup": cleanup},
        SHORT,
        st.booleans(),
    ),
    st.builds(
        lambda character, more: {"type": "Metaspace", "replacement": character, **more},
        CHARACTERS,
        st.sampled_from(
            [
                {},
                {"add_prefix_space": True},
                {"add_prefix_space": None},
                {"add_prefix_space": False, "prepend_scheme": "never"},
                {"prepend_scheme": "first", "split": False},
                {"prepend_scheme": "always", "split": None, "str_rep": "▁"},
                {"prepend_scheme": "never", "str_rep": None},
            ]
        ),
    ),
    st.builds(
        lambda pad, delimiter, cleanup: {
            "type": "CTC",
            "pad_token": pad,
            "word_delimiter_token": delimiter,
            "cleanup": cleanup,
        },
        SHORT,
        SHORT,
        st.booleans(),
    ),
    st.builds(
        lambda pattern, content: {"type": "Replace", "pattern": pattern, "content": content},
        st.builds(lambda text: {"String": text}, SHORT)
        | st.sampled_from(
            [{"Regex": regex} for regex in (r"\s", "a+", "a|▁", "^ ", "(?=a)", "<0x..>", "[^a-z]", "")]
        ),
        SHORT,
    ),
    st.just({"type": "Fuse"}),
    st.just({"type": "ByteFallback"}),
    st.builds(
        lambda content, start, stop: {"type": "Strip", "content": content, "start": start, "stop": stop},
        CHARACTERS,
        st.integers(0, 3),
        st.integers(0, 3),
    ),
)
DECODERS = st.recursive(
    ONE,
    lambda inner: st.builds(
        lambda decoders: {"type": "Sequence", "decoders": decoders}, st.lists(inner, max_size=4)
    ),
    max_leaves=6,
)


def tree(decoder: Any) -> str:
    found = wordpiece({"[UNK]": 0}, normalizer=None)
    found["decoder"] = decoder
    return json.dumps(found)


def expected_of(theirs: tokenizers.Tokenizer, tokens: list[str]) -> str | None:
    """What tokenizers makes of tokens; None where it panics, as Strip does on texts it takes apart whole."""
    try:
        return str(theirs.decoder.decode(tokens))
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None


@RELAXED
@given(DECODERS, TOKENS)
def test_random_chains(decoder: dict[str, Any], tokens: list[str]) -> None:
    text = tree(decoder)
    ours, theirs = Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)
    assert json.loads(ours.to_str())["decoder"] == json.loads(theirs.to_str())["decoder"]
    expected = expected_of(theirs, tokens)
    found = ours.decode_tokens(tokens)
    assert expected is None or found == expected


def test_strip_leaves_nothing_of_what_it_takes_apart_whole() -> None:
    ours = Tokenizer.from_str(tree({"type": "Strip", "content": "a", "start": 2, "stop": 2}))
    assert ours.decode_tokens(["aaa", "", "aabaa", "a", "ba"]) == "bb"


LEGACY: list[dict[str, Any]] = [
    {"suffix": "</w>"},
    {"prefix": "##", "cleanup": True},
    {"prefix": "##", "cleanup": True, "suffix": "</w>"},
    {"pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
    {"pattern": {"String": "▁"}, "content": " "},
    {"content": "▁", "start": 1, "stop": 0},
    {"type": "Fuse", "suffix": "</w>"},
    {"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True},
]


@pytest.mark.parametrize("decoder", LEGACY, ids=str)
def test_legacy_forms(decoder: dict[str, Any]) -> None:
    text = tree(decoder)
    ours, theirs = Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)
    written, expected = json.loads(ours.to_str())["decoder"], json.loads(theirs.to_str())["decoder"]
    assert written == expected and list(written) == list(expected)
    tokens = ["▁a", "##b", "</w>", "a</w>", "<pad>", "|", "x"]
    assert ours.decode_tokens(tokens) == theirs.decoder.decode(tokens)


REFUSED: list[tuple[Any, str, type[OxiformersError]]] = [
    ({"type": "Nobody"}, "decoder.type", UnsupportedError),
    ({"type": 5}, "decoder.type", FormatError),
    ({"type": ""}, "decoder.type", UnsupportedError),
    ({"more": ""}, "decoder.type", FormatError),
    ({"type": "ByteLevel"}, "decoder.add_prefix_space", FormatError),
    ({"type": "ByteLevel", "add_prefix_space": True}, "decoder.trim_offsets", FormatError),
    (
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": None},
        "decoder.use_regex",
        FormatError,
    ),
    ({"type": "Metaspace", "replacement": "ab"}, "decoder.replacement", FormatError),
    ({"type": "Metaspace", "replacement": ""}, "decoder.replacement", FormatError),
    (
        {"type": "Metaspace", "replacement": "a", "add_prefix_space": False},
        "decoder.add_prefix_space",
        FormatError,
    ),
    (
        {"type": "Metaspace", "replacement": "a", "prepend_scheme": "last"},
        "decoder.prepend_scheme",
        FormatError,
    ),
    (
        {"type": "Metaspace", "replacement": "a", "prepend_scheme": None},
        "decoder.prepend_scheme",
        FormatError,
    ),
    ({"type": "Metaspace", "replacement": "a", "split": "no"}, "decoder.split", FormatError),
    ({"type": "Metaspace", "replacement": "a", "str_rep": 3}, "decoder.str_rep", FormatError),
    ({"type": "Strip", "content": "a", "start": -1, "stop": 0}, "decoder.start", FormatError),
    ({"type": "Strip", "content": "a", "start": 1}, "decoder.stop", FormatError),
    ({"type": "CTC", "pad_token": "a", "cleanup": True}, "decoder.word_delimiter_token", FormatError),
    ({"type": "Replace", "pattern": "a", "content": "b"}, "decoder.pattern", FormatError),
    ({"type": "Replace", "pattern": {"Text": "a"}, "content": "b"}, "decoder.pattern", FormatError),
    ({"type": "Replace", "pattern": {"String": "a"}, "content": 1}, "decoder.content", FormatError),
    ({"type": "BPEDecoder"}, "decoder.suffix", FormatError),
    ({"type": "Sequence"}, "decoder.decoders", FormatError),
    (
        {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "X"}]},
        "decoder.decoders[1].type",
        UnsupportedError,
    ),
    ([], "decoder", FormatError),
    ("Fuse", "decoder", FormatError),
]


@pytest.mark.parametrize("more", [{"suffix": "</w>"}, {"prefix": "##", "cleanup": True}], ids=str)
def test_unknown_names_are_refused_whatever_the_fields(more: dict[str, Any]) -> None:
    """Where tokenizers reads by the fields alone, so that a new component would pass for an old one."""
    for name in ("Nobody", ""):
        with pytest.raises(UnsupportedError):
            Tokenizer.from_str(tree({"type": name, **more}))


@pytest.mark.parametrize(("decoder", "key", "kind"), REFUSED, ids=lambda value: str(value)[:60])
def test_refused(decoder: Any, key: str, kind: type[OxiformersError]) -> None:
    text = tree(decoder)
    with pytest.raises(kind) as caught:
        Tokenizer.from_str(text, "some.json")
    assert (caught.value.path, caught.value.key) == ("some.json", key)
    assert caught.value.expected and caught.value.actual
    with pytest.raises(BaseException):  # noqa: B017, PT011 -- tokenizers raises Exception itself, or panics
        tokenizers.Tokenizer.from_str(text)


def test_long_input_is_linear() -> None:
    """A million tokens through each kind; quadratic work would not end."""
    tokens = ["<0xFF>", "▁a", "a</w>", "<pad>"] * 250_000
    chain = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 1},
    ]
    found = Tokenizer.from_str(tree({"type": "Sequence", "decoders": chain})).decode_tokens(tokens)
    assert found == "� aa</w><pad>" * 250_000
