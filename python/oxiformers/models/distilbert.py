"""DistilBERT: BERT without token types and pooler, distilled to half its layers.  arXiv:1910.01108"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import ACTIVATIONS, activation
from oxiformers.layers.door import Door, ForwardOptions
from oxiformers.layers.embedding import TextEmbeddings, interleaved_sinusoids
from oxiformers.layers.encoder import EncoderStack, self_attention
from oxiformers.layers.layout import Layout
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.heads import (
    EncoderHead,
    MaskedLM,
    QuestionAnswering,
    SequenceClassification,
    TokenClassification,
)
from oxiformers.models.outputs import BaseModelOutput

_EPS = 1e-12


@dataclass
class DistilBertConfig(Config):
    """Defaults are those of distilbert-base-uncased."""

    model_type = "distilbert"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    sinusoidal_pos_embds: bool = False
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    initializer_range: float = 0.02
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    pad_token_id: int | None = 0

    def validate(self) -> None:
        self.require_multiple("dim", "n_heads")
        if self.activation not in ACTIVATIONS:
            raise self.error("activation", "one of " + ", ".join(sorted(ACTIVATIONS)))


class DistilBertSelfAttention(nn.Module):
    """Attention with its output projection."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.q_lin = Linear(config.dim, config.dim)
        self.k_lin = Linear(config.dim, config.dim)
        self.v_lin = Linear(config.dim, config.dim)
        self.out_lin = Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.attention_dropout)

    def forward(
        self, queries: Tensor, hidden: Tensor, layout: Layout, head_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Queries ``[..., D]`` over tokens ``[..., D]``; the attention weights or None."""
        dropout = self.dropout.p if self.training else 0.0
        query, key, value = self.q_lin(queries), self.k_lin(hidden), self.v_lin(hidden)
        attended, weights = self_attention(query, key, value, self.heads, layout, head_mask, dropout)
        return self.out_lin(attended), weights


class FFN(nn.Module):
    """The feed-forward network."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.lin1 = Linear(config.dim, config.hidden_dim)
        self.lin2 = Linear(config.hidden_dim, config.dim)
        self.activation = activation(config.activation, "activation")
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        return self.dropout(self.lin2(self.lin1(hidden, self.activation)))  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """Attention and a feed-forward network, each normalised after its residual."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.attention = DistilBertSelfAttention(config)
        self.sa_layer_norm = LayerNorm(config.dim, eps=_EPS)
        self.ffn = FFN(config)
        self.output_layer_norm = LayerNorm(config.dim, eps=_EPS)

    def forward(
        self, hidden: Tensor, layout: Layout, head_mask: Tensor | None = None, queries: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (the tokens, if None) ``[..., D]`` to the same; the attention weights or None."""
        queries = hidden if queries is None else queries
        attended, weights = self.attention(queries, hidden, layout, head_mask)
        hidden = self.sa_layer_norm(attended, queries)
        return self.output_layer_norm(self.ffn(hidden), hidden), weights


class DistilBertPreTrainedModel(PreTrainedModel):
    """What every DistilBERT model shares."""

    config_class = DistilBertConfig
    base_model_prefix = "distilbert"

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TextEmbeddings) and self.config.sinusoidal_pos_embds:
            table = module.position_embeddings.weight
            table.copy_(interleaved_sinusoids(*table.shape))


class DistilBertModel(DistilBertPreTrainedModel):
    """The encoder."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.embeddings = TextEmbeddings(
            config.vocab_size,
            config.dim,
            config.max_position_embeddings,
            0,
            eps=_EPS,
            dropout=config.dropout,
            padding_id=config.pad_token_id,
        )
        self.transformer = EncoderStack(TransformerBlock(config) for _ in range(config.n_layers))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[ForwardOptions],
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Tokens ``[B, S]`` to ``[B, S, D]``."""
        door = Door(self.config, options, input_ids, attention_mask, inputs_embeds)
        inputs = map(door.enter, (input_ids, None, position_ids, inputs_embeds))
        encoded = self.transformer(self.embeddings(*inputs, door.layout), door)
        output = BaseModelOutput(
            last_hidden_state=door.leave(encoded.last),
            hidden_states=door.leave_states(encoded.hidden_states),
            attentions=door.leave_attentions(encoded.attentions),
        )
        return output if door.return_dict else output.to_tuple()


class _WithoutTokenTypes(EncoderHead):
    """The forward of heads that predict from labels."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[ForwardOptions],
    ) -> Any:
        """As that of the head, without token_type_ids."""
        return super().forward(
            input_ids, attention_mask, None, position_ids, inputs_embeds, labels, **options
        )


class DistilBertForMaskedLM(_WithoutTokenTypes, MaskedLM, DistilBertPreTrainedModel):  # type: ignore[misc]
    """DistilBERT that fills in masked words."""

    tied: ClassVar[Mapping[str, str]] = {
        "vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.activation = activation(config.activation, "activation")
        self.vocab_transform = Linear(config.dim, config.dim)
        self.vocab_layer_norm = LayerNorm(config.dim, eps=_EPS)
        self.vocab_projector = Linear(config.dim, config.vocab_size)
        self.post_init()

    def score(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., vocabulary]``."""
        hidden = self.vocab_layer_norm(self.vocab_transform(hidden, self.activation))
        return self.vocab_projector(hidden)  # type: ignore[no-any-return]


class DistilBertForSequenceClassification(  # type: ignore[misc]
    _WithoutTokenTypes, SequenceClassification, DistilBertPreTrainedModel
):
    """DistilBERT with a classifier of the first token."""

    reads_first_column = True

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = Linear(config.dim, config.dim)
        self.classifier = Linear(config.dim, config.num_labels)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self.post_init()

    def score(self, encoded: Any, layout: Layout) -> Tensor:
        """The first token of ``[..., D]`` to ``[B, labels]``."""
        first = self.pre_classifier(layout.first(encoded.last_hidden_state), F.relu)
        return self.classifier(self.dropout(first))  # type: ignore[no-any-return]


class DistilBertForTokenClassification(  # type: ignore[misc]
    _WithoutTokenTypes, TokenClassification, DistilBertPreTrainedModel
):
    """DistilBERT with a classifier of every token."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = Linear(config.dim, config.num_labels)
        self.post_init()


class DistilBertForQuestionAnswering(QuestionAnswering, DistilBertPreTrainedModel):
    """DistilBERT that finds the span which answers a question."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(config.qa_dropout)
        self.qa_outputs = Linear(config.dim, config.num_labels)
        self.post_init()

    def score(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., 2]``."""
        return super().score(self.dropout(hidden))

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[ForwardOptions],
    ) -> Any:
        """As that of the head, without token_type_ids."""
        return super().forward(
            input_ids,
            attention_mask,
            None,
            position_ids,
            inputs_embeds,
            start_positions,
            end_positions,
            **options,
        )
