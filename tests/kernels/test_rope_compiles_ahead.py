"""The rotary embedding compiles for the GPUs it is meant for, without one, and no tile spills a register."""

from __future__ import annotations

import pytest

triton = pytest.importorskip("triton", reason="triton is not installed")

from oxiformers_kernels.rope import kernel  # noqa: E402
from tests.kernels.ahead import assemble  # noqa: E402
from tests.kernels.grids import pairwise  # noqa: E402


@pairwise(
    {
        "capability": [80, 90],
        ("dtype", "interleaved"): [("bf16", False), ("bf16", True), ("fp32", False)],
        ("heads", "kv_heads", "features", "rotary_dim"): [
            (32, 8, 128, 128),
            (12, 12, 64, 64),
            (71, 1, 80, 32),
            (128, 128, 512, 512),
        ],
    }
)
def test_rope(
    capability: int,
    dtype: str,
    interleaved: bool,
    heads: int,
    kv_heads: int,
    features: int,
    rotary_dim: int,
) -> None:
    pairs = triton.next_power_of_2(rotary_dim // 2)
    q_tile, k_tile = kernel.tile_for(heads, pairs), kernel.tile_for(kv_heads, pairs)
    types = dict.fromkeys(("q", "out_q", "k", "out_k", "cos", "sin"), f"*{dtype}") | {"positions": "*i64"}
    types = dict.fromkeys(kernel._rope.arg_names, "i32") | types
    flags = ("INTERLEAVED", "BACKWARD", "POSITIONS", "IN_PLACE")
    constants = dict.fromkeys(("q_feature", "k_feature", "cos_feature", "sin_feature", "position_token"), 1)
    constants |= dict(zip(flags, (interleaved, True, True, False), strict=True))
    constants |= {"N_FEATURES": features, "ROTARY": rotary_dim, "PAIRS": pairs}
    constants["REST"] = triton.next_power_of_2(max(1, features - rotary_dim))
    constants |= {"Q_TOKENS": q_tile.tokens, "Q_HEADS": q_tile.heads}
    constants |= {"K_TOKENS": k_tile.tokens, "K_HEADS": k_tile.heads}
    built = assemble(kernel._rope, types, constants, capability, warps=kernel.WARPS, aligned=True)
    assert built.spilled_bytes == 0
    assert "ld.global.v4.b32" in built.ptx and "st.global.v4.b32" in built.ptx, (
        "a thread moves 16 bytes at a time"
    )
