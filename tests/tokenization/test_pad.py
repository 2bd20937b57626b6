"""tokenizer.pad: lists, arrays and tensors, single rows and batches."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.tokenization import BertTokenizerFast
from tests.tokenization.steps import WORDPIECE, step

ROWS: list[dict[str, Any]] = [
    {
        "input_ids": [101, 5, 6, 102],
        "token_type_ids": [0, 0, 1, 1],
        "special_tokens_mask": [1, 0, 0, 1],
        "label": 2,
    },
    {"input_ids": [101, 102], "token_type_ids": [0, 1], "special_tokens_mask": [1, 1], "label": 0},
]
INPUTS: list[Any] = [
    ROWS,
    {"input_ids": [[1, 2, 3], [4], []]},
    {"input_ids": [1, 2, 3]},
    {"input_ids": [1, 2, 3], "attention_mask": [1, 0, 1], "labels": [1, 2, 3]},
    [
        {"input_ids": [1, 2], "attention_mask": [0, 1], "labels": 1.5},
        {"input_ids": [3], "attention_mask": [1], "labels": 2.5},
    ],
    [{"input_ids": [1, 2], "labels": [1, 2]}, {"input_ids": [3], "labels": [1]}],
    {"input_ids": [[]]},
    {"input_ids": {"tensor": [[1, 2], [3, 4]]}},
    {
        "input_ids": [{"tensor": [1, 2]}, {"tensor": [3]}],
        "token_type_ids": [{"tensor": [0, 1]}, {"tensor": [1]}],
    },
    [{"input_ids": {"array": [1, 2]}}, {"input_ids": {"array": [3]}}],
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"return_tensors": "pt"},
    {"return_tensors": "np"},
    {"padding": False},
    {"padding": "max_length", "max_length": 7},
    {"padding": "max_length", "max_length": 2},
    {"pad_to_multiple_of": 8},
    {"padding_side": "left"},
    {"padding_side": "left", "return_tensors": "pt", "pad_to_multiple_of": 3},
    {"return_attention_mask": False},
    {"return_attention_mask": False, "return_tensors": "pt"},
]


@pytest.mark.parametrize("inputs", INPUTS, ids=lambda inputs: str(inputs)[:50])
def test_rows(inputs: Any, same_as_524: Any, same_as_457: Any) -> None:
    """Every input under every option."""
    steps = [step("pad", inputs, **options) for options in OPTIONS]
    same_as_524("bert-base-uncased", *steps)
    same_as_457("bert-base-uncased", *steps)


def test_left_by_default(same_as_524: Any) -> None:
    """The tokenizer's own side is the default."""
    steps = [step("pad", inputs, **options) for inputs, options in product(INPUTS, OPTIONS[:3])]
    same_as_524(WORDPIECE[1], *steps, kwargs={"padding_side": "left"})


@pytest.fixture(scope="module")
def tokenizer(folders: Any) -> BertTokenizerFast:
    """A tokenizer of this package."""
    return BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])


def test_padding_later_is_padding_at_once(tokenizer: BertTokenizerFast, lines: list[str]) -> None:
    """Rows tokenized one by one and padded are what the batch call gives."""
    rows = [tokenizer(line, return_special_tokens_mask=True) for line in lines]
    for side in ("left", "right"):
        at_once = tokenizer(
            lines, padding=True, padding_side=side, return_tensors="pt", return_special_tokens_mask=True
        )
        later = tokenizer.pad(rows, padding_side=side, return_tensors="pt")
        assert at_once.keys() == later.keys()
        for key, value in at_once.items():
            torch.testing.assert_close(later[key], value, rtol=0, atol=0)


def test_the_input_stays_as_it_was(tokenizer: BertTokenizerFast) -> None:
    """Nothing is written into the caller's rows."""
    rows = [{"input_ids": [1, 2]}, {"input_ids": [3]}]
    tokenizer.pad(rows)
    tokenizer.pad({"input_ids": [1]}, padding="max_length", max_length=4)
    assert rows == [{"input_ids": [1, 2]}, {"input_ids": [3]}]


def test_masks_of_queries_and_keys_are_stacked(tokenizer: BertTokenizerFast) -> None:
    """An attention mask with more than one axis a row is not padded."""
    masks = [np.ones((1, 3, 3), dtype=np.int64)] * 2
    padded = tokenizer.pad({"input_ids": [[1, 2, 3], [4]], "attention_mask": masks}, return_tensors="np")
    assert padded["attention_mask"].shape == (2, 1, 3, 3)
    assert padded["input_ids"].tolist() == [[1, 2, 3], [4, 0, 0]]


def test_arrays_of_one_row(tokenizer: BertTokenizerFast) -> None:
    """One row as an array, and no row at all."""
    padded = tokenizer.pad({"input_ids": np.array([1, 2])}, padding="max_length", max_length=3)
    assert padded["input_ids"].tolist() == [1, 2, 0]
    assert tokenizer.pad({"input_ids": []}).data == {"input_ids": [], "attention_mask": []}
    assert tokenizer.pad({"input_ids": []}, return_tensors="pt")["input_ids"].dtype == torch.int64


def test_integer_types(tokenizer: BertTokenizerFast) -> None:
    """Smaller integers become int64."""
    rows = [{"input_ids": np.array([1, 2], dtype=np.int32)}, {"input_ids": np.array([3], dtype=np.uint8)}]
    padded = tokenizer.pad(rows, return_tensors="pt")
    assert padded["input_ids"].dtype == torch.int64
    assert padded["input_ids"].tolist() == [[1, 2], [3, 0]]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([], InputTypeError, "non-empty list"),
        ("text", InputTypeError, "mapping"),
        (
            [{"input_ids": [1]}, {"labels": [1]}],
            ArgumentError,
            "'input_ids' in every row, as in row 0, got .* in row 1",
        ),
        ({"labels": [1]}, ArgumentError, "includes input_ids"),
        ({"input_ids": [[1], [2]], "token_type_ids": [[1]]}, ArgumentError, "token_type_ids has 1 rows"),
        (
            {"input_ids": [[1, 2], [3]], "token_type_ids": [[1, 1], [1, 1]]},
            ArgumentError,
            "token_type_ids: expected length 1, got length 2; row 1",
        ),
    ],
)
def test_errors(tokenizer: BertTokenizerFast, rows: Any, error: type[Exception], message: str) -> None:
    """What cannot be padded is named."""
    with pytest.raises(error, match=message):
        tokenizer.pad(rows, return_tensors="pt")


def test_ragged_rows_behind_an_empty_one(tokenizer: BertTokenizerFast) -> None:
    """An error, where torch would make an empty tensor of them."""
    with pytest.raises(ArgumentError, match="Unable to create tensor"):
        tokenizer(["", "some words"], add_special_tokens=False, return_tensors="pt")
