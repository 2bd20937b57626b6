"""Attention in bfloat16 against torch's: uniform shapes and mixed lengths; forward and backward."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch._functorch.config
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.attention.varlen import varlen_attn

from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.attention import attention

SECONDS = 150.0
HIDDEN = 2048
TOKENS = 16384
# Rounding to bfloat16 moves a tensor by 2^-9 of its length; a wrong mask moves it by far more.
FORWARD_TOLERANCE, BACKWARD_TOLERANCE = 0.01, 0.02

Forward = Callable[..., Tensor]


class Shape(NamedTuple):
    """Sequences of one length in a head dimension."""

    length: int
    head: int
    causal: bool

    def __str__(self) -> str:
        causal = ", causal" if self.causal else ""
        return f"D {self.head}, {TOKENS // self.length} x {self.length:,}{causal}"


SHAPES = [
    Shape(length, head, causal)
    for head in (64, 128)
    for length, causal in ((512, False), (2048, False), (4096, False), (16384, True), (4096, True))
]
FLEX = (Shape(4096, 128, True),)


# The backward of a kept graph runs again and again, so that its buffers cannot be given away.
torch._functorch.config.donated_buffer = False


class Backward:
    """The gradients of `inputs` alone: the graph is made at the first call and kept."""

    def __init__(self, forward: Forward, inputs: tuple[Tensor, ...], weight: Tensor) -> None:
        self.forward, self.inputs, self.weight = forward, inputs, weight
        self.output: Tensor | None = None

    def __call__(self) -> tuple[Tensor, ...]:
        if self.output is None:
            self.output = self.forward(*self.inputs)
        return torch.autograd.grad(self.output, self.inputs, self.weight, retain_graph=True)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


def leaves(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().requires_grad_() for tensor in tensors)


def sdpa(q: Tensor, k: Tensor, v: Tensor, **options: object) -> Tensor:
    """torch's attention on [B, S, H, D]."""
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2)  # type: ignore[arg-type]


def pinned(backend: SDPBackend, **options: object) -> Forward:
    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return sdpa(q, k, v, **options)

    return forward


def compiled_flex(length: int) -> Forward:
    """flex_attention, compiled, with the blocks above the diagonal left out."""
    mask = create_block_mask(lambda b, h, query, key: query >= key, None, None, length, length, device="cuda")
    compiled = torch.compile(flex_attention, dynamic=False)

    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return compiled(*(tensor.transpose(1, 2) for tensor in (q, k, v)), block_mask=mask).transpose(1, 2)

    return forward


def exact(q: Tensor, k: Tensor, v: Tensor, causal: bool, bias: Tensor | None = None) -> Tensor:
    """Attention of one head, [B, S, D], in float32."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
    return scores.softmax(dim=-1) @ v


def agree(name: str, ours: Tensor, truth: Tensor, tolerance: float) -> None:
    """Raises where two tensors lie further apart than `tolerance` of the second's length."""
    error = ((ours.float() - truth).norm() / truth.norm()).item()
    if not error <= tolerance:
        raise AssertionError(f"{name} is off by {error:.3g} of its length, {tolerance} is allowed")


def verifies(
    sides: dict[str, Side],
    inputs: tuple[Tensor, ...],
    weight: Tensor | None,
    causal: bool,
    only: tuple[str, ...],
) -> Callable[[], None]:
    """Compares the first head of the sides in `only` with float32; inputs are [B, S, H, D]."""

    def verify() -> None:
        q, k, v = (tensor[:, :, 0].detach().float().requires_grad_() for tensor in inputs[:3])
        truth: tuple[Tensor, ...] = (exact(q, k, v, causal),)
        if weight is not None:
            truth = torch.autograd.grad(truth[0], (q, k, v), weight[:, :, 0].float())
        tolerance = FORWARD_TOLERANCE if weight is None else BACKWARD_TOLERANCE
        for name in only:
            result = sides[name]()
            tensors = (result,) if isinstance(result, Tensor) else result
            for index, (tensor, right) in enumerate(zip(tensors, truth, strict=True)):  # type: ignore[call-overload]
                agree(f"{name}, tensor {index}", tensor[:, :, 0], right.detach(), tolerance)

    return verify


def uniform(shape: Shape, backward: bool) -> KernelCase:
    batch, heads = TOKENS // shape.length, HIDDEN // shape.head
    q, k, v, weight = (draw(batch, shape.length, heads, shape.head) for _ in range(4))
    forwards: dict[str, Forward] = {
        "oxiformers": lambda q, k, v: attention(q, k, v, causal=shape.causal, backend="triton"),
        "torch FLASH_ATTENTION": pinned(SDPBackend.FLASH_ATTENTION, is_causal=shape.causal),
        "torch CUDNN_ATTENTION": pinned(SDPBackend.CUDNN_ATTENTION, is_causal=shape.causal),
    }
    if shape in FLEX:
        forwards["torch flex_attention"] = compiled_flex(shape.length)
    flops = 4.0 * TOKENS * shape.length * HIDDEN / (2 if shape.causal else 1)
    sides: dict[str, Side] = {}
    for name, forward in forwards.items():
        sides[name] = (
            Backward(forward, leaves(q, k, v), weight) if backward else lambda own=forward: own(q, k, v)
        )
    return KernelCase(
        f"{'backward' if backward else 'forward'}, {shape}",
        sides,
        verifies(sides, (q, k, v), weight if backward else None, shape.causal, tuple(sides)[:2]),
        flops=flops * 2.5 if backward else flops,
        details={"dtype": "bfloat16", "heads": heads},
    )


def mixed_lengths() -> list[int]:
    """64 sequences: half of them are shorter than 160 tokens, the longest has 4,190."""
    drawn = random.Random(0)
    return [max(8, min(8192, round(drawn.lognormvariate(4.9, 1.4)))) for _ in range(64)]


def mixed(head: int, causal: bool, backward: bool) -> KernelCase:
    """Packed sequences; the padded peer computes the same sequences in a rectangle, and gets its mask for nothing."""
    lengths, heads = mixed_lengths(), HIDDEN // head // 2
    total, longest = sum(lengths), max(lengths)
    q, k, v, weight = (draw(total, heads, head) for _ in range(4))
    offsets = torch.tensor([0, *lengths], device="cuda").cumsum(0).to(torch.int32)
    # A multiple of 16, as the peer's masks have to be aligned.
    width = (longest + 15) // 16 * 16
    real = torch.arange(width, device="cuda") < torch.tensor(lengths, device="cuda")[:, None]

    def pad(tensor: Tensor) -> Tensor:
        padded = tensor.new_zeros(len(lengths), width, *tensor.shape[1:])
        padded[real] = tensor
        return padded

    window = (-1, 0) if causal else (-1, -1)
    # Behind the diagonal, padding on the right is seen by no real token: no mask, so that FlashAttention applies.
    masked: dict[str, object] = {"is_causal": True} if causal else {"attn_mask": real[:, None, None, :]}
    packed: dict[str, Forward] = {
        "oxiformers": lambda q, k, v: attention(q, k, v, offsets, causal=causal),
        "torch varlen_attn": lambda q, k, v: varlen_attn(
            q, k, v, offsets, offsets, longest, longest, window_size=window
        ),
    }
    forwards = {**packed, "torch SDPA, padded": lambda q, k, v: sdpa(q, k, v, **masked)}
    sides: dict[str, Side] = {}
    for name, forward in forwards.items():
        own = (q, k, v, weight) if name in packed else tuple(pad(tensor) for tensor in (q, k, v, weight))
        sides[name] = (
            Backward(forward, leaves(*own[:3]), own[3])
            if backward
            else lambda forward=forward, own=own: forward(*own[:3])
        )
    index = lengths.index(longest)
    part = slice(sum(lengths[:index]), sum(lengths[: index + 1]))

    def longest_of(side: Side) -> Side:
        def result() -> object:
            found = side()
            tensors = (found,) if isinstance(found, Tensor) else found
            return tuple(tensor[part].unsqueeze(0) for tensor in tensors)  # type: ignore[attr-defined]

        return result

    one = tuple(tensor[part].unsqueeze(0) for tensor in (q, k, v, weight))
    flops = 4.0 * sum(length**2 for length in lengths) * heads * head / (2 if causal else 1)
    return KernelCase(
        f"{'backward' if backward else 'forward'} of mixed lengths, D {head}{', causal' if causal else ''}",
        sides,
        verifies(
            {name: longest_of(sides[name]) for name in packed}, one[:3], one[3] if backward else None, causal,
            tuple(packed),
        ),
        flops=flops * 2.5 if backward else flops,
        details={
            "dtype": "bfloat16", "heads": heads, "sequences": len(lengths), "tokens": total, "longest": longest,
            "padding_factor": round(len(lengths) * width / total, 2),
        },
    )  # fmt: skip


def cases() -> Iterator[KernelCase]:
    torch.manual_seed(0)
    for head, causal in ((64, False), (128, True)):
        for backward in (False, True):
            yield mixed(head, causal, backward)
    # Last of all the shape that flex_attention is compiled for, which takes longest.
    for shape in SHAPES:
        for backward in (False, True):
            yield uniform(shape, backward)
