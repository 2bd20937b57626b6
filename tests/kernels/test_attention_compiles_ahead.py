"""Attention's kernels compile for the GPUs they are meant for, and spill no register with any tile of the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.attention import table
from oxiformers_kernels.attention.backward_kernel import attention_backward_keys, attention_delta
from oxiformers_kernels.attention.backward_query_kernel import attention_backward_queries
from oxiformers_kernels.attention.forward_kernel import attention_forward
from oxiformers_kernels.attention.scores_kernel import plan_tiles
from tests.kernels.ahead import assemble, usage

PLAIN = {"RIGHT": True}
BIASED = {"DISTANCE": True}
DROPOUT = {"DISTANCE": True, "DROPOUT": True}
#: (head dimension, dtype, what scores take); each picks another entry of the table.
ENTRIES = [
    *((size, "bf16", flags) for size in (64, 128) for flags in (PLAIN, BIASED)),
    *(pytest.param(size, "bf16", DROPOUT, marks=pytest.mark.ahead) for size in (64, 128, 256)),
    *(pytest.param(256, "bf16", flags, marks=pytest.mark.ahead) for flags in (PLAIN, BIASED)),
    *(pytest.param(size, "fp32", BIASED, marks=pytest.mark.ahead) for size in (64, 128, 256)),
]
KERNELS = {
    "forward": (attention_forward, table.forward_tile),
    "keys": (attention_backward_keys, table.backward_keys_tile),
    "queries": (attention_backward_queries, table.backward_queries_tile),
}


def constants_of(kind: str, size: int, tile: table.Tile, flags: dict[str, bool], tma: bool) -> Any:
    constants: dict[str, Any] = dict.fromkeys(
        ("LEFT", "RIGHT", "SOFTCAP", "ALIBI", "DISTANCE", "BIAS", "DROPOUT"), False
    )
    constants |= flags
    constants |= dict.fromkeys(("SIZE", "V_SIZE", "COLUMNS", "V_COLUMNS"), size)
    constants |= {"QUERIES": tile.queries, "KEYS": tile.keys, "PACKED": True, "TMA": tma}
    constants |= {"PRECISION": "ieee", "UPCAST": False}
    if kind == "queries":
        constants |= {"TABLE_GRAD": flags.get("DISTANCE", False), "BIAS_GRAD": False, "PRIVATE": False}
    return constants


def types_of(kind: str, size: int, dtype: str, tile: table.Tile, tma: bool) -> dict[str, str]:
    data = (
        "q",
        "k",
        "v",
        "out",
        "grad",
        "dq",
        "dk",
        "dv",
        "bias",
        "k_tiles",
        "v_tiles",
        "q_tiles",
        "grad_tiles",
    )
    types = {
        **dict.fromkeys(data, f"*{dtype}"),
        **dict.fromkeys(("lse", "delta", "slopes", "table", "table_grad", "bias_grad"), "*fp32"),
        **dict.fromkeys(("scale", "softcap", "keep_share"), "fp32"),
        "plan": "*i32", "seeds": "*i64", "threshold": "i64",
    }  # fmt: skip
    if tma:
        rows = tile.queries if kind == "keys" else tile.keys
        names = ("q_tiles", "grad_tiles") if kind == "keys" else ("k_tiles", "v_tiles")
        types |= dict.fromkeys(names, f"tensordesc<{dtype}[{rows},{size}]>")
    return types


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("kind", list(KERNELS))
@pytest.mark.parametrize(
    ("size", "dtype", "flags"),
    ENTRIES,
    ids=lambda value: "+".join(value) if isinstance(value, dict) else str(value),
)
def test_tiles(
    capability: int, kind: str, size: int, dtype: str, flags: dict[str, bool], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    shape = table.Shape(
        columns=size, float32=dtype == "fp32", biased=flags != PLAIN, dropout="DROPOUT" in flags, typical=1000,
        hopper=capability >= 90,
    )  # fmt: skip
    function, choose = KERNELS[kind]
    tile, tma = choose(shape), capability >= 90 and dtype != "fp32"
    ptx = assemble(
        function, types_of(kind, size, dtype, tile, tma), constants_of(kind, size, tile, flags, tma),
        capability, warps=tile.warps, stages=tile.stages, default="i32", aligned=True,
    )  # fmt: skip
    assert usage(ptx, capability, tmp_path).spilled_bytes == 0
    if capability >= 90 and flags == PLAIN and size <= 128:
        assert "wgmma.mma_async" in ptx
    assert not tma or "cp.async.bulk.tensor" in ptx


@pytest.mark.parametrize("capability", [80, 90])
def test_what_goes_before(capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of tiles, and the sums of outputs and their gradients."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    ends = {"cu_own": "*i32", "cu_other": "*i64", "plan": "*i32"}
    plan = assemble(
        plan_tiles, ends, {"BLOCK": 128, "SEQUENCES": 32, "CHUNK": 128}, capability, default="i32"
    )  # fmt: skip
    types = {"out": "*bf16", "grad": "*bf16", "lse_grad": "*fp32", "delta": "*fp32"}
    delta = assemble(
        attention_delta, types, {"ROWS": 32, "COLUMNS": 128, "LSE_GRAD": True}, capability, default="i32", aligned=True
    )  # fmt: skip
    for ptx in (plan, delta):
        assert usage(ptx, capability, tmp_path).spilled_bytes == 0
