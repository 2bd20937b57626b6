"""GPT-2: a decoder with learned positions, norms before its layers, and weights that lie transposed.

Radford et al., Language Models are Unsupervised Multitask Learners, 2019
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.config_types import Layers, NonNegative, Probability
from oxiformers.layers.activations import activation
from oxiformers.layers.context import DecoderOptions
from oxiformers.layers.embedding import Embedding
from oxiformers.layers.gpt2_names import GPT2MLP, GPT2Attention, GPT2Block
from oxiformers.layers.norm import LayerNorm
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.decoder import (
    CausalLM,
    Decoder,
    DecoderQuestionAnswering,
    DecoderTokenClassification,
    LastTokenClassification,
)
from oxiformers.models.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
)


@dataclass
class GPT2Config(Config):
    """Defaults are those of the smallest GPT-2. The keys summary_* belong to a head that is not here."""

    model_type = "gpt2"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: Layers = 12
    n_head: int = 12
    #: The width of feed-forward layers; 4 * n_embd by default.
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: Probability = 0.1
    embd_pdrop: Probability = 0.1
    attn_pdrop: Probability = 0.1
    layer_norm_epsilon: NonNegative = 1e-5
    initializer_range: NonNegative = 0.02
    summary_type: str = "cls_index"
    summary_use_proj: bool = True
    summary_activation: str | None = None
    summary_proj_to_labels: bool = True
    summary_first_dropout: Probability = 0.1
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    reorder_and_upcast_attn: bool = False
    bos_token_id: int | list[int] | None = 50256
    eos_token_id: int | list[int] | None = 50256

    def validate(self) -> None:
        self.require_multiple("n_embd", "n_head")
        activation(self.activation_function, "activation_function")


class GPT2PreTrainedModel(PreTrainedModel):
    """What every GPT-2 model shares."""

    config_class = GPT2Config
    base_model_prefix = "transformer"
    supported: ClassVar[Mapping[str, Any]] = {"reorder_and_upcast_attn": False}
    # Older checkpoints hold the causal mask and what masked scores were set to.
    ignored = (r"(^|\.)h\.\d+\.attn\.(masked_)?bias$",)

    def _init_weights(self, module: nn.Module) -> None:
        """What ends in the residual is smaller, by the square root of the number of layers that add to it."""
        super()._init_weights(module)
        if isinstance(module, (GPT2Attention, GPT2MLP)):
            deviation = self.config.initializer_range / math.sqrt(2 * self.config.n_layer)
            nn.init.normal_(module.c_proj.weight, std=deviation)


class GPT2Model(Decoder, GPT2PreTrainedModel):
    """The decoder."""

    output_class = BaseModelOutputWithPastAndCrossAttentions
    layers_name = "h"
    input_embedding = "wte"

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = Embedding(config.vocab_size, config.n_embd)
        self.wpe = Embedding(config.n_positions, config.n_embd, key="position_ids")
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(GPT2Block(config, index) for index in range(config.n_layer))
        self.ln_f = LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.position_limit = config.n_positions
        self.post_init()

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
    ) -> Tensor:
        """Tokens, positions and types, which share the tokens' embedding, added up."""
        embedded = self.wte(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is not None:
            embedded = embedded + self.wte(token_type_ids)
        return self.drop(embedded + self.wpe(positions))  # type: ignore[no-any-return]

    def finish(self, hidden: Tensor) -> Tensor:
        """The norm after the last layer."""
        return self.ln_f(hidden)  # type: ignore[no-any-return]

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[DecoderOptions],
    ) -> Any:
        """As Decoder.forward, with arguments in GPT-2's order; token_type_ids ``[B, S]`` are tokens."""
        return self.read(
            options, input_ids, attention_mask, position_ids, inputs_embeds, token_type_ids, past_key_values
        )


class GPT2LMHeadModel(CausalLM, GPT2PreTrainedModel):
    """The decoder with the logits of the next token."""

    model_class = GPT2Model
    output_class = CausalLMOutputWithCrossAttentions


class GPT2ForSequenceClassification(LastTokenClassification, GPT2PreTrainedModel):
    model_class = GPT2Model


class GPT2ForTokenClassification(DecoderTokenClassification, GPT2PreTrainedModel):
    model_class = GPT2Model
    classifier_name = "classifier"


class GPT2ForQuestionAnswering(DecoderQuestionAnswering, GPT2PreTrainedModel):
    model_class = GPT2Model
