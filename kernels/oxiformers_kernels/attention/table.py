"""Which tiles attention's kernels use: a small table by head dimension, dtype and kind of GPU, measured, not searched.

A search at run time would need a GPU to compile for, take seconds a shape, and give other bits from run to run.
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
        biased: whether scores take more than a scale.
        typical: tokens of an average sequence.
        hopper: whether the GPU has the matrix units of compute capability 9.0 or later, and their shared memory.
        roomy: whether a program may use 160 KiB of shared memory or more (9.0, 8.0; not 8.6 and 8.9).
    """

    columns: int
    float32: bool
    biased: bool
    typical: int
    hopper: bool
    roomy: bool


def forward_tile(shape: Shape) -> Tile:
    """The tile of the forward kernel."""
    if shape.float32:
        return Tile(32, 32, 4, 2) if shape.columns > 64 else Tile(64, 32, 4, 2)
    short = shape.typical <= 64
    if shape.columns <= 64:
        if short:
            return Tile(64, 64, 4, 2)
        return Tile(128, 128 if shape.hopper and not shape.biased else 64, 8 if shape.hopper else 4, 3)
    if shape.columns <= 128:
        if short:
            return Tile(64, 64, 4, 2)
        if shape.hopper:
            return Tile(128, 64 if shape.biased else 128, 8, 2)
        return Tile(128, 64 if shape.roomy else 32, 8, 2)
    if shape.hopper:
        return Tile(128, 64, 8, 2)
    return Tile(64, 64 if shape.roomy else 32, 8, 1 if not shape.roomy else 2)


def backward_keys_tile(shape: Shape) -> Tile:
    """The tile of the backward kernel that goes by keys; its queries are no more than its keys."""
    if shape.float32:
        return Tile(16, 32, 4, 1) if shape.columns > 64 else Tile(32, 32, 4, 1)
    if shape.columns <= 64:
        return Tile(64, 64 if shape.typical <= 64 else 128, 4 if shape.typical <= 64 else 8, 2)
    if shape.columns <= 128:
        if shape.roomy:
            return Tile(64, 64 if shape.typical <= 64 else 128, 8, 2 if shape.hopper else 1)
        return Tile(32, 64, 8, 1)
    return Tile(32, 64, 8, 1)


def query_gradient_by_atomics(shape: Shape) -> bool:
    """Whether the queries' gradient is added up in memory by the kernel that goes by keys: fewer products, atomics."""
    return not shape.float32


def backward_queries_tile(shape: Shape) -> Tile:
    """The tile of the backward kernel that goes by queries."""
    if shape.float32:
        return Tile(32, 16, 4, 1) if shape.columns > 64 else Tile(32, 32, 4, 1)
    if shape.columns <= 64:
        return Tile(64 if shape.typical <= 64 else 128, 64, 4 if shape.typical <= 64 else 8, 2)
    if shape.columns <= 128:
        return Tile(
            64 if shape.typical <= 64 else 128, 64 if shape.roomy else 32, 8, 2 if shape.hopper else 1
        )
    return Tile(64, 32, 8, 1)
