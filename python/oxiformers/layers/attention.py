"""The one attention function: every architecture projects, calls attend, and projects back."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers.errors import ArgumentError
from oxiformers.layers import fused
from oxiformers.layers.layout import Layout
from oxiformers.layers.ragged import ragged_attention
from oxiformers.layers.scoring import PLAIN, Scoring
from oxiformers_kernels.softmax import softmax


def attend(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scoring: Scoring = PLAIN
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention over a batch of any layout.

    Args:
        query: ``[..., H, D]``, where ``...`` is ``T`` (packed) or ``B, Q``.
        key, value: ``[..., Hkv, D]``; H is a multiple of Hkv (grouped heads).
        layout: where queries and keys lie, what is masked, and what attention runs on.
        scoring: how scores become probabilities. An explicit mask takes the place of its ``causal`` and ``window``.

    Returns:
        The attended values ``[..., H, D]``, and the probabilities ``[B, H, Q, K]`` where the layout is rectangular,
        else None.

    Raises:
        UnsupportedError: attention is to run on "triton", and cannot; the message says why.
    """
    if layout.backend != "torch" and fused.attention_runs(query, value, layout, scoring):
        return fused.attention(query, key, value, layout, scoring), None
    if layout.form == "rectangular":
        scoring = scoring.showing_all() if layout.explicit else scoring
        return attend_rectangular(query, key, value, layout.mask, scoring)
    if layout.form == "packed":
        assert layout.query is not None and layout.key is not None
        # In cross-attention one side may be uniform: its rows are sequences of equal lengths.
        q, k, v = (t.flatten(0, 1) if t.dim() == 4 else t for t in (query, key, value))
        output = ragged_attention(q, k, v, layout.query.lengths, layout.key.lengths, scoring.flat())
        return output.view(*query.shape[:-1], value.shape[-1]), None
    return _attend_uniform(query, key, value, scoring), None


def attend_rectangular(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring = PLAIN
) -> tuple[Tensor, Tensor]:
    """The plain twin of every other path: one masked softmax over ``[B, H, Q, K]`` scores.

    Takes what attend takes; ``mask`` is bool (True attends) or float (added), broadcastable to the scores. A query
    that may attend to nothing gives 0.
    """
    heads = query.shape[-2]
    q, k, v = query.transpose(1, 2), _repeat_heads(key, heads), _repeat_heads(value, heads)
    scale = scoring.factor(q.shape[-1])
    lengths = (q.shape[-2], k.shape[-2])
    scores = torch.matmul(q, k.transpose(-1, -2))
    positional = scoring.positional(*lengths)
    if positional is not None:
        scores = scores + positional.to(scores.dtype)
    if scoring.softcap:
        scores, scale = scoring.cap(scores * scale), 1.0
    if mask is not None:
        _check_mask(mask, scores)
    added = scoring.added(*lengths, scores.dtype)
    parts = [] if added is None else [added]
    if mask is not None and mask.dtype != torch.bool:
        parts.append(mask.to(scores.dtype))
        mask = None
    visible = scoring.visible(*lengths, q.device)
    if visible is not None:
        mask = visible if mask is None else mask & visible
    if parts:
        bias = sum(parts[1:], start=parts[0])
        mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    probabilities = softmax(scores, mask, scale=scale)
    if scoring.dropout > 0.0:
        probabilities = F.dropout(probabilities, scoring.dropout)
    return torch.matmul(probabilities, v).transpose(1, 2), probabilities


def _check_mask(mask: Tensor, scores: Tensor) -> None:
    fits = all(own in (1, full) for own, full in zip(mask.shape, scores.shape, strict=True))
    if not fits:
        raise ArgumentError.mismatch(
            "attention_mask", f"a shape that broadcasts to {tuple(scores.shape)}", tuple(mask.shape)
        )


def _attend_uniform(query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
    if scoring.softcap:
        # torch has no fused call that bounds its scores.
        return attend_rectangular(query, key, value, None, scoring)[0]
    heads = query.shape[-2]
    q, k, v = query.transpose(1, 2), _repeat_heads(key, heads), _repeat_heads(value, heads)
    lengths = (q.shape[-2], k.shape[-2])
    square = scoring.causal and scoring.is_causal_square(*lengths)
    mask = None if square or scoring is PLAIN else scoring.attn_mask(*lengths, q)
    output = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=scoring.dropout, is_causal=square, scale=scoring.scale
    )
    return output.transpose(1, 2)


def _repeat_heads(tensor: Tensor, heads: int) -> Tensor:
    """``[B, L, Hkv, D]`` to ``[B, H, L, D]``, grouped heads repeated for each of their queries."""
    tensor = tensor.transpose(1, 2)
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)
