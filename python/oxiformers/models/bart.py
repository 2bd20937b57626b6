"""BART: an encoder-decoder trained to restore texts that were spoiled.  arXiv:1910.13461"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.config_types import Layers, NonNegative, Probability
from oxiformers.layers.activations import activation
from oxiformers.layers.bart_names import (
    BartNamesDecoderLayer,
    BartNamesEncoderLayer,
    OffsetPositions,
    ScaledEmbedding,
)
from oxiformers.layers.norm import LayerNorm
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.encoder_decoder import EncoderDecoder, Seq2SeqStack
from oxiformers.models.seq2seq_heads import (
    BiasedSeq2SeqLM,
    DecoderCausalLM,
    DecoderWrapper,
    Seq2SeqQuestionAnswering,
    Seq2SeqSequenceClassification,
)


@dataclass
class BartConfig(Config):
    """Defaults are those of bart-large."""

    model_type = "bart"
    default_labels = 3
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
    }

    vocab_size: int = 50265
    max_position_embeddings: int = 1024
    d_model: int = 1024
    encoder_layers: Layers = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    encoder_layerdrop: Probability = 0.0
    decoder_layers: Layers = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    decoder_layerdrop: Probability = 0.0
    activation_function: str = "gelu"
    dropout: Probability = 0.1
    attention_dropout: Probability = 0.0
    activation_dropout: Probability = 0.0
    classifier_dropout: Probability = 0.0
    init_std: NonNegative = 0.02
    #: Whether embeddings of tokens are scaled by the square root of d_model.
    scale_embedding: bool = False
    is_encoder_decoder: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | list[int] | None = 0
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | list[int] | None = 2
    forced_bos_token_id: int | list[int] | None = None
    forced_eos_token_id: int | list[int] | None = 2

    def __post_init__(self) -> None:
        # Older checkpoints say no more than that there is one.
        if self.forced_bos_token_id is None and getattr(self, "force_bos_token_to_be_generated", False):
            self.forced_bos_token_id = self.bos_token_id

    @property
    def num_hidden_layers(self) -> int:
        """The encoder's layers. encoder_layers decides: setting this has no effect."""
        return self.encoder_layers

    @num_hidden_layers.setter
    def num_hidden_layers(self, value: int) -> None: ...

    def validate(self) -> None:
        self.require_multiple("d_model", "encoder_attention_heads")
        self.require_multiple("d_model", "decoder_attention_heads")
        activation(self.activation_function, "activation_function")


class BartPreTrainedModel(PreTrainedModel):
    """What every BART model shares."""

    config_class = BartConfig
    base_model_prefix = "model"
    ignored: ClassVar[tuple[str, ...]] = (r"(^|\.)(en|de)coder\.version$",)


def embedding_of(config: BartConfig) -> ScaledEmbedding:
    """The embedding of tokens, of which encoder and decoder have one each with the same weight."""
    scale = config.d_model**0.5 if config.scale_embedding else 1.0
    return ScaledEmbedding(config.vocab_size, config.d_model, config.pad_token_id, scale)


class BartStack(Seq2SeqStack, BartPreTrainedModel):
    """Tokens and learned positions, added up and normalised, and the layers."""

    input_embedding = "embed_tokens"

    def __init__(self, config: BartConfig, layers: Any, layer_drop: float) -> None:
        super().__init__(config)
        self.embed_tokens = embedding_of(config)
        self.embed_positions = OffsetPositions(config.max_position_embeddings, config.d_model)
        self.layers = nn.ModuleList(layers)
        self.layernorm_embedding = LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.layer_drop, self.position_limit = layer_drop, config.max_position_embeddings
        self.post_init()

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
    ) -> Tensor:
        """Tokens and positions, added up and normalised."""
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        embedded = embedded + self.embed_positions(input_ids, position_ids=positions)
        return self.dropout(self.layernorm_embedding(embedded))  # type: ignore[no-any-return]


class BartEncoder(BartStack):
    """Reads ids or embeddings; without a causal mask and without a cache."""

    is_decoder = False

    def __init__(self, config: BartConfig) -> None:
        heads, width = config.encoder_attention_heads, config.encoder_ffn_dim
        layers = (
            BartNamesEncoderLayer(config, index, heads, width) for index in range(config.encoder_layers)
        )
        super().__init__(config, layers, config.encoder_layerdrop)


class BartDecoder(BartStack):
    """Continues ids step by step, reading what the encoder made."""

    is_decoder = True

    def __init__(self, config: BartConfig) -> None:
        heads, width = config.decoder_attention_heads, config.decoder_ffn_dim
        layers = (
            BartNamesDecoderLayer(config, index, heads, width) for index in range(config.decoder_layers)
        )
        super().__init__(config, layers, config.decoder_layerdrop)


class BartModel(EncoderDecoder, BartPreTrainedModel):
    """Encoder and decoder; the decoder reads the encoder's tokens, shifted, where it is given none."""

    shifts_input_ids = True

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.shared = embedding_of(config)
        self.encoder = BartEncoder(config)
        self.decoder = BartDecoder(config)
        self.post_init()


class BartForConditionalGeneration(BiasedSeq2SeqLM, BartPreTrainedModel):
    """Encoder and decoder with the logits of the next token."""

    model_class = BartModel


class BartForSequenceClassification(Seq2SeqSequenceClassification, BartPreTrainedModel):
    """Encoder and decoder with a classifier of the end of the sequence."""

    model_class = BartModel


class BartForQuestionAnswering(Seq2SeqQuestionAnswering, BartPreTrainedModel):
    """Encoder and decoder that find the span which answers a question."""

    model_class = BartModel


class BartDecoderWrapper(DecoderWrapper, BartPreTrainedModel):
    """The decoder under the name that it has beside an encoder."""

    decoder_class = BartDecoder


class BartForCausalLM(DecoderCausalLM, BartPreTrainedModel):
    """The decoder alone, with the logits of the next token."""

    model_class = BartDecoderWrapper
