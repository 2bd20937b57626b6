"""The decoder layer most language models are made of, under Llama's names."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from oxiformers.layers.context import ForwardContext
from oxiformers.layers.linear import Linear
from oxiformers.layers.llama_config import LlamaNamesConfig
from oxiformers.layers.mlp import GatedMLP
from oxiformers.layers.norm import RMSNorm
from oxiformers.layers.part import DECODER_ARGUMENTS, Part
from oxiformers.layers.rope import Rotation, rotate
from oxiformers.layers.scoring import Scoring


class LlamaNamesAttention(Part):
    """Causal self-attention with rotary positions and grouped key heads.

    Subclasses say by the class attribute and the methods below what is special, or set the scale (see Scoring).

    Class attributes:
        qk_norm_class: of a norm of each head's queries and one of its keys, ``q_norm`` and ``k_norm``; None for none.
    """

    qk_norm_class: ClassVar[type[nn.Module] | None] = None
    arguments: ClassVar[tuple[str, ...]] = (
        "position_embeddings", "attention_mask", "past_key_values", "cache_position", "output_attentions",
    )  # fmt: skip

    def __init__(self, config: LlamaNamesConfig, layer_index: int) -> None:
        super().__init__()
        assert config.head_dim is not None
        assert config.num_key_value_heads is not None
        self.layer_index = layer_index
        self.head_dim = config.head_dim
        self.scale: float | None = None
        self.window = config.window_of(layer_index)
        self.attention_dropout = config.attention_dropout
        width, (bias, output_bias) = config.hidden_size, self.biases(config)
        self.q_proj = Linear(width, config.num_attention_heads * self.head_dim, bias=bias)
        self.k_proj = Linear(width, config.num_key_value_heads * self.head_dim, bias=bias)
        self.v_proj = Linear(width, config.num_key_value_heads * self.head_dim, bias=bias)
        self.o_proj = Linear(config.num_attention_heads * self.head_dim, width, bias=output_bias)
        if self.qk_norm_class is not None:
            self.q_norm = self.qk_norm_class(self.head_dim, config.rms_norm_eps)
            self.k_norm = self.qk_norm_class(self.head_dim, config.rms_norm_eps)

    def biases(self, config: LlamaNamesConfig) -> tuple[bool, bool]:
        """Whether queries, keys and values have a bias, and whether the output has one."""
        return config.attention_bias, config.attention_bias

    def shape_qk(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """What happens to queries ``[..., H, D]`` and keys ``[..., Hkv, D]`` before they are rotated."""
        return (query, key) if self.qk_norm_class is None else (self.q_norm(query), self.k_norm(key))

    def rotation_of(self, context: ForwardContext) -> Rotation:
        """This layer's rotation of positions, where `Stack.rotate` gives one for each kind of layer."""
        rotation: Rotation = context.rotation
        return rotation

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D_model]`` to the same, and attention weights."""
        query, key, value = (
            proj(hidden).unflatten(-1, (-1, self.head_dim))
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(*self.shape_qk(query, key), self.rotation_of(context))
        dropout = self.attention_dropout if self.training else 0.0
        scoring = Scoring(causal=True, scale=self.scale, window=self.window, dropout=dropout)
        output, weights = context.attend(self.layer_index, query, key, value, scoring)
        return self.o_proj(output.flatten(-2)), weights

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """The tokens, and the attention weights or None."""
        return result


class DecoderLayer(Part):
    """Attention and a feed-forward layer, each after a norm and added to what it read."""

    attention_class: ClassVar[type[nn.Module]] = LlamaNamesAttention
    mlp_class: ClassVar[type[nn.Module]] = GatedMLP
    norm_class: ClassVar[type[nn.Module]] = RMSNorm
    arguments = DECODER_ARGUMENTS

    def __init__(self, config: LlamaNamesConfig, layer_index: int) -> None:
        super().__init__()
        self.self_attn = self.attention_class(config, layer_index)
        self.mlp = self.mlp_class(config)
        self.input_layernorm = self.norm_class(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = self.norm_class(config.hidden_size, config.rms_norm_eps)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        attended, weights = self.self_attn(self.input_layernorm(hidden), context)
        hidden = hidden + attended
        return hidden + self.mlp(self.post_attention_layernorm(hidden)), weights

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """The tokens."""
        return result[0]
