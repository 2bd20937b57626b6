"""T5's layers under its checkpoints' names.  arXiv:1910.10683"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import activation, finite
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.linear import Linear
from oxiformers.layers.mlp import gated
from oxiformers.layers.norm import RMSNorm
from oxiformers.layers.part import Part
from oxiformers.layers.scoring import Scoring
from oxiformers_kernels.attention import relative_buckets


class T5LayerNorm(RMSNorm):
    """RMSNorm that returns to its weight's dtype: in a float16 model ``wo`` may be in float32."""

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        half = self.weight.dtype in (torch.float16, torch.bfloat16)
        return super().forward(hidden).to(self.weight.dtype) if half else super().forward(hidden)


class T5FeedForward(nn.Module):
    """A feed-forward layer, gated in T5 1.1. ``wo`` may be in float32 in a model of less precision."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gated: bool = config.is_gated_act
        if self.gated:
            self.wi_0 = Linear(config.d_model, config.d_ff, bias=False)
            self.wi_1 = Linear(config.d_model, config.d_ff, bias=False)
        else:
            self.wi = Linear(config.d_model, config.d_ff, bias=False)
        self.wo = Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.act = activation(config.dense_act_fn, "feed_forward_proj")

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        inner = gated(hidden, self.wi_0, self.wi_1, self.act) if self.gated else self.wi(hidden, self.act)
        output: Tensor = self.wo(self.dropout(inner).to(self.wo.weight.dtype))
        return output


class T5NamesAttention(Part):
    """Attention whose scores are not scaled, with a learned bias by distance in self-attention.

    Args:
        config: d_model, d_kv, num_heads, dropout_rate and the two of relative attention are read.
        layer_index: among the layers of the stack.
        has_bias: this layer owns the bias, which the layers after it share.
        causal: a token sees those before it only.
        reads_encoder: keys and values are those of an encoder's tokens.
    """

    def __init__(
        self,
        config: Config,
        layer_index: int,
        *,
        has_bias: bool = False,
        causal: bool = False,
        reads_encoder: bool = False,
    ) -> None:
        super().__init__()
        self.reads_encoder = reads_encoder
        inner = config.num_heads * config.d_kv
        self.layer_index, self.heads, self.causal = layer_index, config.num_heads, causal
        self.buckets: int = config.relative_attention_num_buckets
        self.reach: int = config.relative_attention_max_distance
        self.dropout: float = config.dropout_rate
        self.q = Linear(config.d_model, inner, bias=False)
        self.k = Linear(config.d_model, inner, bias=False)
        self.v = Linear(config.d_model, inner, bias=False)
        self.o = Linear(inner, config.d_model, bias=False)
        self.has_relative_attention_bias = has_bias
        if has_bias:
            self.relative_attention_bias = nn.Embedding(self.buckets, self.heads)

    def distance_bias(self) -> Tensor:
        """The bias of the distances -R..R (key minus query), ``[H, 2 * R + 1]``; farther ones are alike."""
        distances = torch.arange(
            -self.reach, self.reach + 1, device=self.relative_attention_bias.weight.device
        )
        buckets = relative_buckets(distances, self.buckets, self.reach, bidirectional=not self.causal)
        table: Tensor = self.relative_attention_bias(buckets).t()
        return table

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights.

        Args:
            *shared: the encoder's tokens, and the bias by distance of self-attention (None in cross-attention).
        """
        states, table = (*shared, None, None)[:2]
        dropout = self.dropout if self.training else 0.0
        scoring = Scoring(causal=self.causal, scale=1.0, distance_bias=table, dropout=dropout)
        query, key, value = self._split(self.q(hidden)), None, None
        source = states if self.reads_encoder else hidden
        if source is not None:
            key, value = self._split(self.k(source)), self._split(self.v(source))
        if self.reads_encoder:
            output, weights = context.attend_to_encoder(self.layer_index, query, key, value, scoring)
        else:
            assert key is not None
            assert value is not None
            output, weights = context.attend(self.layer_index, query, key, value, scoring)
        return self.o(output.flatten(-2)), weights

    def _split(self, tensor: Tensor) -> Tensor:
        split: Tensor = tensor.unflatten(-1, (self.heads, -1))
        return split


class T5SelfAttentionLayer(nn.Module):
    """Self-attention after a norm, added to what it read."""

    def __init__(self, config: Config, layer_index: int, causal: bool) -> None:
        super().__init__()
        self.SelfAttention = T5NamesAttention(config, layer_index, has_bias=layer_index == 0, causal=causal)
        self.layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)


class T5CrossAttentionLayer(nn.Module):
    """Cross-attention after a norm, added to what it read."""

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.EncDecAttention = T5NamesAttention(config, layer_index, reads_encoder=True)
        self.layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)


class T5FeedForwardLayer(nn.Module):
    """A feed-forward layer after a norm, added to what it read."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.DenseReluDense = T5FeedForward(config)
        self.layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)


class T5Block(Part):
    """One layer of the encoder or, with cross-attention, of the decoder."""

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [T5SelfAttentionLayer(config, layer_index, causal=config.is_decoder)]
        if config.is_decoder:
            parts.append(T5CrossAttentionLayer(config, layer_index))
        self.layer = nn.ModuleList([*parts, T5FeedForwardLayer(config)])

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, attention weights, those of cross-attention, and the bias by distance.

        Args:
            *shared: the encoder's tokens, and the bias: None in the first layer, which makes it for the others.
        """
        states, table = (*shared, None, None)[:2]
        part: Any = self.layer[0]
        if table is None and part.SelfAttention.has_relative_attention_bias:
            table = part.SelfAttention.distance_bias()
        attended, weights = part.SelfAttention(part.layer_norm(hidden), context, states, table)
        hidden = finite(hidden + part.dropout(attended))
        cross_weights = None
        if context.reads_encoder:
            part = self.layer[1]
            attended, cross_weights = part.EncDecAttention(part.layer_norm(hidden), context, states, None)
            hidden = finite(hidden + part.dropout(attended))
        part = self.layer[-1]
        hidden = finite(hidden + part.dropout(part.DenseReluDense(part.layer_norm(hidden))))
        return hidden, weights, cross_weights, table
