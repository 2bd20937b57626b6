"""Qwen3: Llama's decoder with norms of every head's queries and keys, and windows in its upper layers.

arXiv:2505.09388
"""

from __future__ import annotations

from dataclasses import dataclass

from oxiformers.layers.llama_config import UpperWindowsConfig
from oxiformers.layers.llama_names import DecoderLayer, LlamaNamesAttention
from oxiformers.layers.norm import RMSNorm
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.decoder import (
    CausalLM,
    DecoderModel,
    DecoderQuestionAnswering,
    DecoderTokenClassification,
    LastTokenClassification,
)


@dataclass
class Qwen3Config(UpperWindowsConfig):
    """Defaults are those of Qwen3 8B."""

    model_type = "qwen3"

    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    head_dim: int = 128
    max_position_embeddings: int = 32768


class Qwen3Attention(LlamaNamesAttention):
    """Attention with a norm of each head's queries and keys."""

    qk_norm_class = RMSNorm


class Qwen3DecoderLayer(DecoderLayer):
    """A layer with that attention."""

    attention_class = Qwen3Attention


class Qwen3PreTrainedModel(PreTrainedModel):
    """What every Qwen3 model shares."""

    config_class = Qwen3Config
    base_model_prefix = "model"


class Qwen3Model(DecoderModel, Qwen3PreTrainedModel):
    """The decoder."""

    layer_class = Qwen3DecoderLayer


class Qwen3ForCausalLM(CausalLM, Qwen3PreTrainedModel):
    model_class = Qwen3Model


class Qwen3ForSequenceClassification(LastTokenClassification, Qwen3PreTrainedModel):
    model_class = Qwen3Model


class Qwen3ForTokenClassification(DecoderTokenClassification, Qwen3PreTrainedModel):
    model_class = Qwen3Model


class Qwen3ForQuestionAnswering(DecoderQuestionAnswering, Qwen3PreTrainedModel):
    model_class = Qwen3Model
