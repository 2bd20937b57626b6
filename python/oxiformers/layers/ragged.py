"""Attention over packed sequences of differing lengths, as one operator a traced graph can hold.

On CPU, neighbours of equal lengths share one fused call on views, and the results are joined once. The lengths are a
tensor on the host, never a list: a graph traced for one batch serves all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from oxiformers.layers.scoring import LEARNED, PLAIN, TERMS, Learned, Scoring, clamped, distances

_aten = torch.ops.aten

# Every term of a Scoring is an argument of the operators, by its name and in its order.
_SCHEMA_TYPES = {
    bool: "bool",
    float: "float",
    float | None: "float?",
    tuple[int, int] | None: "int[]?",
    Tensor | None: "Tensor?",
    Learned: "Tensor?",
}
_SCORING = ", ".join(f"{_SCHEMA_TYPES[kind]} {name}" for name, kind in TERMS.items())

# Defined by hand: torch.library.custom_op imports the compiler on its first call, which takes longer than torch itself.
_library = torch.library.Library("oxiformers", "FRAGMENT")
_library.define(
    "ragged_attention(Tensor query, Tensor key, Tensor value, Tensor query_lengths, Tensor key_lengths, "
    f"Tensor? seed, bool need_lse, {_SCORING}) -> (Tensor, Tensor)"
)
_library.define(
    "ragged_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor output, Tensor lse, "
    f"Tensor query_lengths, Tensor key_lengths, Tensor? seed, bool[] wanted, {_SCORING}) "
    f"-> ({', '.join(['Tensor'] * (3 + len(LEARNED)))})"
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

    def scoring(self, whole: Scoring) -> Scoring:
        """The terms of this run's sequences, views: pairs ``[rows or 1, H or 1, query_length, key_length]``, products
        ``[rows, length, H, P]``."""
        if whole.bias is None and whole.position_index is None:
            return whole
        bias, content, position = whole.bias, whole.content_to_position, whole.position_to_content
        if bias is not None:
            rows = bias if bias.shape[0] == 1 else bias[self.first : self.first + self.rows]
            bias = rows[:, :, : self.query_length, : self.key_length]
        if content is not None:
            content = _rows(content, self.query_start, self.rows, self.query_length)
        if position is not None:
            position = _rows(position, self.key_start, self.rows, self.key_length)
        return whole._replace(bias=bias, content_to_position=content, position_to_content=position)


def _rows(tensor: Tensor, start: int, rows: int, length: int) -> Tensor:
    return tensor[start : start + rows * length].view(rows, length, *tensor.shape[1:])


def _view(tensor: Tensor, start: int, rows: int, length: int) -> Tensor:
    return _rows(tensor, start, rows, length).transpose(1, 2)


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


def _expand_heads(tensor: Tensor, heads: int) -> Tensor:
    """Grouped key or value heads repeated for every query head: ``[n, Hkv, L, D]`` to ``[n, H, L, D]``."""
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)


def _scores(query: Tensor, key: Tensor, scoring: Scoring) -> Tensor:
    """Scaled and capped scores of a run ``[n, H, Lq, Lk]``, in float32 or more."""
    wide = torch.promote_types(query.dtype, torch.float32)
    products = torch.matmul(query.to(wide), key.to(wide).transpose(-1, -2))
    positional = scoring.positional(query.shape[2], key.shape[2])
    if positional is not None:
        products = products + positional
    return scoring.cap(products * scoring.factor(query.shape[-1]))


def _add(scores: Tensor, scoring: Scoring, like: Tensor) -> Tensor:
    """What is added to a run's scores, in the dtype of ``like``, and what is hidden."""
    mask = scoring.mask(scores.shape[2], scores.shape[3], like)
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
    seed: Tensor | None,
    need_lse: bool,
    *terms: object,
) -> tuple[Tensor, Tensor]:
    whole = Scoring._make(terms)
    heads, wide = query.shape[1], torch.promote_types(query.dtype, torch.float32)
    scale = whole.factor(query.shape[2])
    fused = seed is None and _fused_on_cpu(query, value, whole)
    may_multiply = fused and not need_lse and query.dtype is torch.bfloat16 and whole.bias is None
    outputs, sums = [], []
    for run in _runs(query_lengths, key_lengths):
        if run.key_length == 0:
            outputs.append(query.new_zeros(run.rows * run.query_length, heads, value.shape[2]))
            sums.append(query.new_full((run.rows * run.query_length, heads), -math.inf, dtype=wide))
            continue
        q, k, v = run.query(query), run.key(key), run.key(value)
        k, v = _expand_heads(k, heads), _expand_heads(v, heads)
        scoring = run.scoring(whole)
        if may_multiply and _prefers_products(run):
            mask = scoring.attn_mask(run.query_length, run.key_length, query)
            outputs.append(_attend_by_products(q, k, v, mask, scale))
            continue
        if fused:
            output, lse = _aten._scaled_dot_product_flash_attention_for_cpu(
                q, k, v, 0.0, **_fused_options(run, scoring, query), scale=scale
            )
        else:
            scores = _add(_scores(q, k, scoring), scoring, query)
            lse = _log_sum_exp(scores)
            probabilities = torch.exp(scores - lse.unsqueeze(-1))
            if seed is not None:
                probabilities = probabilities * _kept(run, heads, seed, whole.dropout, probabilities)
            output = torch.matmul(probabilities.to(v.dtype), v)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
        sums.append(lse.transpose(1, 2).flatten(0, 1))
    if not outputs:
        return query.new_zeros(0, heads, value.shape[2]), query.new_zeros(0, heads, dtype=wide)
    return torch.cat(outputs), torch.cat(sums) if need_lse else query.new_zeros(0, heads, dtype=wide)


def _fused_options(run: _Run, scoring: Scoring, like: Tensor) -> dict[str, object]:
    """How torch's fused call for CPU is told what a run does to its scores."""
    square = scoring.is_causal_square(run.query_length, run.key_length)
    mask = None if square else scoring.attn_mask(run.query_length, run.key_length, like)
    return {"is_causal": square, "attn_mask": mask}


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
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """``[n, H, L, D]`` to ``[n * Lq, H, D]``, row by row of the run so that the scores stay small."""
    outputs = []
    rows = zip(query.contiguous(), key.contiguous(), value.contiguous(), strict=True)
    for row, (q, k, v) in enumerate(rows):
        if mask is None:
            scores = torch.baddbmm(q.new_zeros(1, 1, 1), q, k.transpose(1, 2), beta=0.0, alpha=scale)
        else:
            added = mask[row if mask.shape[0] > 1 else 0]
            scores = torch.baddbmm(added, q, k.transpose(1, 2), alpha=scale)
        outputs.append(torch.bmm(torch.softmax(scores, dim=-1), v).transpose(0, 1))
    return torch.cat(outputs)


@torch.library.register_fake("oxiformers::ragged_attention", lib=_library)
def _(query, key, value, query_lengths, key_lengths, seed, need_lse, *terms):  # type: ignore[no-untyped-def]
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
    seed: Tensor | None,
    wanted: list[bool],
    *terms: object,
) -> tuple[Tensor, ...]:
    whole = Scoring._make(terms)
    heads, scale = query.shape[1], whole.factor(query.shape[2])
    query_grad, key_grad, value_grad = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    learned = dict(zip(LEARNED, _learned_grads(query, whole, wanted), strict=True))
    # Under the terms' own names, so that a run finds its part of them as it finds that of the terms.
    chosen: Any = {name: learned[name] for name, is_wanted in zip(LEARNED, wanted, strict=True) if is_wanted}
    grads = PLAIN._replace(position_index=whole.position_index, **chosen)
    fused = seed is None and not any(wanted) and _fused_on_cpu(query, value, whole)
    for run in _runs(query_lengths, key_lengths):
        if run.key_length == 0:
            continue
        q, out, out_grad = run.query(query), run.query(output), run.query(grad)
        k, v = _expand_heads(run.key(key), heads), _expand_heads(run.key(value), heads)
        run_lse = _view(lse.unsqueeze(-1), run.query_start, run.rows, run.query_length).squeeze(-1)
        scoring = run.scoring(whole)
        if fused:
            dq, dk, dv = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
                out_grad, q, k, v, out, run_lse, 0.0, **_fused_options(run, scoring, query), scale=scale
            )
        else:
            scores = _scores(q, k, scoring)
            wide = scores.dtype
            probabilities = torch.exp(_add(scores, scoring, query) - run_lse.to(wide).unsqueeze(-1))
            kept = None if seed is None else _kept(run, heads, seed, whole.dropout, probabilities)
            dv = torch.matmul(
                (probabilities if kept is None else probabilities * kept).transpose(-1, -2), out_grad.to(wide)
            )
            dp = torch.matmul(out_grad.to(wide), v.to(wide).transpose(-1, -2))
            if kept is not None:
                dp = dp * kept
            mean = (out_grad.to(wide) * out.to(wide)).sum(-1, keepdim=True)
            ds = probabilities * (dp - mean)
            own = run.scoring(grads)
            _add_bias_grads(own, ds)
            if scoring.softcap:
                ds = ds * (1.0 - (scores / scoring.softcap).square())
            _set_product_grads(own, ds, scale)
            dq = torch.matmul(ds, k.to(wide)) * scale
            dk = torch.matmul(ds.transpose(-1, -2), q.to(wide)) * scale
        run.query(query_grad).copy_(dq)
        run.key(key_grad).copy_(_sum_groups(dk, key.shape[1]))
        run.key(value_grad).copy_(_sum_groups(dv, value.shape[1]))
    return query_grad, key_grad, value_grad, *learned.values()


def _learned_grads(query: Tensor, scoring: Scoring, wanted: list[bool]) -> list[Tensor]:
    """Zeros for the gradient of every learned term; empty where it is not wanted."""
    return [
        torch.zeros_like(getattr(scoring, name)) if is_wanted else query.new_zeros(0)
        for name, is_wanted in zip(LEARNED, wanted, strict=True)
    ]


@torch.library.register_fake("oxiformers::ragged_attention_backward", lib=_library)
def _(grad, query, key, value, output, lse, query_lengths, key_lengths, seed, wanted, *terms):  # type: ignore[no-untyped-def]
    sides = (torch.empty_like(side) for side in (query, key, value))
    return *sides, *_learned_grads(query, Scoring._make(terms), wanted)


def _sum_groups(grad: Tensor, heads: int) -> Tensor:
    """The gradient of repeated heads: ``[n, H, L, D]`` to ``[n, Hkv, L, D]``."""
    return grad if grad.shape[1] == heads else grad.unflatten(1, (heads, -1)).sum(2)


def _add_bias_grads(grads: Scoring, scores_grad: Tensor) -> None:
    """Adds the gradient of a run's scores ``[rows, H, Lq, Lk]`` to those of its biases."""
    if grads.distance_bias is not None:
        _add_table_grad(grads.distance_bias, scores_grad.sum(0))
    if grads.bias is not None:
        grads.bias.add_(scores_grad.sum_to_size(grads.bias.shape))


def _add_table_grad(table_grad: Tensor, scores_grad: Tensor) -> None:
    """Adds the gradient of ``[H, Lq, Lk]`` scores to their bias by distance, the inverse of distance_bias_matrix."""
    distance = distances(scores_grad.shape[1], scores_grad.shape[2], scores_grad.device)
    index = clamped(distance, table_grad.shape[1])
    table_grad.index_add_(1, index.flatten(), scores_grad.flatten(1).to(table_grad.dtype))


def _set_product_grads(grads: Scoring, scores_grad: Tensor, scale: float) -> None:
    """Spreads the gradient of a run's scaled products ``[rows, H, Lq, Lk]`` over the products with positions."""
    if grads.position_index is None:
        return
    index = grads.positions(*scores_grad.shape[2:])
    sides = (
        (grads.content_to_position, scores_grad, index),
        (grads.position_to_content, scores_grad.transpose(2, 3), index.t()),
    )
    for grad, of_pairs, positions in sides:
        if grad is not None:
            # Summed in the wide dtype: many pairs share a position.
            total = of_pairs.new_zeros(*of_pairs.shape[:3], grad.shape[-1])
            total.scatter_add_(-1, positions.expand_as(of_pairs), of_pairs)
            grad.transpose(1, 2).copy_(total * scale)


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    query, key, value, query_lengths, key_lengths, seed, _, *terms = inputs
    tensors = [term if isinstance(term, Tensor) else None for term in terms]
    ctx.save_for_backward(query, key, value, *output, query_lengths, key_lengths, seed, *tensors)
    ctx.terms = [None if isinstance(term, Tensor) else term for term in terms]
    ctx.set_materialize_grads(True)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad, _):  # type: ignore[no-untyped-def]
    # Asked for once: under checkpointing each time computes them again.
    saved = ctx.saved_tensors
    inputs, tensors = saved[:8], saved[8:]
    terms = [term if tensor is None else tensor for term, tensor in zip(ctx.terms, tensors, strict=True)]
    needed = dict(zip(Scoring._fields, ctx.needs_input_grad[7:], strict=True))
    of_query, of_key, of_value, *learned = torch.ops.oxiformers.ragged_attention_backward(
        grad.contiguous(), *inputs, [needed[name] for name in LEARNED], *terms
    )
    grads = {name: grad for name, grad in zip(LEARNED, learned, strict=True) if needed[name]}
    return of_query, of_key, of_value, *[None] * 4, *map(grads.get, Scoring._fields)


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
        isinstance(term, Tensor) and term.requires_grad for term in (query, key, value, *scoring)
    )
    output: Tensor = torch.ops.oxiformers.ragged_attention(
        query, key, value, query_lengths, key_lengths, seed, need_lse, *scoring
    )[0]
    return output
