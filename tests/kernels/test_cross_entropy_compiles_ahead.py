"""The kernels of the cross entropies compile for the GPUs they are meant for, without one, and spill no register."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.cross_entropy import kernel
from tests.kernels.ahead import assemble
from tests.kernels.grids import pairwise

DTYPES = {"bf16": 2, "fp32": 4}
# Registers a thread with which four programs of eight warps share a processor.
REGISTERS = 64


@pairwise(
    {
        "capability": [80, 90],
        "dtype": DTYPES,
        ("columns", "options"): [(63, False), (1000, False), (50257, False), (128256, True)],
        "kind": ["forward", "backward", "both"],
    }
)
def test_rows(capability: int, dtype: str, columns: int, options: bool, kind: str) -> None:
    types = dict.fromkeys(("logits", "bias", "grad_logits"), f"*{dtype}")
    types |= dict.fromkeys(("losses", "log_sums", "scale"), "*fp32")
    types |= dict.fromkeys(("label_smoothing", "softcap", "z_loss"), "fp32")
    types |= {"labels": "*i64", "n_columns": "i32", "readable": "i32", "row_stride": "i32"}
    aligned = columns % 16 == 0
    tile = kernel.tile_for(columns, DTYPES[dtype])
    constants = {
        "FORWARD": kind != "backward",
        "BACKWARD": kind != "forward",
        "CONTIGUOUS": True,
        "ALIGNED": aligned,
        "BIAS": options and kind == "both",
        "SOFTCAP": options,
        "SMOOTHING": options,
        "LANES": tile.lanes,
        "VECTOR": tile.vector,
        "column_stride": 1,
    }
    built = assemble(kernel._rows, types, constants, capability, warps=tile.warps, aligned=aligned)
    assert built.spilled_bytes == 0
    if columns == 128256:
        assert built.registers <= REGISTERS
        assert built.ptx.count("ld.global.v4.b32") >= 2, "a thread reads 16 bytes at a time"


@pytest.mark.parametrize("capability", [80, 90])
def test_rescale(capability: int) -> None:
    constants = {"BLOCK": kernel.RESCALE_BLOCK}
    built = assemble(kernel._rescale, {"x": "*bf16", "factor": "*fp32"}, constants, capability, warps=8)
    assert built.spilled_bytes == 0
