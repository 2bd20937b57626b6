"""T5: an encoder-decoder that reads and writes text, with positions as a learned bias by distance.

arXiv:1910.10683, arXiv:2002.05202 (T5 1.1)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.config_types import Layers, NonNegative, Probability
from oxiformers.layers.activations import activation
from oxiformers.layers.context import ForwardOptions
from oxiformers.layers.embedding import Embedding
from oxiformers.layers.t5_names import T5Block, T5LayerNorm, T5NamesAttention
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.encoder_decoder import EncoderDecoder, Seq2SeqLM, Seq2SeqStack
from oxiformers.models.outputs import BaseModelOutput


@dataclass
class T5Config(Config):
    """Defaults are those of t5-small."""

    model_type = "t5"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: Layers = 6
    num_decoder_layers: Layers | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: Probability = 0.1
    layer_norm_epsilon: NonNegative = 1e-6
    initializer_factor: NonNegative = 1.0
    feed_forward_proj: str = "relu"
    is_encoder_decoder: bool = True
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    classifier_dropout: Probability = 0.0
    #: Whether logits are scaled by d_model ** -0.5; by default where the embeddings are tied (not in T5 1.1).
    scale_decoder_outputs: bool | None = None

    def __post_init__(self) -> None:
        if self.feed_forward_proj.rpartition("-")[0] not in ("", "gated"):
            raise self.error("feed_forward_proj", "an activation, or 'gated-' and an activation")
        if self.num_decoder_layers is None:
            self.num_decoder_layers = self.num_layers
        if self.scale_decoder_outputs is None:
            self.scale_decoder_outputs = self.tie_word_embeddings

    @property
    def is_gated_act(self) -> bool:
        """Whether feed-forward layers are gated. feed_forward_proj decides: setting this has no effect."""
        return self.feed_forward_proj.startswith("gated-")

    @is_gated_act.setter
    def is_gated_act(self, value: bool) -> None: ...

    @property
    def dense_act_fn(self) -> str:
        """The activation of feed-forward layers. feed_forward_proj decides: setting this has no effect."""
        # T5 1.1 says gelu and means its approximation.
        return (
            "gelu_new"
            if self.feed_forward_proj == "gated-gelu"
            else self.feed_forward_proj.removeprefix("gated-")
        )

    @dense_act_fn.setter
    def dense_act_fn(self, value: str) -> None: ...

    def validate(self) -> None:
        activation(self.dense_act_fn, "feed_forward_proj")
        if self.relative_attention_num_buckets < 4:
            raise self.error("relative_attention_num_buckets", "at least 4")
        if self.relative_attention_max_distance <= self.relative_attention_num_buckets // 2:
            raise self.error(
                "relative_attention_max_distance", "more than half of relative_attention_num_buckets"
            )


class T5PreTrainedModel(PreTrainedModel):
    """What every T5 model shares."""

    config_class = T5Config
    base_model_prefix = "transformer"
    # Old checkpoints have a bias that no layer ever read.
    ignored = (r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$",)

    def _init_weights(self, module: nn.Module) -> None:
        """Mesh TensorFlow's scheme: deviations by the size of what a layer reads."""
        factor = self.config.initializer_factor
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=factor * module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=factor)
        elif isinstance(module, T5LayerNorm):
            nn.init.constant_(module.weight, factor)
        elif isinstance(module, T5NamesAttention):
            nn.init.normal_(module.q.weight, std=factor * (self.config.d_model * self.config.d_kv) ** -0.5)
            if hasattr(module, "relative_attention_bias"):
                nn.init.normal_(module.relative_attention_bias.weight, std=factor * self.config.d_model**-0.5)
        elif isinstance(module, T5ForConditionalGeneration):
            nn.init.normal_(module.lm_head.weight, std=factor)


class T5Stack(Seq2SeqStack, T5PreTrainedModel):
    """The encoder's layers or, where config.is_decoder, the decoder's."""

    layers_name = "block"
    by_distance = True
    input_embedding = "embed_tokens"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.embed_tokens = Embedding(config.vocab_size, config.d_model)
        self.block = nn.ModuleList(T5Block(config, index) for index in range(config.num_layers))
        self.final_layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.post_init()

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
    ) -> Tensor:
        """The tokens' embeddings; positions are the layers' bias by distance."""
        return self.dropout(self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds)  # type: ignore[no-any-return]

    def share(self) -> tuple[Any, ...]:
        """The bias by distance, which the first layer makes."""
        return (None,)

    def finish(self, hidden: Tensor) -> Tensor:
        """The norm after the last layer."""
        return self.dropout(self.final_layer_norm(hidden))  # type: ignore[no-any-return]


class T5EncoderModel(T5PreTrainedModel):
    """The encoder alone."""

    input_embedding = "shared"
    tied: ClassVar[Mapping[str, str]] = {"encoder.embed_tokens.weight": "shared.weight"}

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config.copy_with(is_decoder=False, use_cache=False))
        self.post_init()

    def get_encoder(self) -> T5Stack:
        """The encoder."""
        return self.encoder

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[ForwardOptions],
    ) -> Any:
        """Tokens ``[B, S]`` to ``[B, S, D]``."""
        context, outermost = self.begin_forward(options)
        encoded = self.encoder(input_ids, attention_mask, inputs_embeds=inputs_embeds, context=context)
        output = BaseModelOutput(encoded.last_hidden_state, encoded.hidden_states, encoded.attentions)
        return self.end_forward(output, context, outermost)


class T5Model(EncoderDecoder, T5PreTrainedModel):
    """Encoder and decoder."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config.copy_with(is_decoder=False, use_cache=False))
        depth = config.num_decoder_layers or config.num_layers
        self.decoder = T5Stack(config.copy_with(is_decoder=True, num_layers=depth))
        self.post_init()


class T5ForConditionalGeneration(Seq2SeqLM, T5Model):
    """Encoder and decoder with the logits of the next token, ``lm_head``."""

    model_class = T5Model

    def logits_of(self, hidden: Tensor) -> Tensor:
        """The decoder's ``[..., D]`` to logits ``[..., vocabulary]``."""
        scale = self.config.d_model**-0.5 if self.config.scale_decoder_outputs else 1.0
        return super().logits_of(hidden * scale if scale != 1.0 else hidden)
