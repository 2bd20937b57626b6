"""Attention over packed sequences of differing lengths, as one operator a traced graph can hold.

On CPU, neighbours of equal lengths share one fused call on views, and the results are joined once. The lengths are a
tensor on the host, never a list: a graph traced for one batch serves all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from oxiformers.layers.scoring import PLAIN, Scoring, distances

_aten = torch.ops.aten

# Defined by hand: torch.library.custom_op imports the compiler on its first call, which takes longer than torch itself.
_library = torch.library.Library("oxiformers", "FRAGMENT")
_SCORING = (
    "Tensor? distance_bias, Tensor? alibi_slopes, Tensor? bias, Tensor? seed, bool causal, float scale, int left, "
    "int right, float softcap, float dropout"
)
_library.define(
    "ragged_attention(Tensor query, Tensor key, Tensor value, Tensor query_lengths, Tensor key_lengths, "
    f"{_SCORING}, bool need_lse) -> (Tensor, Tensor)"
)
_library.define(
    "ragged_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor output, Tensor lse, "
    f"Tensor query_lengths, Tensor key_lengths, {_SCORING}, bool table_grad, bool bias_grad) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)


class _Run(NamedTuple):
    """Neighbouring sequences that have the same two lengths."""

    first: int
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

    def pairs(self, tensor: Tensor) -> Tensor:
        """``[B or 1, H or 1, Lq, Lk]`` to this run's ``[rows or 1, H or 1, query_length, key_length]``, a view."""
        rows = tensor if tensor.shape[0] == 1 else tensor[self.first : self.first + self.rows]
        return rows[:, :, : self.query_length, : self.key_length]


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
            yield _Run(first, rows, query_start, query_length, key_start, key_length)
        query_start += rows * query_length
        key_start += rows * key_length
        first = last


def _scoring(
    distance_bias: Tensor | None,
    alibi_slopes: Tensor | None,
    bias: Tensor | None,
    causal: bool,
    scale: float,
    left: int,
    right: int,
    softcap: float,
    dropout: float,
) -> Scoring:
    """The operator's arguments as the rest of the package has them."""
    window = None if left < 0 and right < 0 else (left, right)
    return Scoring(causal, scale, window, softcap, alibi_slopes, distance_bias, bias, dropout)


def _mask(run: _Run, scoring: Scoring, like: Tensor) -> Tensor | None:
    """What is added to a run's scores, ``[rows or 1, H or 1, query_length, key_length]``, or None."""
    bias = None if scoring.bias is None else run.pairs(scoring.bias)
    return scoring.mask(run.query_length, run.key_length, like, bias)


def _expand_heads(tensor: Tensor, heads: int) -> Tensor:
    """Grouped key or value heads repeated for every query head: ``[n, Hkv, L, D]`` to ``[n, H, L, D]``."""
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)


def _scores(query: Tensor, key: Tensor, scoring: Scoring) -> Tensor:
    """Scaled and capped scores ``[n, H, Lq, Lk]``, in float32 or more."""
    wide = torch.promote_types(query.dtype, torch.float32)
    products = torch.matmul(query.to(wide), key.to(wide).transpose(-1, -2))
    return scoring.cap(products * scoring.factor(query.shape[-1]))


def _add(scores: Tensor, mask: Tensor | None) -> Tensor:
    return scores if mask is None else scores + mask


def _log_sum_exp(scores: Tensor) -> Tensor:
    """``[n, H, Lq]``; 0 where nothing is seen, so that the probabilities there are 0."""
    lse = torch.logsumexp(scores, dim=-1)
    return lse.masked_fill(lse == -math.inf, 0.0)


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
    alibi_slopes: Tensor | None,
    bias: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    left: int,
    right: int,
    softcap: float,
    dropout: float,
    need_lse: bool,
) -> tuple[Tensor, Tensor]:
    scoring = _scoring(distance_bias, alibi_slopes, bias, causal, scale, left, right, softcap, dropout)
    heads, wide = query.shape[1], torch.promote_types(query.dtype, torch.float32)
    fused = seed is None and _fused_on_cpu(query, value, scoring)
    may_multiply = fused and not need_lse and query.dtype is torch.bfloat16 and bias is None
    outputs, sums = [], []
    for run in _runs(query_lengths, key_lengths):
        q, k, v = run.query(query), run.key(key), run.key(value)
        if run.key_length == 0:
            outputs.append(query.new_zeros(run.rows * run.query_length, heads, value.shape[2]))
            sums.append(query.new_full((run.rows * run.query_length, heads), -math.inf, dtype=wide))
            continue
        k, v = _expand_heads(k, heads), _expand_heads(v, heads)
        if may_multiply and _prefers_products(run):
            outputs.append(_attend_by_products(q, k, v, _mask(run, scoring, query), scale))
            continue
        if fused:
            square = scoring.is_causal_square(run.query_length, run.key_length)
            mask = None if square else _mask(run, scoring, query)
            output, lse = _aten._scaled_dot_product_flash_attention_for_cpu(
                q, k, v, 0.0, square, attn_mask=mask, scale=scale
            )
        else:
            scores = _add(_scores(q, k, scoring), _mask(run, scoring, query))
            lse = _log_sum_exp(scores)
            probabilities = torch.exp(scores - lse.unsqueeze(-1))
            if seed is not None:
                probabilities = probabilities * _kept(run, heads, seed, dropout, probabilities)
            output = torch.matmul(probabilities.to(v.dtype), v)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
        sums.append(lse.transpose(1, 2).flatten(0, 1))
    if not outputs:
        return query.new_zeros(0, heads, value.shape[2]), query.new_zeros(0, heads, dtype=wide)
    return torch.cat(outputs), torch.cat(sums) if need_lse else query.new_zeros(0, heads, dtype=wide)


def _fused_on_cpu(query: Tensor, value: Tensor, scoring: Scoring) -> bool:
    """Whether torch's fused call for CPU can take this."""
    return query.device.type == "cpu" and query.shape[-1] == value.shape[-1] and scoring.softcap == 0.0


def _prefers_products(run: _Run) -> bool:
    """Whether two batched products around a softmax beat the fused call in bfloat16 on CPU: from 64 keys on.

    The fused call multiplies small blocks in float32 there; the products run in bfloat16, two to four times faster.
    The scores of a run are held at once, so very long sequences stay with the fused call. So do queries that may see
    nothing, whose softmax would not be 0.
    """
    return 64 <= run.key_length <= 2048 and run.query_length <= run.key_length


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
def _(query, key, value, query_lengths, key_lengths, *options):  # type: ignore[no-untyped-def]
    need_lse = options[-1]
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
    alibi_slopes: Tensor | None,
    bias: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    left: int,
    right: int,
    softcap: float,
    dropout: float,
    table_grad: bool,
    bias_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    scoring = _scoring(distance_bias, alibi_slopes, bias, causal, scale, left, right, softcap, dropout)
    heads = query.shape[1]
    query_grad, key_grad, value_grad = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    of_table = torch.zeros_like(distance_bias if distance_bias is not None else query[:0])
    of_bias = torch.zeros_like(bias if bias is not None else query[:0])
    fused = seed is None and not table_grad and not bias_grad and _fused_on_cpu(query, value, scoring)
    for run in _runs(query_lengths, key_lengths):
        if run.key_length == 0:
            continue
        q, out, out_grad = run.query(query), run.query(output), run.query(grad)
        k, v = _expand_heads(run.key(key), heads), _expand_heads(run.key(value), heads)
        run_lse = _view(lse.unsqueeze(-1), run.query_start, run.rows, run.query_length).squeeze(-1)
        if fused:
            square = scoring.is_causal_square(run.query_length, run.key_length)
            mask = None if square else _mask(run, scoring, query)
            dq, dk, dv = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
                out_grad, q, k, v, out, run_lse, 0.0, square, attn_mask=mask, scale=scale
            )
        else:
            scores = _scores(q, k, scoring)
            wide = scores.dtype
            probabilities = torch.exp(
                _add(scores, _mask(run, scoring, query)) - run_lse.to(wide).unsqueeze(-1)
            )
            kept = None if seed is None else _kept(run, heads, seed, dropout, probabilities)
            dv = torch.matmul(
                (probabilities if kept is None else probabilities * kept).transpose(-1, -2), out_grad.to(wide)
            )
            dp = torch.matmul(out_grad.to(wide), v.to(wide).transpose(-1, -2))
            if kept is not None:
                dp = dp * kept
            mean = (out_grad.to(wide) * out.to(wide)).sum(-1, keepdim=True)
            ds = probabilities * (dp - mean)
            if table_grad:
                _add_table_grad(of_table, ds.sum(0))
            if bias_grad:
                own = run.pairs(of_bias)
                own += ds.sum_to_size(own.shape).to(own.dtype)
            if softcap:
                ds = ds * (1.0 - (scores / softcap).square())
            dq = torch.matmul(ds, k.to(wide)) * scale
            dk = torch.matmul(ds.transpose(-1, -2), q.to(wide)) * scale
        run.query(query_grad).copy_(dq)
        run.key(key_grad).copy_(_sum_groups(dk, key.shape[1]))
        run.key(value_grad).copy_(_sum_groups(dv, value.shape[1]))
    return query_grad, key_grad, value_grad, of_table, of_bias


@torch.library.register_fake("oxiformers::ragged_attention_backward", lib=_library)
def _(grad, query, key, value, output, lse, query_lengths, key_lengths, *options):  # type: ignore[no-untyped-def]
    distance_bias, _, bias = options[:3]
    table, dense = (query[:0] if tensor is None else tensor for tensor in (distance_bias, bias))
    return tuple(torch.empty_like(tensor) for tensor in (query, key, value, table, dense))


def _sum_groups(grad: Tensor, heads: int) -> Tensor:
    """The gradient of repeated heads: ``[n, H, L, D]`` to ``[n, Hkv, L, D]``."""
    return grad if grad.shape[1] == heads else grad.unflatten(1, (heads, -1)).sum(2)


def _add_table_grad(table_grad: Tensor, scores_grad: Tensor) -> None:
    """Adds the gradient of ``[H, Lq, Lk]`` scores to their bias by distance, the inverse of distance_bias_matrix."""
    _, query_length, key_length = scores_grad.shape
    reach = (table_grad.shape[1] - 1) // 2
    index = distances(query_length, key_length, scores_grad.device).clamp(-reach, reach) + reach
    table_grad.index_add_(1, index.flatten(), scores_grad.flatten(1).to(table_grad.dtype))


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    tensors, options = inputs[:9], inputs[9:-1]
    ctx.save_for_backward(*tensors, *output)
    ctx.options = options
    ctx.set_materialize_grads(True)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad, _):  # type: ignore[no-untyped-def]
    query, key, value, *scoring, output, lse = ctx.saved_tensors
    table_grad, bias_grad = ctx.needs_input_grad[5], ctx.needs_input_grad[7]
    of_query, of_key, of_value, of_table, of_bias = torch.ops.oxiformers.ragged_attention_backward(
        grad.contiguous(), query, key, value, output, lse, *scoring, *ctx.options, table_grad, bias_grad
    )
    return (
        of_query, of_key, of_value, None, None, of_table if table_grad else None, None,
        of_bias if bias_grad else None, *[None] * 8,
    )  # fmt: skip


torch.library.register_autograd("oxiformers::ragged_attention", _backward, setup_context=_save, lib=_library)


def ragged_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_lengths: Tensor,
    key_lengths: Tensor,
    scoring: Scoring = PLAIN,
) -> Tensor:
    """Attention within each sequence of a packed batch.

    Args:
        query: ``[T, H, D]``.
        key, value: ``[Tk, Hkv, D]``; H is a multiple of Hkv.
        query_lengths, key_lengths: int64 ``[B]`` on the host. A sequence without keys gives 0.
        scoring: how scores become probabilities. A query that sees nothing gives 0.

    Returns:
        ``[T, H, D]``.
    """
    seed = torch.randint(2**62, (), dtype=torch.int64) if scoring.dropout > 0.0 else None
    need_lse = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad
        for tensor in (query, key, value, scoring.distance_bias, scoring.bias)
    )
    left, right = (-1, -1) if scoring.window is None else scoring.window
    output: Tensor = torch.ops.oxiformers.ragged_attention(
        query, key, value, query_lengths, key_lengths, scoring.distance_bias, scoring.alibi_slopes, scoring.bias,
        seed, scoring.causal, scoring.factor(query.shape[-1]), left, right, scoring.softcap, scoring.dropout, need_lse,
    )[0]  # fmt: skip
    return output
