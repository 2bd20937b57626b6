"""BERT: an encoder of text trained to fill in masked words.  arXiv:1810.04805"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import ACTIVATIONS, activation
from oxiformers.layers.bert_names import BertNamesLayer, BertNamesPooler
from oxiformers.layers.door import Door, ForwardOptions
from oxiformers.layers.embedding import TextEmbeddings
from oxiformers.layers.encoder import EncoderStack
from oxiformers.layers.layout import Layout
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.heads import MaskedLM, QuestionAnswering, SequenceClassification, TokenClassification
from oxiformers.models.outputs import BaseModelOutputWithPoolingAndCrossAttentions


@dataclass
class BertConfig(Config):
    """Defaults are those of bert-base-uncased."""

    model_type = "bert"

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    position_embedding_type: str = "absolute"
    classifier_dropout: float | None = None

    def validate(self) -> None:
        self.require_multiple("hidden_size", "num_attention_heads")
        if self.hidden_act not in ACTIVATIONS:
            raise self.error("hidden_act", "one of " + ", ".join(sorted(ACTIVATIONS)))

    @property
    def head_dropout(self) -> float:
        """The dropout before a classifier."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout


class BertPreTrainedModel(PreTrainedModel):
    """What every BERT model shares."""

    config_class = BertConfig
    base_model_prefix = "bert"
    supported: ClassVar[Mapping[str, Any]] = {
        "is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute",
    }  # fmt: skip


class BertModel(BertPreTrainedModel):
    """The encoder, and a pooler of its first token unless ``add_pooling_layer`` is False."""

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
        )
        self.encoder = EncoderStack(BertNamesLayer(config) for _ in range(config.num_hidden_layers))
        self.pooler = BertNamesPooler(config) if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[ForwardOptions],
    ) -> BaseModelOutputWithPoolingAndCrossAttentions | tuple[Any, ...]:
        """Tokens ``[B, S]`` to ``[B, S, D]``, and a pooled ``[B, D]``."""
        pooled = self.pooler is not None
        door = Door(self.config, options, input_ids, attention_mask, inputs_embeds, first_column=pooled)
        inputs = map(door.enter, (input_ids, token_type_ids, position_ids, inputs_embeds))
        encoded = self.encoder(self.embeddings(*inputs, door.layout), door)
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=door.leave(encoded.last),
            pooler_output=None if self.pooler is None else self.pooler(door.layout.first(encoded.last)),
            hidden_states=door.leave_states(encoded.hidden_states),
            attentions=door.leave_attentions(encoded.attentions),
        )
        return output if door.return_dict else output.to_tuple()


class BertPredictionHeadTransform(nn.Module):
    """The last dense layer before words are predicted."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        return self.LayerNorm(self.dense(hidden, self.activation))  # type: ignore[no-any-return]


class BertLMPredictionHead(nn.Module):
    """``[..., D]`` to the logits of words ``[..., vocabulary]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., vocabulary]``."""
        return self.decoder(self.transform(hidden))  # type: ignore[no-any-return]


class BertForMaskedLM(MaskedLM, BertPreTrainedModel):
    """BERT that fills in masked words."""

    tied: ClassVar[Mapping[str, str]] = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = nn.ModuleDict({"predictions": BertLMPredictionHead(config)})
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, BertLMPredictionHead):
            nn.init.zeros_(module.bias)

    def score(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., vocabulary]``."""
        return self.cls["predictions"](hidden)  # type: ignore[no-any-return]


class BertForSequenceClassification(SequenceClassification, BertPreTrainedModel):
    """BERT with a classifier of the pooled first token."""

    reads_first_column = True

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def score(self, encoded: Any, layout: Layout) -> Tensor:
        """The pooled ``[B, D]`` to ``[B, labels]``."""
        return self.classifier(self.dropout(encoded.pooler_output))  # type: ignore[no-any-return]


class BertForTokenClassification(TokenClassification, BertPreTrainedModel):
    """BERT with a classifier of every token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = Linear(config.hidden_size, config.num_labels)
        self.post_init()


class BertForQuestionAnswering(QuestionAnswering, BertPreTrainedModel):
    """BERT that finds the span which answers a question."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = Linear(config.hidden_size, config.num_labels)
        self.post_init()
