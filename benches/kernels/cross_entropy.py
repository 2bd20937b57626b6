"""Cross entropy, of logits and of a linear layer, against torch, torch.compile and Liger: forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from liger_kernel.ops.cross_entropy import LigerCrossEntropyFunction
from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction
from torch import Tensor

from benches.kernels.attention import agree, leaves
from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.cross_entropy import cross_entropy, linear_cross_entropy

SECONDS = 90.0
TOLERANCE = 0.02

Loss = Callable[..., Tensor]


def plain_linear(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy((hidden @ weight.t()).float(), labels)


def plain(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), labels)


def liger_linear(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return LigerFusedLinearCrossEntropyFunction.apply(hidden, weight, labels)[0]  # type: ignore[no-any-return]


def liger(logits: Tensor, labels: Tensor) -> Tensor:
    return LigerCrossEntropyFunction.apply(logits, labels, None)[0]  # type: ignore[no-any-return]


def step(loss: Loss, inputs: tuple[Tensor, ...], labels: Tensor) -> tuple[Tensor, ...]:
    """The loss and the gradients of `inputs`."""
    out = loss(*inputs, labels)
    return out.detach(), *torch.autograd.grad(out, inputs)


def verify(sides: dict[str, Side]) -> None:
    truth: tuple[Tensor, ...] = sides["torch"]()  # type: ignore[assignment]
    for name, side in sides.items():
        result: tuple[Tensor, ...] = side()  # type: ignore[assignment]
        for index, (tensor, right) in enumerate(zip(result, truth, strict=True)):
            agree(f"{name}, tensor {index}", tensor, right.float(), TOLERANCE)


def labels_for(rows: int, columns: int) -> Tensor:
    """One label in eight is ignored, as in text with a prompt."""
    labels = torch.randint(columns, (rows,), device="cuda")
    return labels.masked_fill(torch.arange(rows, device="cuda") % 8 == 0, -100)


def linear(rows: int, features: int, columns: int) -> KernelCase:
    hidden = torch.randn(rows, features, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(columns, features, device="cuda", dtype=torch.bfloat16) * features**-0.5
    inputs, labels = leaves(hidden, weight), labels_for(rows, columns)
    peers: dict[str, Loss] = {
        "oxiformers": linear_cross_entropy,
        "torch": plain_linear,
        "torch.compile": torch.compile(plain_linear, dynamic=False),
        "liger": liger_linear,
    }
    sides: dict[str, Side] = {name: partial(step, loss, inputs, labels) for name, loss in peers.items()}
    return KernelCase(
        f"linear cross entropy, {rows:,} x {features:,} x {columns:,}, bfloat16",
        sides,
        partial(verify, sides),
        flops=6.0 * rows * features * columns,
        memory=True,
    )


def of_logits(rows: int, columns: int) -> KernelCase:
    inputs = leaves(torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16))
    labels = labels_for(rows, columns)
    peers: dict[str, Loss] = {
        "oxiformers": cross_entropy,
        "torch": plain,
        "torch.compile": torch.compile(plain, dynamic=False),
    }
    sides: dict[str, Side] = {name: partial(step, loss, inputs, labels) for name, loss in peers.items()}
    # Liger writes the gradient over the logits: its own ones, which after the first call are other numbers.
    sides["liger"] = partial(step, liger, leaves(inputs[0].clone()), labels)
    # Read for the loss, read and written for the gradient.
    return KernelCase(
        f"cross entropy, {rows:,} x {columns:,}, bfloat16",
        sides,
        partial(verify, sides),
        bytes=3 * rows * columns * 2,
        memory=True,
    )


def cases() -> Iterator[KernelCase]:
    yield linear(8192, 4096, 128256)
    yield linear(16384, 768, 50257)
    yield of_logits(8192, 32000)
    yield of_logits(4096, 128256)
