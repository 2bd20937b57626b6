"""Attention of one new token a row to a cache, in bfloat16, against torch's: how much of the copy bandwidth is left."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benches.kernels.common import KernelCase, Side
from oxiformers_kernels.decode import decode_attention

HEADS, KV_HEADS, HEAD = 32, 8, 128
DTYPE = torch.bfloat16
# Rounding to bfloat16 moves a tensor by 2^-9 of its length; a key too many or too few moves it by far more.
TOLERANCE = 0.01


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, device="cuda", dtype=DTYPE)


def integers(values: list[int]) -> Tensor:
    return torch.tensor(values, device="cuda", dtype=torch.int32)


def folded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """torch's attention, the heads of a group on the axis of queries, so that it too reads every key once.

    The result stays in that shape: q's own would take a copy, as FlashAttention lays it out by queries.
    """
    rows, kv_heads = k.shape[:2]
    return F.scaled_dot_product_attention(q.reshape(rows, kv_heads, -1, HEAD), k, v, attn_mask=mask)


def grouped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's attention as models call it."""
    return F.scaled_dot_product_attention(q.transpose(1, 2), k, v, enable_gqa=True).transpose(1, 2)


def case(name: str, sides: dict[str, Side], keys: int, q: Tensor, **details: object) -> KernelCase:
    """Verifies every side against that in float32, which is not timed; `keys`: those of all rows, each read once."""
    exact = sides.pop("float32")

    def verify() -> None:
        truth = exact().reshape(q.shape)  # type: ignore[attr-defined]
        for name, side in sides.items():
            own = side().reshape(q.shape).float()  # type: ignore[attr-defined]
            error = ((own - truth).norm() / truth.norm()).item()
            if not error <= TOLERANCE:
                raise AssertionError(f"{name} is off by {error:.3g} of the length, {TOLERANCE} is allowed")

    traffic = (2 * keys * KV_HEADS * HEAD + 2 * q.numel()) * q.element_size()
    details |= {"dtype": "bfloat16", "heads": HEADS, "kv_heads": KV_HEADS, "head": HEAD}
    return KernelCase(name, sides, verify, bytes=traffic, details=details)


def uniform(rows: int, length: int) -> KernelCase:
    q, k, v = draw(rows, 1, HEADS, HEAD), *(draw(rows, KV_HEADS, length, HEAD) for _ in range(2))
    lengths = integers([length] * rows)
    sides: dict[str, Side] = {
        "oxiformers": lambda: decode_attention(q, k, v, lengths),
        "torch SDPA, groups folded": lambda: folded(q, k, v),
        "torch SDPA, enable_gqa": lambda: grouped(q, k, v),
        "float32": lambda: torch.cat(
            [folded(*(side[row : row + 1].float() for side in (q, k, v))) for row in range(rows)]
        ),
    }
    return case(f"one token, {rows} rows x {length:,} keys", sides, rows * length, q)


def paged(rows: int, length: int, page_size: int) -> KernelCase:
    """The peer copies every row's pages into one tensor first."""
    pages = length // page_size
    q, k, v = draw(rows, 1, HEADS, HEAD), *(draw(rows * pages, page_size, KV_HEADS, HEAD) for _ in range(2))
    order = torch.randperm(rows * pages, generator=torch.Generator().manual_seed(0))
    table, lengths = order.view(rows, pages).to(device="cuda", dtype=torch.int32), integers([length] * rows)

    def gathered(dtype: torch.dtype) -> Tensor:
        own = (side[table].flatten(1, 2).transpose(1, 2).to(dtype) for side in (k, v))
        return folded(q.to(dtype), *own)

    sides: dict[str, Side] = {
        "oxiformers": lambda: decode_attention(q, k, v, lengths, block_table=table),
        "torch, pages gathered": lambda: gathered(DTYPE),
        "float32": lambda: gathered(torch.float32),
    }
    name = f"one token from pages of {page_size}, {rows} rows x {length:,} keys"
    return case(name, sides, rows * length, q, page_size=page_size)


def mixed(rows: int, capacity: int) -> KernelCase:
    """Rows of many lengths in one rectangular cache; the peer's mask is made beforehand."""
    drawn = random.Random(0)
    held = [max(16, min(capacity, round(drawn.lognormvariate(7.5, 1.2)))) for _ in range(rows)]
    q, k, v = draw(rows, 1, HEADS, HEAD), *(draw(rows, KV_HEADS, capacity, HEAD) for _ in range(2))
    lengths, longest = integers(held), (max(held) + 15) // 16 * 16
    mask = (torch.arange(longest, device="cuda") < lengths[:, None])[:, None, None, :]
    k_part, v_part = k[:, :, :longest], v[:, :, :longest]
    sides: dict[str, Side] = {
        "oxiformers": lambda: decode_attention(q, k, v, lengths),
        "torch SDPA, masked": lambda: folded(q, k_part, v_part, mask),
        "float32": lambda: folded(q.float(), k_part.float(), v_part.float(), mask),
    }
    name = f"one token of mixed lengths, {rows} rows of up to {longest:,} keys"
    return case(name, sides, sum(held), q, mean_length=sum(held) // rows)


def beams(sentences: int, each: int, prompt: int, own: int) -> KernelCase:
    """The peer reads the prompt once for every beam, from a view that repeats it."""
    rows = sentences * each
    q = draw(rows, 1, HEADS, HEAD)
    k_prefix, v_prefix = (draw(sentences, KV_HEADS, prompt, HEAD) for _ in range(2))
    k, v = (draw(rows, KV_HEADS, own, HEAD) for _ in range(2))
    before, lengths = integers([prompt] * sentences), integers([own] * rows)
    k_joined, v_joined = (
        torch.cat([prefix.repeat_interleave(each, dim=0), suffix], dim=2)
        for prefix, suffix in ((k_prefix, k), (v_prefix, v))
    )
    sides: dict[str, Side] = {
        "oxiformers": lambda: decode_attention(
            q, k, v, lengths, k_prefix=k_prefix, v_prefix=v_prefix, prefix_lengths=before
        ),
        "torch SDPA, prompt repeated": lambda: folded(q, k_joined, v_joined),
        "float32": lambda: folded(q.float(), k_joined.float(), v_joined.float()),
    }
    name = f"one token of {each} beams, {sentences} prompts of {prompt:,} keys, {own} own"
    return case(name, sides, sentences * prompt + rows * own, q)


def cases() -> Iterator[KernelCase]:
    torch.manual_seed(0)
    for rows, length in ((16, 4096), (16, 16384), (64, 4096), (64, 16384)):
        yield uniform(rows, length)
    yield paged(64, 4096, 16)
    yield paged(64, 4096, 256)
    yield mixed(64, 16384)
    yield beams(16, 4, 4096, 128)
