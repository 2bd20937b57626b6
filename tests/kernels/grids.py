"""Grids of parameters, thinned: what a default run takes of all combinations."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product
from typing import Any

import pytest

Grid = dict[str | tuple[str, ...], Any]


def each(grid: Grid) -> pytest.MarkDecorator:
    """Parametrizes by all combinations; beyond those that have every value once, they are marked `full`.

    Args:
        grid: the values of each parameter, or of several that go together: `{"size": [1, 2], ("a", "b"): [(1, 2)]}`.
            A value may be a `pytest.param` with marks; all its combinations have these.
    """
    return _thinned(grid, 1)


def pairwise(grid: Grid) -> pytest.MarkDecorator:
    """As `each`, with every pair of two parameters' values."""
    return _thinned(grid, 2)


def _thinned(grid: Grid, together: int) -> pytest.MarkDecorator:
    rows = list(product(*([_unwrapped(key, value) for value in values] for key, values in grid.items())))
    # Values with a mark, such as gpu, are a lane's that takes everything.
    plain = [index for index, row in enumerate(rows) if not any(marks for _, marks in row)]
    chosen = _covering({index: [repr(value) for value, _ in rows[index]] for index in plain}, together)
    names = [name for key in grid for name in ((key,) if isinstance(key, str) else key)]
    arguments = []
    for index, row in enumerate(rows):
        marks = [mark for _, own in row for mark in own]
        if index in plain and index not in chosen:
            marks.append(pytest.mark.full)
        arguments.append(pytest.param(*(part for value, _ in row for part in value), marks=marks))
    return pytest.mark.parametrize(names, arguments)


def _unwrapped(key: str | tuple[str, ...], value: Any) -> tuple[tuple[Any, ...], Any]:
    """The values of one parameter, or of several, as a tuple, and their marks."""
    if hasattr(value, "marks"):
        return tuple(value.values), value.marks
    return ((value,) if isinstance(key, str) else value), ()


def _covering(rows: dict[int, list[str]], together: int) -> set[int]:
    """Indices of few rows that have all there is of so many values together: each time the row with the most new."""
    parts = {index: set(combinations(enumerate(row), together)) for index, row in rows.items()}
    missing = set().union(*parts.values())
    seen: Counter[tuple[int, str]] = Counter()
    chosen: set[int] = set()
    while missing:
        # Single values take turns; pairs do so of themselves, and cover more where the first row wins.
        best = max(
            rows,
            key=lambda index: (
                len(parts[index] & missing),
                -sum(seen[part] for part in enumerate(rows[index])) if together == 1 else 0,
            ),
        )
        chosen.add(best)
        missing -= parts[best]
        seen.update(enumerate(rows[best]))
    return chosen
