"""Attention's kernels compile for the GPUs they are meant for, and spill no register with any tile of the table."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.attention import table
from oxiformers_kernels.attention.backward_kernel import attention_backward_keys, attention_delta
from oxiformers_kernels.attention.backward_query_kernel import attention_backward_queries
from oxiformers_kernels.attention.forward_kernel import attention_forward
from oxiformers_kernels.attention.scores_kernel import Kind
from oxiformers_kernels.attention.tiles_kernel import plan_tiles
from tests.kernels.ahead import assemble
from tests.kernels.grids import pairwise

PLAIN = Kind(right=True)
BIASED = Kind(distance=True)
DROPOUT = Kind(distance=True, dropout=True)
DISENTANGLED = Kind(content=True, position=True)
#: (head dimension, dtype, what scores take); each picks another entry of the table.
COMMON = [
    *((size, "bf16", kind) for size in (64, 128) for kind in (PLAIN, BIASED)),
    (64, "bf16", DISENTANGLED),
]
RARER = [
    *((size, "bf16", DISENTANGLED) for size in (128, 256)),
    *((size, "bf16", DISENTANGLED._replace(dropout=True)) for size in (64, 128)),
    *((size, "bf16", DROPOUT) for size in (64, 128, 256)),
    *((256, "bf16", kind) for kind in (PLAIN, BIASED)),
    *((size, "fp32", kind) for size in (64, 128, 256) for kind in (BIASED, DISENTANGLED)),
]
KERNELS = {
    "forward": (attention_forward, table.forward_tile),
    "keys": (attention_backward_keys, table.backward_keys_tile),
    "queries": (attention_backward_queries, table.backward_queries_tile),
}


def constants_of(kernel: str, size: int, tile: table.Tile, kind: Kind, tma: bool) -> dict[str, Any]:
    constants: dict[str, Any] = dict.fromkeys(("SIZE", "V_SIZE", "COLUMNS", "V_COLUMNS"), size)
    constants |= {"QUERIES": tile.queries, "KEYS": tile.keys, "PACKED": True, "TMA": tma, "KIND": kind}
    if kernel != "forward":
        constants["PRIVATE"] = False
    if kernel == "queries":
        wanted = {"table_grad": kind.distance, "content_grad": kind.content, "bias_grad": False}
        constants |= {name: None for name, there in wanted.items() if not there}
    if kernel == "keys" and not kind.position:
        constants["position_grad"] = None
    return constants


def types_of(kernel: str, size: int, dtype: str, tile: table.Tile, tma: bool) -> dict[str, str]:
    data = ("q", "k", "v", "out", "grad", "dq", "dk", "dv", "bias", "content", "position")
    exact = ("lse", "delta", "slopes", "table", "table_grad", "bias_grad", "content_grad", "position_grad")
    types = {
        **dict.fromkeys((*data, "k_tiles", "v_tiles", "q_tiles", "grad_tiles"), f"*{dtype}"),
        **dict.fromkeys(exact, "*fp32"),
        **dict.fromkeys(("scale", "softcap", "keep_share"), "fp32"),
        "plan": "*i32", "index": "*i32", "seeds": "*i64", "threshold": "i64",
    }  # fmt: skip
    if tma:
        rows = tile.queries if kernel == "keys" else tile.keys
        names = ("q_tiles", "grad_tiles") if kernel == "keys" else ("k_tiles", "v_tiles")
        types |= dict.fromkeys(names, f"tensordesc<{dtype}[{rows},{size}]>")
    return types


@pairwise({"capability": [80, 90], "kernel": list(KERNELS), ("size", "dtype", "kind"): COMMON})
def test_tiles(capability: int, kernel: str, size: int, dtype: str, kind: Kind) -> None:
    _check(capability, kernel, size, dtype, kind)


@pytest.mark.full
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("kernel", list(KERNELS))
@pytest.mark.parametrize(("size", "dtype", "kind"), RARER)
def test_rarer_tiles(capability: int, kernel: str, size: int, dtype: str, kind: Kind) -> None:
    _check(capability, kernel, size, dtype, kind)


def _check(capability: int, kernel: str, size: int, dtype: str, kind: Kind) -> None:
    shape = table.Shape(
        columns=size, float32=dtype == "fp32", biased=kind != PLAIN, disentangled=kind.content, dropout=kind.dropout,
        typical=1000, hopper=capability >= 90,
    )  # fmt: skip
    function, choose = KERNELS[kernel]
    tile, tma = choose(shape), capability >= 90 and dtype != "fp32"
    built = assemble(
        function, types_of(kernel, size, dtype, tile, tma), constants_of(kernel, size, tile, kind, tma),
        capability, warps=tile.warps, stages=tile.stages, default="i32", aligned=True,
    )  # fmt: skip
    assert built.spilled_bytes == 0
    if capability >= 90 and kind == PLAIN and size <= 128:
        assert "wgmma.mma_async" in built.ptx
    assert not tma or "cp.async.bulk.tensor" in built.ptx


@pytest.mark.parametrize("capability", [80, 90])
def test_what_goes_before(capability: int) -> None:
    """The plan of tiles, and the sums of outputs and their gradients."""
    ends = {"cu_own": "*i32", "cu_other": "*i64", "plan": "*i32"}
    plan = assemble(
        plan_tiles, ends, {"BLOCK": 128, "SEQUENCES": 32, "CHUNK": 128}, capability, default="i32"
    )  # fmt: skip
    types = {"out": "*bf16", "grad": "*bf16", "lse_grad": "*fp32", "delta": "*fp32"}
    delta = assemble(
        attention_delta, types, {"ROWS": 32, "COLUMNS": 128, "LSE_GRAD": True}, capability, default="i32", aligned=True
    )  # fmt: skip
    for built in (plan, delta):
        assert built.spilled_bytes == 0
