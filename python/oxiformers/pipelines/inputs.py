"""What a pipeline is called with: one input, a list, or something to stream; and how it is read, in windows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch.utils.data

from oxiformers.errors import OxiformersError
from oxiformers.pipelines.pt_utils import KeyDataset, KeyPairDataset, rows

#: An input that took longer to arrive is not waited for in the middle of a window, in seconds.
SLOW = 0.01


@runtime_checkable
class Numbered(Protocol):
    """A dataset: it has a length, and rows by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Source:
    """The inputs of one call.

    Attributes:
        items: the inputs; an iterator can be read once, anything else anew.
        total: how many there are, None where nobody knows.
        single: there is one, not in a container, and one result is returned for it.
        streamed: results are given out one by one, as they are asked for.
        from_dataset: inputs that are dicts are rows, and may have columns that are no text.
    """

    items: Iterable[Any] | Numbered
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
    """What the inputs are: a list, a dataset or an iterator; anything else is one input.

    Datasets are those of torch and of the `datasets` library, and KeyDataset. A file is one input, though it
    iterates over its lines.
    """
    if isinstance(inputs, list):
        return Source(inputs, len(inputs))
    known = (torch.utils.data.Dataset, KeyDataset, KeyPairDataset)
    if isinstance(inputs, known) or type(inputs).__module__.partition(".")[0] == "datasets":
        total = len(inputs) if isinstance(inputs, Sized) else None
        return Source(inputs, total, streamed=True, from_dataset=True)
    if isinstance(inputs, Iterator) and not hasattr(inputs, "read"):
        return Source(inputs, None, streamed=True)
    return Source([inputs], 1, single=True)


class Window(NamedTuple):
    """Some inputs in a row, which are prepared together.

    Attributes:
        items: the inputs.
        first: the index of the first one among all inputs of the call.
        from_dataset: see Source.
    """

    items: list[Any]
    first: int = 0
    from_dataset: bool = False

    def part(self, start: int, end: int | None = None) -> Window:
        """The inputs from `start` to `end`, counted in the window."""
        return Window(self.items[start:end], self.first + start, self.from_dataset)

    def each(self, prepare: Callable[[Any], Any]) -> Iterator[Any]:
        """`prepare(item)` of one input after another; an error of it says which input it was."""
        for index, item in enumerate(self.items, self.first):
            with naming(index):
                prepared = prepare(item)
            yield prepared


@contextmanager
def naming(index: int) -> Iterator[None]:
    """Adds the index of the input to errors raised inside, as a note, where they do not name it themselves."""
    try:
        yield
    except Exception as error:
        if not (isinstance(error, OxiformersError) and (error.key or "").startswith("inputs[")):
            error.add_note(f"raised by inputs[{index}]")
        raise


def read_windows(source: Source, size: int, *, ramp: bool) -> Iterator[Window]:
    """The inputs in windows of at most `size`; nothing is read before its window is asked for.

    Where reading an input fails, the inputs before it are given out as a window; the error is raised after it.

    Args:
        source: the inputs.
        size: the most inputs of a window.
        ramp: begin with a window of one and grow fourfold, so that the first result comes soon; an input that
            was slow to arrive ends its window, and the next window is of one again, so that a generator that
            waits for its inputs (a queue) gives out each answer before it has to produce the next input.
    """
    items, first = iter(source), 0
    grown = 1 if ramp else size
    failure: Exception | None = None
    more = True
    while more:
        window: list[Any] = []
        slow = False
        while len(window) < grown and not slow:
            start = time.perf_counter()
            try:
                window.append(next(items))
            except StopIteration:
                more = False
                break
            except Exception as error:  # noqa: BLE001 - raised below, after the answers to what came before it
                failure, more = error, False
                break
            slow = ramp and time.perf_counter() - start > SLOW
        if window:
            yield Window(window, first, source.from_dataset)
        first += len(window)
        grown = 1 if slow else min(grown * 4, size)
    if failure is not None:
        raise failure
