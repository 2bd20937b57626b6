"""Padding, packing and planning against plain Python twins."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oxiformers._core import pack_sequences, pad_sequences, plan_batches
from oxiformers.errors import ArgumentError, InputTypeError

INT64 = st.integers(-(2**63), 2**63 - 1)
FEATURES = st.lists(st.lists(INT64, max_size=9), max_size=9)


def padded_by_hand(
    features: list[list[int]], value: int, multiple_of: int | None, max_length: int | None, side: str
) -> tuple[list[list[int]], list[list[int]]]:
    width = max(map(len, features), default=0) if max_length is None else max_length
    while multiple_of and width % multiple_of:
        width += 1
    rows, mask = [], []
    for feature in features:
        empty = width - len(feature)
        if side == "right":
            rows.append(feature + [value] * empty)
            mask.append([1] * len(feature) + [0] * empty)
        else:
            rows.append([value] * empty + feature)
            mask.append([0] * empty + [1] * len(feature))
    return rows, mask


def planned_by_hand(lengths: list[int], budget: int) -> list[list[int]]:
    batches: list[list[int]] = []
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        if batches and sum(lengths[other] for other in batches[-1]) + lengths[item] <= budget:
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches


@settings(deadline=None)
@given(
    FEATURES,
    INT64,
    st.none() | st.integers(1, 8),
    st.none() | st.integers(0, 12),
    st.sampled_from(["left", "right"]),
)
def test_pad_equals_its_twin(
    features: list[list[int]], value: int, multiple_of: int | None, max_length: int | None, side: Any
) -> None:
    options: dict[str, Any] = {"multiple_of": multiple_of, "max_length": max_length, "side": side}
    if max_length is not None and any(len(feature) > max_length for feature in features):
        with pytest.raises(ArgumentError) as caught:
            pad_sequences(features, value, **options)
        assert caught.value.key == "max_length"
        return
    values, mask = pad_sequences(features, value, **options)
    expected, expected_mask = padded_by_hand(features, value, **options)
    assert (values.tolist(), mask.tolist()) == (expected, expected_mask)
    assert values.dtype == mask.dtype == np.int64
    assert values.shape == mask.shape
    assert values.ndim == 2
    assert values.flags.c_contiguous


@settings(deadline=None)
@given(FEATURES)
def test_pack_equals_its_twin(features: list[list[int]]) -> None:
    values, positions, cu_seqlens = pack_sequences(features)
    assert values.tolist() == [value for feature in features for value in feature]
    assert positions.tolist() == [place for feature in features for place in range(len(feature))]
    assert cu_seqlens.tolist() == [0, *np.cumsum([len(feature) for feature in features]).tolist()]
    assert values.dtype == positions.dtype == cu_seqlens.dtype == np.int64


@settings(deadline=None)
@given(FEATURES)
def test_pad_then_mask_is_pack(features: list[list[int]]) -> None:
    packed, _, cu_seqlens = pack_sequences(features)
    for side in ("left", "right"):
        values, mask = pad_sequences(features, -1, side=side)  # type: ignore[arg-type]
        assert values[mask == 1].tolist() == packed.tolist()
        assert mask.sum(axis=1).tolist() == np.diff(cu_seqlens).tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=80), st.integers(1, 120))
def test_plan_equals_its_twin(lengths: list[int], budget: int) -> None:
    order, boundaries = plan_batches(lengths, budget)
    assert order.dtype == boundaries.dtype == np.int64
    batches = [order[a:b].tolist() for a, b in pairwise(boundaries)]
    assert batches == planned_by_hand(lengths, budget)
    assert all(sum(lengths[item] for item in batch) <= budget or len(batch) == 1 for batch in batches)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (boundaries[0], boundaries[-1]) == (0, len(lengths))

    results = np.empty(len(lengths), np.int64)
    results[order] = [lengths[item] for batch in batches for item in batch]
    assert results.tolist() == lengths


def test_plan_of_great_lengths_does_not_overflow() -> None:
    order, boundaries = plan_batches([2**62, 2**63 - 1, 2**62, 2**62], 2**63 - 1)
    assert order.tolist() == [1, 0, 2, 3]
    assert boundaries.tolist() == [0, 1, 2, 3, 4]


def test_plan_of_a_million_is_quick() -> None:
    lengths = np.random.default_rng(0).integers(1, 512, 1_000_000)
    order, boundaries = plan_batches(lengths, 4096)
    assert (np.diff(lengths[order]) <= 0).all()
    sums = np.add.reduceat(lengths[order], boundaries[:-1])
    assert sums.max() <= 4096
    assert sums[:-1].min() > 4096 - 512


class Index:
    """An integer by protocol, as a 0-dimensional tensor is."""

    def __index__(self) -> int:
        return 7


ARRAYS = [
    np.array([1, 2, 3]),
    np.array([1, 9, 2, 9, 3, 9])[::2],
    np.array([3, 2, 1])[::-1],
    np.array([1, 2, 3], np.int32),
    np.array([1, 2, 3], np.uint8),
    np.array([1, 2, 3], np.uint64),
    np.array([1, 2, 3], ">i8"),
    np.frombuffer(b"\0" + np.array([1, 2, 3]).tobytes(), np.int64, offset=1),
    np.array([[0, 1], [0, 2], [0, 3]])[:, 1],
    torch.tensor([1, 2, 3]),
    (1, 2, 3),
    range(1, 4),
    [np.int64(1), torch.tensor(2), 3],
    [True, 2, 3],
]


@pytest.mark.parametrize("feature", ARRAYS, ids=lambda feature: f"{type(feature).__name__} {feature!r}")
def test_features_of_all_kinds(feature: Any) -> None:
    for features in ([feature], (feature,), iter([feature])):
        assert pack_sequences(features)[0].tolist() == [1, 2, 3]
    assert pad_sequences([feature, [Index()]], 0)[0].tolist() == [[1, 2, 3], [7, 0, 0]]


def test_the_lines_of_a_matrix_are_features() -> None:
    matrix = np.arange(6).reshape(2, 3)
    assert pad_sequences(matrix, 0)[0].tolist() == matrix.tolist()
    assert pad_sequences(matrix.T, 0)[0].tolist() == matrix.T.tolist()


def test_arrays_that_were_given_stay_as_they_are() -> None:
    feature = np.array([1, 2, 3])
    feature.flags.writeable = False
    values, _ = pad_sequences([feature], 0)
    values[:] = 9
    assert feature.tolist() == [1, 2, 3]


def test_torch_shares_the_arrays() -> None:
    values, mask = pad_sequences([[1, 2], [3]], 0)
    for array in (values, mask, *pack_sequences([[1, 2], [3]])):
        tensor = torch.from_numpy(array)
        assert tensor.data_ptr() == array.ctypes.data
        assert tensor.data_ptr() % 8 == 0
        tensor += 1
        assert array.reshape(-1)[0] == tensor.reshape(-1)[0]


@pytest.mark.parametrize(
    ("features", "kind", "key"),
    [
        (None, InputTypeError, "features"),
        (3, InputTypeError, "features"),
        ([3], InputTypeError, "features[0]"),
        ([None], InputTypeError, "features[0]"),
        ([[1], [2, "3"]], InputTypeError, "features[1][1]"),
        (["12"], InputTypeError, "features[0][0]"),
        ([[1.0]], InputTypeError, "features[0][0]"),
        ([[None]], InputTypeError, "features[0][0]"),
        ([[[1]]], InputTypeError, "features[0][0]"),
        ([np.ones(2)], InputTypeError, "features[0]"),
        ([np.ones((2, 2), np.int64)], InputTypeError, "features[0]"),
        ([np.ones((2, 2), np.int32)], InputTypeError, "features[0]"),
        ([np.array(1)], InputTypeError, "features[0]"),
        ([np.array(["a"])], InputTypeError, "features[0]"),
        ([[2**63]], ArgumentError, "features[0][0]"),
        ([[0, -(2**63) - 1]], ArgumentError, "features[0][1]"),
        ([np.array([2**63], np.uint64)], ArgumentError, "features[0][0]"),
    ],
    ids=repr,
)
def test_what_is_no_feature_is_named(features: Any, kind: type[Exception], key: str) -> None:
    for collate in (lambda: pad_sequences(features, 0), lambda: pack_sequences(features)):
        with pytest.raises(kind) as caught:
            collate()
        assert caught.value.key == key  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"multiple_of": 0}, "multiple_of"),
        ({"multiple_of": -8}, "multiple_of"),
        ({"max_length": -1}, "max_length"),
        ({"max_length": 1}, "max_length"),
        ({"max_length": 2**40}, "max_length"),
        ({"max_length": 2**62}, "max_length"),
        ({"max_length": 2**63 - 1, "multiple_of": 2**63 - 2}, "max_length"),
        ({"side": "middle"}, "side"),
    ],
    ids=repr,
)
def test_options_out_of_range_are_named(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        pad_sequences([[1, 2], [3]] * 100_000, 0, **options)
    assert caught.value.key == key


def test_plans_that_cannot_be() -> None:
    for lengths, budget, key in (
        ([1], 0, "token_budget"),
        ([1], -5, "token_budget"),
        ([1, -1], 5, "lengths"),
    ):
        with pytest.raises(ArgumentError) as caught:
            plan_batches(lengths, budget)
        assert caught.value.key == key
    with pytest.raises(InputTypeError) as wrong:
        plan_batches([1, "2"], 5)  # type: ignore[list-item]
    assert wrong.value.key == "lengths[1]"


def test_an_iterator_that_fails_says_so_itself() -> None:
    def features() -> Any:
        yield [1]
        raise LookupError("the data ended")

    with pytest.raises(LookupError, match="the data ended"):
        pad_sequences(features(), 0)
