"""The norms compile for the GPUs they are meant for, without one, and no tile spills a register."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.norm import kernel
from tests.kernels.ahead import assemble
from tests.kernels.grids import pairwise

# Registers of a processor, which its programs of the backward share.
REGISTERS = 65536


@pairwise(
    {
        "capability": [80, 90],
        "columns": [128, 768, 1000, 4096, 8192, 16384, 20000],
        ("dtype", "kind"): [("bf16", kernel.LAYER), ("fp32", kernel.LAYER), ("fp16", kernel.LLAMA)],
    }
)
def test_norm(capability: int, columns: int, dtype: str, kind: int) -> None:
    names = ("x", "residual", "weight", "bias", "out", "total", "grad", "grad_total", "grad_x")
    types = dict.fromkeys(names, f"*{dtype}")
    types |= dict.fromkeys(("mean", "deviation", "weight_parts", "bias_parts"), "*fp32")
    types |= {"eps": "fp32", "offset": "fp32", "n_columns": "i32", "n_rows": "i32"}
    # As at run time: sizes and strides of aligned rows are known to be multiples of 16.
    aligned = columns % 16 == 0
    absent: dict[str, Any] = {} if kind == kernel.LAYER else {"bias": None, "residual": None}

    tile = kernel.forward_tile(columns)
    constants = {"KIND": kind, "BLOCK": tile.columns, **absent}
    if tile.whole:
        constants |= {"ROWS": tile.rows, "n_columns": columns}
    function = kernel.norm_forward if tile.whole else kernel.norm_forward_wide
    for statistics in ({}, {"mean": None, "deviation": None}):
        built = assemble(
            function, types, constants | statistics, capability, warps=tile.warps, aligned=aligned
        )
        assert built.spilled_bytes == 0

    tile = kernel.backward_tile(columns, 8 if dtype == "fp32" else 4)
    constants = {"KIND": kind, "BLOCK": tile.columns}
    if tile.whole:
        constants |= {"ROWS": tile.rows, "STAGES": tile.stages, "n_columns": columns}
        constants |= {} if kind == kernel.LAYER else {"bias_parts": None, "grad_total": None}
    function = kernel.norm_backward if tile.whole else kernel.norm_backward_wide
    built = assemble(function, types, constants, capability, warps=tile.warps, aligned=aligned)
    assert built.spilled_bytes == 0
    if aligned and columns >= 768:
        assert built.registers * 32 * tile.warps * tile.programs <= REGISTERS


@pytest.mark.parametrize("capability", [80, 90])
def test_sums_over_rows(capability: int) -> None:
    types = dict.fromkeys(("mean", "deviation", "weight_parts", "bias_parts"), "*fp32")
    types |= dict.fromkeys(("grad", "x", "grad_weight", "grad_bias"), "*bf16")
    sizes = {"ROWS": kernel.SUM_ROWS, "BLOCK": kernel.SUM_COLUMNS}
    part_sizes = {"ROWS": kernel.PART_ROWS, "BLOCK": kernel.PART_COLUMNS}
    for function, constants, warps in (
        (kernel.parameter_parts, {"KIND": kernel.LAYER, **sizes}, 4),
        (kernel.sum_parts, part_sizes, 8),
        (kernel.sum_parts, {"bias_parts": None, "grad_bias": None, **part_sizes}, 8),
    ):
        built = assemble(function, types, constants, capability, warps=warps)
        assert built.spilled_bytes == 0
