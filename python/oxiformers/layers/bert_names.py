"""The layer under BERT's parameter names, which most encoders took over."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import activation
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.part import Part
from oxiformers.layers.scoring import PLAIN, Scoring


class BertNamesPart(Part):
    """What returns its attention weights in any case: None where they are not asked for."""

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """The tokens and the attention weights, and those of cross-attention where there is an encoder."""
        return result if asked.get("encoder_hidden_states") is not None else result[:2]


class BertNamesSelfAttention(BertNamesPart):
    """Attention before its output projection: query, key, value.

    Args:
        config: hidden_size, num_attention_heads, attention_probs_dropout_prob and is_decoder are read.
        layer_index: among the layers.
        reads_encoder: keys and values are those of an encoder's tokens.
        bias: of the three projections.
    """

    def __init__(
        self, config: Config, layer_index: int, *, reads_encoder: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        size = config.hidden_size
        self.layer_index, self.heads, self.reads_encoder = (
            layer_index,
            config.num_attention_heads,
            reads_encoder,
        )
        self.causal: bool = config.is_decoder and not reads_encoder
        self.query = Linear(size, size, bias=bias)
        self.key = Linear(size, size, bias=bias)
        self.value = Linear(size, size, bias=bias)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        dropout = self.dropout.p if self.training else 0.0
        scoring = Scoring(causal=self.causal, dropout=dropout) if self.causal or dropout else PLAIN
        queries = hidden if self.reads_encoder else context.queries(hidden)
        query = self.query(queries).unflatten(-1, (self.heads, -1))
        source = shared[0] if self.reads_encoder else hidden
        if source is None:
            output, weights = context.attend_to_encoder(self.layer_index, query, None, None, scoring)
            return output.flatten(-2), weights
        key, value = (layer(source).unflatten(-1, (self.heads, -1)) for layer in (self.key, self.value))
        attend = context.attend_to_encoder if self.reads_encoder else context.attend
        output, weights = attend(self.layer_index, query, key, value, scoring)
        return output.flatten(-2), weights


class BertNamesOutput(nn.Module):
    """A projection, added to the residual and normalised."""

    def __init__(self, config: Config, input_size: int) -> None:
        super().__init__()
        self.dense = Linear(input_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """``[..., D_in]`` and the residual ``[..., D]`` to ``[..., D]``."""
        return self.LayerNorm(self.dropout(self.dense(hidden_states)), input_tensor)  # type: ignore[no-any-return]


class BertNamesAttention(BertNamesPart):
    """Attention with its output projection, residual and norm."""

    def __init__(self, config: Config, layer_index: int, *, reads_encoder: bool = False) -> None:
        super().__init__()
        self.self = BertNamesSelfAttention(config, layer_index, reads_encoder=reads_encoder)
        self.output = BertNamesOutput(config, config.hidden_size)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        attended, weights = self.self(hidden, context, *shared)
        residual = hidden if self.self.reads_encoder else context.queries(hidden)
        return self.output(attended, residual), weights


class BertNamesIntermediate(nn.Module):
    """The first half of the feed-forward network."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., D_ff]``."""
        return self.dense(hidden_states, self.intermediate_act_fn)  # type: ignore[no-any-return]


class BertNamesLayer(BertNamesPart):
    """Attention (of a decoder also to an encoder) and a feed-forward network, each normalised after its residual."""

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.attention = BertNamesAttention(config, layer_index)
        if config.is_decoder and config.add_cross_attention:
            self.crossattention = BertNamesAttention(config, layer_index, reads_encoder=True)
        self.intermediate = BertNamesIntermediate(config)
        self.output = BertNamesOutput(config, config.intermediate_size)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, attention weights, and those of cross-attention."""
        hidden, weights = self.attention(hidden, context)
        cross_weights = None
        if context.reads_encoder:
            hidden, cross_weights = self.crossattention(hidden, context, *shared)
        return self.output(self.intermediate(hidden), hidden), weights, cross_weights


class BertNamesPooler(nn.Module):
    """A dense layer and an activation over the first token.

    Args:
        config: hidden_size is read.
        size: of what comes out; hidden_size by default.
        act: the activation.
    """

    def __init__(self, config: Config, size: int | None = None, act: str = "tanh") -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size if size is None else size)
        self.activation = activation(act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """The first tokens ``[B, D]``, or all of them ``[B, S, D]``, to ``[B, size]``."""
        first = hidden_states[:, 0] if hidden_states.dim() == 3 else hidden_states
        return self.dense(first, self.activation)  # type: ignore[no-any-return]
