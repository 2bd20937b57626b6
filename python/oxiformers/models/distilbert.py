"""DistilBERT: BERT without token types and pooler, distilled to half its layers.  arXiv:1910.01108"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.config_types import Layers, NonNegative, Probability
from oxiformers.layers.activations import ACTIVATIONS, activation
from oxiformers.layers.context import EncoderOptions, ForwardContext
from oxiformers.layers.embedding import TextEmbeddings, interleaved_sinusoids
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.part import Part
from oxiformers.layers.scoring import PLAIN, Scoring
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.encoder import Encoder
from oxiformers.models.heads import MaskedLM, QuestionAnswering, SequenceClassification, TokenClassification
from oxiformers.models.outputs import BaseModelOutput
from oxiformers.models.stack import LayerStack

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
    n_layers: Layers = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: Probability = 0.1
    attention_dropout: Probability = 0.1
    activation: str = "gelu"
    initializer_range: NonNegative = 0.02
    qa_dropout: Probability = 0.1
    seq_classif_dropout: Probability = 0.2
    pad_token_id: int | None = 0

    def validate(self) -> None:
        self.require_multiple("dim", "n_heads")
        if self.activation not in ACTIVATIONS:
            raise self.error("activation", "one of " + ", ".join(sorted(ACTIVATIONS)))


class DistilBertSelfAttention(Part):
    """Attention with its output projection."""

    arguments: ClassVar[tuple[str, ...]] = ("attention_mask", "head_mask", "output_attentions")

    def __init__(self, config: DistilBertConfig, layer_index: int) -> None:
        super().__init__()
        self.layer_index, self.heads = layer_index, config.n_heads
        self.q_lin = Linear(config.dim, config.dim)
        self.k_lin = Linear(config.dim, config.dim)
        self.v_lin = Linear(config.dim, config.dim)
        self.out_lin = Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.attention_dropout)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        read = self.q_lin(context.queries(hidden)), self.k_lin(hidden), self.v_lin(hidden)
        query, key, value = (tensor.unflatten(-1, (self.heads, -1)) for tensor in read)
        scoring = Scoring(dropout=self.dropout.p) if self.training else PLAIN
        output, weights = context.attend(self.layer_index, query, key, value, scoring)
        return self.out_lin(output.flatten(-2)), weights


class FFN(nn.Module):
    """The feed-forward network."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.lin1 = Linear(config.dim, config.hidden_dim)
        self.lin2 = Linear(config.hidden_dim, config.dim)
        self.activation = activation(config.activation, "activation")
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        return self.dropout(self.lin2(self.lin1(input, self.activation)))  # type: ignore[no-any-return]


class TransformerBlock(Part):
    """Attention and a feed-forward network, each normalised after its residual."""

    arguments: ClassVar[tuple[str, ...]] = ("attn_mask", "head_mask", "output_attentions")

    def __init__(self, config: DistilBertConfig, layer_index: int) -> None:
        super().__init__()
        self.attention = DistilBertSelfAttention(config, layer_index)
        self.sa_layer_norm = LayerNorm(config.dim, eps=_EPS)
        self.ffn = FFN(config)
        self.output_layer_norm = LayerNorm(config.dim, eps=_EPS)

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` to the same, and attention weights."""
        attended, weights = self.attention(hidden, context)
        hidden = self.sa_layer_norm(attended, context.queries(hidden))
        return self.output_layer_norm(self.ffn(hidden), hidden), weights

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """The attention weights where they are asked for, then the tokens."""
        return (result[1], result[0]) if asked.get("output_attentions") else (result[0],)


class Transformer(LayerStack):
    """The layers."""

    arguments: ClassVar[tuple[str, ...]] = (
        "attn_mask", "head_mask", "output_attentions", "output_hidden_states", "return_dict",
    )  # fmt: skip

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """A tuple, unless return_dict asks for an output."""
        return super().alone(result, asked | {"return_dict": bool(asked.get("return_dict"))})


class DistilBertPreTrainedModel(PreTrainedModel):
    """What every DistilBERT model shares."""

    config_class = DistilBertConfig
    base_model_prefix = "distilbert"
    supported: ClassVar[Mapping[str, Any]] = {"is_decoder": False, "add_cross_attention": False}

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TextEmbeddings) and self.config.sinusoidal_pos_embds:
            table = module.position_embeddings.weight
            table.copy_(interleaved_sinusoids(*table.shape))


class DistilBertModel(DistilBertPreTrainedModel, Encoder):
    """Embeddings and layers."""

    output_class = BaseModelOutput
    layers_name = "transformer"
    input_embedding = "embeddings.word_embeddings"

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
        self.transformer = Transformer(TransformerBlock(config, index) for index in range(config.n_layers))
        self.position_limit = config.max_position_embeddings
        self.post_init()

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
    ) -> Tensor:
        """Tokens and positions, added up and normalised."""
        embedded: Tensor = self.embeddings(input_ids, None, positions, inputs_embeds)
        return embedded

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Unpack[EncoderOptions],
    ) -> Any:
        """Tokens ``[B, S]`` to ``[B, S, D]``."""
        return super().forward(input_ids, attention_mask, None, position_ids, inputs_embeds, **options)


class DistilBertForMaskedLM(MaskedLM, DistilBertPreTrainedModel):
    """DistilBERT that fills in masked tokens."""

    model_class = DistilBertModel
    output_embedding = "vocab_projector"

    def build(self, config: DistilBertConfig) -> None:
        """Makes ``vocab_transform``, ``vocab_layer_norm`` and ``vocab_projector``."""
        self.activation = activation(config.activation, "activation")
        self.vocab_transform = Linear(config.dim, config.dim)
        self.vocab_layer_norm = LayerNorm(config.dim, eps=_EPS)
        self.vocab_projector = Linear(config.dim, config.vocab_size)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., vocabulary]``."""
        hidden = self.vocab_layer_norm(self.vocab_transform(hidden, self.activation))
        return self.vocab_projector(hidden)  # type: ignore[no-any-return]


class DistilBertForSequenceClassification(SequenceClassification, DistilBertPreTrainedModel):
    """DistilBERT with a classifier of the first token."""

    model_class = DistilBertModel
    head_dropout = "seq_classif_dropout"

    def build(self, config: DistilBertConfig) -> None:
        """Makes ``pre_classifier``, ``classifier`` and ``dropout``."""
        self.pre_classifier = Linear(config.dim, config.dim)
        super().build(config)

    def logits_of(self, encoded: Any, context: ForwardContext) -> Tensor:
        """The first token of ``[..., D]`` to ``[B, labels]``."""
        first = self.pre_classifier(context.layout.first(encoded.last_hidden_state), F.relu)
        return self.classifier(self.dropout(first))  # type: ignore[no-any-return]


class DistilBertForTokenClassification(TokenClassification, DistilBertPreTrainedModel):
    """DistilBERT with a classifier of every token."""

    model_class = DistilBertModel
    head_dropout = "dropout"


class DistilBertForQuestionAnswering(QuestionAnswering, DistilBertPreTrainedModel):
    """DistilBERT that finds the span which answers a question."""

    model_class = DistilBertModel

    def build(self, config: DistilBertConfig) -> None:
        """Makes ``qa_outputs`` and ``dropout``."""
        super().build(config)
        self.dropout = nn.Dropout(config.qa_dropout)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., 2]``."""
        return super().logits_of(self.dropout(hidden))
