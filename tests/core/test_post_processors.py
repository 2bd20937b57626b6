"""Every post-processor and sequences of them, on random pairs, truncation and padding: equal to tokenizers'."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import ArgumentError, FormatError, OxiformersError, UnsupportedError
from tests.core.reference import FIELDS, wordpiece

RELAXED = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

# White space is part of words here, as no pre-tokenizer takes it out: each added token below is a token of its own.
WORDS = ["a", "b", "Ġ", "Ġa", "ĠĠa", "a ", " a", "  a", " ", "   ", "aĠ", "\u3000a", "\tb\n", "c"]
VOCAB = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, **{word: index for index, word in enumerate(WORDS, 3)}}

TOKEN = st.sampled_from([["[CLS]", 1], ["[SEP]", 2], ["other", 1], ["beyond", 900]])
TYPES = st.integers(0, 3)
SPECIAL = {
    "start": {"id": "start", "ids": [1], "tokens": ["[CLS]"]},
    "end": {"id": "The end", "ids": [2, 900], "tokens": ["[SEP]", "stop"]},
    "none": {"id": "none", "ids": [], "tokens": []},
}


def sequence(name: str, type_id: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": type_id}}


def special(name: str, type_id: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": type_id}}


def parts(names: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    texts = st.builds(sequence, st.sampled_from(names), TYPES)
    tokens = st.builds(special, st.sampled_from(list(SPECIAL)), TYPES)
    return st.lists(texts | tokens, max_size=5)


ENCLOSING = {"sep": TOKEN, "cls": TOKEN}
BERT = st.fixed_dictionaries({"type": st.sampled_from(["BertProcessing", "TemplateProcessing"]), **ENCLOSING})
FLAGS = {"trim_offsets": st.booleans(), "add_prefix_space": st.booleans()}
ROBERTA = st.fixed_dictionaries(
    {"type": st.sampled_from(["RobertaProcessing", "BertProcessing"]), **ENCLOSING, **FLAGS}
)
BYTE_LEVEL = st.fixed_dictionaries(
    {"type": st.just("ByteLevel"), **FLAGS}, optional={"use_regex": st.booleans()}
)
TEMPLATE = st.fixed_dictionaries(
    {
        "type": st.just("TemplateProcessing"),
        "single": parts("A"),
        "pair": parts("AB"),
        "special_tokens": st.just(SPECIAL),
    }
)
PROCESSORS = st.recursive(
    st.one_of(BERT, ROBERTA, BYTE_LEVEL, TEMPLATE),
    lambda inner: st.builds(
        lambda processors: {"type": "Sequence", "processors": processors}, st.lists(inner, max_size=3)
    ),
    max_leaves=4,
)
TEXT = st.lists(st.sampled_from([*WORDS, "x"]), max_size=8)


def tree(processor: Any) -> str:
    found = wordpiece(VOCAB, normalizer=None, pre_tokenizer=None)
    found["post_processor"] = processor
    return json.dumps(found)


def detail(encoding: Any) -> list[Any]:
    return [*(getattr(encoding, name) for name in FIELDS), [detail(part) for part in encoding.overflowing]]


@RELAXED
@given(
    processor=PROCESSORS,
    texts=st.lists(TEXT, min_size=1, max_size=3),
    others=st.none() | st.lists(TEXT, min_size=3, max_size=3),
    add=st.booleans(),
    cut=st.none()
    | st.fixed_dictionaries(
        {
            "max_length": st.integers(0, 12),
            "stride": st.integers(0, 3),
            "strategy": st.sampled_from(["longest_first", "only_first", "only_second"]),
            "direction": st.sampled_from(["left", "right"]),
        }
    ),
    pad=st.none()
    | st.fixed_dictionaries(
        {
            "direction": st.sampled_from(["left", "right"]),
            "pad_to_multiple_of": st.sampled_from([None, 4]),
            "pad_type_id": st.integers(0, 7),
        }
    ),
)
def test_random_processors(
    processor: dict[str, Any],
    texts: list[list[str]],
    others: list[list[str]] | None,
    add: bool,
    cut: dict[str, Any] | None,
    pad: dict[str, Any] | None,
) -> None:
    text = tree(processor)
    ours, theirs = Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)
    written, expected_json = json.loads(ours.to_str()), json.loads(theirs.to_str())
    assert json.dumps(written["post_processor"]) == json.dumps(expected_json["post_processor"])
    pairs = None if others is None else others[: len(texts)]
    for pair in (False, True):
        assert ours.num_special_tokens(pair) == theirs.num_special_tokens_to_add(pair)
    options: dict[str, Any] = {"is_pretokenized": True, "add_special_tokens": add, "return_overflowing": True}
    if cut is not None:
        options |= {"truncation": cut["strategy"], "max_length": cut["max_length"], "stride": cut["stride"]}
        options |= {"truncation_side": cut["direction"]}
    if pad is not None:
        options |= {"padding": "longest", "pad_to_multiple_of": pad["pad_to_multiple_of"]}
        options |= {"padding_side": pad["direction"], "pad_type_id": pad["pad_type_id"]}
    try:
        found = ours.encode_batch(texts, pairs, **options)
    except ArgumentError as error:
        # Where there is no room and where a template gets more than two encodings; tokenizers panics there.
        if error.key not in ("max_length", "stride", "truncation", "post_processor"):
            raise
        return
    if cut is not None:
        try:
            theirs.enable_truncation(**cut)
        except ValueError as error:
            # It counts special tokens even where none are added.
            if add or "stride set to" not in str(error):
                raise
            return
    if pad is not None:
        theirs.enable_padding(**pad)
    inputs = texts if pairs is None else list(zip(texts, pairs, strict=True))
    expected = theirs.encode_batch(inputs, is_pretokenized=True, add_special_tokens=add)
    assert [detail(encoding) for encoding in found] == [detail(encoding) for encoding in expected]
    rows = ours.encode_batch_lists(texts, pairs, special_tokens_mask=True, **options)
    flat = [part for encoding in expected for part in (encoding, *encoding.overflowing)]
    assert rows["input_ids"] == [encoding.ids for encoding in flat]
    options["return_overflowing"] = False
    rows = ours.encode_batch_lists(texts, pairs, special_tokens_mask=True, **options)
    assert rows["input_ids"] == [encoding.ids for encoding in expected]
    assert rows["token_type_ids"] == [encoding.type_ids for encoding in expected]
    assert rows["special_tokens_mask"] == [encoding.special_tokens_mask for encoding in expected]
    packed = {key: options[key] for key in options if not key.startswith("pad")}
    if pad is None:
        assert np.array_equal(
            ours.encode_batch_packed(texts, pairs, **packed)["input_ids"],
            np.array([index for encoding in expected for index in encoding.ids], dtype=np.int64),
        )


ALPHABET = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 324))]
SPACED: list[tuple[str, list[tuple[str, str]]]] = [
    ("BMS", [("ĠBMS", "BMS")]),
    ("BMS B", [("ĠBMS", "BMS"), ("ĠB", "B")]),
    ("<dev>BMS", [("<dev>", "<dev>"), ("ĠBMS", "BMS")]),
    (
        "<dev>BMS<dev>MS B",
        [("<dev>", "<dev>"), ("ĠBMS", "BMS"), ("<dev>", "<dev>"), ("Ġ", ""), ("MS", "MS"), ("ĠB", "B")],
    ),
    ("<dev> BMS", [("<dev>", "<dev>"), ("ĠBMS", "BMS")]),
    ("<dev>  BMS", [("<dev>", "<dev>"), ("Ġ", ""), ("ĠBMS", "BMS")]),
    ("x<dev>é<dev>\u3000", [("Ġ", ""), ("x", "x"), ("<dev>", "<dev>"), ("Ġ", ""), ("Ã", "é"), ("©", "é")]),
    ("B<dev>B", [("ĠB", "B"), ("<dev>", "<dev>"), ("ĠB", "B")]),
]


@pytest.mark.parametrize("processor", ["ByteLevel", "RobertaProcessing", "Sequence"])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(("text", "expected"), SPACED, ids=[text for text, _ in SPACED])
def test_a_space_that_was_put_in_front_is_no_character(
    processor: str, told: bool, text: str, expected: list[tuple[str, str]]
) -> None:
    """Offsets of a word are all its characters, after an added token too, and whatever the processor is told.

    tokenizers takes one off, but for the first word where the processor knows of the space.
    """
    found = json.loads(tree(None))
    pieces = ["MS", "BMS", "ĠB", "ĠBMS"]
    vocabulary = {token: index for index, token in enumerate([*ALPHABET, *pieces])}
    merges = [["M", "S"], ["B", "MS"], ["Ġ", "BMS"], ["Ġ", "B"]]
    found["model"] = {"type": "BPE", "vocab": vocabulary, "merges": merges}
    flags = {"add_prefix_space": True, "trim_offsets": True}
    found["pre_tokenizer"] = {"type": "ByteLevel", **flags}
    byte_level = {"type": "ByteLevel", "add_prefix_space": told, "trim_offsets": True}
    roberta = {**byte_level, "type": "RobertaProcessing", "sep": ["!", 0], "cls": ["!", 0]}
    found["post_processor"] = {
        "ByteLevel": byte_level,
        "RobertaProcessing": roberta,
        "Sequence": {"type": "Sequence", "processors": [byte_level]},
    }[processor]
    ours = Tokenizer.from_str(json.dumps(found)).with_added_tokens([AddedToken("<dev>")])
    for options in ({}, {"truncation": "longest_first", "max_length": 40}):
        (encoding,) = ours.encode_batch([text], add_special_tokens=False, **options)  # type: ignore[arg-type]
        spans = [text[start:end] for start, end in encoding.offsets]
        assert list(zip(encoding.tokens, spans, strict=True))[: len(expected)] == expected
    arrays = ours.encode_batch_arrays([text, text], add_special_tokens=False, offsets=True)
    assert [tuple(place) for place in arrays["offset_mapping"][0].tolist()] == encoding.offsets
    (words,) = ours.encode_batch([[text, "BMS"]], is_pretokenized=True, add_special_tokens=False)
    assert words.offsets[-1] == (0, 3)


def test_type_does_not_overrule_the_fields() -> None:
    """RobertaProcessing without its flags is read as BertProcessing, a template as one under any name."""
    for processor in (
        {"type": "RobertaProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        {"sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        {"type": "ByteLevel", "single": [sequence("A", 1)], "pair": [], "special_tokens": {}},
        {"single": [sequence("A", 1)], "pair": [], "special_tokens": {}},
    ):
        text = tree(processor)
        ours, theirs = Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)
        expected = json.loads(theirs.to_str())["post_processor"]
        assert json.loads(ours.to_str())["post_processor"] == expected


REFUSED: list[tuple[Any, str, type[OxiformersError]]] = [
    ({"type": "Nobody"}, "post_processor.type", UnsupportedError),
    ({"type": 3}, "post_processor.type", FormatError),
    ({}, "post_processor.type", FormatError),
    ([], "post_processor", FormatError),
    ("ByteLevel", "post_processor", FormatError),
    ({"type": "RobertaProcessing", "sep": ["[SEP]", 2]}, "post_processor.cls", FormatError),
    (
        {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", "2"]},
        "post_processor.sep[1]",
        FormatError,
    ),
    (
        {"type": "BertProcessing", "cls": ["[CLS]", 2, 3], "sep": ["[SEP]", 2]},
        "post_processor.cls",
        FormatError,
    ),
    ({"type": "ByteLevel", "add_prefix_space": 1}, "post_processor.add_prefix_space", FormatError),
    ({"type": "ByteLevel", "add_prefix_space": True}, "post_processor.trim_offsets", FormatError),
    ({"type": "Sequence"}, "post_processor.processors", FormatError),
    (
        {"type": "Sequence", "processors": [{"type": "X"}]},
        "post_processor.processors[0].type",
        UnsupportedError,
    ),
    ({"type": "TemplateProcessing"}, "post_processor.special_tokens", FormatError),
]


@pytest.mark.parametrize(("processor", "key", "kind"), REFUSED, ids=lambda value: str(value)[:60])
def test_refused(processor: Any, key: str, kind: type[OxiformersError]) -> None:
    text = tree(processor)
    with pytest.raises(kind) as caught:
        Tokenizer.from_str(text, "some.json")
    assert (caught.value.path, caught.value.key) == ("some.json", key)
    assert caught.value.expected and caught.value.actual
    with pytest.raises(Exception):  # noqa: B017, PT011 -- tokenizers raises Exception itself
        tokenizers.Tokenizer.from_str(text)


def test_templates_that_multiply_are_refused() -> None:
    many = {"id": "many", "ids": [1] * 1000, "tokens": ["[CLS]"] * 1000}
    for single, special_tokens, key in (
        ([special("many", 0)] * 1000, {"many": many}, "post_processor"),
        ([sequence("A", 0)] * 2000, {}, "post_processor.single"),
    ):
        found = {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special_tokens}
        with pytest.raises(FormatError) as caught:
            Tokenizer.from_str(tree(found))
        assert caught.value.key == key
    tokens = {str(index): {"id": "x", "ids": [], "tokens": []} for index in range(100_000)}
    named = [special(str(index), 0) for index in range(99_000, 100_000)]
    Tokenizer.from_str(
        tree({"type": "TemplateProcessing", "single": named, "pair": [], "special_tokens": tokens})
    )


def test_template_over_three_encodings() -> None:
    template: dict[str, Any] = {
        "single": [special("start", 0), sequence("A", 0), special("end", 0)],
        "pair": [],
    }
    template |= {"type": "TemplateProcessing", "special_tokens": SPECIAL}
    ours = Tokenizer.from_str(tree({"type": "Sequence", "processors": [template, template]}))
    with pytest.raises(ArgumentError) as caught:
        ours.encode_batch(["a"])
    assert caught.value.key == "post_processor"
    (found,) = ours.encode_batch(["a"], add_special_tokens=False)
    assert found.ids == [3]
