"""Attention over packed or equally long sequences, with every bias these models use: checks, and the choice."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.attention import ref
from oxiformers_kernels.attention.ref import (
    Biases,
    Options,
    bucketed_distance_bias,
    disentangled_index,
    disentangled_products,
    relative_buckets,
)
from oxiformers_kernels.device import capability
from oxiformers_kernels.dispatch import Backend, Choice, choose

__all__ = [
    "attention",
    "attention_choice",
    "bucketed_distance_bias",
    "disentangled_products",
    "disentangled_index",
    "relative_buckets",
]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
LARGEST_HEAD = 256
CUDNN = "torch's call to cuDNN takes less for equally long sequences on this GPU"


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    distance_bias: Tensor | None = None,
    bias: Tensor | None = None,
    content_to_position: Tensor | None = None,
    position_to_content: Tensor | None = None,
    position_index: Tensor | None = None,
    dropout: float = 0.0,
    seed: Tensor | int | None = None,
    deterministic: bool | None = None,
    return_lse: bool = False,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """softmax(scores) @ v within each sequence, differentiable in q, k, v, the biases, and through the log-sum-exp.

    Query i of Lq stands at position i + Lk - Lq among Lk keys: the queries are the last of the keys' positions. A query
    that sees no key gives 0, and a sequence may be empty on either side.

    Args:
        q: `[T, H, D]`, the tokens of all sequences one after another, or `[B, S, H, D]`, equally long ones. float16,
            bfloat16, float32 or float64, any strides.
        k, v: `[Tk, Hkv, D]` and `[Tk, Hkv, Dv]`, or `[B, Sk, Hkv, D(v)]`; H is a multiple of Hkv (grouped heads,
            arXiv:2305.13245).
        cu_seqlens_q, cu_seqlens_k: int32 or int64 `[B + 1]` on the device, where each packed sequence begins, and the
            end; the keys' are the queries' own where not given. Their values are not checked: the device would be
            waited for.
        causal: a query sees no key after its own position.
        window: (left, right): a query sees keys from `left` before to `right` after its position; -1 is without limit.
            A model's sliding window of w tokens is (w - 1, 0).
        scale: multiplies the products; 1 / sqrt(D) by default.
        softcap: c > 0 bends a scaled score s to c * tanh(s / c), before any bias (Gemma 2, arXiv:2408.00118).
        alibi_slopes: float32 `[H]`; adds -slope * |distance| (arXiv:2108.12409). No gradient.
        distance_bias: `[H, 2 * R + 1]`; adds the value at clamp(key position - query position, -R, R) + R. T5's buckets
            become one by `bucketed_distance_bias`.
        bias: `[B or 1, H or 1, Lq, Lk]`, added; for packed sequences padded to the longest (sizes 1 are shared by all).
        content_to_position, position_to_content: `[T, H, P]` and `[Tk, H, P]`, or `[B, S, H, P]` and `[B, Sk, H, P]`,
            products of queries and keys with P relative positions; those at `position_index` of a pair's distance are
            added to the pair's product (DeBERTa, arXiv:2006.03654; see `disentangled_products`). Either may be None.
        position_index: int32 or int64 `[2 * R + 1]`, below P and not checked: an index for every clamped distance as in
            `distance_bias`, rising or falling (`disentangled_index`).
        dropout: probability of dropping a probability.
        seed: of the dropout, a number or an int64 tensor of one element; drawn from torch's generator where not given.
        deterministic: the gradients of biases have the same bits each time, at some cost (those of q, k and v always
            have); torch's own setting by default.
        return_lse: the log-sum-exp of the scores is returned too.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        `[..., H, Dv]` in the dtype of `q`; with `return_lse` also float32 `[H, T]` or `[B, H, S]` (float64 for
        float64).

    Raises:
        TypeError, ValueError: arguments that do not fit each other; the message names them.
        BackendError: `triton` was asked for by name and cannot run.
    """
    cu_seqlens_k = cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k
    biases = Biases(
        alibi_slopes, distance_bias, bias, content_to_position, position_to_content, position_index
    )
    _check(q, k, v, cu_seqlens_q, cu_seqlens_k)
    _check_biases(q, biases)
    _check_positions(q, k, biases)
    left, right = (-1, -1) if window is None else (max(side, -1) for side in window)
    if causal:
        right = 0
    options = Options(1.0 / math.sqrt(q.shape[-1]) if scale is None else scale, left, right, softcap, dropout)
    if softcap < 0.0 or not 0.0 <= dropout < 1.0:
        raise ValueError(
            f"attention: softcap={softcap} and dropout={dropout}, expected at least 0, and [0, 1)"
        )
    square = right != 0 or q.shape[1] == k.shape[1]
    plain = cu_seqlens_q is None and not any(bias is not None for bias in biases)
    plain = plain and square and left == -1 and right in (-1, 0) and not (softcap or dropout or return_lse)
    choice = attention_choice(q, v, scale=options.scale, plain=plain, backend=backend)
    if plain and choice.reason.endswith(CUDNN):
        query, key, value = (side.transpose(1, 2) for side in (q, k, v))
        fused = F.scaled_dot_product_attention(query, key, value, is_causal=right == 0, scale=options.scale)
        return fused.transpose(1, 2)
    seeds = _seed(seed, q.device) if dropout else None
    if choice.backend == "torch":
        out, lse = ref.attention(q, k, v, cu_seqlens_q, cu_seqlens_k, biases, options, seeds)
    else:
        from oxiformers_kernels.attention import kernel

        if deterministic is None:
            deterministic = torch.are_deterministic_algorithms_enabled()
        out, lse = kernel.attention(
            q, k, v, cu_seqlens_q, cu_seqlens_k, biases, options, seeds, deterministic
        )
    return (out, lse) if return_lse else out


def attention_choice(
    q: Tensor, v: Tensor, *, scale: float | None = None, plain: bool = False, backend: Backend | None = None
) -> Choice:
    """Which implementation `attention` runs for such arguments, and why.

    Args:
        q, v, scale, backend: as `attention` takes them.
        plain: equally long sequences, all of whose scores count or those of a causal square, without any bias, softcap,
            dropout or log-sum-exp: what torch has a fused call for.

    Raises:
        ValueError, BackendError: as `attention`.
    """
    return choose("attention", backend, q.device, _unsupported(q, v, scale), _slower(q, v) if plain else None)


def _slower(q: Tensor, v: Tensor) -> str | None:
    """Why torch's own fused call is the faster one (benches/results/kernels.jsonl), or None."""
    measured = q.shape[-1] == v.shape[-1] and q.shape[-1] in (64, 128) and q.shape[-2] == v.shape[-2]
    if (
        measured
        and q.is_cuda
        and q.dtype in (torch.float16, torch.bfloat16)
        and capability(q.device) == (9, 0)
    ):
        return CUDNN
    return None


def _seed(seed: Tensor | int | None, device: torch.device) -> Tensor:
    if seed is None:
        return torch.randint(2**62, (1,), dtype=torch.int64, device=device)
    if isinstance(seed, int):
        return torch.full((1,), seed, dtype=torch.int64, device=device)
    if seed.dtype != torch.int64 or seed.numel() != 1:
        raise ValueError(f"attention: seed is {seed.dtype} {tuple(seed.shape)}, expected one int64")
    return seed.to(device)


def _unsupported(q: Tensor, v: Tensor, scale: float | None) -> str | None:
    if q.dtype not in KERNEL_DTYPES:
        return f"the kernel takes float16, bfloat16 and float32, q is {q.dtype}"
    if max(q.shape[-1], v.shape[-1]) > LARGEST_HEAD:
        return f"the kernel takes heads up to {LARGEST_HEAD}, these are {q.shape[-1]} and {v.shape[-1]}"
    if scale is not None and not scale > 0.0:
        return f"the kernel takes a positive scale, this is {scale}"
    return None


def _check(q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor | None, cu_seqlens_k: Tensor | None) -> None:
    if not q.is_floating_point() or q.dtype != k.dtype or q.dtype != v.dtype:
        raise TypeError(
            f"attention: q, k and v are {q.dtype}, {k.dtype} and {v.dtype}, expected one floating dtype"
        )
    dimensions = 4 if cu_seqlens_q is None else 3
    form = "[B, S, H, D]" if cu_seqlens_q is None else "[T, H, D]"
    for name, side in (("q", q), ("k", k), ("v", v)):
        if side.dim() != dimensions:
            raise checks.wrong_shape("attention", name, side, form)
    if (
        q.shape[-1] != k.shape[-1]
        or k.shape[:-1] != v.shape[:-1]
        or (dimensions == 4 and q.shape[0] != k.shape[0])
    ):
        shapes = ", ".join(str(tuple(side.shape)) for side in (q, k, v))
        raise ValueError(f"attention: q, k and v of shapes {shapes} do not fit each other, expected {form}")
    if k.shape[-2] == 0 or q.shape[-2] % k.shape[-2]:
        raise ValueError(f"attention: {q.shape[-2]} query heads are no multiple of {k.shape[-2]} key heads")
    if cu_seqlens_q is None:
        if cu_seqlens_k is not None:
            raise ValueError("attention: cu_seqlens_k is given without cu_seqlens_q")
        return
    assert cu_seqlens_k is not None
    checks.require_ends("attention", "cu_seqlens_q", cu_seqlens_q, q.device)
    checks.require_ends("attention", "cu_seqlens_k", cu_seqlens_k, q.device)
    if cu_seqlens_q.shape != cu_seqlens_k.shape:
        raise ValueError(
            f"attention: cu_seqlens_q has {cu_seqlens_q.shape[0]} entries, cu_seqlens_k {cu_seqlens_k.shape[0]}"
        )


def _check_biases(q: Tensor, biases: Biases) -> None:
    heads = q.shape[-2]
    slopes, distance_bias, bias = biases[:3]
    if slopes is not None and (slopes.dtype != torch.float32 or slopes.shape != (heads,)):
        raise ValueError(
            f"attention: alibi_slopes is {slopes.dtype} {tuple(slopes.shape)}, expected float32 [{heads}]"
        )
    if distance_bias is not None and (
        distance_bias.dim() != 2 or distance_bias.shape[0] != heads or distance_bias.shape[1] % 2 == 0
    ):
        raise checks.wrong_shape("attention", "distance_bias", distance_bias, f"[{heads}, 2 * R + 1]")
    if bias is not None and (
        bias.dim() != 4 or bias.shape[1] not in (1, heads) or not bias.is_floating_point()
    ):
        raise ValueError(
            f"attention: bias is {bias.dtype} {tuple(bias.shape)}, expected floating [B or 1, {heads} or 1, Lq, Lk]"
        )
    for name, tensor in zip(biases._fields, biases, strict=True):
        if tensor is not None and tensor.device != q.device:
            raise checks.wrong_device("attention", name, tensor, q.device)


def _check_positions(q: Tensor, k: Tensor, biases: Biases) -> None:
    content, position, index = biases.content_to_position, biases.position_to_content, biases.position_index
    if (index is None) != (content is None and position is None):
        raise ValueError(
            "attention: position_index goes with content_to_position, position_to_content, or both"
        )
    if index is None:
        return
    if index.dtype not in (torch.int32, torch.int64) or index.dim() != 1 or index.shape[0] % 2 == 0:
        raise ValueError(
            f"attention: position_index is {index.dtype} {tuple(index.shape)}, expected int32 or int64 [2 * R + 1]"
        )
    positions = {tensor.shape[-1] for tensor in (content, position) if tensor is not None}
    for name, tensor, side in (("content_to_position", content, q), ("position_to_content", position, k)):
        if tensor is None:
            continue
        expected = (*side.shape[:-2], q.shape[-2])
        if tensor.shape[:-1] != expected or not tensor.is_floating_point() or len(positions) > 1:
            raise ValueError(
                f"attention: {name} is {tensor.dtype} {tuple(tensor.shape)}, expected floating {[*expected, 'P']}"
            )
