"""The layers of encoders and decoders under BART's parameter names, which most later encoder-decoders took over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import activation, finite
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.embedding import Embedding
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.part import Part
from oxiformers.layers.scoring import Scoring


class ScaledEmbedding(Embedding):
    """An embedding of tokens, times a factor.

    Args:
        count, size, padding_id: see Embedding.
        scale: the factor.
    """

    def __init__(self, count: int, size: int, padding_id: int | None = None, scale: float = 1.0) -> None:
        super().__init__(count, size, padding_id)
        self.embed_scale = scale

    def forward(self, input: Tensor) -> Tensor:
        """Ids ``[...]`` to ``[..., D]``."""
        embedded = super().forward(input)
        return embedded if self.embed_scale == 1.0 else embedded * self.embed_scale


class OffsetPositions(Embedding):
    """Learned positions, of which position 0 is in row 2: fairseq kept the rows before for padding.

    Args:
        count: number of positions.
        size: D.
    """

    offset = 2

    def __init__(self, count: int, size: int) -> None:
        super().__init__(count + self.offset, size, key="position_ids")

    def forward(
        self, input: Tensor, past_key_values_length: int = 0, position_ids: Tensor | None = None
    ) -> Tensor:
        """Positions ``[...]`` to ``[..., D]``; or without, those of the columns of ids ``[B, S]``."""
        if position_ids is None:
            position_ids = torch.arange(input.shape[1], device=input.device).expand(input.shape[:2])
            position_ids = position_ids + past_key_values_length
        return super().forward(position_ids + self.offset)


class BartNamesAttention(Part):
    """Attention with its output projection.

    Args:
        size: D.
        heads: number of heads.
        dropout: probability of dropping a probability in training.
        layer_index: among the layers.
        causal: a token sees those before it only.
        reads_encoder: keys and values are those of an encoder's tokens.
        bias: whether the projections have one.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "key_value_states", "past_key_values", "attention_mask", "layer_head_mask", "output_attentions",
        "cache_position",
    )  # fmt: skip

    def __init__(
        self,
        size: int,
        heads: int,
        dropout: float,
        layer_index: int,
        *,
        causal: bool = False,
        reads_encoder: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.layer_index = heads, dropout, layer_index
        self.causal, self.reads_encoder = causal, reads_encoder
        self.k_proj = Linear(size, size, bias=bias)
        self.v_proj = Linear(size, size, bias=bias)
        self.q_proj = Linear(size, size, bias=bias)
        self.out_proj = Linear(size, size, bias=bias)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        scoring = Scoring(causal=self.causal, dropout=self.dropout if self.training else 0.0)
        query, key, value = self.q_proj(hidden).unflatten(-1, (self.heads, -1)), None, None
        source = shared[0] if self.reads_encoder else hidden
        if source is not None:
            key, value = (
                layer(source).unflatten(-1, (self.heads, -1)) for layer in (self.k_proj, self.v_proj)
            )
        attend: Any = context.attend_to_encoder if self.reads_encoder else context.attend
        output, weights = attend(self.layer_index, query, key, value, scoring)
        return self.out_proj(output.flatten(-2)), weights

    def named(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call without a context; those of cross-attention are about an encoder's tokens."""
        if not self.reads_encoder:
            return asked
        names = {
            "key_value_states": "encoder_hidden_states", "attention_mask": "encoder_attention_mask",
            "layer_head_mask": "cross_attn_layer_head_mask",
        }  # fmt: skip
        return {names.get(name, name): value for name, value in asked.items()}

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """The tokens, and the attention weights or None."""
        return result


class BartNamesLayer(Part):
    """Attention (of a decoder also to an encoder) and a feed-forward network, each with a residual and a norm.

    Args:
        config: hidden_size, dropout, attention_dropout, activation_dropout and activation_function are read.
        layer_index: among the layers.
        heads: number of heads.
        width: of the feed-forward network.
        pre_norm: each is normalised before, and the residual left as it is; else the sum with it is normalised.
    """

    causal: ClassVar[bool] = False
    reads_encoder: ClassVar[bool] = False

    def __init__(
        self, config: Config, layer_index: int, heads: int, width: int, *, pre_norm: bool = False
    ) -> None:
        super().__init__()
        size, dropout = config.hidden_size, config.attention_dropout
        self.pre_norm = pre_norm
        self.self_attn = BartNamesAttention(size, heads, dropout, layer_index, causal=self.causal)
        self.self_attn_layer_norm = LayerNorm(size)
        if self.reads_encoder:
            self.encoder_attn = BartNamesAttention(size, heads, dropout, layer_index, reads_encoder=True)
            self.encoder_attn_layer_norm = LayerNorm(size)
        self.fc1 = Linear(size, width)
        self.fc2 = Linear(width, size)
        self.final_layer_norm = LayerNorm(size)
        self.activation_fn = activation(config.activation_function, "activation_function")
        self.dropout = nn.Dropout(config.dropout)
        self.activation_dropout = nn.Dropout(config.activation_dropout)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, attention weights, and those of cross-attention."""
        hidden, weights = self._add(
            hidden, self.self_attn_layer_norm, lambda tokens: self.self_attn(tokens, context)
        )
        cross_weights = None
        if context.reads_encoder:
            hidden, cross_weights = self._add(
                hidden,
                self.encoder_attn_layer_norm,
                lambda tokens: self.encoder_attn(tokens, context, *shared),
            )
        hidden, _ = self._add(hidden, self.final_layer_norm, self._feed_forward)
        return (hidden if self.reads_encoder else finite(hidden)), weights, cross_weights

    def _add(self, hidden: Tensor, norm: nn.Module, compute: Callable[[Tensor], Any]) -> tuple[Tensor, Any]:
        """The tokens and what is computed of them, one norm around it; and the second result, attention weights."""
        computed, weights = compute(norm(hidden) if self.pre_norm else hidden)
        computed = self.dropout(computed)
        return (hidden + computed if self.pre_norm else norm(computed, hidden)), weights

    def _feed_forward(self, hidden: Tensor) -> tuple[Tensor, None]:
        return self.fc2(self.activation_dropout(self.fc1(hidden, self.activation_fn))), None


class BartNamesEncoderLayer(BartNamesLayer):
    """Self-attention, then the feed-forward part; each is normalised after its residual."""

    arguments: ClassVar[tuple[str, ...]] = ("attention_mask", "layer_head_mask", "output_attentions")


class BartNamesDecoderLayer(BartNamesLayer):
    """A layer of a decoder, whose cross-attention is left out where no encoder is read."""

    arguments: ClassVar[tuple[str, ...]] = (
        "attention_mask", "encoder_hidden_states", "encoder_attention_mask", "layer_head_mask",
        "cross_attn_layer_head_mask", "past_key_values", "output_attentions", "use_cache", "cache_position",
    )  # fmt: skip
    causal = True
    reads_encoder = True

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """The tokens, and where asked for the attention weights and those of cross-attention, or None."""
        return result if asked.get("output_attentions") else result[:1]
