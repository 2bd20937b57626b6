"""RoBERTa: BERT trained longer, with positions that count tokens and heads of its own.  arXiv:1907.11692"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from oxiformers.layers.context import ForwardContext
from oxiformers.layers.roberta_names import RobertaNamesClassificationHead, RobertaNamesLMHead
from oxiformers.models.bert import BertConfig, BertModel, BertPreTrainedModel
from oxiformers.models.decoder import CausalLM
from oxiformers.models.heads import MaskedLM, QuestionAnswering, SequenceClassification, TokenClassification
from oxiformers.models.outputs import CausalLMOutputWithCrossAttentions


@dataclass
class RobertaConfig(BertConfig):
    """Defaults are transformers'; roberta-base has 514 positions, one token type and an epsilon of 1e-5."""

    model_type = "roberta"

    vocab_size: int = 50265
    pad_token_id: int | None = 1
    bos_token_id: int | list[int] | None = 0
    eos_token_id: int | list[int] | None = 2

    def validate(self) -> None:
        super().validate()
        last = self.max_position_embeddings - 2
        if self.pad_token_id is None or not 0 <= self.pad_token_id <= last:
            raise self.error("pad_token_id", f"from 0 to {last}, as positions begin after it")


class RobertaPreTrainedModel(BertPreTrainedModel):
    """What every RoBERTa model shares."""

    config_class = RobertaConfig
    base_model_prefix = "roberta"


class RobertaModel(RobertaPreTrainedModel, BertModel):
    """BERT's layers and pooler; positions begin after pad_token_id and leave padding out."""

    counts_tokens = True


class RobertaPredictsTokens(RobertaPreTrainedModel):
    """The head ``lm_head``, whose output embedding is tied to the input embedding."""

    model_class: ClassVar[type[Any]] = RobertaModel
    output_embedding = "lm_head.decoder"
    tied: ClassVar[Mapping[str, str]] = {"lm_head.decoder.bias": "lm_head.bias"}
    lm_head: nn.Module

    def build(self, config: RobertaConfig) -> None:
        """Makes ``lm_head``."""
        self.lm_head = RobertaNamesLMHead(config)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., vocabulary]``."""
        return self.lm_head(hidden)  # type: ignore[no-any-return]


class RobertaForMaskedLM(RobertaPredictsTokens, MaskedLM):
    """RoBERTa that fills in masked tokens."""


class RobertaForCausalLM(RobertaPredictsTokens, CausalLM):
    """RoBERTa as a decoder (``is_decoder`` in its config) that predicts the next token."""

    output_class = CausalLMOutputWithCrossAttentions


class RobertaForSequenceClassification(SequenceClassification, RobertaPreTrainedModel):
    """RoBERTa with a classifier of the first token."""

    model_class = RobertaModel
    pools = False

    def build(self, config: RobertaConfig) -> None:
        """Makes ``classifier``."""
        dropout = self.dropout_before_classifier(config).p
        self.classifier = RobertaNamesClassificationHead(config.hidden_size, config.num_labels, dropout)

    def logits_of(self, encoded: Any, context: ForwardContext) -> Tensor:
        """The first token of ``[..., D]`` to ``[B, labels]``."""
        return self.classifier(context.layout.first(encoded.last_hidden_state))  # type: ignore[no-any-return]


class RobertaForTokenClassification(TokenClassification, RobertaPreTrainedModel):
    """RoBERTa with a classifier of every token."""

    model_class = RobertaModel


class RobertaForQuestionAnswering(QuestionAnswering, RobertaPreTrainedModel):
    """RoBERTa that finds the span which answers a question."""

    model_class = RobertaModel
