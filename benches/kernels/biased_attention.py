"""Attention in bfloat16 with the biases of T5 and DeBERTa against torch: forward and backward."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benches.kernels.attention import (
    BACKWARD_TOLERANCE,
    FORWARD_TOLERANCE,
    TOKENS,
    Backward,
    agree,
    draw,
    exact,
    leaves,
    sdpa,
)
from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.attention import attention, disentangled_index, disentangled_products

SECONDS = 90.0
TESTS = ("tests/kernels/test_attention_kernel.py",)
HEADS, HEAD = 12, 64
REACH = 128
POSITIONS = 256
LONGEST = 512


def distance(length: int, backward: bool) -> KernelCase:
    """T5's bias, as a value a distance, against a bias tensor that the peer gets for nothing."""
    batch, heads, head = TOKENS // length, HEADS, HEAD
    q, k, v, weight = (draw(batch, length, heads, head) for _ in range(4))
    table = draw(heads, 2 * REACH + 1)
    positions = torch.arange(length, device="cuda")
    index = (positions - positions[:, None]).clamp(-REACH, REACH) + REACH
    dense = table[:, index].unsqueeze(0).contiguous()

    def ours(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
        return attention(q, k, v, distance_bias=table)

    def peer(q: Tensor, k: Tensor, v: Tensor, dense: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=dense)

    sides: dict[str, Side] = {
        "oxiformers": Backward(ours, leaves(q, k, v, table), weight)
        if backward
        else lambda: ours(q, k, v, table),
        "torch SDPA, bias tensor": (
            Backward(peer, leaves(q, k, v, dense), weight) if backward else lambda: peer(q, k, v, dense)
        ),
    }

    def verify() -> None:
        one = tuple(tensor[:, :, 0].detach().float().requires_grad_() for tensor in (q, k, v))
        biases = table[0].float().requires_grad_()
        output = exact(*one, causal=False, bias=biases[index])
        if not backward:
            for name, side in sides.items():
                agree(name, side()[:, :, 0], output.detach(), FORWARD_TOLERANCE)  # type: ignore[index]
            return
        truth = torch.autograd.grad(output, (*one, biases), weight[:, :, 0].float())
        mine, theirs = (side() for side in sides.values())
        for number, (right, our, their) in enumerate(zip(truth[:3], mine[:3], theirs[:3], strict=True)):  # type: ignore[call-overload]
            agree(f"oxiformers, gradient {number}", our[:, :, 0], right, BACKWARD_TOLERANCE)
            agree(f"torch, gradient {number}", their[:, :, 0], right, BACKWARD_TOLERANCE)
        # Positive and negative terms nearly cancel in a sum over the batch and a diagonal.
        agree("oxiformers, gradient of the bias", mine[3][0], truth[3], 5 * BACKWARD_TOLERANCE)  # type: ignore[index]

    flops = 4.0 * TOKENS * length * heads * head
    return KernelCase(
        f"{'backward' if backward else 'forward'} with bias by distance, D {head}, {batch} x {length:,}",
        sides,
        verify,
        flops=flops * 2.5 if backward else flops,
        details={"dtype": "bfloat16", "heads": heads, "reach": REACH},
    )


class Mixed:
    """256 sequences of up to 512 tokens, half of them shorter than 120; packed, and padded to the longest."""

    def __init__(self) -> None:
        drawn = random.Random(0)
        self.lengths = [max(8, min(LONGEST, round(drawn.lognormvariate(4.8, 0.9)))) for _ in range(256)]
        self.total = sum(self.lengths)
        ends = torch.tensor([0, *self.lengths], device="cuda").cumsum(0)
        self.ends = ends.to(torch.int32)
        self.real = torch.arange(LONGEST, device="cuda") < ends.diff()[:, None]

    def pad(self, tensor: Tensor) -> Tensor:
        padded = tensor.new_zeros(len(self.lengths), LONGEST, *tensor.shape[1:])
        padded[self.real] = tensor
        return padded

    def details(self) -> dict[str, object]:
        padding = len(self.lengths) * LONGEST / self.total
        return {"tokens": self.total, "sequences": len(self.lengths), "padding_factor": round(padding, 2)}


def eager(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> Tensor:
    """[B, S, H, D], as transformers' T5 and DeBERTa compute it: scores, a softmax in float32, values."""
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    scores = q @ k.transpose(-1, -2) * scale + bias
    return (scores.float().softmax(-1).to(q.dtype) @ v).transpose(1, 2)


def mixed_distance(backward: bool) -> KernelCase:
    """T5's bias at mixed lengths; peers get the bias of every padded pair, masked, for nothing."""
    batch = Mixed()
    q, k, v, weight = (draw(batch.total, HEADS, HEAD) for _ in range(4))
    table = draw(HEADS, 2 * REACH + 1)
    positions = torch.arange(LONGEST, device="cuda")
    index = (positions - positions[:, None]).clamp(-REACH, REACH) + REACH
    dense = table[:, index].masked_fill(~batch.real[:, None, None, :], torch.finfo(table.dtype).min)

    def ours(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
        return attention(q, k, v, batch.ends, distance_bias=table)

    def fused(q: Tensor, k: Tensor, v: Tensor, dense: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=dense)

    padded = tuple(batch.pad(tensor) for tensor in (q, k, v))
    plain = partial(eager, scale=HEAD**-0.5)
    sides: dict[str, Side] = {}
    for name, forward, inputs, slope in (
        ("oxiformers", ours, (q, k, v, table), weight),
        ("torch SDPA, bias tensor", fused, (*padded, dense), batch.pad(weight)),
        ("torch, eager", plain, (*padded, dense), batch.pad(weight)),
    ):
        sides[name] = Backward(forward, leaves(*inputs), slope) if backward else partial(forward, *inputs)

    def verify() -> None:
        ours, theirs = sides["oxiformers"](), sides["torch, eager"]()
        if not backward:
            agree("oxiformers", ours, theirs[batch.real].float(), FORWARD_TOLERANCE)  # type: ignore[arg-type, index]
            return
        for number, (mine, their) in enumerate(zip(ours[:3], theirs[:3], strict=True)):  # type: ignore[index]
            agree(f"gradient {number}", mine, their[batch.real].float(), BACKWARD_TOLERANCE)

    flops = 4.0 * sum(length**2 for length in batch.lengths) * HEADS * HEAD
    return KernelCase(
        f"{'backward' if backward else 'forward'} with bias by distance at mixed lengths, D {HEAD}",
        sides,
        verify,
        flops=flops * 2.5 if backward else flops,
        details={"dtype": "bfloat16", "heads": HEADS, "reach": REACH, **batch.details()},
    )


def plain_disentangled(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    position_keys: Tensor,
    position_queries: Tensor,
    index: Tensor,
    hidden: Tensor | None,
) -> Tensor:
    """As transformers' DeBERTa-v2: both products with every position, gathered for every pair, added to the scores."""
    scale = 1 / math.sqrt(3 * HEAD)
    content, position = disentangled_products(q, k, position_keys, position_queries)
    assert content is not None and position is not None
    content, position = content.transpose(1, 2), position.transpose(1, 2)
    index = index.expand(*content.shape[:2], -1, -1)
    bias = content.gather(-1, index) * scale
    bias = bias + position.gather(-1, index.transpose(-1, -2)).transpose(-1, -2) * scale
    if hidden is not None:
        bias = bias.masked_fill(hidden, torch.finfo(bias.dtype).min)
    return eager(q, k, v, bias, scale)


def disentangled(mixed: bool, backward: bool) -> KernelCase:
    """DeBERTa-v3's attention: the products with 512 relative positions are part of what is timed."""
    batch = Mixed() if mixed else None
    shape = (batch.total,) if batch else (TOKENS // LONGEST, LONGEST)
    q, k, v, weight = (draw(*shape, HEADS, HEAD) for _ in range(4))
    position_keys, position_queries = (draw(2 * POSITIONS, HEADS, HEAD) for _ in range(2))
    table = disentangled_index(POSITIONS, POSITIONS, LONGEST).cuda()
    positions = torch.arange(LONGEST, device="cuda")
    pairs = table.long()[positions - positions[:, None] + LONGEST]
    hidden = ~batch.real[:, None, None, :] if batch else None

    def ours(q: Tensor, k: Tensor, v: Tensor, position_keys: Tensor, position_queries: Tensor) -> Tensor:
        scale = 1 / math.sqrt(3 * HEAD)
        content, position = disentangled_products(q, k, position_keys, position_queries)
        return attention(
            q, k, v, batch.ends if batch else None, scale=scale, content_to_position=content,
            position_to_content=position, position_index=table,
        )  # fmt: skip

    plain: Callable[..., Tensor] = partial(plain_disentangled, index=pairs, hidden=hidden)
    compiled = torch.compile(plain_disentangled, dynamic=False)
    pad = batch.pad if batch else lambda tensor: tensor
    rectangular = (*(pad(tensor) for tensor in (q, k, v)), position_keys, position_queries)
    sides: dict[str, Side] = {}
    for name, forward, inputs, slope in (
        ("oxiformers", ours, (q, k, v, position_keys, position_queries), weight),
        ("torch, eager", plain, rectangular, pad(weight)),
        ("torch.compile", partial(compiled, index=pairs, hidden=hidden), rectangular, pad(weight)),
    ):
        sides[name] = Backward(forward, leaves(*inputs), slope) if backward else partial(forward, *inputs)

    def verify() -> None:
        # In float32, from the same inputs: torch in bfloat16 rounds scores, which the kernel does not.
        wide = leaves(*(tensor.float() for tensor in rectangular))
        truth: tuple[Tensor, ...] = (plain(*wide),)
        if backward:
            truth = torch.autograd.grad(truth[0], wide, pad(weight).float())
        found = sides["oxiformers"]()
        tensors = found if backward else (found,)
        tolerance = 2 * BACKWARD_TOLERANCE if backward else 2 * FORWARD_TOLERANCE
        for number, (mine, right) in enumerate(zip(tensors, truth, strict=True)):  # type: ignore[call-overload]
            right = right.detach()
            right = right[batch.real] if batch and number < 3 else right
            agree(f"oxiformers, tensor {number}", mine, right, tolerance)

    lengths = batch.lengths if batch else [LONGEST] * shape[0]
    flops = 4.0 * sum(length**2 + 2 * length * POSITIONS for length in lengths) * HEADS * HEAD
    where = "mixed lengths" if batch else f"{shape[0]} x {LONGEST}"
    return KernelCase(
        f"{'backward' if backward else 'forward'} with disentangled biases, D {HEAD}, {where}",
        sides,
        verify,
        flops=flops * 2.5 if backward else flops,
        details={
            "dtype": "bfloat16",
            "heads": HEADS,
            "positions": 2 * POSITIONS,
            **(batch.details() if batch else {}),
        },
    )


def cases() -> Iterator[KernelCase]:
    torch.manual_seed(0)
    for backward in (False, True):
        yield mixed_distance(backward)
    for mixed in (False, True):
        for backward in (False, True):
            yield disentangled(mixed, backward)
    for length in (512, 2048):
        for backward in (False, True):
            yield distance(length, backward)
