"""Model inputs of one row each to a padded batch, and a batch's outputs back to one row each."""

from __future__ import annotations

import dataclasses
from collections import UserDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oxiformers.errors import ArgumentError

#: Inputs whose padding is not the tokenizer's padding token, and not 0.
MASKED_BY_ONE = frozenset({"p_mask", "special_tokens_mask"})
#: Inputs padded with the feature extractor's padding value.
FEATURES = frozenset({"input_values", "pixel_values", "input_features"})
#: Outputs that hold state of all rows together, and are left out of what a row gets.
SHARED_STATE = frozenset({"past_key_values", "cache"})

Rows = list[Mapping[str, Any]]


def pad_collate_fn(tokenizer: Any, feature_extractor: Any) -> Callable[[Rows], dict[str, Any]]:
    """A function that makes a batch of model inputs, of one row each.

    Tensors ``[1, S, ...]`` become ``[B, longest, ...]``, padded where S differs: `input_ids` with the tokenizer's
    padding token, features with the feature extractor's padding value, `special_tokens_mask` with 1, all else
    with 0, on the side the tokenizer or the feature extractor says, on the right where neither does. Tensors of
    one dimension are joined; anything but tensors becomes a list of the rows' values. Without a tokenizer and a
    feature extractor nothing is padded: tensors have one shape.

    Args:
        tokenizer, feature_extractor: those of the pipeline, either may be None.

    Raises:
        ArgumentError: the tokenizer has no padding token, or the two disagree about the side. The function
            raises it where rows have different keys, or shapes that padding does not make equal.
    """
    if tokenizer is not None and tokenizer.pad_token_id is None:
        hint = "a padded batch needs one: set tokenizer.pad_token, or pass batch_size=1"
        raise ArgumentError.mismatch("pad_token", "a token", None, hint)
    sides = {
        side
        for part in (tokenizer, feature_extractor)
        if (side := getattr(part, "padding_side", None)) is not None
    }
    if len(sides) > 1:
        raise ArgumentError.mismatch(
            "padding_side",
            f"the tokenizer's, {tokenizer.padding_side!r}",
            repr(feature_extractor.padding_side),
            "the feature extractor pads on the other side",
        )
    left = sides == {"left"}
    feature_value = getattr(feature_extractor, "padding_value", None) or 0
    token_value = feature_value if tokenizer is None else tokenizer.pad_token_id

    values: dict[str, Any] = {**dict.fromkeys(FEATURES, feature_value), **dict.fromkeys(MASKED_BY_ONE, 1)}
    values["input_ids"] = token_value
    padded = tokenizer is not None or feature_extractor is not None

    def collate(rows: Rows) -> dict[str, Any]:
        names = list(rows[0])
        for row in rows:
            if set(row) != set(names):
                raise ArgumentError.mismatch(
                    "batch_size", f"rows with the keys {sorted(names)}", sorted(row), "pass batch_size=1"
                )
        return {
            name: _join(name, [row[name] for row in rows], values.get(name, 0) if padded else None, left)
            for name in names
        }

    return collate


def _join(name: str, values: list[Any], padding: Any, left: bool) -> Any:
    """The values of one key as a batch: a tensor where they are tensors, else a list."""
    if not all(isinstance(value, Tensor) for value in values):
        return values
    first = values[0]
    mixed = len({value.dim() for value in values}) > 1
    if mixed or (first.dim() > 1 and len({value.shape[1:] for value in values}) > 1):
        _check_padded(name, values, padding)
        return _pad(values, padding, left)
    return torch.stack(values) if first.dim() == 0 else torch.cat(values)


def _check_padded(name: str, values: list[Tensor], padding: Any) -> None:
    """Raises ArgumentError for tensors that padding does not make equal, or that nothing says how to pad."""
    wanted = ""
    if padding is None:
        wanted = "tensors of one shape, without a tokenizer or feature extractor to pad by"
    elif any(
        value.dim() < 2 or value.shape[0] != 1 or value.shape[2:] != values[0].shape[2:] for value in values
    ):
        wanted = "tensors [1, S, ...] that differ in S alone"
    if wanted:
        shapes = ", ".join(str(tuple(value.shape)) for value in values)
        raise ArgumentError.mismatch(name, wanted, shapes, "pass batch_size=1")


def _pad(values: list[Tensor], padding: Any, left: bool) -> Tensor:
    longest = max(value.shape[1] for value in values)
    batch = values[0].new_full((len(values), longest, *values[0].shape[2:]), padding)
    for row, value in zip(batch, values, strict=True):
        length = value.shape[1]
        row[longest - length if left else 0 :][:length] = value[0]
    return batch


def split_rows(outputs: Any, count: int, name: str = "outputs") -> list[Any]:
    """What each of `count` rows has of a batch's outputs, with a first dimension of 1.

    Tensors and arrays are cut along their first dimension, lists by their items; dicts, model outputs and tuples of
    tensors (hidden states) are cut inside. What is no collection goes to every row.

    Raises ArgumentError for an output that does not have `count` rows.
    """
    if isinstance(outputs, (Tensor, np.ndarray)) and outputs.ndim:
        _check_count(name, len(outputs), count)
        return [outputs[row : row + 1] for row in range(count)]
    if isinstance(outputs, (dict, UserDict)):
        cut = {
            key: split_rows(value, count, key) for key, value in outputs.items() if key not in SHARED_STATE
        }
        rows = [{key: values[row] for key, values in cut.items()} for row in range(count)]
        if dataclasses.is_dataclass(outputs):
            return [type(outputs)(**row) for row in rows]
        return [UserDict(row) for row in rows] if isinstance(outputs, UserDict) else rows
    if isinstance(outputs, tuple) and all(
        isinstance(value, (Tensor, np.ndarray, tuple)) for value in outputs
    ):
        parts = [split_rows(value, count, name) for value in outputs]
        return [tuple(part[row] for part in parts) for row in range(count)]
    if isinstance(outputs, (list, tuple)):
        _check_count(name, len(outputs), count)
        return list(outputs)
    return [outputs] * count


def _check_count(name: str, found: int, count: int) -> None:
    if found != count:
        hint = "with batch_size=1, _forward may return what it likes"
        raise ArgumentError.mismatch(name, f"{count} rows, one an input", found, hint)
