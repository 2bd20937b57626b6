"""Lists of numbers to tensors: what `return_tensors` and `convert_to_tensors` do."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from oxiformers.errors import ArgumentError, InputTypeError, UnsupportedError
from oxiformers.tokenization.options import TensorType

if TYPE_CHECKING:
    import torch


def is_tensor(value: Any) -> bool:
    """Whether the value is a torch tensor; never imports torch, without which there is none."""
    torch_module = sys.modules.get("torch")
    return torch_module is not None and isinstance(value, torch_module.Tensor)


def is_array(value: Any) -> bool:
    """Whether the value is a NumPy array or a torch tensor."""
    return isinstance(value, np.ndarray) or is_tensor(value)


def to_python(value: Any) -> Any:
    """Arrays and tensors as nested lists and numbers, inside lists and mappings too; the rest unchanged."""
    if isinstance(value, (int, float, str)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        if all(type(item) is int for item in value):
            return list(value)
        return [to_python(item) for item in value]
    if isinstance(value, (np.ndarray, np.number)) or is_tensor(value):
        return value.tolist()
    if hasattr(value, "items"):
        return {key: to_python(item) for key, item in value.items()}
    return value


def as_ids(value: Any) -> list[Any]:
    """Ids, or rows of ids, as lists: of an int, any sequence, an array, a tensor, or what a tokenizer's call returns.

    Raises InputTypeError for anything else. What the sequences hold is checked by whoever reads them.
    """
    found = to_python(value)
    if isinstance(found, Mapping):
        found = found["input_ids"]
    found = [found] if isinstance(found, int) else _listed(found)
    if not isinstance(found, list):
        expected = "an int, a sequence of ints or of such sequences, an array or a tensor"
        raise InputTypeError.mismatch("token_ids", expected, type(value).__name__)
    return found


def _listed(value: Any) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        return value
    if isinstance(value, list) and value and type(value[0]) is int:
        return value
    return [_listed(to_python(item)) for item in value]


def unequal_rows(key: str) -> ArgumentError:
    """The error for rows that do not form a rectangle."""
    return ArgumentError(
        "Unable to create tensor, you should probably activate truncation and/or padding with 'padding=True' "
        "'truncation=True' to have batched tensors with the same length. Perhaps your features "
        f"(`{key}` in this case) have excessive nesting (inputs type `list` where type `int` is expected).",
        key=key,
        expected="numbers in rows of equal length",
    )


def to_torch(value: Any, key: str) -> torch.Tensor:
    """A list, or list of lists, of numbers (or arrays) as a tensor; empty ones as int64."""
    import torch

    if type(value) is np.ndarray and value.dtype != object:
        return torch.from_numpy(value)
    if is_tensor(value):
        return value  # type: ignore[no-any-return]
    try:
        if isinstance(value, (list, tuple)) and len(value) > 0:
            if is_tensor(value[0]):
                return torch.stack(list(value))
            if isinstance(value[0], np.ndarray):
                return torch.from_numpy(np.array(value))
        return torch.tensor(value, dtype=torch.int64 if _is_empty(value) else None)
    except (TypeError, ValueError, RuntimeError) as error:
        raise unequal_rows(key) from error


def to_numpy(value: Any, key: str) -> np.ndarray[Any, Any]:
    """Nested lists of numbers, or of arrays, as an array; rows of unequal length as an array of arrays."""
    if isinstance(value, np.ndarray):
        return value
    if is_tensor(value):
        return value.detach().cpu().numpy()  # type: ignore[no-any-return]
    try:
        if isinstance(value, (list, tuple)) and len(value) > 0:
            if is_tensor(value[0]):
                value = [item.detach().cpu().numpy() for item in value]
            if isinstance(value[0], (list, tuple, np.ndarray)) and len({len(row) for row in value}) > 1:
                return ragged_array([np.asarray(row) for row in value])
        return np.asarray(value, dtype=np.int64 if _is_empty(value) else None)
    except (TypeError, ValueError) as error:
        raise unequal_rows(key) from error


def ragged_array(rows: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Rows of unequal length as a one-dimensional array of arrays."""
    result = np.empty(len(rows), dtype=object)
    result[:] = rows
    return result


def to_tensorflow(value: Any, key: str) -> Any:
    """Nested lists of numbers, or an array, as a TensorFlow tensor; integers as int32, as TensorFlow makes them.

    Raises UnsupportedError where TensorFlow is not installed.
    """
    try:
        import tensorflow  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise UnsupportedError(
            "return_tensors='tf' needs TensorFlow: install it with `pip install tensorflow`",
            key="return_tensors",
            expected="tensorflow",
        ) from error
    if tensorflow.is_tensor(value):
        return value
    array = to_numpy(value, key)
    if array.dtype == object:
        raise unequal_rows(key)
    integers = array.dtype == np.int64
    return tensorflow.constant(array, dtype=tensorflow.int32 if integers else None)


def convert(value: Any, key: str, tensor_type: TensorType) -> Any:
    """One value of a batch as a tensor of that type."""
    if tensor_type is TensorType.PYTORCH:
        return to_torch(value, key)
    return to_tensorflow(value, key) if tensor_type is TensorType.TENSORFLOW else to_numpy(value, key)


def _is_empty(value: Any) -> bool:
    """Whether a list holds no number at any depth."""
    if not isinstance(value, (list, tuple)):
        return False
    return all(_is_empty(item) for item in value) if value else True
