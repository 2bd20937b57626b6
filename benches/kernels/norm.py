"""LayerNorm and RMSNorm against torch, torch.compile and Liger: forward, and backward alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from liger_kernel.ops.fused_add_rms_norm import LigerFusedAddRMSNormFunction
from liger_kernel.ops.layer_norm import LigerLayerNormFunction
from liger_kernel.ops.rms_norm import LigerRMSNormFunction
from torch import Tensor

from benches.kernels.attention import Backward, agree, leaves
from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.norm import layer_norm, rms_norm

SECONDS = 90.0
EPS = 1e-6
# Rounding to bfloat16 moves a tensor by 2^-9 of its length, and its sums over rows hardly more.
TOLERANCE = 0.02


def plain_rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)).to(x.dtype)


def plain_added_rms_norm(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = x + residual
    return plain_rms_norm(total, weight), total


def plain_layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias, EPS)


def peers(
    ours: Callable[..., Any], plain: Callable[..., Any], liger: Callable[..., Any]
) -> dict[str, Callable[..., Any]]:
    # Every shape is compiled for itself, as ours is.
    compiled = torch.compile(plain, dynamic=False)
    return {"oxiformers": ours, "torch": plain, "torch.compile": compiled, "liger": liger}


OPS: dict[str, Callable[[], dict[str, Callable[..., Any]]]] = {
    "layer_norm": lambda: peers(
        lambda x, weight, bias: layer_norm(x, weight, bias, EPS),
        plain_layer_norm,
        lambda x, weight, bias: LigerLayerNormFunction.apply(x, weight, bias, EPS),
    ),
    "rms_norm": lambda: peers(
        lambda x, weight: rms_norm(x, weight, EPS),
        plain_rms_norm,
        lambda x, weight: LigerRMSNormFunction.apply(x, weight, EPS, 0.0, "llama", False),
    ),
    "rms_norm with residual": lambda: peers(
        lambda x, residual, weight: rms_norm(x, weight, EPS, residual=residual),
        plain_added_rms_norm,
        lambda x, residual, weight: LigerFusedAddRMSNormFunction.apply(x, residual, weight, EPS, 0.0, "llama", False),
    ),
}  # fmt: skip


def tuples(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def verify(sides: dict[str, Side]) -> None:
    """Every side agrees with torch's own result; the sides of a case differ in roundings alone."""
    truth = tuples(sides["torch"]())
    for name, side in sides.items():
        for index, (tensor, right) in enumerate(zip(tuples(side()), truth, strict=True)):
            agree(f"{name}, tensor {index}", tensor, right.float(), TOLERANCE)


def case(op: str, rows: int, columns: int, dtype: torch.dtype, backward: bool) -> KernelCase:
    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, device="cuda", dtype=dtype)

    wide = [draw(rows, columns) for _ in range(2 if "residual" in op else 1)]
    narrow = [draw(columns) for _ in range(2 if op == "layer_norm" else 1)]
    slopes = tuple(draw(rows, columns) for _ in wide)
    sides: dict[str, Side] = {}
    for name, forward in OPS[op]().items():
        if backward:
            sides[name] = Backward(forward, leaves(*wide, *narrow), slopes)  # type: ignore[arg-type]
        else:
            sides[name] = partial(forward, *wide, *narrow)
    # Forward: x (and the residual) in, the result (and the sum) out. Backward: their gradients and what was normalised
    # in, one gradient out, which is the residual's too.
    tensors = len(wide) + 2 if backward else 2 * len(wide)
    return KernelCase(
        f"{op} {'backward' if backward else 'forward'}, {rows:,} x {columns:,}, {str(dtype).split('.')[1]}",
        sides,
        partial(verify, sides),
        bytes=tensors * rows * columns * dtype.itemsize,
    )


def cases() -> Iterator[KernelCase]:
    for backward in (False, True):
        yield case("layer_norm", 32768, 768, torch.bfloat16, backward)
        yield case("rms_norm", 32768, 4096, torch.bfloat16, backward)
        yield case("rms_norm with residual", 16384, 8192, torch.bfloat16, backward)
    yield case("layer_norm", 8192, 4096, torch.float32, False)
