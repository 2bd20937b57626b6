"""The encoder layer under BERT's parameter names, which most encoders took over."""

from __future__ import annotations

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import activation
from oxiformers.layers.encoder import self_attention
from oxiformers.layers.layout import Layout
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm


class BertNamesSelfAttention(nn.Module):
    """Attention before its output projection: query, key, value."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.num_attention_heads
        self.query = Linear(size, size)
        self.key = Linear(size, size)
        self.value = Linear(size, size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self, queries: Tensor, hidden: Tensor, layout: Layout, head_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Queries ``[..., D]`` over tokens ``[..., D]``; the attention weights or None."""
        dropout = self.dropout.p if self.training else 0.0
        query, key, value = self.query(queries), self.key(hidden), self.value(hidden)
        return self_attention(query, key, value, self.heads, layout, head_mask, dropout)


class BertNamesOutput(nn.Module):
    """A projection, added to the residual and normalised."""

    def __init__(self, config: Config, input_size: int) -> None:
        super().__init__()
        self.dense = Linear(input_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """``[..., D_in]`` and ``[..., D]`` to ``[..., D]``."""
        return self.LayerNorm(self.dropout(self.dense(hidden)), residual)  # type: ignore[no-any-return]


class BertNamesAttention(nn.Module):
    """Attention with its output projection, residual and norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.self = BertNamesSelfAttention(config)
        self.output = BertNamesOutput(config, config.hidden_size)

    def forward(
        self, queries: Tensor, hidden: Tensor, layout: Layout, head_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Queries ``[..., D]`` over tokens ``[..., D]``; the attention weights or None."""
        attended, weights = self.self(queries, hidden, layout, head_mask)
        return self.output(attended, queries), weights


class BertNamesIntermediate(nn.Module):
    """The first half of the feed-forward network."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.activation = activation(config.hidden_act)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., D_ff]``."""
        return self.dense(hidden, self.activation)  # type: ignore[no-any-return]


class BertNamesLayer(nn.Module):
    """Attention and a feed-forward network, each normalised after its residual."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = BertNamesAttention(config)
        self.intermediate = BertNamesIntermediate(config)
        self.output = BertNamesOutput(config, config.intermediate_size)

    def forward(
        self, hidden: Tensor, layout: Layout, head_mask: Tensor | None = None, queries: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (the tokens, if None) ``[..., D]`` to the same; the attention weights or None."""
        queries = hidden if queries is None else queries
        hidden, weights = self.attention(queries, hidden, layout, head_mask)
        return self.output(self.intermediate(hidden), hidden), weights


class BertNamesPooler(nn.Module):
    """A dense layer with tanh over the first token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = activation("tanh")

    def forward(self, first: Tensor) -> Tensor:
        """``[B, D]`` to the same."""
        return self.dense(first, self.activation)  # type: ignore[no-any-return]
