"""The sampler compiles for the GPUs it is meant for, without one, and no tile spills a register."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.sampling import kernel
from tests.kernels.ahead import assemble
from tests.kernels.grids import pairwise

DTYPES = {"fp32": 4, "bf16": 2}


@pairwise(
    {
        "capability": [80, 90],
        "dtype": DTYPES,
        ("columns", "by_row"): [(100, False), (1024, True), (50257, False), (128256, True)],
    }
)
def test_sample(
    capability: int,
    dtype: str,
    columns: int,
    by_row: bool,
) -> None:
    tile, aligned = kernel.tile_for(columns, DTYPES[dtype]), columns % 16 == 0
    types = dict.fromkeys(kernel._sample.arg_names, "i32")
    types |= dict.fromkeys(("temperature", "top_p", "min_p"), "fp32")
    types |= dict.fromkeys(("thresholds", "temperatures", "top_ps", "min_ps"), "*fp32")
    types |= dict.fromkeys(("tokens", "top_ks", "seed"), "*i64") | {"logits": f"*{dtype}"}
    constants = dict.fromkeys(("TEMPERATURES", "TOP_KS", "TOP_PS", "MIN_PS"), by_row)
    constants |= {
        "LANES": tile.lanes,
        "VECTOR": tile.vector,
        "column_stride": 1,
        "CONTIGUOUS": True,
        "ALIGNED": aligned,
    }
    built = assemble(kernel._sample, types, constants, capability, warps=tile.warps, aligned=aligned)
    assert built.spilled_bytes == 0
    if aligned:
        assert "ld.global.v4.b32" in built.ptx, "a thread reads 16 bytes at a time"
