"""Padding of rows that are tokenized already: what `tokenizer.pad` does, and collators with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from oxiformers._core import pad_sequences
from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.options import CorePadding, Side, TensorType
from oxiformers.tokenization.tensors import convert, is_array, is_tensor, to_numpy, to_python


class PadOptions(NamedTuple):
    """How rows are padded.

    Attributes:
        main: the key whose length counts (`input_ids`); it is filled with `pad_id`.
        with_attention_mask: whether an attention mask is padded, and made where there is none.
    """

    main: str
    strategy: CorePadding | None
    max_length: int | None
    multiple_of: int | None
    side: Side
    pad_id: int
    pad_type_id: int
    with_attention_mask: bool

    def fillers(self) -> dict[str, int]:
        """What fills each key that is padded."""
        fillers = {"token_type_ids": self.pad_type_id, "special_tokens_mask": 1, self.main: self.pad_id}
        return {"attention_mask": 0, **fillers} if self.with_attention_mask else fillers


def columns_of(rows: Mapping[str, Any] | Sequence[Mapping[str, Any]], main: str) -> dict[str, Any]:
    """One mapping of columns from a mapping, or from a list of mappings with the keys of the first.

    Raises:
        InputTypeError: neither of the two.
        ArgumentError: a row lacks a key, or `main` is missing.
    """
    columns: dict[str, Any]
    if isinstance(rows, Mapping):
        columns = dict(rows)
    elif isinstance(rows, (list, tuple)) and rows and all(isinstance(row, Mapping) for row in rows):
        columns = {}
        for key in rows[0]:
            for index, row in enumerate(rows):
                if key not in row:
                    raise ArgumentError.mismatch(
                        key, f"{key!r} in every row, as in row 0", f"{list(row)} in row {index}"
                    )
            columns[key] = [row[key] for row in rows]
    else:
        kind = type(rows).__name__
        raise InputTypeError.mismatch(
            "encoded_inputs", "a mapping such as {'input_ids': ...}, or a non-empty list of them", kind
        )
    if main not in columns:
        raise ArgumentError(
            f"You should supply an encoding or a list of encodings to this method that includes {main}, "
            f"but you provided {list(columns)}",
            key=main,
            expected=main,
            actual=str(list(columns)),
        )
    return columns


def pad_columns(
    columns: dict[str, Any], options: PadOptions, tensor_type: TensorType | None
) -> BatchEncoding:
    """Pads a row, or a batch of rows, given as columns; arrays and tensors come back as such.

    Keys other than the main one, attention_mask, token_type_ids and special_tokens_mask are not padded.
    """
    rows = columns[options.main]
    if rows is None or len(rows) == 0:
        empty: dict[str, Any] = {"attention_mask": []} if options.with_attention_mask else {}
        return BatchEncoding({**columns, **empty}, tensor_type=tensor_type)
    tensor_type = tensor_type or _tensor_type_of(rows)
    if not _is_row(rows[0]):
        single = {key: to_python(value) for key, value in columns.items()}
        padded = {
            key: value[0] for key, value in _pad_lists({k: [v] for k, v in single.items()}, options).items()
        }
        return BatchEncoding(padded, tensor_type=tensor_type)
    for key, value in columns.items():
        if len(value) != len(rows):
            raise ArgumentError(
                "Some items in the output dictionary have a different batch size than others: "
                f"{key} has {len(value)} rows, {options.main} has {len(rows)}",
                key=key,
                expected=f"{len(rows)} rows",
                actual=f"{len(value)} rows",
            )
    mask = columns.get("attention_mask")
    if (
        isinstance(mask, list) and getattr(mask[0], "ndim", 0) > 1
    ):  # a mask of queries and keys: stacked, not padded
        without = {key: value for key, value in columns.items() if key != "attention_mask"}
        result = pad_columns(without, options, tensor_type)
        stacked = convert(
            mask, "attention_mask", TensorType.PYTORCH if is_tensor(mask[0]) else TensorType.NUMPY
        )
        result["attention_mask"] = stacked
        return result
    if tensor_type is not None and options.strategy is not None:
        return BatchEncoding(_pad_arrays(columns, options, tensor_type))
    return BatchEncoding(
        _pad_lists({key: to_python(value) for key, value in columns.items()}, options),
        tensor_type=tensor_type,
    )


def _target(longest: int, options: PadOptions) -> int:
    target = longest if options.strategy == "longest" or options.max_length is None else options.max_length
    if options.multiple_of:
        target = -(-target // options.multiple_of) * options.multiple_of
    return target


def _pad_lists(columns: dict[str, list[Any]], options: PadOptions) -> dict[str, list[Any]]:
    rows = columns[options.main]
    result = dict(columns)
    if options.with_attention_mask and "attention_mask" not in columns:
        result["attention_mask"] = [[1] * len(row) for row in rows]
    if options.strategy is None:
        return result
    target = _target(max(map(len, rows)), options)
    for key, filler in options.fillers().items():
        if key not in result:
            continue
        if options.side == "right":
            result[key] = [
                [*value, *[filler] * (target - len(row))]
                for value, row in zip(result[key], rows, strict=True)
            ]
        else:
            result[key] = [
                [*[filler] * (target - len(row)), *value]
                for value, row in zip(result[key], rows, strict=True)
            ]
    return result


def _pad_arrays(columns: dict[str, Any], options: PadOptions, tensor_type: TensorType) -> dict[str, Any]:
    rows = [_integers(row) for row in columns[options.main]]
    longest = max(map(len, rows))
    target = _target(longest, options)
    if longest > target:  # rows longer than asked for stay as they are, and may still be of equal length
        lists = _pad_lists({key: to_python(value) for key, value in columns.items()}, options)
        return {key: convert(value, key, tensor_type) for key, value in lists.items()}
    result: dict[str, Any] = {}
    fillers = options.fillers()
    mask = None
    for key, value in columns.items():
        if key not in fillers:
            result[key] = convert(value, key, tensor_type)
            continue
        values = rows if key == options.main else [_integers(row) for row in value]
        for index, (row, main) in enumerate(zip(values, rows, strict=True)):
            if len(row) != len(main):
                raise ArgumentError.mismatch(
                    key,
                    f"length {len(main)}",
                    f"length {len(row)}",
                    f"row {index} of {options.main} has that length",
                )
        padded, padding_mask = pad_sequences(values, fillers[key], max_length=target, side=options.side)
        result[key] = convert(padded, key, tensor_type)
        mask = padding_mask if key == options.main else mask
    if options.with_attention_mask and "attention_mask" not in columns:
        result["attention_mask"] = convert(mask, "attention_mask", tensor_type)
    return result


def _integers(row: Any) -> Any:
    """A row that the core reads: a list, or an int64 array."""
    return to_numpy(row, "input_ids").astype(np.int64, copy=False) if is_array(row) else row


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (is_array(value) and value.ndim > 0)


def _tensor_type_of(rows: Any) -> TensorType | None:
    """What the caller works with: tensors in, tensors out."""
    for value in (rows, rows[0]):
        if is_tensor(value):
            return TensorType.PYTORCH
        if isinstance(value, np.ndarray):
            return TensorType.NUMPY
    first = next((row[0] for row in rows if isinstance(row, (list, tuple)) and len(row)), None)
    if is_tensor(first):
        return TensorType.PYTORCH
    return TensorType.NUMPY if isinstance(first, np.ndarray) else None
