"""Tokenizers, models and pipelines called with what they cannot take, and with text nobody wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oxiformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast, pipeline
from oxiformers.errors import ArgumentError, ConfigError, InputTypeError, OxiformersError, UnsupportedError
from tests.bad_input.model_folder import LONGEST, keys
from tests.bad_input.refusal import Refusal, refuses, within

TEXTS = "a str, a list of str"


@pytest.fixture(scope="module")
def tokenizer(good: Path) -> PreTrainedTokenizerFast:
    """The good tokenizer."""
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(good)
    return loaded


@pytest.fixture(scope="module")
def model(good: Path) -> Any:
    """The good model."""
    return AutoModelForSequenceClassification.from_pretrained(good)


@pytest.fixture(scope="module")
def classify(good: Path) -> Any:
    """The good pipeline."""
    return pipeline("text-classification", model=str(good))


# A tokenizer's inputs: what is passed, and the error's key, what was due and what was found

INPUTS: dict[str, tuple[Any, type, str, str, str]] = {
    "a number": (3, InputTypeError, "text", TEXTS, "int"),
    "bytes": (b"a", InputTypeError, "text", TEXTS, "bytes"),
    "a dict": ({"a": "b"}, InputTypeError, "text", TEXTS, "dict"),
    "a set": ({"a"}, InputTypeError, "text", TEXTS, "set"),
    "an array": (np.array(["a"]), InputTypeError, "text", TEXTS, "ndarray"),
    "a tensor": (torch.tensor([1]), InputTypeError, "text", TEXTS, "Tensor"),
    "a path": (Path("a"), InputTypeError, "text", TEXTS, "PosixPath"),
    "None in a batch": (["a", None], InputTypeError, "text[1]", "a str", "NoneType"),
    "bytes in a batch": (["a", b"b"], InputTypeError, "text[1]", "a str", "bytes"),
    "NaN in a batch": (["a", float("nan")], InputTypeError, "text[1]", "a str", "float"),
    "a dict in a batch": ([{"a": 1}], InputTypeError, "text[0]", "a str", "dict"),
    "a number far into a batch": (["a"] * 1000 + [3], InputTypeError, "text[1000]", "a str", "int"),
    "three in a row": ([["a", "b", "c"]], InputTypeError, "text[0]", "a pair", "3 elements"),
    "lists too deep": (["a", ["b", ["c"]]], InputTypeError, "text[1][1]", "a str", "list"),
    "half a surrogate pair": ("a \ud800", ArgumentError, "inputs[0]", "encoded as UTF-8", "\\ud800"),
    "half a pair in a batch": (["a", "\udfff"], ArgumentError, "inputs[1]", "encoded as UTF-8", "\\udfff"),
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(
    "arguments", [{}, {"padding": True, "return_tensors": "pt"}], ids=["lists", "tensors"]
)
def test_what_is_no_text(tokenizer: PreTrainedTokenizerFast, name: str, arguments: dict[str, Any]) -> None:
    value, *due = INPUTS[name]
    refuses(lambda: tokenizer(value, **arguments), Refusal(*due))


ARGUMENTS: tuple[tuple[dict[str, Any], type, str, str], ...] = (
    ({"max_length": 0}, ArgumentError, "max_length", "at least 2"),
    ({"max_length": 1}, ArgumentError, "max_length", "at least 2"),
    ({"max_length": -1}, ArgumentError, "max_length", "at least 0"),
    ({"max_length": "5"}, ArgumentError, "max_length", "an integer"),
    ({"max_length": 5.0}, ArgumentError, "max_length", "an integer"),
    ({"max_length": True}, ArgumentError, "max_length", "an integer"),
    ({"max_length": 4, "stride": 2}, ArgumentError, "stride", "less than 2"),
    (
        {"max_length": 4, "stride": 9, "return_overflowing_tokens": True},
        ArgumentError,
        "stride",
        "less than 2",
    ),
    ({"max_length": 8, "stride": -1}, ArgumentError, "stride", "at least 0"),
    ({"max_length": 8, "stride": "x"}, ArgumentError, "stride", "an integer"),
    ({"max_length": 3, "truncation": "only_second"}, ArgumentError, "truncation", "a second sequence"),
    ({"truncation": "nope"}, ArgumentError, "TruncationStrategy", "longest_first"),
    ({"padding": "nope"}, ArgumentError, "PaddingStrategy", "longest"),
    ({"padding": True, "padding_side": "up"}, ArgumentError, "padding_side", "'left' or 'right'"),
    ({"padding": True, "pad_to_multiple_of": -1}, ArgumentError, "pad_to_multiple_of", "at least 0"),
    ({"padding": True, "pad_to_multiple_of": "x"}, ArgumentError, "pad_to_multiple_of", "an integer"),
    ({"padding": True, "pad_to_multiple_of": 1 << 40}, ArgumentError, "pad_to_multiple_of", "at most"),
    ({"padding": True, "pad_to_multiple_of": 1 << 63}, ArgumentError, "pad_to_multiple_of", "at most"),
    ({"padding": "max_length", "max_length": 10**12}, ArgumentError, "max_length", "at most"),
    ({"padding": "max_length", "max_length": 1 << 63}, ArgumentError, "max_length", "at most"),
    ({"return_tensors": "nope"}, ArgumentError, "TensorType", "pt"),
    ({"return_tensors": "jax"}, UnsupportedError, "return_tensors", "'pt', 'np' or 'tf'"),
)


@pytest.mark.parametrize(("arguments", "error", "key", "expected"), ARGUMENTS, ids=str)
@pytest.mark.parametrize("tensors", [{}, {"return_tensors": "pt"}], ids=["lists", "tensors"])
def test_arguments_of_a_call(
    tokenizer: PreTrainedTokenizerFast,
    arguments: dict[str, Any],
    error: type,
    key: str,
    expected: str,
    tensors: dict[str, Any],
) -> None:
    due = Refusal(error, key, expected, "")
    refuses(lambda: tokenizer("the cat sat", **{**tensors, "truncation": True, **arguments}), due)


def test_an_unlimited_length_cuts_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer("the cat", truncation=True, max_length=10**30)["input_ids"] == [2, 5, 6, 3]


def test_padding_without_a_pad_token(good: Path) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_file=good / "tokenizer.json")
    bare.pad_token = None
    with pytest.raises(ArgumentError, match="does not have a padding token") as caught:
        bare(["a", "a b"], padding=True)
    assert caught.value.key == "pad_token"


# Text that is right, though it looks hostile: what comes, and that it comes in time

MILLION = 1_000_000
ODD: dict[str, tuple[Any, list[int]]] = {
    "nothing": ("", [2, 3]),
    "white space": (" \n\t\u3000", [2, 3]),
    "NUL": ("the\0cat", [2, 1, 3]),
    "1 MB of NUL": ("\0" * MILLION, [2, 3]),
    "1 MB without a space": ("a" * MILLION, [2, 1, 3]),
    "a million combining marks": ("a" + "\u0301" * MILLION, [2, 9, 3]),
    "only combining marks": ("\u0301" * MILLION, [2, 3]),
    "a million joiners": ("\u200d" * MILLION, [2, 3]),
    "a million letters that grow": ("\u0130" * MILLION, [2, 1, 3]),
    "a million Hangul parts": ("\u1100\u1161" * (MILLION // 2), [2, 1, 3]),
    "200,000 special tokens": ("[MASK]" * 200_000, [2, *[4] * 200_000, 3]),
    "a million starts of one": ("[" * MILLION, [2, *[1] * MILLION, 3]),
    "a million ideographs": ("\u4e2d" * MILLION, [2, *[1] * MILLION, 3]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_text_has_a_right_answer(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    text, due = ODD[name]
    with within():
        assert tokenizer(text, verbose=False)["input_ids"] == due
        array = tokenizer([text], return_tensors="np", verbose=False)["input_ids"]
    assert array.tolist() == [due]


def test_an_empty_batch(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer([])["input_ids"] == []
    assert tokenizer([], padding=True, return_tensors="pt")["input_ids"].shape[0] == 0


def test_10_mb_cut_to_a_row_cost_little_more_than_64_kb(tokenizer: PreTrainedTokenizerFast) -> None:
    def cost(text: str) -> float:
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            rows = tokenizer(text, truncation=True, max_length=LONGEST)["input_ids"]
            best = min(best, time.process_time() - start)
            assert len(rows) == LONGEST
        return best

    short, long = "the cat " * 8_000, "the cat " * 1_250_000
    assert cost(long) < 2 * cost(short) + 0.001


# A model's inputs

IDS = torch.tensor([[2, 5, 6, 3]])
MODEL_INPUTS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "no batch": ({"input_ids": IDS[0]}, "input_ids", "[batch, sequence]", "(4,)"),
    "nothing": ({}, "input_ids", "exactly one of", "neither"),
    "ids and vectors": ({"input_ids": IDS, "inputs_embeds": torch.ones(1, 4, 8)}, "input_ids", "one of", "both"),
    "too long": (
        {"input_ids": torch.ones(1, LONGEST + 1, dtype=torch.int64)}, "max_position_embeddings",
        f"at most {LONGEST}", f"{LONGEST + 1} tokens",
    ),
    "a million tokens": (
        {"input_ids": torch.ones(1, MILLION, dtype=torch.int64)}, "max_position_embeddings",
        f"at most {LONGEST}", "1000000 tokens",
    ),
    "a short mask": ({"input_ids": IDS, "attention_mask": torch.ones(1, 3)}, "attention_mask", "(1, 4)", "(1, 3)"),
    "a mask of two rows": (
        {"input_ids": IDS, "attention_mask": torch.ones(2, 4)}, "attention_mask", "(1, 4)", "(2, 4)",
    ),
    "a mask without rows": ({"input_ids": IDS, "attention_mask": torch.ones(4)}, "attention_mask", "(1, 4)", "(4,)"),
    "a mask of five": (
        {"input_ids": IDS, "attention_mask": torch.ones(1, 1, 1, 4, 4)}, "attention_mask", "2, 3 or 4", "5",
    ),
}  # fmt: skip

MODEL_VALUES: dict[str, tuple[dict[str, Any], type[OxiformersError], str, str, str]] = {
    "an id too many": ({"input_ids": IDS * 0 + MILLION}, ArgumentError, "input_ids", "0 to", "1000000"),
    "a negative id": ({"input_ids": IDS * 0 - 1}, ArgumentError, "input_ids", "0 to", "-1"),
    "an unknown type": (
        {"input_ids": IDS, "token_type_ids": IDS * 0 + 15}, ArgumentError, "token_type_ids", "0 to 1", "15",
    ),
    "an unknown position": (
        {"input_ids": IDS, "position_ids": IDS * 0 + 2**40}, ArgumentError, "position_ids", "0 to", str(2**40),
    ),
    "ids that are floats": ({"input_ids": IDS.float()}, InputTypeError, "input_ids", "int64", "torch.float32"),
    "ids in a list": ({"input_ids": IDS.tolist()}, InputTypeError, "input_ids", "torch.Tensor", "list"),
    "a text": ({"input_ids": "a cat"}, InputTypeError, "input_ids", "torch.Tensor", "str"),
    "a mask in a list": (
        {"input_ids": IDS, "attention_mask": [[1] * 4]}, InputTypeError, "attention_mask", "torch.Tensor", "list",
    ),
    "ids of three dimensions": ({"input_ids": IDS[None]}, ArgumentError, "input_ids", "[batch, sequence]", "(1, 1, 4)"),
    "a square mask of another size": (
        {"input_ids": IDS, "attention_mask": torch.ones(1, 1, 4, 7)}, ArgumentError, "attention_mask",
        "broadcasts to", "(1, 1, 4, 7)",
    ),
    "a misspelt argument": (
        {"input_ids": IDS, "attenton_mask": IDS}, InputTypeError, "attenton_mask", "head_mask", "attenton_mask",
    ),
    "a label too many": ({"input_ids": IDS, "labels": torch.tensor([99])}, ArgumentError, "labels", "from 0 to", "99"),
    "two labels for one row": (
        {"input_ids": IDS, "labels": torch.tensor([0, 1])}, ArgumentError, "labels", "[1]", "(2,)",
    ),
    "labels of a small type": (
        {"input_ids": IDS, "labels": torch.tensor([0], dtype=torch.int16)}, ArgumentError, "labels", "float", "int16",
    ),
    "labels in a list": ({"input_ids": IDS, "labels": [1]}, InputTypeError, "labels", "torch.Tensor", "list"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODEL_INPUTS)
def test_what_a_model_cannot_take(model: Any, name: str) -> None:
    arguments, *due = MODEL_INPUTS[name]
    refuses(lambda: model(**arguments), Refusal(ArgumentError, *due))


@pytest.mark.parametrize("name", MODEL_VALUES)
def test_values_a_model_cannot_take(model: Any, name: str) -> None:
    arguments, error, *due = MODEL_VALUES[name]
    refuses(lambda: model(**arguments), Refusal(error, *due))
    assert model.config.problem_type is None


def test_rows_without_tokens_are_empty(model: Any) -> None:
    assert model(input_ids=IDS[:, :0]).logits.shape[0] == 1
    assert model(input_ids=IDS[:0]).logits.shape[0] == 0


# Pipelines

TASKS = "text-classification"
PIPELINES: dict[str, tuple[dict[str, Any], type, str, str]] = {
    "an unknown task": ({"task": "text-clasification"}, UnsupportedError, "task", TASKS),
    "a task that is a number": ({"task": 3}, UnsupportedError, "task", TASKS),
    "another framework": ({"framework": "tf"}, UnsupportedError, "framework", "'pt'"),
    "no dtype": ({"dtype": "nope"}, ArgumentError, "dtype", "torch.dtype"),
    "an unknown argument": ({"foo": 1}, ArgumentError, "foo", "one of"),
    "no batch": ({"batch_size": 0}, ArgumentError, "batch_size", "at least 1"),
    "a batch size in words": ({"batch_size": "x"}, ArgumentError, "batch_size", "an integer"),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_that_cannot_be_made(good: Path, name: str) -> None:
    arguments, error, key, expected = PIPELINES[name]
    refuses(
        lambda: pipeline(**{"task": "text-classification", "model": str(good), **arguments}),
        Refusal(error, key, expected, ""),
    )


CALLS: dict[str, tuple[Any, dict[str, Any], type, str, str]] = {
    "None": (None, {}, InputTypeError, "inputs", "NoneType"),
    "bytes": (b"a", {}, InputTypeError, "inputs", "bytes"),
    "a tuple": (("a", "b"), {}, InputTypeError, "inputs", "tuple"),
    "None in a list": (["a", None], {}, InputTypeError, "inputs[1]", "NoneType"),
    "lists in a list": ([["a", "b"]], {}, InputTypeError, "inputs[0]", "list"),
    "a dict without text": ({"x": 1}, {}, InputTypeError, "inputs[0]", "'x'"),
    "a dict with a number": ({"text": 3}, {}, InputTypeError, "inputs[0]", "int"),
    "a pair with a number": (
        {"text": "a", "text_pair": 3},
        {},
        InputTypeError,
        "inputs[0]['text_pair']",
        "int",
    ),
    "half a surrogate pair": ("\ud800", {}, ArgumentError, "inputs[0]", "\\ud800"),
    "more tokens than fit": ("a " * 100, {}, ArgumentError, "inputs[0]", "102 tokens"),
    "10 MB": ("the cat " * 1_250_000, {}, ArgumentError, "inputs[0]", "2500002 tokens"),
    "top_k below 0": ("a", {"top_k": -1}, ArgumentError, "top_k", "-1"),
    "no such function": ("a", {"function_to_apply": "nope"}, ArgumentError, "function_to_apply", "'nope'"),
    "an unknown argument": ("a", {"foo": 1}, ArgumentError, "foo", "foo"),
    "max_length below 0": ("a", {"truncation": True, "max_length": -1}, ArgumentError, "max_length", "-1"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_pipeline_cannot_take(classify: Any, name: str) -> None:
    inputs, arguments, error, key, actual = CALLS[name]
    refuses(lambda: classify(inputs, **arguments), Refusal(error, key, "", actual))


def test_what_a_pipeline_can_take(classify: Any) -> None:
    with within():
        assert classify([]) == []
        for text in ("", "\0", " ", "a" * MILLION):
            assert 0 < classify(text)[0]["score"] <= 1
        assert classify("the cat " * 1_250_000, truncation=True)[0]["score"] <= 1


def test_a_generator_that_breaks_off(classify: Any) -> None:
    def texts() -> Iterator[Any]:
        yield "a"
        yield 3

    results = classify(texts())
    assert next(results)["score"] <= 1
    refuses(lambda: next(results), Refusal(InputTypeError, "inputs[1]", "a str", "int"))


def test_labels_with_holes(folder: Path) -> None:
    keys("config.json", id2label={"5": "a", "7": "b", "9": "c"}, label2id={"a": 5, "b": 7, "c": 9})(folder)
    refuses(
        lambda: pipeline("text-classification", model=str(folder))("a"),
        Refusal(ConfigError, "id2label", "the keys 0 to 2", "5, 7, 9"),
    )
