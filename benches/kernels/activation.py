"""SwiGLU and GeGLU against torch, torch.compile and Liger: forward, and backward alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from liger_kernel.ops.geglu import LigerGELUMulFunction
from liger_kernel.ops.swiglu import LigerSiLUMulFunction
from torch import Tensor

from benches.kernels.attention import Backward, agree, leaves
from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.activation import geglu, swiglu

SECONDS = 60.0
TOLERANCE = 0.02


def plain_swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


def plain_geglu(gate: Tensor, up: Tensor) -> Tensor:
    return F.gelu(gate, approximate="tanh") * up


OPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "swiglu": (swiglu, plain_swiglu, LigerSiLUMulFunction.apply),
    "geglu": (geglu, plain_geglu, LigerGELUMulFunction.apply),
}


def verify(sides: dict[str, Side]) -> None:
    """Every side agrees with torch's own result, which differs in roundings alone."""
    truth = _tensors(sides["torch"]())
    for name, side in sides.items():
        for index, (tensor, right) in enumerate(zip(_tensors(side()), truth, strict=True)):
            agree(f"{name}, tensor {index}", tensor, right.float(), TOLERANCE)


def _tensors(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def case(op: str, rows: int, columns: int, backward: bool) -> KernelCase:
    gate, up, slope = (torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    ours, plain, liger = OPS[op]
    forwards = {
        "oxiformers": ours,
        "torch": plain,
        "torch.compile": torch.compile(plain, dynamic=False),
        "liger": liger,
    }
    sides: dict[str, Side] = {}
    for name, forward in forwards.items():
        if backward:
            # Liger's backward writes its gradients over the inputs, so that each side has inputs of its own.
            sides[name] = Backward(forward, leaves(gate.clone(), up.clone()), slope)
        else:
            sides[name] = partial(forward, gate, up)
    return KernelCase(
        f"{op} {'backward' if backward else 'forward'}, {rows:,} x {columns:,}, bfloat16",
        sides,
        partial(verify, sides),
        bytes=(5 if backward else 3) * rows * columns * gate.itemsize,
    )


def cases() -> Iterator[KernelCase]:
    for backward in (False, True):
        yield case("swiglu", 16384, 11008, backward)
        yield case("geglu", 16384, 8192, backward)
