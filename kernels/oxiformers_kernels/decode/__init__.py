"""Attention of one or a few new tokens a row to a cache of keys: checks the arguments, picks the implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.decode import ref
from oxiformers_kernels.decode.ref import Biases, Cache, Options, Prefix
from oxiformers_kernels.dispatch import Backend, Choice, choose

__all__ = ["decode_attention", "decode_choice"]

OP = "decode_attention"

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
LARGEST_HEAD = 256


def decode_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    lengths: Tensor,
    *,
    block_table: Tensor | None = None,
    slots: Tensor | None = None,
    k_prefix: Tensor | None = None,
    v_prefix: Tensor | None = None,
    prefix_lengths: Tensor | None = None,
    causal: bool = True,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    distance_bias: Tensor | None = None,
    backend: Backend | None = None,
) -> Tensor:
    """softmax(q k^T * scale) v over the keys a cache holds, the new tokens' own included. Forward only.

    Query i of Lq stands at position n + i - Lq, where n is the number of keys of its row, prefix and cache together.
    The keys are read once for all queries and heads that share them, by as many programs as the device needs to be
    busy, however few the rows are; nothing is read back by the host, so that a CUDA graph can hold the call.

    Args:
        q: `[B, Lq, H, D]`, float16, bfloat16, float32 or float64; meant for Lq of 1 to about 8.
        k_cache, v_cache: `[slots, Hkv, capacity, D]` and `[.., Dv]`, or pages where there is a `block_table`. H is a
            multiple of Hkv. Read in place: a last dimension that is not contiguous is slow. What lies behind the valid
            keys may be anything. A capacity of 0 leaves the prefix alone, as in cross attention.
        lengths: valid keys of every row, the new ones included, int32 or int64 `[B]` on the device; more than the
            capacity counts as the capacity, 0 gives zeros.
        block_table: the pages of every row, in order, int32 or int64 `[B, pages of a row]`; the caches are then
            `[pages, page size, Hkv, D]`. Entries behind a row's keys may be anything.
        slots: the slot of every row, int32 or int64 `[B]`, each below the number of slots; without, row b lies in
            slot b.
        k_prefix, v_prefix, prefix_lengths: what B // sentences rows that follow one another share and have before
            the keys of their cache, `[sentences, Hkv, P, D]` and int32 or int64 `[sentences]`: the prompt of the beams
            of a search. All three or none.
        causal: a query sees no key behind its own position; with `window`, that counts too.
        window: `(left, right)`: a query at p sees [p - left, p + right]; -1 is without limit.
        scale: 1 / sqrt(D) where it is None.
        softcap: scores become softcap * tanh(score / softcap) before any bias; 0 for none.
        alibi_slopes: float32 `[H]`; adds -slope * distance (arXiv:2108.12409).
        distance_bias: `[H, 2 * R + 1]`; adds the entry of key position - query position, clamped to -R..R, plus R.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        `[B, Lq, H, Dv]`, contiguous, in the dtype of `q`; a query that sees no key gives zeros.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: shapes or devices that do not go together; an unknown backend.
        RuntimeError: gradients are on and a tensor requires one.
        BackendError: `triton` was asked for by name and cannot run.
    """
    cache = Cache(k_cache, v_cache, lengths, block_table, slots)
    prefix = None
    if k_prefix is not None and v_prefix is not None and prefix_lengths is not None:
        prefix = Prefix(k_prefix, v_prefix, prefix_lengths)
    elif k_prefix is not None or v_prefix is not None or prefix_lengths is not None:
        raise ValueError("decode_attention: k_prefix, v_prefix and prefix_lengths go together")
    biases = Biases(alibi_slopes, distance_bias)
    _check_query_and_cache(q, cache)
    _check_prefix(q, cache, prefix)
    _check_biases(q, biases, softcap)
    _check_no_gradient(q, k_cache, v_cache, k_prefix, v_prefix, alibi_slopes, distance_bias)
    left, right = (-1, -1) if window is None else window
    if causal:
        right = 0
    options = Options(q.shape[3] ** -0.5 if scale is None else scale, softcap, left, right)
    if decode_choice(q, v_cache, backend=backend).backend == "torch":
        return ref.decode_attention(q, cache, prefix, biases, options)
    from oxiformers_kernels.decode import kernel

    return kernel.decode_attention(q, cache, prefix, biases, options)


def decode_choice(q: Tensor, v_cache: Tensor, *, backend: Backend | None = None) -> Choice:
    """Which implementation `decode_attention` runs for such arguments, and why; only their last sizes are looked at.

    Raises:
        ValueError, BackendError: as `decode_attention`.
    """
    return choose("decode_attention", backend, q.device, _unsupported(q, v_cache))


def _check_query_and_cache(q: Tensor, cache: Cache) -> None:
    if not q.is_floating_point():
        raise checks.wrong_dtype(OP, "q", q)
    if cache.block_table is not None and cache.slots is not None:
        raise ValueError("decode_attention: slots and block_table exclude one another")
    layout = "[slots, Hkv, capacity, D]" if cache.block_table is None else "[pages, page size, Hkv, D]"
    for name, tensor, expected in (
        ("q", q, "[B, Lq, H, D]"),
        ("k_cache", cache.keys, layout),
        ("v_cache", cache.values, layout),
    ):
        if tensor.dim() != 4:
            raise checks.wrong_shape(OP, name, tensor, expected)
    rows, _, heads, head = q.shape
    _same_side("cache", q, cache.keys, cache.values)
    if cache.keys.shape[3] != head:
        raise ValueError(f"{OP}: k_cache has D {cache.keys.shape[3]}, q has {head}")
    if cache.kv_heads == 0 or heads % cache.kv_heads:
        raise ValueError(f"{OP}: {heads} heads are no multiple of the {cache.kv_heads} of the cache")
    _check_integers("lengths", cache.lengths, (rows,), q)
    if cache.block_table is not None:
        _check_integers("block_table", cache.block_table, (rows, None), q)
    elif cache.slots is not None:
        _check_integers("slots", cache.slots, (rows,), q)
    elif cache.keys.shape[0] < rows:
        raise ValueError(f"{OP}: {rows} rows, but k_cache has {cache.keys.shape[0]} slots")


def _check_prefix(q: Tensor, cache: Cache, prefix: Prefix | None) -> None:
    if prefix is None:
        return
    _same_side("prefix", q, prefix.keys, prefix.values)
    expected = (prefix.keys.shape[0], cache.kv_heads, None, q.shape[3])
    if prefix.keys.dim() != 4 or any(
        have != want for have, want in zip(prefix.keys.shape, expected, strict=True) if want is not None
    ):
        raise checks.wrong_shape(
            OP, "k_prefix", prefix.keys, f"[sentences, {cache.kv_heads}, P, {q.shape[3]}]"
        )
    if prefix.values.shape[3] != cache.values.shape[3]:
        raise ValueError(f"{OP}: v_prefix has Dv {prefix.values.shape[3]}, v_cache {cache.values.shape[3]}")
    sentences = prefix.keys.shape[0]
    if (sentences == 0) != (q.shape[0] == 0) or (sentences and q.shape[0] % sentences):
        raise ValueError(f"{OP}: {q.shape[0]} rows are no multiple of {sentences} sentences")
    _check_integers("prefix_lengths", prefix.lengths, (sentences,), q)


def _check_biases(q: Tensor, biases: Biases, softcap: float) -> None:
    heads = q.shape[2]
    if softcap < 0:
        raise ValueError(f"{OP}: softcap is {softcap}, expected 0 or more")
    slopes, table = biases
    for name, tensor in (("alibi_slopes", slopes), ("distance_bias", table)):
        if tensor is not None and not tensor.is_floating_point():
            raise checks.wrong_dtype(OP, name, tensor)
        if tensor is not None and tensor.device != q.device:
            raise checks.wrong_device(OP, name, tensor, q.device)
    if slopes is not None and slopes.shape != (heads,):
        raise checks.wrong_shape(OP, "alibi_slopes", slopes, (heads,))
    if table is not None and (table.dim() != 2 or table.shape[0] != heads or table.shape[1] % 2 == 0):
        raise checks.wrong_shape(OP, "distance_bias", table, f"[{heads}, 2 * R + 1]")


def _same_side(name: str, q: Tensor, keys: Tensor, values: Tensor) -> None:
    if keys.shape[:-1] != values.shape[:-1]:
        raise ValueError(
            f"{OP}: keys {tuple(keys.shape)} and values {tuple(values.shape)} of the {name} differ in "
            "more than their last dimension"
        )
    for letter, side in (("k", keys), ("v", values)):
        if side.dtype != q.dtype:
            raise checks.wrong_dtype(OP, f"{letter}_{name}", side, q.dtype)
        if side.device != q.device:
            raise checks.wrong_device(OP, f"{letter}_{name}", side, q.device)


def _check_integers(name: str, tensor: Tensor, shape: tuple[int | None, ...], q: Tensor) -> None:
    if tensor.dtype not in (torch.int32, torch.int64):
        raise checks.wrong_dtype(OP, name, tensor, "int32 or int64")
    fits = tensor.dim() == len(shape) and all(
        want is None or have == want for have, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join("*" if size is None else str(size) for size in shape)
        raise checks.wrong_shape(OP, name, tensor, f"[{expected}]")
    if tensor.device != q.device:
        raise checks.wrong_device(OP, name, tensor, q.device)


def _check_no_gradient(*tensors: Tensor | None) -> None:
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        raise RuntimeError(
            "decode_attention has no backward: call it under torch.no_grad() or torch.inference_mode(), "
            "or train with oxiformers_kernels.attention"
        )


def _unsupported(q: Tensor, v_cache: Tensor) -> str | None:
    if q.dtype not in KERNEL_DTYPES:
        return f"the kernel takes float16, bfloat16 and float32, q is {q.dtype}"
    if max(q.shape[-1], v_cache.shape[-1]) > LARGEST_HEAD:
        return (
            f"the kernel takes heads up to {LARGEST_HEAD}, these have {q.shape[-1]} and {v_cache.shape[-1]}"
        )
    return None
