"""The one attention function: every architecture projects, calls attend, and projects back."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers.errors import ArgumentError
from oxiformers.layers.layout import Layout
from oxiformers.layers.ragged import distance_bias_matrix, ragged_attention
from oxiformers_kernels.softmax import softmax


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    *,
    causal: bool = False,
    scale: float | None = None,
    distance_bias: Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention over a batch of any layout.

    Args:
        query: ``[..., H, D]``, where ``...`` is ``T`` (packed) or ``B, Q``.
        key, value: ``[..., Hkv, D]``; H is a multiple of Hkv (grouped heads).
        layout: where queries and keys lie, and what is masked.
        causal: a query sees its own position and those before it; queries are the last of the keys' positions. An
            explicit mask takes its place.
        scale: of the scores; 1 / sqrt(D) by default (Vaswani et al., arXiv:1706.03762).
        distance_bias: ``[H, 2 * R + 1]`` added to the scores by distance, see distance_bias_matrix.
        dropout: probability of dropping an attention probability; 0 outside of training.

    Returns:
        The attended values ``[..., H, D]``, and the probabilities ``[B, H, Q, K]`` where the layout is rectangular,
        else None.
    """
    if layout.form == "rectangular":
        return attend_rectangular(
            query, key, value, layout.mask,
            causal=causal and not layout.explicit, scale=scale, distance_bias=distance_bias, dropout=dropout,
        )  # fmt: skip
    if layout.form == "packed":
        assert layout.query is not None and layout.key is not None
        # In cross-attention one side may be uniform: its rows are sequences of equal lengths.
        q, k, v = (t.flatten(0, 1) if t.dim() == 4 else t for t in (query, key, value))
        output = ragged_attention(
            q, k, v, layout.query.lengths, layout.key.lengths,
            distance_bias=distance_bias, causal=causal, scale=scale, dropout=dropout,
        )  # fmt: skip
        return output.view(*query.shape[:-1], value.shape[-1]), None
    return _attend_uniform(query, key, value, causal, scale, distance_bias, dropout), None


def attend_rectangular(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    causal: bool = False,
    scale: float | None = None,
    distance_bias: Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The plain twin of every other path: one masked softmax over ``[B, H, Q, K]`` scores.

    Takes what attend takes; ``mask`` is bool (True attends) or float (added), broadcastable to the scores. A query
    that may attend to nothing gives 0.
    """
    heads = query.shape[-2]
    q, k, v = query.transpose(1, 2), _repeat_heads(key, heads), _repeat_heads(value, heads)
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = torch.matmul(q, k.transpose(-1, -2))
    lengths = (q.shape[-2], k.shape[-2])
    if mask is not None:
        _check_mask(mask, scores)
    bias = None
    if distance_bias is not None:
        bias = distance_bias_matrix(distance_bias, *lengths).to(scores.dtype).unsqueeze(0)
    if mask is not None and mask.dtype != torch.bool:
        bias = mask.to(scores.dtype) if bias is None else bias + mask.to(scores.dtype)
        mask = None
    if causal and lengths[0] > 1:
        visible = torch.ones(lengths, dtype=torch.bool, device=q.device).tril(lengths[1] - lengths[0])
        mask = visible if mask is None else mask & visible
    if bias is not None:
        mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    probabilities = softmax(scores, mask, scale=scale)
    if dropout > 0.0:
        probabilities = F.dropout(probabilities, dropout)
    return torch.matmul(probabilities, v).transpose(1, 2), probabilities


def _check_mask(mask: Tensor, scores: Tensor) -> None:
    fits = all(own in (1, full) for own, full in zip(mask.shape, scores.shape, strict=True))
    if not fits:
        raise ArgumentError(
            f"attention_mask: expected a shape that broadcasts to {tuple(scores.shape)}, got {tuple(mask.shape)}",
            key="attention_mask",
            expected=f"broadcasts to {tuple(scores.shape)}",
            actual=str(tuple(mask.shape)),
        )


def _attend_uniform(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    scale: float | None,
    distance_bias: Tensor | None,
    dropout: float,
) -> Tensor:
    heads = query.shape[-2]
    q, k, v = query.transpose(1, 2), _repeat_heads(key, heads), _repeat_heads(value, heads)
    lengths = (q.shape[-2], k.shape[-2])
    bias = None
    if distance_bias is not None:
        bias = distance_bias_matrix(distance_bias, *lengths).to(q.dtype).unsqueeze(0)
    square = causal and bias is None and lengths[0] == lengths[1]
    if causal and not square and lengths[0] > 1:
        visible = torch.ones(lengths, dtype=torch.bool, device=q.device).tril(lengths[1] - lengths[0])
        bias = visible if bias is None else bias.masked_fill(~visible, -math.inf)
    output = F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, dropout_p=dropout, is_causal=square, scale=scale
    )
    return output.transpose(1, 2)


def _repeat_heads(tensor: Tensor, heads: int) -> Tensor:
    """``[B, L, Hkv, D]`` to ``[B, H, L, D]``, grouped heads repeated for each of their queries."""
    tensor = tensor.transpose(1, 2)
    return tensor if tensor.shape[1] == heads else tensor.repeat_interleave(heads // tensor.shape[1], dim=1)
