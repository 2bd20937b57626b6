"""What a pipeline returns for a generator or a dataset: an iterator that computes as it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class Results(Iterator[Any]):
    """The results of a stream of inputs, in order; computed, a window at a time, when one is asked for.

    Where the inputs come from a dataset, `iter()` begins anew, so that the results can be gone through again.

    Args:
        begin: gives an iterator over the results from the first one on.
        once: the inputs can be read only once.
    """

    def __init__(self, begin: Callable[[], Iterator[Any]], once: bool) -> None:
        self._begin = begin
        self._once = once
        self._current: Iterator[Any] | None = None

    def __iter__(self) -> Results:
        if not self._once:
            self._current = None
        return self

    def __next__(self) -> Any:
        if self._current is None:
            self._current = self._begin()
        return next(self._current)


class SizedResults(Results):
    """Results whose number is known: they have a `len()`."""

    def __init__(self, begin: Callable[[], Iterator[Any]], once: bool, total: int) -> None:
        super().__init__(begin, once)
        self._total = total

    def __len__(self) -> int:
        return self._total
