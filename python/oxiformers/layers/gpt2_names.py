"""The decoder layer of GPT-2 under its parameter names."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import activation
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.conv1d import Conv1D
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.part import Part
from oxiformers.layers.scoring import Scoring

_ARGUMENTS = (
    "past_key_values", "cache_position", "attention_mask", "head_mask", "encoder_hidden_states",
    "encoder_attention_mask", "use_cache", "output_attentions",
)  # fmt: skip


class GPT2Attention(Part):
    """Causal self-attention whose queries, keys and values are one projection, or attention to an encoder's tokens."""

    arguments: ClassVar[tuple[str, ...]] = _ARGUMENTS

    def __init__(self, config: Config, layer_index: int, *, reads_encoder: bool = False) -> None:
        super().__init__()
        self.layer_index, self.heads, self.reads_encoder = layer_index, config.n_head, reads_encoder
        self.scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= layer_index + 1
        self.c_attn = Conv1D(config.n_embd, (2 if reads_encoder else 3) * config.n_embd)
        if reads_encoder:
            self.q_attn = Conv1D(config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        dropout = self.attn_dropout.p if self.training else 0.0
        scoring = Scoring(causal=not self.reads_encoder, scale=self.scale, dropout=dropout)
        if self.reads_encoder:
            query = self.q_attn(hidden).unflatten(-1, (self.heads, -1))
            key = value = None
            if shared[0] is not None:
                key, value = self.c_attn(shared[0]).unflatten(-1, (2, self.heads, -1)).unbind(-3)
            output, weights = context.attend_to_encoder(self.layer_index, query, key, value, scoring)
        else:
            query, key, value = self.c_attn(hidden).unflatten(-1, (3, self.heads, -1)).unbind(-3)
            output, weights = context.attend(self.layer_index, query, key, value, scoring)
        return self.resid_dropout(self.c_proj(output.flatten(-2))), weights

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """The tokens, and the attention weights or None."""
        return result


class GPT2MLP(nn.Module):
    """The feed-forward layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.c_fc = Conv1D(config.n_embd, width)
        self.c_proj = Conv1D(width, config.n_embd)
        self.act = activation(config.activation_function, "activation_function")
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        return self.dropout(self.c_proj(self.c_fc(hidden_states, self.act)))  # type: ignore[no-any-return]


class GPT2Block(Part):
    """Attention (also to an encoder) and a feed-forward layer, each after a norm and added to what it read."""

    arguments: ClassVar[tuple[str, ...]] = _ARGUMENTS

    def __init__(self, config: Config, layer_index: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, layer_index)
        self.ln_2 = LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        if config.add_cross_attention:
            self.crossattention = GPT2Attention(config, layer_index, reads_encoder=True)
            self.ln_cross_attn = LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, attention weights, and those of cross-attention."""
        attended, weights = self.attn(self.ln_1(hidden), context)
        hidden, cross_weights = hidden + attended, None
        if context.reads_encoder:
            attended, cross_weights = self.crossattention(self.ln_cross_attn(hidden), context, *shared)
            hidden = hidden + attended
        return hidden + self.mlp(self.ln_2(hidden)), weights, cross_weights
