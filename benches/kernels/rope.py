"""Rotary embedding of queries and keys against torch, torch.compile and Liger: forward, and backward alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from liger_kernel.ops.rope import LigerRopeFunction
from torch import Tensor

from benches.kernels.attention import agree, leaves
from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.rope import apply_rope

SECONDS = 60.0
TOLERANCE = 0.01


Turn = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def plain(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """As Hugging Face's models have it: cos and sin [B, S, R], every value twice."""
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)

    def turned(x: Tensor) -> Tensor:
        x, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
        first, second = x.chunk(2, dim=-1)
        return torch.cat((x * cos + torch.cat((-second, first), dim=-1) * sin, rest), dim=-1)

    return turned(q), turned(k)


def liger(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Liger takes [B, H, S, D], and writes over what lies in memory as [B, S, H, D]."""
    q, k = LigerRopeFunction.apply(q.transpose(1, 2), k.transpose(1, 2), cos, sin)
    return q.transpose(1, 2), k.transpose(1, 2)


def ours(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    turned, keys = apply_rope(q, k, cos, sin, rotary_dim=cos.shape[-1])
    assert keys is not None
    return turned, keys


class Backward:
    """The gradients of q and k; the graph is made at the first call and kept. Their slopes are its own."""

    def __init__(
        self, turn: Turn, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, slopes: list[Tensor]
    ) -> None:
        self.inputs, self.slopes = leaves(q, k), [slope.clone() for slope in slopes]
        self.outputs = turn(*self.inputs, cos, sin)

    def __call__(self) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self.outputs, self.inputs, self.slopes, retain_graph=True)


def verify(sides: dict[str, Side]) -> None:
    truth: tuple[Tensor, ...] = sides["torch"]()  # type: ignore[assignment]
    for name, side in sides.items():
        result: tuple[Tensor, ...] = side()  # type: ignore[assignment]
        for index, (tensor, right) in enumerate(zip(result, truth, strict=True)):
            agree(f"{name}, tensor {index}", tensor, right.float(), TOLERANCE)


def case(
    batch: int, length: int, heads: int, kv_heads: int, features: int, rotary_dim: int, backward: bool
) -> KernelCase:
    def draw(count: int) -> Tensor:
        return torch.randn(batch, length, count, features, device="cuda", dtype=torch.bfloat16)

    angle = torch.arange(length, device="cuda")[:, None] * 1e4 ** -torch.linspace(
        0, 1, rotary_dim // 2, device="cuda"
    )
    cos, sin = (torch.cat((table, table), -1)[None].bfloat16() for table in (angle.cos(), angle.sin()))
    q, k = draw(heads), draw(kv_heads)
    slopes = [draw(heads), draw(kv_heads)]
    peers: dict[str, Turn] = {
        "oxiformers": ours,
        "torch": plain,
        "torch.compile": torch.compile(plain, dynamic=False),
    }
    if rotary_dim == features:
        peers["liger"] = liger
    sides: dict[str, Side] = {}
    for name, turn in peers.items():
        # Copies, since Liger's results replace its inputs: from then on it turns what it has turned before.
        own = (q, k) if name != "liger" else (q.clone(), k.clone())
        sides[name] = Backward(turn, *own, cos, sin, slopes) if backward else partial(turn, *own, cos, sin)
    return KernelCase(
        f"rope {'backward' if backward else 'forward'}, {batch} x {length:,} tokens, {heads} + {kv_heads} heads of "
        f"{features}, {rotary_dim} turned, bfloat16",
        sides,
        partial(verify, sides),
        bytes=2 * (q.nbytes + k.nbytes),
    )


def cases() -> Iterator[KernelCase]:
    for backward in (False, True):
        yield case(8, 2048, 32, 8, 128, 128, backward)
        yield case(32, 512, 12, 12, 64, 64, backward)
    yield case(8, 2048, 32, 32, 80, 32, False)
