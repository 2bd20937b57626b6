"""Packing and pooling compile for the GPUs they are meant for, without one, and spill no register."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.pack import kernel
from tests.kernels.ahead import assemble
from tests.kernels.grids import each, pairwise


@each(
    {
        "capability": [80, 90],
        ("dtype", "columns"): [("i64", 1), ("bf16", 64), ("bf16", 100), ("bf16", 768), ("fp32", 4096)],
    }
)
def test_gather(capability: int, dtype: str, columns: int) -> None:
    tile = kernel.gather_tile(columns)
    types = dict.fromkeys(kernel._gather.arg_names, "i32") | {
        "x": f"*{dtype}",
        "out": f"*{dtype}",
        "index": "*i64",
    }
    constants = {"ROWS": tile.rows, "BLOCK": tile.columns, "x_column": 1, "index_stride": 1}
    aligned = columns % 16 == 0
    built = assemble(kernel._gather, types, constants, capability, warps=kernel.WARPS, aligned=aligned)
    assert built.spilled_bytes == 0
    if aligned:
        assert "ld.global.v4.b32" in built.ptx and "st.global.v4.b32" in built.ptx, (
            "a thread moves 16 bytes at a time"
        )
    types = {"index": "*i64", "inverse": "*i64", "n_rows": "i32", "n_targets": "i32"}
    built = assemble(kernel._invert, types, {"BLOCK": kernel.INVERT_BLOCK, "index_stride": 1}, capability)
    assert built.spilled_bytes == 0


@pairwise({"capability": [80, 90], "dtype": ["bf16", "fp32"], "how": kernel.HOW.values()})
def test_pool(capability: int, dtype: str, how: int) -> None:
    for function, pointers, strides in (
        (kernel._pool, ("x", "out"), ("x_column", "cu_stride")),
        (kernel._pool_backward, ("grad", "grad_x"), ("grad_column", "cu_stride")),
    ):
        types = dict.fromkeys(function.arg_names, "i32") | dict.fromkeys(pointers, f"*{dtype}")
        types["cu_seqlens"] = "*i64"
        constants = {"HOW": how, "SPLITS": 4, "ROWS": kernel.POOL_ROWS, "BLOCK": kernel.POOL_COLUMNS}
        constants |= dict.fromkeys(strides, 1)
        built = assemble(function, types, constants, capability, warps=kernel.WARPS, aligned=True)
        assert built.spilled_bytes == 0
