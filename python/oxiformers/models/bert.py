"""BERT: an encoder of text trained to fill in masked words.  arXiv:1810.04805"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.config_types import Count, Layers, NonNegative, Probability
from oxiformers.layers.activations import ACTIVATIONS, activation
from oxiformers.layers.bert_names import BertNamesLayer, BertNamesPooler
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.embedding import TextEmbeddings
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.decoder import CausalLM
from oxiformers.models.encoder import Encoder
from oxiformers.models.heads import MaskedLM, QuestionAnswering, SequenceClassification, TokenClassification
from oxiformers.models.outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
)
from oxiformers.models.stack import LayerStack


@dataclass
class BertConfig(Config):
    """Defaults are those of bert-base-uncased."""

    model_type = "bert"

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: Probability = 0.1
    attention_probs_dropout_prob: Probability = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: Count = 2
    initializer_range: NonNegative = 0.02
    layer_norm_eps: NonNegative = 1e-12
    pad_token_id: int | None = 0
    position_embedding_type: str = "absolute"
    classifier_dropout: Probability | None = None

    def validate(self) -> None:
        self.require_multiple("hidden_size", "num_attention_heads")
        if self.hidden_act not in ACTIVATIONS:
            raise self.error("hidden_act", "one of " + ", ".join(sorted(ACTIVATIONS)))


class BertPreTrainedModel(PreTrainedModel):
    """What every BERT model shares."""

    config_class: ClassVar[type[Config]] = BertConfig
    base_model_prefix = "bert"
    supported: ClassVar[Mapping[str, Any]] = {"position_embedding_type": "absolute"}

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, BertLMPredictionHead):
            nn.init.zeros_(module.bias)


class BertModel(BertPreTrainedModel, Encoder):
    """The layers, and a pooler of the first token unless ``add_pooling_layer`` is False.

    Class attributes:
        counts_tokens: see embedding.TextEmbeddings.
    """

    counts_tokens: ClassVar[bool] = False
    output_class = BaseModelOutputWithPoolingAndCrossAttentions
    input_embedding = "embeddings.word_embeddings"

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = TextEmbeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            padding_id=config.pad_token_id,
            counts_tokens=self.counts_tokens,
        )
        self.encoder = LayerStack(BertNamesLayer(config, index) for index in range(config.num_hidden_layers))
        self.pooler = BertNamesPooler(config) if add_pooling_layer else None
        self.reads_first_column = add_pooling_layer
        self.position_limit = self.embeddings.position_limit
        self.uncounted_id = self.embeddings.uncounted_id
        self.post_init()

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
    ) -> Tensor:
        """Tokens, types and positions, added up and normalised."""
        embedded: Tensor = self.embeddings(input_ids, token_type_ids, positions, inputs_embeds)
        return embedded

    def summarize(self, last: Tensor, context: ForwardContext) -> Mapping[str, Any]:
        """The pooled first token, as pooler_output ``[B, D]``."""
        return {} if self.pooler is None else {"pooler_output": self.pooler(context.layout.first(last))}


class BertPredictionHeadTransform(nn.Module):
    """The last dense layer before tokens are predicted."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = activation(config.hidden_act)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        return self.LayerNorm(self.dense(hidden_states, self.transform_act_fn))  # type: ignore[no-any-return]


class BertLMPredictionHead(nn.Module):
    """A dense layer, and one to the vocabulary."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., vocabulary]``."""
        return self.decoder(self.transform(hidden_states))  # type: ignore[no-any-return]


class BertPredictsTokens(BertPreTrainedModel):
    """The head ``cls``, whose output embedding is tied to the input embedding."""

    model_class: ClassVar[type[Any]] = BertModel
    output_embedding = "cls.predictions.decoder"
    tied: ClassVar[Mapping[str, str]] = {"cls.predictions.decoder.bias": "cls.predictions.bias"}

    def build(self, config: BertConfig) -> None:
        """Makes ``cls``."""
        self.cls = nn.ModuleDict({"predictions": BertLMPredictionHead(config)})

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., vocabulary]``."""
        return self.cls["predictions"](hidden)  # type: ignore[no-any-return]


class BertForMaskedLM(BertPredictsTokens, MaskedLM):
    """BERT that fills in masked tokens."""


class BertLMHeadModel(BertPredictsTokens, CausalLM):
    """BERT as a decoder (``is_decoder`` in its config) that predicts the next token."""

    output_class = CausalLMOutputWithCrossAttentions


class BertForSequenceClassification(SequenceClassification, BertPreTrainedModel):
    """BERT with a classifier of the pooled first token."""

    model_class = BertModel


class BertForTokenClassification(TokenClassification, BertPreTrainedModel):
    """BERT with a classifier of every token."""

    model_class = BertModel


class BertForQuestionAnswering(QuestionAnswering, BertPreTrainedModel):
    """BERT that finds the span which answers a question."""

    model_class = BertModel
