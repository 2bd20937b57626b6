"""The rows that go through a model: batches of them, and the way back to the inputs they were made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oxiformers.pipelines.inputs import Window

Ints = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """What goes through the model at once.

    Attributes:
        rows: int64 ``[B]``, the number of each row among those of the window.
        inputs: int64 ``[B]``, the index of the input each row was made of, among all inputs of the call.
        data: the rows themselves, in whatever form the pipeline's `run` takes.
    """

    rows: Ints
    inputs: Ints
    data: Any


class Prepared(NamedTuple):
    """A window of inputs, ready for the model.

    Attributes:
        batches: of its rows, in any order; they may be made as they are asked for.
        details: what `finish` needs to know about the window beside what the model said.
    """

    batches: Iterable[Batch]
    details: Any = None


def owners(window: Window, counts: Sequence[int] | None = None) -> Ints:
    """The index of the input each row was made of, int64 ``[N]``.

    `counts` says how many rows each input became; None where each became one.
    """
    inputs = window.first + np.arange(len(window.items))
    return inputs if counts is None else np.repeat(inputs, counts)


def make_batches(
    rows: Sequence[Any],
    window: Window,
    size: int,
    *,
    counts: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Batches of rows that are objects of their own; `data` is the list of a batch's rows.

    Args:
        rows: those of the window, in the order of its inputs.
        window: the inputs.
        size: the most rows of a batch.
        counts: how many rows each input became; None where each became one.
        lengths: of the rows; those of like length share a batch, the longest first.
    """
    inputs = owners(window, counts)
    order = np.arange(len(rows))
    if lengths is not None:
        order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    for start in range(0, len(rows), size):
        chosen = order[start : start + size]
        yield Batch(chosen, inputs[chosen], [rows[row] for row in chosen])


class Order(NamedTuple):
    """In which order the rows of a window were computed.

    Attributes:
        rows: int64 ``[N]``, the number of each row in the window, as they were computed.
        inputs: int64 ``[N]``, the index of each one's input.
        window: the inputs.
    """

    rows: Ints
    inputs: Ints
    window: Window

    def places(self) -> Ints:
        """Where each row of the window was computed: int64 ``[N]``, the inverse of `rows`."""
        places = np.empty_like(self.rows)
        places[self.rows] = np.arange(len(self.rows))
        return places

    def restore(self, kept: Iterable[Any]) -> list[Any]:
        """What was kept of each batch (a tensor ``[B, ...]``, a list) as a list of rows in the window's order."""
        found = [row for batch in kept for row in batch]
        return [found[place] for place in self.places().tolist()]

    def group(self, rows: Iterable[Any]) -> list[list[Any]]:
        """The rows of each input, given all rows in the window's order; an input without rows has an empty list."""
        groups: list[list[Any]] = [[] for _ in self.window.items]
        for place, row in zip(self.places().tolist(), rows, strict=True):
            groups[int(self.inputs[place]) - self.window.first].append(row)
        return groups

    def collect(self, kept: Iterable[Any], many_rows: bool) -> list[Any]:
        """One entry an input: its row, or the list of its rows where it may have several."""
        rows = self.restore(kept)
        return self.group(rows) if many_rows else rows


def join(tensors: list[Tensor]) -> Tensor:
    """What was kept of the batches, one after another, on the host."""
    return (tensors[0] if len(tensors) == 1 else torch.cat(tensors)).cpu()
