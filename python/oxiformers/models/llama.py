"""Llama: a decoder with rotary positions, grouped key heads, RMSNorm and gated feed-forward layers.

arXiv:2302.13971, arXiv:2307.09288, arXiv:2407.21783
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from oxiformers.layers.activations import activation
from oxiformers.layers.decoder import DecoderLayer
from oxiformers.layers.rope_config import RotaryConfig
from oxiformers.models.decoder import CausalLM, DecoderModel


@dataclass
class LlamaConfig(RotaryConfig):
    """Defaults are those of Llama 7B. Of the published keys only pretraining_tp has no effect."""

    model_type = "llama"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    bos_token_id: int | list[int] | None = 1
    eos_token_id: int | list[int] | None = 2
    pretraining_tp: int | None = 1
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    attention_dropout: float = 0.0
    mlp_bias: bool = False
    head_dim: int | None = None

    def __post_init__(self) -> None:
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.head_dim is None:
            self.require_multiple("hidden_size", "num_attention_heads")
            self.head_dim = self.hidden_size // self.num_attention_heads

    def validate(self) -> None:
        self.require_multiple("num_attention_heads", "num_key_value_heads")
        activation(self.hidden_act)


class LlamaModel(DecoderModel):
    """The decoder."""

    config_class = LlamaConfig
    layer_class = DecoderLayer


class LlamaForCausalLM(CausalLM):
    """The decoder with the logits of the next token."""

    config_class = LlamaConfig
    model_class = LlamaModel
