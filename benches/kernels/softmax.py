"""Softmax against torch, torch.compile and Liger: narrow to vocabulary-wide rows, masked scores, dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from liger_kernel.ops.softmax import LigerSoftmaxFunction
from torch import Tensor

from benches.kernels.attention import Backward, agree, leaves
from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.softmax import log_softmax, softmax

SECONDS = 90.0
TOLERANCE = 0.02
SCALE = 0.125
DROPOUT = 0.1


def draw(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(shape, device="cuda", dtype=dtype)


def described(name: str, dtype: torch.dtype, *shape: int) -> str:
    return f"{name}, {' x '.join(f'{size:,}' for size in shape)}, {str(dtype).split('.')[1]}"


def verify(sides: dict[str, Side]) -> None:
    """Every side agrees with torch's own result, which differs in roundings alone."""
    (truth,) = _tensors(sides["torch"]())
    for name, side in sides.items():
        agree(name, _tensors(side())[0], truth.float(), TOLERANCE)


def _tensors(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def rows(op: str, dtype: torch.dtype, *shape: int, backward: bool = False) -> KernelCase:
    """Plain rows: everything is read once and written once."""
    plain: Callable[[Tensor], Tensor] = F.log_softmax if op == "log_softmax" else F.softmax  # type: ignore[assignment]
    forwards: dict[str, Callable[..., Any]] = {
        "oxiformers": log_softmax if op == "log_softmax" else softmax,
        "torch": partial(plain, dim=-1),
        # Every shape is compiled for itself, as ours is.
        "torch.compile": torch.compile(partial(plain, dim=-1), dynamic=False),
    }
    if op == "softmax":
        forwards["liger"] = LigerSoftmaxFunction.apply
    x, slope = draw(dtype, *shape), draw(dtype, *shape)
    sides: dict[str, Side] = {
        name: Backward(forward, leaves(x), slope) if backward else partial(forward, x)
        for name, forward in forwards.items()
    }
    return KernelCase(
        described(f"{op} {'backward' if backward else 'forward'}", dtype, *shape),
        sides,
        partial(verify, sides),
        bytes=(3 if backward else 2) * x.numel() * dtype.itemsize,
    )


def scores() -> tuple[Tensor, Tensor]:
    """Scores of attention, and the mask of padded keys."""
    x = draw(torch.bfloat16, 16, 16, 1024, 1024)
    lengths = torch.linspace(64, 1024, 16, device="cuda")[:, None, None, None]
    return x, torch.arange(1024, device="cuda") < lengths


def masked() -> KernelCase:
    x, mask = scores()

    def plain(x: Tensor) -> Tensor:
        return (x * SCALE).masked_fill(~mask, -torch.inf).float().softmax(-1).to(x.dtype)

    sides: dict[str, Side] = {
        "oxiformers": partial(softmax, x, mask, scale=SCALE),
        "torch": partial(plain, x),
        "torch.compile": partial(torch.compile(plain, dynamic=False), x),
    }
    name = described("softmax of masked scores", x.dtype, *x.shape)
    return KernelCase(name, sides, partial(verify, sides), bytes=2 * x.numel() * x.itemsize)


def dropping() -> KernelCase:
    x, _ = scores()

    def plain(x: Tensor) -> Tensor:
        return F.dropout(F.softmax(x, dim=-1), DROPOUT)

    sides: dict[str, Side] = {
        "oxiformers": partial(softmax, x, dropout=DROPOUT),
        "torch": partial(plain, x),
        "torch.compile": partial(torch.compile(plain, dynamic=False), x),
    }

    def verify_shares() -> None:
        """The sides draw other bits: what they drop is compared by its share, the rest by what it sums to."""
        for name, side in sides.items():
            out = _tensors(side())[0]
            dropped, total = (
                (out == 0).float().mean().item(),
                out.float().sum().item() / (x.numel() // x.shape[-1]),
            )
            if abs(dropped - DROPOUT) > 0.01 or abs(total - 1.0) > 0.01:
                raise AssertionError(f"{name} drops {dropped:.3f}, rows sum to {total:.3f}")

    name = described("softmax with dropout", x.dtype, *x.shape)
    return KernelCase(name, sides, verify_shares, bytes=2 * x.numel() * x.itemsize)


def cases() -> Iterator[KernelCase]:
    yield rows("softmax", torch.float32, 262144, 128)
    yield rows("softmax", torch.bfloat16, 65536, 1024)
    yield rows("softmax", torch.bfloat16, 65536, 1024, backward=True)
    yield rows("softmax", torch.bfloat16, 8192, 16384)
    yield rows("softmax", torch.bfloat16, 1024, 131072)
    yield rows("log_softmax", torch.float32, 8, 1048576)
    yield masked()
    yield dropping()
