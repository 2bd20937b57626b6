"""The gated activations compile for the GPUs they are meant for, without one, and no tile spills a register."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.activation import kernel
from tests.kernels.ahead import assemble
from tests.kernels.grids import pairwise


@pairwise(
    {
        "capability": [80, 90],
        "columns": [63, 128, 4864],
        ("dtype", "kind"): [("bf16", kernel.SILU), ("fp16", kernel.GELU_TANH), ("fp32", kernel.GELU_ERF)],
    }
)
def test_gated_activation(capability: int, columns: int, dtype: str, kind: int) -> None:
    tile = kernel.tile_for(columns)
    names = ("gate", "up", "gate_bias", "up_bias", "out", "grad", "grad_gate", "grad_up")
    types = dict.fromkeys(names, f"*{dtype}") | {"n_rows": "i32", "n_columns": "i32"}
    absent: dict[str, Any] = {} if kind == kernel.GELU_ERF else {"gate_bias": None, "up_bias": None}
    constants = {"KIND": kind, "ROWS": tile.rows, "BLOCK": tile.columns, **absent}
    for function in (kernel._forward, kernel._backward):
        built = assemble(
            function, types, constants, capability, warps=kernel.WARPS, aligned=columns % 16 == 0
        )
        assert built.spilled_bytes == 0
