"""What a call asks for: padding, truncation and tensor types, and how the core is told."""

from __future__ import annotations

import warnings
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any, Literal, NoReturn, TypedDict

from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.logging import get_logger

logger = get_logger(__name__)

#: The length limit of a tokenizer whose model states none.
VERY_LARGE_INTEGER = int(1e30)
#: Above this, a length limit counts as none.
LARGE_INTEGER = int(1e20)
#: The longest row that padding makes: a row of this length costs 400 MB in int64 with its masks.
LONGEST_PADDED = 1 << 24

SIDES = ("right", "left")


class _NamedChoice(StrEnum):
    """A string enumeration whose error lists the choices."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        choices = [member.value for member in cls]
        raise ArgumentError(
            f"{value} is not a valid {cls.__name__}, please select one of {choices}",
            key=cls.__name__,
            expected=f"one of {choices}",
            actual=repr(value),
        )


class PaddingStrategy(_NamedChoice):
    """The values of the `padding` argument."""

    LONGEST = "longest"
    MAX_LENGTH = "max_length"
    DO_NOT_PAD = "do_not_pad"


class TruncationStrategy(_NamedChoice):
    """The values of the `truncation` argument."""

    ONLY_FIRST = "only_first"
    ONLY_SECOND = "only_second"
    LONGEST_FIRST = "longest_first"
    DO_NOT_TRUNCATE = "do_not_truncate"


class TensorType(_NamedChoice):
    """The values of the `return_tensors` argument: PyTorch, NumPy or TensorFlow."""

    PYTORCH = "pt"
    NUMPY = "np"
    TENSORFLOW = "tf"


CorePadding = Literal["longest", "max_length"]
CoreTruncation = Literal["longest_first", "only_first", "only_second"]
Side = Literal["left", "right"]


class CoreOptions(TypedDict, total=False):
    """The keyword arguments that every `encode_batch*` of the core takes."""

    is_pretokenized: bool
    add_special_tokens: bool
    split_special_tokens: bool
    truncation: CoreTruncation | None
    max_length: int | None
    stride: int
    truncation_side: Side
    padding: CorePadding | None
    pad_to_multiple_of: int | None
    padding_side: Side
    pad_id: int
    pad_type_id: int
    pad_token: str


_PADDING: dict[Any, CorePadding | None] = {
    False: None,
    None: None,
    True: "longest",
    "longest": "longest",
    "max_length": "max_length",
    "do_not_pad": None,
}
_TRUNCATION: dict[Any, CoreTruncation | None] = {
    False: None,
    None: None,
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
    "do_not_truncate": None,
}
_TENSORS = {kind.value: kind for kind in TensorType}


def resolve_padding(padding: bool | str | PaddingStrategy | None) -> CorePadding | None:
    """The core's name for a `padding` argument; None where nothing is to be padded."""
    try:
        return _PADDING[padding]
    except (KeyError, TypeError):
        return _PADDING[PaddingStrategy(str(padding)).value]


def resolve_truncation(truncation: bool | str | TruncationStrategy | None) -> CoreTruncation | None:
    """The core's name for a `truncation` argument; None where nothing is to be cut."""
    try:
        return _TRUNCATION[truncation]
    except (KeyError, TypeError):
        return _TRUNCATION[TruncationStrategy(str(truncation)).value]


def resolve_tensor_type(return_tensors: str | TensorType | None) -> TensorType | None:
    """The `return_tensors` argument as an enumeration member, or None."""
    if return_tensors is None:
        return None
    try:
        return _TENSORS[return_tensors]
    except (KeyError, TypeError):
        if return_tensors in ("jax", "mlx"):
            raise UnsupportedError.mismatch(
                "return_tensors",
                "'pt', 'np' or 'tf'",
                repr(return_tensors),
                "'np' is what other libraries read",
            ) from None
        return TensorType(return_tensors)


def resolve_side(side: str, argument: str) -> Side:
    """Checks a `padding_side` or `truncation_side`."""
    if side == "right":
        return "right"
    if side == "left":
        return "left"
    raise ArgumentError.mismatch(argument, "'left' or 'right'", repr(side))


def resolve_size(value: Any, argument: str) -> int:
    """Checks an argument that counts tokens: an integer of at least 0."""
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 0:
        raise ArgumentError.mismatch(argument, "an integer of at least 0", repr(value))
    return int(value.__index__())


def resolve_lengths(
    padding: bool | str | PaddingStrategy | None,
    truncation: bool | str | TruncationStrategy | None,
    max_length: int | None,
    pad_to_multiple_of: int | None,
    model_max_length: int,
    verbose: bool,
    reported: MutableMapping[str, bool] | None = None,
) -> tuple[CorePadding | None, CoreTruncation | None, int | None]:
    """Padding, truncation and the length they use, by transformers' rules.

    `max_length` alone cuts; without `max_length` the model's own limit is used, and where it has none either,
    neither padding to it nor cutting takes place. That is logged once for each `reported`, where it is given.
    """
    if max_length is not None:
        if padding is False and truncation is None:
            truncation = True
        elif verbose and padding is True and truncation in (None, False, "do_not_truncate"):
            warnings.warn(
                "`max_length` is ignored when `padding`=`True` and there is no truncation strategy. "
                "To pad to max length, use `padding='max_length'`.",
                stacklevel=4,
            )
    pad = resolve_padding(padding)
    cut = resolve_truncation(truncation)
    if max_length is None:
        if pad == "max_length" or cut is not None:
            if model_max_length > LARGE_INTEGER:
                if verbose and reported is not None:
                    _report_no_limit(pad == "max_length", cut is not None, reported)
                pad = None if pad == "max_length" else pad
                cut = None
            else:
                max_length = int(model_max_length)
    else:
        max_length = resolve_size(max_length, "max_length")
    if pad_to_multiple_of is not None:
        pad_to_multiple_of = resolve_size(pad_to_multiple_of, "pad_to_multiple_of")
    if pad is not None:
        _check_padded("pad_to_multiple_of", pad_to_multiple_of)
        _check_padded("max_length", max_length if pad == "max_length" else None)
    if max_length is not None:
        max_length = min(max_length, 1 << 40)  # no row is longer: to cut there is not to cut
    both = pad is not None and cut is not None and max_length is not None
    if both and pad_to_multiple_of and max_length % pad_to_multiple_of:  # type: ignore[operator]
        raise ArgumentError(
            f"Truncation and padding are both activated but truncation length ({max_length}) is not a "
            f"multiple of pad_to_multiple_of ({pad_to_multiple_of}).",
            key="pad_to_multiple_of",
            expected=f"a divisor of max_length={max_length}",
            actual=str(pad_to_multiple_of),
        )
    return pad, cut, max_length


def _report_no_limit(padding: bool, truncation: bool, reported: MutableMapping[str, bool]) -> None:
    """Says, once each, that what was asked for is not done: there is no length to do it to."""
    for asked, verb, result in ((padding, "pad", "padding"), (truncation, "truncate", "truncation")):
        key = f"Asking-to-{verb}-to-max_length"
        if asked and not reported.get(key, False):
            reported[key] = True
            logger.warning(
                "Asking to %s to max_length but no maximum length is provided and the model has no predefined "
                "maximum length. Default to no %s.",
                verb,
                result,
            )


def _check_padded(argument: str, length: int | None) -> None:
    if length is not None and length > LONGEST_PADDED:
        raise ArgumentError.mismatch(
            argument, f"at most {LONGEST_PADDED} where rows are padded to it", str(length)
        )
