"""Rows to padded batches and back, where transformers has no answer to compare with, or another one."""

from __future__ import annotations

from collections import UserDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from oxiformers.errors import ArgumentError
from oxiformers.models.outputs import SequenceClassifierOutput
from oxiformers.pipelines.collate import pad_collate_fn, split_rows


def tokenizer(pad: int | None = 9, side: str = "right") -> Any:
    return SimpleNamespace(pad_token_id=pad, padding_side=side)


def extractor(value: float = 0.5, side: str = "right") -> Any:
    return SimpleNamespace(padding_value=value, padding_side=side)


def row(length: int, **more: Any) -> dict[str, Any]:
    ones = torch.ones(1, length, dtype=torch.int64)
    return {
        "input_ids": ones,
        "special_tokens_mask": ones * 0,
        "input_values": torch.ones(1, length, 2),
        **more,
    }


def test_each_key_has_its_padding() -> None:
    batch = pad_collate_fn(tokenizer(), extractor())([row(1, name="a"), row(3, name="b")])
    assert batch["input_ids"].tolist() == [[1, 9, 9], [1, 1, 1]]
    assert batch["special_tokens_mask"].tolist() == [[0, 1, 1], [0, 0, 0]]
    assert batch["input_values"].tolist() == [[[1, 1], [0.5, 0.5], [0.5, 0.5]], [[1, 1]] * 3]
    assert batch["name"] == ["a", "b"]


def test_padding_on_the_left_and_ids_of_a_feature_extractor() -> None:
    collate = pad_collate_fn(None, extractor(7, "left"))
    assert collate([row(1), row(2)])["input_ids"].tolist() == [[7, 1], [1, 1]]


def test_shapes_that_need_no_padding() -> None:
    """Images, numbers a row, and numbers without a row."""
    collate = pad_collate_fn(None, None)
    batch = collate(
        [{"pixel_values": torch.ones(1, 3, 4, 5), "n": torch.tensor([1]), "t": torch.tensor(2)}] * 2
    )
    assert [tuple(batch[name].shape) for name in ("pixel_values", "n", "t")] == [(2, 3, 4, 5), (2,), (2,)]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((tokenizer(None), None), "pad_token: expected a token, got None; .* batch_size=1"),
        (
            (tokenizer(side="left"), extractor()),
            "padding_side: expected the tokenizer's, 'left', got 'right'",
        ),
    ],
)
def test_parts_that_cannot_pad(parts: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pad_collate_fn(*parts)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(1), row(1, name="b")], r"batch_size: expected rows with the keys .* got .*'name'"),
        (
            [row(2), row(2, input_values=torch.ones(1, 2, 3))],
            r"input_values: .* got \(1, 2, 2\), \(1, 2, 3\)",
        ),
        (
            [row(2), row(2, input_values=torch.ones(2, 3, 2))],
            "input_values: expected tensors .* that differ in S",
        ),
        ([row(2), row(2, input_values=torch.ones(2))], r"input_values: .* \(2,\); pass batch_size=1"),
    ],
)
def test_rows_that_make_no_batch(rows: list[Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pad_collate_fn(tokenizer(), None)(rows)


def test_nothing_is_padded_where_nothing_says_with_what() -> None:
    with pytest.raises(ArgumentError, match="input_ids: expected tensors of one shape, without a tokenizer"):
        pad_collate_fn(None, None)([row(1), row(2)])


def test_rows_of_outputs() -> None:
    logits = torch.arange(6.0).view(2, 3)
    outputs = {
        "logits": logits,
        "array": np.arange(2),
        "names": ["a", "b"],
        "hidden_states": (logits, (logits * 2,)),
        "inner": {"x": logits[:, 0]},
        "loss": torch.tensor(3.0),
        "nothing": None,
        "past_key_values": object(),
    }
    first, second = split_rows(outputs, 2)
    assert first.keys() == outputs.keys() - {"past_key_values"}
    assert first["logits"].tolist() == [[0, 1, 2]]
    assert second["array"].tolist() == [1]
    assert second["names"] == "b"
    assert second["hidden_states"][1][0].tolist() == [[6, 8, 10]]
    assert second["inner"]["x"].tolist() == [3]
    assert (second["loss"].item(), second["nothing"]) == (3.0, None)
    [one, _] = split_rows((logits, logits), 2)
    assert [part.tolist() for part in one] == [[[0, 1, 2]]] * 2
    [kept, _] = split_rows(SequenceClassifierOutput(logits=logits, hidden_states=(logits,)), 2)
    assert kept.logits.tolist() == kept.hidden_states[0].tolist() == [[0, 1, 2]]
    assert type(split_rows(UserDict(a=logits), 2)[0]) is UserDict


@pytest.mark.parametrize("outputs", [torch.zeros(4, 1), [1, 2, 3], {"logits": np.zeros(1)}])
def test_outputs_of_another_number_of_rows(outputs: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r"(outputs|logits): expected 2 rows, one an input, got [413]; .*batch_size=1"
    ):
        split_rows(outputs, 2)
