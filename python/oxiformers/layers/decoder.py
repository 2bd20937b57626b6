"""The decoder layer most language models are made of, under Llama's names."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.cached_attention import CacheStep, attend_after
from oxiformers.layers.layout import Layout
from oxiformers.layers.linear import Linear
from oxiformers.layers.mlp import GatedMLP
from oxiformers.layers.norm import RMSNorm
from oxiformers.layers.rope import Rotation, rotate
from oxiformers.layers.scoring import Scoring


class LlamaNamesAttention(nn.Module):
    """Causal self-attention with rotary positions and grouped key heads.

    Reads hidden_size, num_attention_heads, num_key_value_heads, head_dim, attention_dropout and, where there
    is one, attention_bias of the config. Subclasses change queries and keys in `shape_qk`, and the scale.
    """

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.layer_index = layer_index
        self.head_dim: int = config.head_dim
        self.scale: float | None = None
        self.attention_dropout: float = config.attention_dropout
        width, bias = config.hidden_size, getattr(config, "attention_bias", False)
        self.q_proj = Linear(width, config.num_attention_heads * self.head_dim, bias=bias)
        self.k_proj = Linear(width, config.num_key_value_heads * self.head_dim, bias=bias)
        self.v_proj = Linear(width, config.num_key_value_heads * self.head_dim, bias=bias)
        self.o_proj = Linear(config.num_attention_heads * self.head_dim, width, bias=bias)

    def shape_qk(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """What happens to queries ``[..., H, D]`` and keys ``[..., Hkv, D]`` before they are rotated."""
        return query, key

    def forward(
        self, hidden: Tensor, layout: Layout, rotation: Rotation, step: CacheStep | None
    ) -> tuple[Tensor, Tensor | None]:
        """``[..., D_model]`` to the same, and probabilities ``[B, H, Q, K]`` of a rectangular layout."""
        split = [
            proj(hidden).unflatten(-1, (-1, self.head_dim))
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        ]
        query, key = rotate(*self.shape_qk(split[0], split[1]), rotation)
        dropout = self.attention_dropout if self.training else 0.0
        scoring = Scoring(causal=True, scale=self.scale, dropout=dropout)
        output, weights = attend_after(step, self.layer_index, query, key, split[2], layout, scoring)
        return self.o_proj(output.flatten(-2)), weights


class DecoderLayer(nn.Module):
    """Attention and a feed-forward layer, each after a norm and added to what it read."""

    attention_class: ClassVar[type[nn.Module]] = LlamaNamesAttention
    mlp_class: ClassVar[type[nn.Module]] = GatedMLP
    norm_class: ClassVar[type[nn.Module]] = RMSNorm

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.self_attn = self.attention_class(config, layer_index)
        self.mlp = self.mlp_class(config)
        self.input_layernorm = self.norm_class(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = self.norm_class(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, hidden: Tensor, layout: Layout, rotation: Rotation, step: CacheStep | None
    ) -> tuple[Tensor, Tensor | None]:
        """``[..., D]`` to the same, and attention probabilities as LlamaNamesAttention gives them."""
        attended, weights = self.self_attn(self.input_layernorm(hidden), layout, rotation, step)
        hidden = hidden + attended
        return hidden + self.mlp(self.post_attention_layernorm(hidden)), weights
