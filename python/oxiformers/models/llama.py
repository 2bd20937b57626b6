"""Llama: a decoder with rotary positions, grouped key heads, RMSNorm and gated feed-forward layers.

arXiv:2302.13971, arXiv:2307.09288, arXiv:2407.21783
"""

from __future__ import annotations

from dataclasses import dataclass

from oxiformers.layers.llama_config import LlamaNamesConfig
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.decoder import (
    CausalLM,
    DecoderModel,
    DecoderQuestionAnswering,
    DecoderTokenClassification,
    LastTokenClassification,
)


@dataclass
class LlamaConfig(LlamaNamesConfig):
    """Defaults are those of Llama 7B. Of the published keys only pretraining_tp has no effect."""

    model_type = "llama"

    bos_token_id: int | list[int] | None = 1
    eos_token_id: int | list[int] | None = 2
    pretraining_tp: int | None = 1
    mlp_bias: bool = False


class LlamaPreTrainedModel(PreTrainedModel):
    """What every Llama model shares."""

    config_class = LlamaConfig
    base_model_prefix = "model"


class LlamaModel(DecoderModel, LlamaPreTrainedModel):
    """The decoder."""


class LlamaForCausalLM(CausalLM, LlamaPreTrainedModel):
    model_class = LlamaModel


class LlamaForSequenceClassification(LastTokenClassification, LlamaPreTrainedModel):
    model_class = LlamaModel


class LlamaForTokenClassification(DecoderTokenClassification, LlamaPreTrainedModel):
    model_class = LlamaModel


class LlamaForQuestionAnswering(DecoderQuestionAnswering, LlamaPreTrainedModel):
    model_class = LlamaModel
