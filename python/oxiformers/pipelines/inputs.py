"""What a pipeline is called with: which kind of container it is, and what one input in it says."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol, runtime_checkable

from ..errors import InputTypeError
from .pt_utils import rows

#: An input that took longer to arrive is not waited for in the middle of a window, in seconds.
SLOW = 0.01


@runtime_checkable
class _Numbered(Protocol):
    """A dataset: it has a length, and rows by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Source:
    """The inputs of one call.

    Attributes:
        items: the inputs; an iterator can be read once, anything else anew.
        total: how many there are, None where nobody knows.
        single: there is one, not in a container, and one result is due.
        streamed: results are due one by one, as they are asked for.
        from_dataset: inputs that are dicts are rows, and may have columns that are no text.
    """

    items: Iterable[Any] | _Numbered
    total: int | None
    single: bool = False
    streamed: bool = False
    from_dataset: bool = False

    @property
    def once(self) -> bool:
        """Whether the inputs are gone once they have been read."""
        return isinstance(self.items, Iterator)

    def __iter__(self) -> Iterator[Any]:
        return rows(self.items)


def find_source(inputs: Any) -> Source:
    """What the inputs are: one, a list, or something to stream.

    Raises InputTypeError for what is none of them.
    """
    if isinstance(inputs, (str, Mapping)):
        return Source([inputs], 1, single=True)
    if isinstance(inputs, tuple):
        _refuse(inputs, "; for several texts pass a list, for a pair a dict")
    if isinstance(inputs, (bytes, bytearray)) or not isinstance(inputs, Iterable | _Numbered):
        _refuse(inputs)
    if hasattr(inputs, "iloc") and hasattr(inputs, "columns"):
        _refuse(inputs, "; of a data frame pass one column")  # it would give out the names of its columns
    if isinstance(inputs, Sequence):
        return Source(inputs, len(inputs))
    if isinstance(inputs, Iterator):
        return Source(inputs, None, streamed=True)
    total = len(inputs) if isinstance(inputs, _Numbered) else None
    return Source(inputs, total, streamed=True, from_dataset=True)


def _refuse(inputs: Any, hint: str = "") -> NoReturn:
    kind = type(inputs).__name__
    raise InputTypeError(
        'inputs: expected a str, a dict {"text", "text_pair"}, or a list, generator or dataset of those, '
        f"got {kind}{hint}",
        key="inputs",
        expected="a str, a dict, or a list, generator or dataset of those",
        actual=kind,
    )


def read_windows(items: Iterator[Any], rows: int, ramp: bool) -> Iterator[list[Any]]:
    """The inputs in windows of at most `rows`; nothing is read before its window is asked for.

    Args:
        items: the inputs.
        rows: the most inputs of a window.
        ramp: begin with a window of one and grow fourfold, so that the first result comes soon; an input that
            was slow to arrive ends its window, and the next window is of one again, so that a generator that
            waits for its inputs (a queue) gives out each answer before it has to produce the next input.
    """
    size = 1 if ramp else rows
    while True:
        window: list[Any] = []
        slow = False
        while len(window) < size and not slow:
            start = time.perf_counter()
            try:
                window.append(next(items))
            except StopIteration:
                if window:
                    yield window
                return
            slow = ramp and time.perf_counter() - start > SLOW
        yield window
        size = 1 if slow else min(size * 4, rows)


class Rows(NamedTuple):
    """A window of inputs, read: texts, and the pairs of those that have one (None where no input has)."""

    texts: list[Any]
    pairs: list[str | None] | None


def read_rows(window: list[Any], first: int, from_dataset: bool, words: bool = False) -> Rows:
    """Reads a window of inputs.

    Args:
        window: str, dicts with "text" and perhaps "text_pair", or the older pair, [[text, text_pair]].
        first: the index of the window's first input among all inputs, for errors.
        from_dataset: dicts may have further keys.
        words: each input is a list of words.

    Raises:
        InputTypeError: an input is none of these; names its index.
    """
    if not words and all(type(item) is str for item in window):
        return Rows(window, None)
    texts: list[Any] = []
    pairs: list[str | None] = []
    for index, item in enumerate(window, first):
        text, pair = item, None
        if isinstance(item, Mapping):
            text, pair = _read_mapping(item, index, from_dataset)
        elif not words and isinstance(item, (list, tuple)):
            text, pair = _read_nested(item, index)
        if words:
            _check_words(text, index)
        elif not isinstance(text, str):
            _refuse_item(text, f"inputs[{index}]", 'a str or a dict {"text", "text_pair"}')
        if pair is not None and not isinstance(pair, str):
            _refuse_item(pair, f"inputs[{index}]['text_pair']", "a str")
        texts.append(text)
        pairs.append(pair)
    return Rows(texts, pairs if any(pair is not None for pair in pairs) else None)


def _read_mapping(item: Mapping[str, Any], index: int, from_dataset: bool) -> tuple[Any, Any]:
    unknown = item.keys() - {"text", "text_pair"}
    if "text" not in item or (unknown and not from_dataset):
        keys = ", ".join(repr(key) for key in item) or "none"
        hint = "; name the column with KeyDataset(dataset, column)" if from_dataset else ""
        raise InputTypeError(
            f'inputs[{index}]: expected a dict with the keys "text" and, for a pair, "text_pair", got '
            f"{keys}{hint}",
            key=f"inputs[{index}]",
            expected='"text" and perhaps "text_pair"',
            actual=keys,
        )
    return item["text"], item.get("text_pair")


def _read_nested(item: Sequence[Any], index: int) -> tuple[Any, Any]:
    if isinstance(item, list) and len(item) == 1 and isinstance(item[0], list) and len(item[0]) == 2:
        return item[0][0], item[0][1]
    raise InputTypeError(
        f"inputs[{index}]: expected a str or a dict, got {_kind(item)}; a pair of texts is passed as "
        '{"text": first, "text_pair": second}',
        key=f"inputs[{index}]",
        expected='a str or a dict {"text", "text_pair"}',
        actual=_kind(item),
    )


def _check_words(text: Any, index: int) -> None:
    if not isinstance(text, (list, tuple)):
        _refuse_item(text, f"inputs[{index}]", "a list of words, as is_split_into_words=True says")
    for place, word in enumerate(text):
        if not isinstance(word, str):
            _refuse_item(word, f"inputs[{index}][{place}]", "a str (a word)")


def _refuse_item(value: Any, name: str, expected: str) -> NoReturn:
    raise InputTypeError(
        f"{name}: expected {expected}, got {_kind(value)}", key=name, expected=expected, actual=_kind(value)
    )


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, (list, tuple)) else kind
