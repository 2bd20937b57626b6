"""The softmax compiles for the GPUs it is meant for, without one, and no tile spills a register."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.softmax import kernel, packed_kernel, rows_kernel, wide_kernel
from tests.kernels.ahead import assemble
from tests.kernels.grids import each, pairwise

SIZES = ("n_rows", "n_columns", "heads", "queries", "share", "shares")


@pairwise(
    {
        "capability": [80, 90],
        "columns": [1, 100, 1024, 8191, kernel.ONE_BLOCK_COLUMNS, 20000, 20001],
        ("dtype", "dropout"): [("bf16", False), ("fp32", True)],
    }
)
def test_softmax(capability: int, columns: int, dtype: str, dropout: bool) -> None:
    tile, aligned = kernel.tile_for(columns), columns % 16 == 0
    names = ("x", "mask", "bias", "out", "probabilities", "grad", "saved", "grad_x")
    types = dict.fromkeys(names, f"*{dtype}") | dict.fromkeys(("peaks", "totals", "sums"), "*fp32")
    types |= (
        dict.fromkeys(("scale", "lowest", "survivor"), "fp32")
        | dict.fromkeys(SIZES, "i32")
        | {"seed": "*i64"}
    )
    # Adjacent columns, which Triton finds out at run time.
    columns_adjacent = {"x_column": 1, "mask_column": 1, "bias_column": 1}
    absent: dict[str, Any] = {} if dropout else {"seed": None, "probabilities": None}
    forward: dict[str, Any] = {
        "MASK": kernel.ADDITIVE_MASK,
        "LOG": False,
        "FLAT": False,
        **columns_adjacent,
        **absent,
    }
    backward: dict[str, Any] = {"LOG": not dropout, "grad_column": 1} | ({} if dropout else {"seed": None})
    if tile.whole:
        shape = {"ROWS": tile.rows, "BLOCK": tile.columns}
        kernels = [(rows_kernel.forward, forward | shape), (rows_kernel.backward, backward | shape)]
    else:
        wide = {"STEPS": tile.columns // kernel.WIDE_LANES, "LANES": kernel.WIDE_LANES, "SHARES": 64}
        kernels = [(wide_kernel.forward, forward | wide | {"PHASE": phase}) for phase in (0, 1, 2)]
        block = {"BLOCK": tile.columns // 2, "SHARES": 64}
        kernels += [(wide_kernel.backward, backward | block | {"PHASE": phase}) for phase in (0, 1, 2)]
    for function, constants in kernels:
        built = assemble(function, types, constants, capability, warps=tile.warps, aligned=aligned)
        assert built.spilled_bytes == 0, constants


@each({"capability": [80, 90], ("columns", "length"): [(1, 100), (1, 5000), (12, 300), (64, 300)]})
def test_packed_softmax(capability: int, columns: int, length: int) -> None:
    tile = packed_kernel.tile_for(columns, length)
    types = dict.fromkeys(("x", "out", "grad", "grad_x"), "*bf16")
    types |= {"cu_seqlens": "*i32", "lse": "*fp32", "n_columns": "i32"}
    shape = {"TOKENS": tile.tokens, "COLUMNS": tile.columns}
    for function, constants in (
        (packed_kernel._forward, {"x_column": 1, **shape}),
        (packed_kernel._backward, {"grad_column": 1, "x_column": 1, **shape}),
    ):
        built = assemble(function, types, constants, capability, warps=tile.warps)
        assert built.spilled_bytes == 0
