"""Rotary position embedding in Triton: queries and keys in one launch, the backward by the opposite angle."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from oxiformers_kernels.device import on

# Pairs of features that a program turns, by four warps.
TILE_PAIRS = 2048
WARPS = 4


@triton.jit
def _turn(
    program, x, out, cos, sin, positions, n_tokens, length, n_heads, n_positions,
    x_batch, x_token, x_head, x_feature, out_batch, out_token, out_head,
    cos_batch, cos_token, cos_feature, sin_batch, sin_token, sin_feature, position_batch, position_token,
    N_FEATURES: tl.constexpr, ROTARY: tl.constexpr, INTERLEAVED: tl.constexpr, BACKWARD: tl.constexpr,
    POSITIONS: tl.constexpr, IN_PLACE: tl.constexpr, TOKENS: tl.constexpr, HEADS: tl.constexpr,
    PAIRS: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """TOKENS x HEADS rows of one tensor. Tokens are numbered over [batch, length]."""
    head_blocks = tl.cdiv(n_heads, HEADS)
    tokens = (program // head_blocks).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)[:, None, None]
    heads = (program % head_blocks).to(tl.int64) * HEADS + tl.arange(0, HEADS)[None, :, None]
    pairs = tl.arange(0, PAIRS)[None, None, :]
    rows_inside = (tokens < n_tokens) & (heads < n_heads)
    batch, token = tokens // length, tokens % length

    if POSITIONS:
        place = positions + batch * position_batch + token * position_token
        row = tl.load(place, mask=tokens < n_tokens, other=0)
        known = (row >= 0) & (row < n_positions)
        cos_row, sin_row = row * cos_token, row * sin_token
    else:
        known = tokens < n_tokens
        cos_row = batch * cos_batch + token * cos_token
        sin_row = batch * sin_batch + token * sin_token
    # A position beyond the tables is not read, and shows as NaN.
    angle_inside = known & (pairs < ROTARY // 2)
    c = tl.load(cos + cos_row + pairs * cos_feature, mask=angle_inside, other=float("nan")).to(tl.float32)
    s = tl.load(sin + sin_row + pairs * sin_feature, mask=angle_inside, other=float("nan")).to(tl.float32)
    if BACKWARD:
        s = -s

    x += batch * x_batch + token * x_token + heads * x_head
    out += batch * out_batch + token * out_token + heads * out_head
    if INTERLEAVED:
        features = tl.arange(0, 2 * PAIRS)[None, None, :]
        inside = rows_inside & (features < ROTARY)
        both = tl.load(x + features * x_feature, mask=inside, other=0.0).to(tl.float32)
        first, second = tl.split(tl.reshape(both, (TOKENS, HEADS, PAIRS, 2)))
        turned = tl.join(first * c - second * s, second * c + first * s)
        turned = tl.reshape(turned, (TOKENS, HEADS, 2 * PAIRS))
        tl.store(out + features, turned.to(out.dtype.element_ty), mask=inside)
    else:
        inside = rows_inside & (pairs < ROTARY // 2)
        other_half = x + (pairs + ROTARY // 2) * x_feature
        first = tl.load(x + pairs * x_feature, mask=inside, other=0.0).to(tl.float32)
        second = tl.load(other_half, mask=inside, other=0.0).to(tl.float32)
        tl.store(out + pairs, (first * c - second * s).to(out.dtype.element_ty), mask=inside)
        tl.store(out + pairs + ROTARY // 2, (second * c + first * s).to(out.dtype.element_ty), mask=inside)
    if ROTARY < N_FEATURES and not IN_PLACE:
        features = ROTARY + tl.arange(0, REST)[None, None, :]
        inside = rows_inside & (features < N_FEATURES)
        rest = tl.load(x + features * x_feature, mask=inside, other=0.0)
        tl.store(out + features, rest, mask=inside)


@triton.jit
def _rope(
    q, out_q, k, out_k, cos, sin, positions, n_tokens, length, q_heads, k_heads, n_positions, q_programs,
    q_batch, q_token, q_head, q_feature, out_q_batch, out_q_token, out_q_head,
    k_batch, k_token, k_head, k_feature, out_k_batch, out_k_token, out_k_head,
    cos_batch, cos_token, cos_feature, sin_batch, sin_token, sin_feature, position_batch, position_token,
    N_FEATURES: tl.constexpr, ROTARY: tl.constexpr, INTERLEAVED: tl.constexpr, BACKWARD: tl.constexpr,
    POSITIONS: tl.constexpr, IN_PLACE: tl.constexpr, PAIRS: tl.constexpr, REST: tl.constexpr,
    Q_TOKENS: tl.constexpr, Q_HEADS: tl.constexpr, K_TOKENS: tl.constexpr, K_HEADS: tl.constexpr,
):  # fmt: skip
    """The first `q_programs` programs turn q, the others k."""
    program = tl.program_id(0)
    if program < q_programs:
        _turn(
            program, q, out_q, cos, sin, positions, n_tokens, length, q_heads, n_positions,
            q_batch, q_token, q_head, q_feature, out_q_batch, out_q_token, out_q_head,
            cos_batch, cos_token, cos_feature, sin_batch, sin_token, sin_feature, position_batch, position_token,
            N_FEATURES, ROTARY, INTERLEAVED, BACKWARD, POSITIONS, IN_PLACE, Q_TOKENS, Q_HEADS, PAIRS, REST,
        )  # fmt: skip
    else:
        _turn(
            program - q_programs, k, out_k, cos, sin, positions, n_tokens, length, k_heads, n_positions,
            k_batch, k_token, k_head, k_feature, out_k_batch, out_k_token, out_k_head,
            cos_batch, cos_token, cos_feature, sin_batch, sin_token, sin_feature, position_batch, position_token,
            N_FEATURES, ROTARY, INTERLEAVED, BACKWARD, POSITIONS, IN_PLACE, K_TOKENS, K_HEADS, PAIRS, REST,
        )  # fmt: skip


class Tile(NamedTuple):
    """The tokens and heads that a program takes."""

    tokens: int
    heads: int


def tile_for(n_heads: int, pairs: int) -> Tile:
    """About TILE_PAIRS pairs of features: many heads of one token, or few heads of many."""
    heads = min(triton.next_power_of_2(max(1, n_heads)), max(1, TILE_PAIRS // pairs))
    return Tile(max(1, TILE_PAIRS // (heads * pairs)), heads)


def apply_rope(
    tensors: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    rotary_dim: int,
    interleaved: bool,
    inplace: bool,
) -> list[Tensor]:
    """As `ref.apply_rope` for one or two tensors; products in float32. A position out of range gives NaN."""
    if inplace:
        rope_inplace_op(tensors, cos, sin, positions, rotary_dim, interleaved)
        return tensors
    turned: list[Tensor] = rope_op(tensors, cos, sin, positions, rotary_dim, interleaved, False)
    return turned


@torch.library.custom_op("oxiformers_kernels::rope", mutates_args=())
def rope_op(
    tensors: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    rotary_dim: int,
    interleaved: bool,
    backward: bool,
) -> list[Tensor]:
    """Turns every tensor by its angles, or back by them; the results are contiguous."""
    out = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in tensors]
    _launch(tensors, out, cos, sin, positions, rotary_dim, interleaved, backward, in_place=False)
    return out


@torch.library.custom_op("oxiformers_kernels::rope_", mutates_args={"tensors"})
def rope_inplace_op(
    tensors: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    rotary_dim: int,
    interleaved: bool,
) -> None:
    """Turns every tensor in place; their last dimension has stride 1."""
    _launch(tensors, tensors, cos, sin, positions, rotary_dim, interleaved, False, in_place=True)


@rope_op.register_fake
def _(
    tensors: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    rotary_dim: int,
    interleaved: bool,
    backward: bool,
) -> list[Tensor]:
    return [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in tensors]


@rope_inplace_op.register_fake
def _(
    tensors: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    rotary_dim: int,
    interleaved: bool,
) -> None:
    return None


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    _, cos, sin, positions, ctx.rotary_dim, ctx.interleaved, ctx.backward = inputs
    ctx.save_for_backward(cos, sin, positions)


def _backward(ctx: Any, grads: list[Tensor]) -> tuple[list[Tensor] | None, ...]:
    cos, sin, positions = ctx.saved_tensors
    turned = rope_op(list(grads), cos, sin, positions, ctx.rotary_dim, ctx.interleaved, not ctx.backward)
    return turned, None, None, None, None, None, None


rope_op.register_autograd(_backward, setup_context=_setup_context)


def _launch(
    tensors: list[Tensor],
    out: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None,
    rotary_dim: int,
    interleaved: bool,
    backward: bool,
    *,
    in_place: bool,
) -> None:
    """Turns `tensors` (q, or q and k, `[T, H, D]` or `[B, S, H, D]`) into `out`, whose last stride is 1."""
    n_features, device = tensors[0].shape[-1], tensors[0].device
    (q, *others), (out_q, *out_others) = map(_batched, tensors), map(_batched, out)
    k, out_k = (others[0], out_others[0]) if others else (q, out_q)
    n_tokens, pairs = q.shape[0] * q.shape[1], triton.next_power_of_2(rotary_dim // 2)
    if positions is None:
        n_positions = 0
        cos, sin = (table.expand(*tensors[0].shape[:-2], -1) for table in (cos, sin))
        cos, sin = (table if table.dim() == 3 else table.unsqueeze(0) for table in (cos, sin))
        (cos_batch, cos_token, cos_feature), (sin_batch, sin_token, sin_feature) = cos.stride(), sin.stride()
        places, position_strides = cos, [0, 0]
    else:
        n_positions = cos.shape[0]
        cos_batch, sin_batch = 0, 0
        (cos_token, cos_feature), (sin_token, sin_feature) = cos.stride(), sin.stride()
        places = positions.expand(tensors[0].shape[:-2])
        places = places if places.dim() == 2 else places.unsqueeze(0)
        position_strides = list(places.stride())
    q_tile, k_tile = tile_for(q.shape[2], pairs), tile_for(k.shape[2], pairs)
    q_programs, k_programs = (
        triton.cdiv(n_tokens, tile.tokens) * triton.cdiv(x.shape[2], tile.heads)
        for x, tile in ((q, q_tile), (k, k_tile))
    )
    programs = q_programs + (k_programs if others else 0)
    if programs == 0:
        return
    with on(device):
        _rope[(programs,)](
            q, out_q, k, out_k, cos, sin, places, n_tokens, q.shape[1], q.shape[2], k.shape[2], n_positions,
            q_programs, *q.stride(), *out_q.stride()[:3], *k.stride(), *out_k.stride()[:3],
            cos_batch, cos_token, cos_feature, sin_batch, sin_token, sin_feature, *position_strides,
            N_FEATURES=n_features, ROTARY=rotary_dim, INTERLEAVED=interleaved, BACKWARD=backward,
            POSITIONS=positions is not None, IN_PLACE=in_place, PAIRS=pairs,
            REST=triton.next_power_of_2(max(1, n_features - rotary_dim)),
            Q_TOKENS=q_tile.tokens, Q_HEADS=q_tile.heads, K_TOKENS=k_tile.tokens, K_HEADS=k_tile.heads,
            num_warps=WARPS,
        )  # fmt: skip


def _batched(x: Tensor) -> Tensor:
    """[T, H, D] as [1, T, H, D]."""
    return x if x.dim() == 4 else x.unsqueeze(0)
