"""The kernels of attention to a cache compile for the GPUs they are meant for, and spill no register in any tile."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.decode import kernel
from tests.kernels.ahead import assemble
from tests.kernels.grids import each

SIZES = {"bf16": 2, "fp16": 2, "fp32": 4}


@each(
    {
        "capability": [80, 90],
        ("queries", "head", "dtype", "index", "biased"): [
            (1, 64, "bf16", kernel.NO_INDEX, False),
            (4, 128, "bf16", kernel.SLOTS, False),
            (4, 128, "bf16", kernel.PAGES, True),
            (8, 80, "fp16", kernel.WHOLE_BLOCKS_OF_PAGES, False),
            (64, 128, "bf16", kernel.NO_INDEX, True),
            (64, 256, "bf16", kernel.PAGES, True),
            (64, 128, "fp32", kernel.NO_INDEX, True),
            (1, 256, "fp32", kernel.PAGES, True),
        ],
    }
)
def test_attending(capability: int, queries: int, head: int, dtype: str, index: int, biased: bool) -> None:
    """Sizes and strides are multiples of 16, as those of caches are, and last dimensions contiguous."""
    columns = kernel.triton.next_power_of_2(head)
    tile = kernel.tile_for(queries, columns, columns, SIZES[dtype], index >= kernel.PAGES, roomy_device=True)
    types = {
        **dict.fromkeys(("q", "keys", "values", "out"), f"*{dtype}"),
        **dict.fromkeys(("lengths", "shared_lengths", "index"), "*i32"),
        **dict.fromkeys(("slopes", "table", "partial", "sums"), "*fp32"),
        **dict.fromkeys(("scale", "softcap"), "fp32"),
    }  # fmt: skip
    constants = {
        "SIZE": head, "V_SIZE": head, "COLUMNS": columns, "V_COLUMNS": columns, "QUERIES": tile.queries,
        "KEYS": tile.keys, "FEWEST": kernel.FEWEST_KEYS, "MOST": kernel.MOST_KEYS, "INDEX": index,
        "SHARED": biased, "PREFIX": biased, "SPLIT": True, "LEFT": biased, "RIGHT": True, "SOFTCAP": biased,
        "ALIBI": biased, "DISTANCE": biased, "PRECISION": "ieee", "UPCAST": False,
        "q_column": 1, "k_column": 1, "v_column": 1, "index_column": 1,
    }  # fmt: skip
    built = assemble(
        kernel._attend, types, constants, capability, warps=tile.warps, stages=tile.stages, default="i32", aligned=True
    )  # fmt: skip
    assert built.spilled_bytes == 0
    # Keys and values go to shared memory 16 bytes at a time.
    assert "cp.async.cg" in built.ptx


@each({"capability": [80, 90], "head": [64, 80, 256]})
def test_merging(capability: int, head: int) -> None:
    types = {"partial": "*fp32", "sums": "*fp32", "out": "*bf16"}
    constants = {
        "V_SIZE": head, "V_COLUMNS": kernel.triton.next_power_of_2(head), "PARTS": kernel.MERGED_PARTS,
    }  # fmt: skip
    built = assemble(kernel._merge, types, constants, capability, default="i32")
    assert built.spilled_bytes == 0
