"""The decoder layer of GPT-2 under its parameter names."""

from __future__ import annotations

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import activation
from oxiformers.layers.cached_attention import CacheStep, attend_after
from oxiformers.layers.conv1d import Conv1D
from oxiformers.layers.layout import Layout
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.scoring import Scoring


class GPT2Attention(nn.Module):
    """Causal self-attention whose queries, keys and values are one projection."""

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.layer_index, self.heads = layer_index, config.n_head
        self.scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= layer_index + 1
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, hidden: Tensor, layout: Layout, step: CacheStep | None) -> tuple[Tensor, Tensor | None]:
        """``[..., D]`` to the same, and probabilities ``[B, H, Q, K]`` of a rectangular layout."""
        query, key, value = self.c_attn(hidden).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        dropout = self.attn_dropout.p if self.training else 0.0
        scoring = Scoring(causal=True, scale=self.scale, dropout=dropout)
        output, weights = attend_after(step, self.layer_index, query, key, value, layout, scoring)
        return self.resid_dropout(self.c_proj(output.flatten(-2))), weights


class GPT2MLP(nn.Module):
    """The feed-forward layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.c_fc = Conv1D(config.n_embd, width)
        self.c_proj = Conv1D(width, config.n_embd)
        self.act = activation(config.activation_function, "activation_function")
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        return self.dropout(self.c_proj(self.c_fc(hidden, self.act)))  # type: ignore[no-any-return]


class GPT2Block(nn.Module):
    """Attention and a feed-forward layer, each after a norm and added to what it read."""

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, layer_index)
        self.ln_2 = LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def forward(
        self, hidden: Tensor, layout: Layout, placed: None, step: CacheStep | None
    ) -> tuple[Tensor, Tensor | None]:
        """``[..., D]`` to the same, and attention probabilities as GPT2Attention gives them."""
        attended, weights = self.attn(self.ln_1(hidden), layout, step)
        hidden = hidden + attended
        return hidden + self.mlp(self.ln_2(hidden)), weights
