"""Which tiles attention's kernels use: a table by head dimension, dtype and kind of GPU, not searched at run time.

A search would need a GPU to compile for, take seconds a shape, and give other bits from run to run. Those of Hopper are
the fastest of a handful that were timed on an H200, among those that spill no register; the others were chosen by what
ptxas reports for compute capability 8.0, and have not been timed.
"""

from __future__ import annotations

from typing import NamedTuple


class Tile(NamedTuple):
    """Rows of queries and of keys a program holds at a time, its warps, and how many blocks are loaded ahead."""

    queries: int
    keys: int
    warps: int
    stages: int


class Shape(NamedTuple):
    """What the choice depends on.

    Attributes:
        columns: the wider of both head dimensions, rounded up to a power of two.
        float32: whether the inputs are float32, whose products run on slower units.
        biased: whether anything is added to scores, or a softcap bends them.
        disentangled: whether biases are read at an index of the distance; a pointer for each score takes registers.
        dropout: whether probabilities are dropped; its random bits take registers.
        typical: tokens of an average sequence.
        hopper: whether the GPU has the matrix units, copy engine and shared memory of compute capability 9.0.
    """

    columns: int
    float32: bool
    biased: bool
    disentangled: bool
    dropout: bool
    typical: int
    hopper: bool


# Tiles for head dimensions up to 64, 128 and 256.
_Row = tuple[Tile, Tile, Tile]

_FORWARD: dict[tuple[bool, str], _Row] = {
    (True, "plain"): (Tile(64, 64, 4, 3), Tile(128, 128, 8, 3), Tile(64, 64, 8, 2)),
    (True, "biased"): (Tile(64, 64, 4, 3), Tile(128, 64, 8, 2), Tile(64, 64, 8, 2)),
    (True, "disentangled"): (Tile(64, 64, 4, 1), Tile(64, 64, 8, 2), Tile(64, 32, 8, 1)),
    (True, "disentangled dropout"): (Tile(64, 32, 4, 2), Tile(64, 32, 8, 1), Tile(32, 32, 8, 1)),
    (True, "disentangled float32"): (Tile(32, 32, 8, 1), Tile(16, 32, 8, 1), Tile(16, 16, 16, 1)),
    (True, "dropout"): (Tile(64, 32, 4, 2), Tile(64, 32, 8, 1), Tile(32, 32, 8, 1)),
    (False, "plain"): (Tile(64, 64, 4, 2), Tile(64, 64, 8, 2), Tile(64, 32, 8, 1)),
    (False, "biased"): (Tile(64, 64, 4, 2), Tile(64, 32, 8, 1), Tile(32, 32, 8, 1)),
    (False, "disentangled"): (Tile(64, 64, 4, 2), Tile(64, 32, 8, 1), Tile(32, 32, 8, 1)),
    (False, "disentangled dropout"): (Tile(64, 32, 4, 2), Tile(32, 32, 8, 1), Tile(32, 32, 8, 1)),
    (False, "disentangled float32"): (Tile(32, 32, 8, 1), Tile(16, 32, 8, 1), Tile(16, 16, 8, 1)),
    (False, "dropout"): (Tile(64, 32, 4, 2), Tile(32, 32, 8, 1), Tile(32, 32, 8, 1)),
    (True, "float32"): (Tile(32, 32, 8, 1), Tile(16, 32, 8, 1), Tile(16, 32, 8, 1)),
    (False, "float32"): (Tile(32, 32, 8, 1), Tile(16, 32, 8, 1), Tile(16, 32, 8, 1)),
}
_BACKWARD_KEYS: dict[tuple[bool, str], _Row] = {
    (True, "plain"): (Tile(64, 64, 4, 3), Tile(64, 128, 8, 2), Tile(32, 32, 8, 1)),
    (True, "biased"): (Tile(64, 64, 4, 1), Tile(32, 32, 8, 1), Tile(32, 32, 8, 1)),
    (True, "disentangled"): (Tile(32, 32, 4, 1), Tile(32, 32, 8, 1), Tile(16, 32, 8, 1)),
    (True, "disentangled dropout"): (Tile(32, 32, 4, 1), Tile(32, 32, 8, 1), Tile(16, 32, 8, 1)),
    (True, "disentangled float32"): (Tile(32, 16, 8, 1), Tile(16, 16, 8, 1), Tile(16, 16, 8, 1)),
    (True, "dropout"): (Tile(32, 64, 4, 1), Tile(32, 32, 8, 1), Tile(16, 32, 8, 1)),
    (False, "plain"): (Tile(32, 32, 4, 1), Tile(64, 64, 8, 1), Tile(32, 32, 8, 1)),
    (False, "biased"): (Tile(32, 32, 4, 1), Tile(32, 32, 8, 1), Tile(16, 16, 8, 1)),
    (False, "disentangled"): (Tile(32, 32, 8, 1), Tile(16, 16, 8, 1), Tile(16, 16, 8, 1)),
    (False, "disentangled dropout"): (Tile(32, 32, 8, 1), Tile(16, 16, 8, 1), Tile(16, 16, 8, 1)),
    (False, "disentangled float32"): (Tile(16, 16, 8, 1), Tile(32, 16, 8, 1), Tile(16, 16, 8, 1)),
    (False, "dropout"): (Tile(32, 32, 4, 1), Tile(16, 32, 8, 1), Tile(16, 16, 8, 1)),
    (True, "float32"): (Tile(32, 16, 8, 1), Tile(64, 32, 8, 1), Tile(16, 16, 4, 1)),
    (False, "float32"): (Tile(32, 16, 8, 1), Tile(32, 16, 8, 1), Tile(16, 16, 8, 1)),
}
_BACKWARD_QUERIES: dict[tuple[bool, str], _Row] = {
    (True, "plain"): (Tile(64, 64, 4, 3), Tile(128, 64, 8, 3), Tile(32, 64, 8, 1)),
    (True, "biased"): (Tile(64, 64, 4, 2), Tile(64, 64, 8, 1), Tile(32, 32, 8, 1)),
    (True, "disentangled"): (Tile(64, 64, 4, 2), Tile(32, 64, 8, 1), Tile(32, 32, 8, 1)),
    (True, "disentangled dropout"): (Tile(32, 64, 4, 1), Tile(32, 64, 8, 1), Tile(32, 32, 8, 1)),
    (True, "disentangled float32"): (Tile(32, 32, 8, 1), Tile(16, 32, 8, 1), Tile(16, 16, 8, 1)),
    (True, "dropout"): (Tile(32, 64, 4, 1), Tile(32, 64, 8, 1), Tile(32, 32, 8, 1)),
    (False, "plain"): (Tile(32, 32, 4, 1), Tile(32, 64, 8, 1), Tile(32, 32, 8, 1)),
    (False, "biased"): (Tile(32, 32, 8, 1), Tile(32, 32, 8, 1), Tile(32, 32, 8, 1)),
    (False, "disentangled"): (Tile(32, 32, 8, 1), Tile(32, 32, 8, 1), Tile(32, 32, 8, 1)),
    (False, "disentangled dropout"): (Tile(32, 32, 8, 1), Tile(32, 32, 8, 1), Tile(32, 32, 8, 1)),
    (False, "disentangled float32"): (Tile(16, 16, 8, 1), Tile(16, 32, 8, 1), Tile(16, 32, 8, 1)),
    (False, "dropout"): (Tile(32, 32, 4, 1), Tile(32, 32, 8, 1), Tile(32, 32, 8, 1)),
    (True, "float32"): (Tile(32, 32, 8, 1), Tile(16, 32, 8, 1), Tile(16, 16, 8, 1)),
    (False, "float32"): (Tile(32, 32, 8, 1), Tile(16, 32, 8, 1), Tile(16, 32, 8, 1)),
}

# A tile that is no wider than most sequences, for heads of 128.
_SHORT, _SHORT_TOKENS = Tile(64, 64, 8, 2), 64


def forward_tile(shape: Shape) -> Tile:
    """The tile of the forward kernel."""
    return _pick(_FORWARD, shape)


def backward_keys_tile(shape: Shape) -> Tile:
    """The tile of the backward kernel that goes by keys."""
    return _pick(_BACKWARD_KEYS, shape)


def backward_queries_tile(shape: Shape) -> Tile:
    """The tile of the backward kernel that goes by queries; where biased, these are no more than its keys."""
    return _pick(_BACKWARD_QUERIES, shape)


def _pick(rows: dict[tuple[bool, str], _Row], shape: Shape) -> Tile:
    index = 0 if shape.columns <= 64 else 1 if shape.columns <= 128 else 2
    kind = "float32" if shape.float32 else "dropout" if shape.dropout else ""
    if shape.disentangled:
        kind = f"disentangled {kind}".strip()
    kind = kind or ("biased" if shape.biased else "plain")
    tile = rows[shape.hopper, kind][index]
    if shape.hopper and kind == "plain" and index == 1 and shape.typical <= _SHORT_TOKENS:
        return _SHORT
    return tile
