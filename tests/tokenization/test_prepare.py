"""prepare_for_model and truncate_sequences against transformers 4.57."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from oxiformers.errors import ArgumentError
from oxiformers.tokenization import BertTokenizerFast
from tests.tokenization.steps import step

OPTIONS: list[dict[str, Any]] = [
    {},
    {"add_special_tokens": False},
    {"return_tensors": "pt", "prepend_batch_axis": True},
    {"padding": "max_length", "max_length": 20},
    {"padding": "max_length", "max_length": 20, "return_tensors": "np"},
    {"pad_to_multiple_of": 8, "padding": True, "padding_side": "left"},
    {"return_length": True},
    {"return_attention_mask": False, "return_token_type_ids": False},
    *(
        {"truncation": cut, "max_length": 9, "stride": stride, "return_overflowing_tokens": overflow}
        for cut, stride, overflow in product(
            ["longest_first", "only_first", "only_second", False], [0, 2], [False, True]
        )
    ),
]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_prepare_for_model(options: dict[str, Any], side: str, same_as_457: Any) -> None:
    rows = [([5, 6, 7], None), (list(range(5, 17)), None), ([5, 6], list(range(30, 40))), ([], [])]
    rows += [(list(range(5, 17)), [1, 2, 3]), (list(range(5, 17)), list(range(30, 39)))]
    steps = [step("prepare_for_model", first, second, **options) for first, second in rows]
    steps += [
        step("truncate_sequences", first, second, count, strategy, 1)
        for (first, second), count, strategy in product(
            rows, (0, 3, 11), ("longest_first", "only_first", "do_not_truncate")
        )
    ]
    same_as_457("bert-base-uncased", *steps, kwargs={"truncation_side": side})


def test_contradictions() -> None:
    tokenizer = BertTokenizerFast()
    with pytest.raises(ArgumentError, match="undefined behavior"):
        tokenizer.prepare_for_model([1], add_special_tokens=False, return_token_type_ids=True)
    with pytest.raises(ArgumentError, match="Not possible to return overflowing tokens"):
        tokenizer.prepare_for_model([1], [2], truncation=True, max_length=3, return_overflowing_tokens=True)


def test_mask_of_special_tokens() -> None:
    tokenizer = BertTokenizerFast()
    batch = tokenizer.prepare_for_model([1], [1, 1], return_special_tokens_mask=True)
    assert batch["special_tokens_mask"] == [1, 0, 1, 0, 0, 1]
    batch = tokenizer.prepare_for_model([1], add_special_tokens=False, return_special_tokens_mask=True)
    assert batch["special_tokens_mask"] == [0]
