"""Attention over packed sequences of differing lengths, as one operator a traced graph can hold.

On CPU, neighbours of equal lengths share one fused call on views, and the results are joined once. The lengths are a
tensor on the host, never a list: a graph traced for one batch serves all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_aten = torch.ops.aten

# Defined by hand: torch.library.custom_op imports the compiler on its first call, which takes longer than torch itself.
_library = torch.library.Library("oxiformers", "FRAGMENT")
_library.define(
    "ragged_attention(Tensor query, Tensor key, Tensor value, Tensor query_lengths, Tensor key_lengths, "
    "Tensor? distance_bias, Tensor? seed, bool causal, float scale, float dropout, bool need_lse) -> (Tensor, Tensor)"
)
_library.define(
    "ragged_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor output, Tensor lse, "
    "Tensor query_lengths, Tensor key_lengths, Tensor? distance_bias, Tensor? seed, bool causal, float scale, "
    "float dropout, bool bias_grad) -> (Tensor, Tensor, Tensor, Tensor)"
)


class _Run(NamedTuple):
    """Neighbouring sequences that have the same two lengths."""

    rows: int
    query_start: int
    query_length: int
    key_start: int
    key_length: int

    def query(self, tensor: Tensor) -> Tensor:
        """``[T, H, D]`` to this run's ``[rows, H, query_length, D]``, a view."""
        return _view(tensor, self.query_start, self.rows, self.query_length)

    def key(self, tensor: Tensor) -> Tensor:
        """``[Tk, H, D]`` to this run's ``[rows, H, key_length, D]``, a view."""
        return _view(tensor, self.key_start, self.rows, self.key_length)


def _view(tensor: Tensor, start: int, rows: int, length: int) -> Tensor:
    return tensor[start : start + rows * length].view(rows, length, *tensor.shape[1:]).transpose(1, 2)


def _runs(query_lengths: Tensor, key_lengths: Tensor) -> Iterator[_Run]:
    query_start = key_start = 0
    pairs = list(zip(query_lengths.tolist(), key_lengths.tolist(), strict=True))
    first = 0
    while first < len(pairs):
        last = first + 1
        while last < len(pairs) and pairs[last] == pairs[first]:
            last += 1
        rows, (query_length, key_length) = last - first, pairs[first]
        if query_length:
            yield _Run(rows, query_start, query_length, key_start, key_length)
        query_start += rows * query_length
        key_start += rows * key_length
        first = last


def distance_bias_matrix(table: Tensor, query_length: int, key_length: int) -> Tensor:
    """A bias that depends on the distance alone, spread over ``[H, query_length, key_length]``.

    Args:
        table: ``[H, 2 * R + 1]``, the bias of the distances -R..R (key minus query); farther ones take the ends.
        query_length, key_length: the queries are the last ``query_length`` of the keys' positions.
    """
    reach = (table.shape[1] - 1) // 2
    # Row i of a Toeplitz matrix is a window of the bias by distance, one step earlier than row i - 1's.
    farthest = key_length - 1
    distances = torch.arange(-farthest, query_length, device=table.device).clamp(-reach, reach) + reach
    by_distance = table.index_select(1, distances)
    return by_distance.unfold(1, key_length, 1).flip(1)


def _scores_bias(run: _Run, distance_bias: Tensor | None, causal: bool, like: Tensor) -> Tensor | None:
    """What is added to a run's scores, ``[1, H or 1, query_length, key_length]``, or None."""
    lengths = (run.query_length, run.key_length)
    bias = None
    if distance_bias is not None:
        bias = distance_bias_matrix(distance_bias, *lengths).to(like.dtype).unsqueeze(0)
    if causal and run.query_length > 1:
        later = torch.ones(lengths, dtype=torch.bool, device=like.device).triu(1 + lengths[1] - lengths[0])
        base = like.new_zeros(1, 1, *lengths) if bias is None else bias
        bias = base.masked_fill(later, -math.inf)
    return bias


def _expand_heads(tensor: Tensor, heads: int) -> Tensor:
    """Grouped key or value heads repeated for every query head: ``[n, Hkv, L, D]`` to ``[n, H, L, D]``."""
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)


def _probabilities(
    query: Tensor, key: Tensor, bias: Tensor | None, lse: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Probabilities ``[n, H, Lq, Lk]`` and the log-sum-exp ``[n, H, Lq]`` of the scores, in float32 or more."""
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = torch.matmul(query.to(wide), key.to(wide).transpose(-1, -2)) * scale
    if bias is not None:
        scores = scores + bias
    if lse is None:
        lse = torch.logsumexp(scores, dim=-1)
    return torch.exp(scores - lse.to(wide).unsqueeze(-1)), lse


def _kept(run: _Run, heads: int, seed: Tensor, dropout: float, like: Tensor) -> Tensor:
    """The dropout mask of a run, already divided by the share that is kept; the same for the same seed."""
    generator = torch.Generator(device=like.device).manual_seed(int(seed) + run.query_start)
    shape = (run.rows, heads, run.query_length, run.key_length)
    return (torch.rand(shape, generator=generator, device=like.device) >= dropout).to(like.dtype) / (
        1.0 - dropout
    )


@torch.library.impl(_library, "ragged_attention", "CompositeExplicitAutograd")
def _ragged_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_lengths: Tensor,
    key_lengths: Tensor,
    distance_bias: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    dropout: float,
    need_lse: bool,
) -> tuple[Tensor, Tensor]:
    heads, wide = query.shape[1], torch.promote_types(query.dtype, torch.float32)
    outputs, sums = [], []
    for run in _runs(query_lengths, key_lengths):
        q, k, v = run.query(query), run.key(key), run.key(value)
        if run.key_length == 0:
            outputs.append(query.new_zeros(run.rows * run.query_length, heads, value.shape[2]))
            sums.append(query.new_full((run.rows * run.query_length, heads), -math.inf, dtype=wide))
            continue
        k, v = _expand_heads(k, heads), _expand_heads(v, heads)
        if not need_lse and seed is None and _prefers_products(run, query):
            bias = _scores_bias(run, distance_bias, causal, query)
            outputs.append(_attend_by_products(q, k, v, bias, scale))
            continue
        if seed is None and query.device.type == "cpu" and q.shape[-1] == v.shape[-1]:
            square = causal and distance_bias is None and run.query_length == run.key_length
            bias = None if square else _scores_bias(run, distance_bias, causal, query)
            output, lse = _aten._scaled_dot_product_flash_attention_for_cpu(
                q, k, v, 0.0, square, attn_mask=bias, scale=scale
            )
        else:
            probabilities, lse = _probabilities(
                q, k, _scores_bias(run, distance_bias, causal, query), None, scale
            )
            if seed is not None:
                probabilities = probabilities * _kept(run, heads, seed, dropout, probabilities)
            output = torch.matmul(probabilities.to(v.dtype), v)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
        sums.append(lse.transpose(1, 2).flatten(0, 1))
    if not outputs:
        return query.new_zeros(0, heads, value.shape[2]), query.new_zeros(0, heads, dtype=wide)
    return torch.cat(outputs), torch.cat(sums) if need_lse else query.new_zeros(0, heads, dtype=wide)


def _prefers_products(run: _Run, query: Tensor) -> bool:
    """Whether two batched products around a softmax beat the fused call: in bfloat16, from 64 keys on, on CPU.

    The fused call multiplies small blocks in float32 there; the products run in bfloat16, two to four times faster.
    The scores of a run are held at once, so very long sequences stay with the fused call.
    """
    return query.device.type == "cpu" and query.dtype is torch.bfloat16 and 64 <= run.key_length <= 2048


def _attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float
) -> Tensor:
    """``[n, H, L, D]`` to ``[n * Lq, H, D]``, row by row of the run so that the scores stay small."""
    outputs = []
    for q, k, v in zip(query.contiguous(), key.contiguous(), value.contiguous(), strict=True):
        if bias is None:
            scores = torch.baddbmm(q.new_zeros(1, 1, 1), q, k.transpose(1, 2), beta=0.0, alpha=scale)
        else:
            scores = torch.baddbmm(bias[0], q, k.transpose(1, 2), alpha=scale)
        outputs.append(torch.bmm(torch.softmax(scores, dim=-1), v).transpose(0, 1))
    return torch.cat(outputs)


@torch.library.register_fake("oxiformers::ragged_attention", lib=_library)
def _(query, key, value, query_lengths, key_lengths, distance_bias, seed, causal, scale, dropout, need_lse):  # type: ignore[no-untyped-def]
    wide = torch.promote_types(query.dtype, torch.float32)
    return (
        query.new_empty(query.shape[0], query.shape[1], value.shape[2]),
        query.new_empty(query.shape[0] if need_lse else 0, query.shape[1], dtype=wide),
    )


@torch.library.impl(_library, "ragged_attention_backward", "CompositeExplicitAutograd")
def _ragged_attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    query_lengths: Tensor,
    key_lengths: Tensor,
    distance_bias: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    dropout: float,
    bias_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    heads = query.shape[1]
    query_grad, key_grad, value_grad = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    table_grad = torch.zeros_like(distance_bias if distance_bias is not None else query[:0])
    for run in _runs(query_lengths, key_lengths):
        if run.key_length == 0:
            continue
        q, out, out_grad = run.query(query), run.query(output), run.query(grad)
        k, v = _expand_heads(run.key(key), heads), _expand_heads(run.key(value), heads)
        run_lse = _view(lse.unsqueeze(-1), run.query_start, run.rows, run.query_length).squeeze(-1)
        if seed is None and not bias_grad and query.device.type == "cpu" and q.shape[-1] == v.shape[-1]:
            square = causal and distance_bias is None and run.query_length == run.key_length
            bias = None if square else _scores_bias(run, distance_bias, causal, query)
            dq, dk, dv = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
                out_grad, q, k, v, out, run_lse, 0.0, square, attn_mask=bias, scale=scale
            )
        else:
            bias = _scores_bias(run, distance_bias, causal, query)
            probabilities, _ = _probabilities(q, k, bias, run_lse, scale)
            wide = probabilities.dtype
            kept = None if seed is None else _kept(run, heads, seed, dropout, probabilities)
            dv = torch.matmul(
                (probabilities if kept is None else probabilities * kept).transpose(-1, -2), out_grad.to(wide)
            )
            dp = torch.matmul(out_grad.to(wide), v.to(wide).transpose(-1, -2))
            if kept is not None:
                dp = dp * kept
            mean = (out_grad.to(wide) * out.to(wide)).sum(-1, keepdim=True)
            ds = probabilities * (dp - mean)
            dq = torch.matmul(ds, k.to(wide)) * scale
            dk = torch.matmul(ds.transpose(-1, -2), q.to(wide)) * scale
            if bias_grad:
                _add_table_grad(table_grad, ds.sum(0))
        run.query(query_grad).copy_(dq)
        run.key(key_grad).copy_(_sum_groups(dk, key.shape[1]))
        run.key(value_grad).copy_(_sum_groups(dv, value.shape[1]))
    return query_grad, key_grad, value_grad, table_grad


@torch.library.register_fake("oxiformers::ragged_attention_backward", lib=_library)
def _(grad, query, key, value, output, lse, query_lengths, key_lengths, distance_bias, *options):  # type: ignore[no-untyped-def]
    table = distance_bias if distance_bias is not None else query[:0]
    return tuple(torch.empty_like(tensor) for tensor in (query, key, value, table))


def _sum_groups(grad: Tensor, heads: int) -> Tensor:
    """The gradient of repeated heads: ``[n, H, L, D]`` to ``[n, Hkv, L, D]``."""
    return grad if grad.shape[1] == heads else grad.unflatten(1, (heads, -1)).sum(2)


def _add_table_grad(table_grad: Tensor, scores_grad: Tensor) -> None:
    """Adds the gradient of ``[H, Lq, Lk]`` scores to their bias by distance, the inverse of distance_bias_matrix."""
    _, query_length, key_length = scores_grad.shape
    reach = (table_grad.shape[1] - 1) // 2
    device = scores_grad.device
    query_positions = torch.arange(key_length - query_length, key_length, device=device)
    distances = torch.arange(key_length, device=device)[None] - query_positions[:, None]
    index = (distances.clamp(-reach, reach) + reach).flatten()
    table_grad.index_add_(1, index, scores_grad.flatten(1).to(table_grad.dtype))


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    query, key, value, query_lengths, key_lengths, distance_bias, seed, causal, scale, dropout, _ = inputs
    ctx.save_for_backward(query, key, value, *output, query_lengths, key_lengths, distance_bias, seed)
    ctx.options = (causal, scale, dropout)
    ctx.set_materialize_grads(True)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad, _):  # type: ignore[no-untyped-def]
    query, key, value, output, lse, query_lengths, key_lengths, distance_bias, seed = ctx.saved_tensors
    bias_grad = ctx.needs_input_grad[5]
    grads = torch.ops.oxiformers.ragged_attention_backward(
        grad.contiguous(), query, key, value, output, lse, query_lengths, key_lengths, distance_bias, seed,
        *ctx.options, bias_grad,
    )  # fmt: skip
    return (*grads[:3], None, None, grads[3] if bias_grad else None, None, None, None, None, None)


torch.library.register_autograd("oxiformers::ragged_attention", _backward, setup_context=_save, lib=_library)


def ragged_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_lengths: Tensor,
    key_lengths: Tensor,
    *,
    distance_bias: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention within each sequence of a packed batch.

    Args:
        query: ``[T, H, D]``.
        key, value: ``[Tk, Hkv, D]``; H is a multiple of Hkv.
        query_lengths, key_lengths: int64 ``[B]`` on the host. A sequence without keys gives 0.
        distance_bias: ``[H, 2 * R + 1]``, see distance_bias_matrix.
        causal: a query sees its own position and those before; queries are the last of the keys' positions.
        scale: of the scores; 1 / sqrt(D) by default.
        dropout: probability of dropping an attention probability.

    Returns:
        ``[T, H, D]``.
    """
    seed = torch.randint(2**62, (), dtype=torch.int64) if dropout > 0.0 else None
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    need_lse = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (query, key, value, distance_bias)
    )
    output: Tensor = torch.ops.oxiformers.ragged_attention(
        query, key, value, query_lengths, key_lengths, distance_bias, seed, causal, scale, dropout, need_lse
    )[0]
    return output


def ragged_attention_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_lengths: Tensor,
    key_lengths: Tensor,
    *,
    distance_bias: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """What ragged_attention computes without dropout, sequence by sequence in plain differentiable torch."""
    outputs = []
    query_start = key_start = 0
    for query_length, key_length in zip(query_lengths.tolist(), key_lengths.tolist(), strict=True):
        if query_length == 0 and key_length == 0:
            continue
        q = query[query_start : query_start + query_length].transpose(0, 1)
        k, v = (tensor[key_start : key_start + key_length].transpose(0, 1) for tensor in (key, value))
        groups = q.shape[0] // k.shape[0]
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        mask = q.new_zeros(1, query_length, key_length)
        if distance_bias is not None:
            mask = mask + distance_bias_matrix(distance_bias, query_length, key_length)
        if causal:
            later = torch.ones(query_length, key_length, dtype=torch.bool).triu(1 + key_length - query_length)
            mask = mask.masked_fill(later, -math.inf)
        outputs.append(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(0, 1))
        query_start += query_length
        key_start += key_length
    return torch.cat(outputs)
