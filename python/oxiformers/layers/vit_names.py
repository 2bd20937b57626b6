"""The layer under ViT's parameter names, which most encoders of images took over."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.bert_names import BertNamesIntermediate, BertNamesSelfAttention
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.part import Part


class ViTNamesPart(Part):
    """What returns its tokens and nothing else where it is called alone."""

    arguments: ClassVar[tuple[str, ...]] = ("head_mask",)

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """The tokens."""
        return result[0]


class ViTNamesSelfAttention(BertNamesSelfAttention):
    """Attention before its output projection."""

    arguments: ClassVar[tuple[str, ...]] = ("head_mask",)


class ViTNamesSelfOutput(nn.Module):
    """The output projection of attention, whose residual is added by the layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor | None = None) -> Tensor:
        """``[..., D]`` to the same; input_tensor, which transformers hands in, is added by the layer alone."""
        return self.dropout(self.dense(hidden_states))  # type: ignore[no-any-return]


class ViTNamesAttention(ViTNamesPart):
    """Attention with its output projection."""

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.attention = ViTNamesSelfAttention(config, layer_index, bias=config.qkv_bias)
        self.output = ViTNamesSelfOutput(config)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        attended, weights = self.attention(hidden, context)
        return self.output(attended), weights


class ViTNamesOutput(nn.Module):
    """The second half of the feed-forward network, added to the residual."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """``[..., D_ff]`` and the residual ``[..., D]`` to ``[..., D]``."""
        return self.dropout(self.dense(hidden_states)) + input_tensor  # type: ignore[no-any-return]


class ViTNamesLayer(ViTNamesPart):
    """Attention and a feed-forward network, each after a norm and added to what it read.

    Args:
        config: as of BertNamesLayer, and qkv_bias.
        layer_index: among the layers.
    """

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.attention = ViTNamesAttention(config, layer_index)
        self.intermediate = BertNamesIntermediate(config)
        self.output = ViTNamesOutput(config)
        self.layernorm_before = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        attended, weights = self.attention(self.layernorm_before(hidden), context)
        hidden = context.queries(hidden) + attended
        return self.output(self.intermediate(self.layernorm_after(hidden)), hidden), weights
