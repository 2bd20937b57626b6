"""A call gives what transformers gives, for every combination of its arguments that means something."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.tokenization import BertTokenizerFast
from tests.tokenization.steps import TICKETS, TOKENIZERS, WORDPIECE, call, step

PADDING: list[dict[str, Any]] = [
    {},
    {"padding": True},
    {"padding": "max_length", "max_length": 24},
    {"padding": "longest", "pad_to_multiple_of": 8},
    {"padding": True, "padding_side": "left"},
]
TRUNCATION: list[dict[str, Any]] = [
    {},
    {"truncation": True, "max_length": 16},
    {"truncation": "only_first", "max_length": 24},
    {"truncation": "longest_first", "max_length": 8, "stride": 2, "return_overflowing_tokens": True},
    {"max_length": 12},
]
RETURNS: list[dict[str, Any]] = [
    {},
    {"add_special_tokens": False},
    {
        "return_offsets_mapping": True,
        "return_special_tokens_mask": True,
        "return_length": True,
        "return_token_type_ids": True,
    },
    {"return_attention_mask": False, "return_token_type_ids": False},
    {"return_tensors": "pt", "return_offsets_mapping": True, "return_length": True},
    {"return_tensors": "np", "return_special_tokens_mask": True},
]


def combinations() -> list[dict[str, Any]]:
    """Every combination of the three lists."""
    return [{**pad, **cut, **returned} for pad, cut, returned in product(PADDING, TRUNCATION, RETURNS)]


def share(name: str) -> list[dict[str, Any]]:
    """All combinations for one tokenizer of each model, and a part of them for the others."""
    every = combinations()
    return every if name in (WORDPIECE[0], TICKETS) else every[WORDPIECE.index(name) :: 4]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_batches(name: str, lines: list[str], same_as_524: Any) -> None:
    """A batch of texts of many scripts, under every combination of arguments."""
    batches = [lines[index::7] for index in range(7)]
    steps = [call(batches[index % 7], **kwargs) for index, kwargs in enumerate(share(name))]
    same_as_524(name, *steps)


@pytest.mark.parametrize("name", [WORDPIECE[0], WORDPIECE[2], TICKETS])
def test_batches_as_in_transformers_4(name: str, lines: list[str], same_as_457: Any) -> None:
    """transformers 4.57 agrees on all of it."""
    names = ["input_ids", "token_type_ids", "attention_mask"]
    batches = [lines[index::7] for index in range(7)]
    steps = [call(batches[index % 7], **kwargs) for index, kwargs in enumerate(combinations())]
    same_as_457(name, *steps, kwargs={"model_input_names": names})


@pytest.mark.parametrize("name", TOKENIZERS)
def test_pairs(name: str, lines: list[str], same_as_524: Any) -> None:
    """Pairs: as two lists, as rows of two, and mixed with single texts."""
    steps = []
    for index, kwargs in enumerate(share(name)):
        first, second = lines[index % 5 :: 9], lines[(index + 3) % 5 :: 9]
        size = min(len(first), len(second))
        steps.append(call(first[:size], second[:size], **kwargs))
        if index % 3 == 0:
            rows = [{"tuple": [a, b]} for a, b in zip(first, second, strict=False)]
            steps += [call(rows, **kwargs), call([first[0], *rows, second[0]], **kwargs)]
            steps += [call([list(row["tuple"]) for row in rows], **kwargs)]
    same_as_524(name, *steps)


@pytest.mark.parametrize("name", [WORDPIECE[0], TICKETS])
def test_only_second(name: str, lines: list[str], same_as_524: Any) -> None:
    """Cutting the second text of a pair, where it is long enough."""
    question = "Who was it?"
    context = [line for line in lines if len(line.split()) > 30][:6]
    options: list[dict[str, Any]] = [
        {"max_length": 32},
        {"max_length": 20, "stride": 4, "return_overflowing_tokens": True, "return_offsets_mapping": True},
        {
            "max_length": 20,
            "return_overflowing_tokens": True,
            "padding": "max_length",
            "return_tensors": "pt",
        },
    ]
    same_as_524(
        name, *[call([question] * len(context), context, truncation="only_second", **o) for o in options]
    )


@pytest.mark.parametrize("name", TOKENIZERS)
def test_single_texts(name: str, lines: list[str], same_as_524: Any) -> None:
    """A text alone comes back without a batch axis, unless tensors or overflow are asked for."""
    every = share(name)
    steps = [call(lines[index % len(lines)], **kwargs) for index, kwargs in enumerate(every)]
    steps += [call(lines[index % 11], lines[index % 13], **kwargs) for index, kwargs in enumerate(every[::3])]
    steps += [call(""), call("", ""), call("a", ""), call("", "a")]
    same_as_524(name, *steps)


@pytest.mark.parametrize("name", [WORDPIECE[0], WORDPIECE[1], TICKETS])
def test_words(name: str, lines: list[str], same_as_524: Any) -> None:
    """Texts that are split into words already: one, a batch, pairs."""
    words = [line.split()[:12] for line in lines if line.split()][::4]
    steps = []
    for kwargs in combinations()[::2]:
        steps.append(call(words, is_split_into_words=True, **kwargs))
        steps.append(call(words[0], is_split_into_words=True, **kwargs))
        steps.append(call(words[0], words[1], is_split_into_words=True, **kwargs))
        steps.append(call(words[:4], words[4:8], is_split_into_words=True, **kwargs))
    pairs = [{"tuple": [words[0], words[1]]}, {"tuple": [words[2], words[3]]}]
    steps += [
        call(pairs, is_split_into_words=True),
        call([["one", ""], [" two ", "three four"]], is_split_into_words=True, return_offsets_mapping=True),
        call([], is_split_into_words=True),
        call([[]], is_split_into_words=True),
        call([[], ["a"]], is_split_into_words=True, padding=True),
    ]
    same_as_524(name, *steps)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", [WORDPIECE[0], TICKETS])
def test_sides(name: str, side: str, lines: list[str], same_as_524: Any) -> None:
    """Sides set on the tokenizer."""
    steps = [call(lines[::3], **kwargs) for kwargs in combinations()[::2]]
    steps += [call(lines[:9], lines[9:18], truncation=True, max_length=13, padding=True)]
    same_as_524(name, *steps, kwargs={"padding_side": side, "truncation_side": side})


@pytest.mark.parametrize("name", WORDPIECE)
def test_targets_and_older_names(name: str, same_as_524: Any) -> None:
    """Target texts become labels; encode and tokenize."""
    same_as_524(
        name,
        call("a question", text_target="an answer"),
        call(None, text_target=["an answer", "two"], padding=True, return_tensors="pt"),
        call(["a", "b"], text_target=["an answer", "two"], padding=True, return_tensors="pt"),
        call("a question", text_target="an answer of six words", max_target_length=5, truncation=True),
        step("encode", "some text", "and another"),
        step("encode", "some text", return_tensors="pt"),
        step("encode", "some text that is cut", max_length=5, truncation=True, padding="max_length"),
        step("tokenize", "Unaffable people, [MASK] it is"),
        step("tokenize", "Unaffable", pair="people", add_special_tokens=True),
        call("[MASK] is text [SEP]", split_special_tokens=True),
        call(["a text"], tokenizer_kwargs={"padding": "max_length", "max_length": 9}),
        call("a text", padding="max_length", truncation=True),
        call("word " * 700, truncation=True),
    )


def test_the_tours_own_example(folders: Any) -> None:
    """The sentence and the ids of the Transformers quick tour."""
    tokenizer = BertTokenizerFast.from_pretrained(folders["bert-base-multilingual-uncased"])
    encoding = tokenizer("We are very happy to show you the 🤗 Transformers library.")
    ids = [101, 11312, 10320, 12495, 19308, 10114, 11391, 10855, 10103, 100, 58263, 13299, 119, 102]
    assert encoding.data == {"input_ids": ids, "token_type_ids": [0] * 14, "attention_mask": [1] * 14}


def test_kinds_of_text_and_batch(folders: Any) -> None:
    """Subclasses of str are text, tuples are batches, arrays and generators are neither."""
    tokenizer = BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])
    ids = tokenizer("hello")["input_ids"]
    assert tokenizer(np.str_("hello"))["input_ids"] == ids
    assert tokenizer((np.str_("hello"), "hello"))["input_ids"] == [ids, ids]
    for wrong in (np.array(["hello"]), iter(["hello"]), b"hello", {"hello"}):
        with pytest.raises(InputTypeError, match=type(wrong).__name__):
            tokenizer(wrong)


@pytest.mark.parametrize("size", [-1, 2.5, "8", True])
@pytest.mark.parametrize("argument", ["max_length", "stride", "pad_to_multiple_of"])
def test_sizes(argument: str, size: Any, folders: Any) -> None:
    """What counts tokens is an integer of at least 0."""
    tokenizer = BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])
    with pytest.raises(ArgumentError, match=argument):
        tokenizer("a", truncation=True, padding=True, **{"max_length": 8, argument: size})


def test_older_calls(same_as_457: Any) -> None:
    """encode_plus and batch_encode_plus."""
    same_as_457(
        "bert-base-uncased",
        step("encode_plus", "a text", "and its pair", padding="max_length", max_length=12),
        step("encode_plus", "a text", return_tensors="np"),
        step("batch_encode_plus", ["a", "b c"], padding=True),
        step(
            "batch_encode_plus",
            [{"tuple": ["a", "b"]}, {"tuple": ["c", "d e"]}],
            return_tensors="pt",
            padding=True,
        ),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        call(None),
        call(["a", None]),
        call(["a", 3]),
        call([1, 2]),
        call(7),
        call("a", 7),
        call("a", ["b"]),
        call(["a"], "b"),
        call(["a", "b"], ["c"]),
        call([["a", "b", "c"]]),
        call("a b", is_split_into_words=True),
        call([["a", 3]], is_split_into_words=True),
        call("a", padding="wide"),
        call("a", truncation="some"),
        call("a", padding=True, padding_side="top"),
        call("a", return_tensors="xy"),
        call(["a", "b c"], return_tensors="pt"),
        call("a b c d", "e", truncation="only_second", max_length=4),
        call("a b c d", truncation=True, max_length=8, stride=8),
        call("a", padding=True, truncation=True, max_length=10, pad_to_multiple_of=4),
        step("pad", {"attention_mask": [1, 1]}),
    ],
    ids=lambda wrong: str([wrong["args"], wrong["kwargs"]])[:60],
)
def test_errors_are_errors_there_too(wrong: dict[str, Any], same_as_524: Any) -> None:
    """What transformers refuses is refused."""
    same_as_524("bert-base-uncased", wrong)
