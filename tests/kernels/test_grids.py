"""A thinned grid leaves out no value, and no pair where pairs are asked for."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.kernels.grids import Grid, each, pairwise

GRID: Grid = {"a": [1, 2], ("b", "c"): [("x", 1), ("y", 2), ("z", 3)], "d": [5, 6, 7, 8]}


def rows(mark: pytest.MarkDecorator, full: bool = False) -> list[tuple[Any, ...]]:
    names, arguments = mark.args
    assert names == ["a", "b", "c", "d"]
    return [argument.values for argument in arguments if full or not argument.marks]


def test_every_value_once() -> None:
    kept = rows(each(GRID))
    assert len(kept) == 4
    assert [set(column) for column in zip(*kept, strict=True)] == [
        {1, 2}, {"x", "y", "z"}, {1, 2, 3}, {5, 6, 7, 8}
    ]  # fmt: skip
    assert [row[0] for row in kept].count(1) == 2, "values take turns"


def test_every_pair() -> None:
    kept, every = rows(pairwise(GRID)), rows(pairwise(GRID), full=True)
    assert len(every) == 24 and len(kept) < 16
    for first, second in combinations(range(4), 2):
        assert {(row[first], row[second]) for row in kept} == {(row[first], row[second]) for row in every}
    assert kept == rows(pairwise(GRID))


def test_marked_values_keep_their_marks_and_are_never_thinned() -> None:
    names, arguments = pairwise(
        {"a": [1, 2, pytest.param(3, marks=pytest.mark.gpu)], "b": [1, 2], "c": [1, 2]}
    ).args
    assert names == ["a", "b", "c"] and len(arguments) == 12
    marks = {argument.values: [mark.name for mark in argument.marks] for argument in arguments}
    assert all((own == ["gpu"]) == (values[0] == 3) for values, own in marks.items())
    assert sorted(map(len, marks.values())) == [0] * 4 + [1] * 8
