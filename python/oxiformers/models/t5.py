"""T5: an encoder-decoder that reads and writes text, with positions as a learned bias by distance.

arXiv:1910.10683, arXiv:2002.05202 (T5 1.1)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oxiformers.config import Config
from oxiformers.layers.activations import activation
from oxiformers.layers.cache import EncoderDecoderCache
from oxiformers.layers.cross_attention import CrossStep
from oxiformers.layers.decoder_door import DecoderOptions
from oxiformers.layers.inputs import Embedding
from oxiformers.layers.layout import Layout
from oxiformers.layers.linear import Linear
from oxiformers.layers.t5_names import T5Block, T5LayerNorm, T5NamesAttention
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.encoder_decoder import EncoderDecoder, Seq2SeqLM, Seq2SeqStack
from oxiformers.models.outputs import BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions


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
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    is_encoder_decoder: bool = True
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    classifier_dropout: float = 0.0
    #: Whether logits are scaled by d_model ** -0.5; by default where the embeddings are tied (not in T5 1.1).
    scale_decoder_outputs: bool | None = None

    def __post_init__(self) -> None:
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

    by_distance = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.embed_tokens = Embedding(config.vocab_size, config.d_model)
        self.block = nn.ModuleList(T5Block(config, index) for index in range(config.num_layers))
        self.final_layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.checkpoint_options: dict[str, Any] = {"use_reentrant": False}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        encoder_layout: Layout | None = None,
        **options: Unpack[DecoderOptions],
    ) -> BaseModelOutputWithPastAndCrossAttentions | tuple[Any, ...]:
        """Tokens ``[B, S]`` to ``[B, S, D]``; a decoder reads encoder_hidden_states ``[B, S_encoder, D]``."""
        past = self.make_cache(past_key_values, options)
        door = self.door(options, input_ids, attention_mask, inputs_embeds, past, encoder_attention_mask)
        embedded = door.enter(inputs_embeds)
        hidden = self.dropout(self.embed_tokens(door.enter(input_ids)) if embedded is None else embedded)
        step, cross, table = door.step(hidden.device), None, None
        if encoder_hidden_states is not None and self.config.is_decoder:
            kept = None if past is None else past.cross_attention_cache
            cross = CrossStep(
                door.layout, encoder_hidden_states, encoder_attention_mask, encoder_layout, kept
            )
        states, attentions, cross_attentions = [], [], []
        for block in self.block:
            if door.output_hidden_states:
                states.append(hidden)
            arguments = (hidden, door.layout, table, step, None if cross is None else cross.states, cross)
            if self.gradient_checkpointing and self.training:
                hidden, table, weights, cross_weights = checkpoint(
                    block, *arguments, **self.checkpoint_options
                )
            else:
                hidden, table, weights, cross_weights = block(*arguments)
            attentions.append(weights)
            cross_attentions.append(cross_weights)
        hidden = self.dropout(self.final_layer_norm(hidden))
        for part in (step, cross):
            if part is not None:
                part.commit()
        asked = door.output_attentions
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=door.leave(hidden),
            past_key_values=past,
            hidden_states=door.leave_states([*states, hidden] if door.output_hidden_states else None),
            attentions=door.leave_attentions(attentions if asked else None),
            cross_attentions=door.leave_attentions(cross_attentions if asked and cross is not None else None),
        )
        return output if door.return_dict else output.to_tuple()


class T5EncoderModel(T5PreTrainedModel):
    """The encoder alone."""

    tied: ClassVar[Mapping[str, str]] = {"encoder.embed_tokens.weight": "shared.weight"}

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(_of_encoder(config))
        self.post_init()

    def get_encoder(self) -> T5Stack:
        """The encoder."""
        return self.encoder

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[DecoderOptions],
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Tokens ``[B, S]`` to ``[B, S, D]``."""
        named = options | {"return_dict": True}
        encoded = self.encoder(input_ids, attention_mask, inputs_embeds=inputs_embeds, **named)
        output = BaseModelOutput(encoded.last_hidden_state, encoded.hidden_states, encoded.attentions)
        chosen = options.get("return_dict")
        return output if (self.config.use_return_dict if chosen is None else chosen) else output.to_tuple()


class T5Model(EncoderDecoder, T5PreTrainedModel):
    """Encoder and decoder."""

    tied: ClassVar[Mapping[str, str]] = {
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    }

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(_of_encoder(config))
        self.decoder = T5Stack(_of_decoder(config))
        self.post_init()


class T5ForConditionalGeneration(Seq2SeqLM, T5PreTrainedModel):
    """Encoder and decoder with the logits of the next token, ``lm_head``."""

    tied: ClassVar[Mapping[str, str]] = {**T5Model.tied, "lm_head.weight": "shared.weight"}

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(_of_encoder(config))
        self.decoder = T5Stack(_of_decoder(config))
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def score(self, hidden: Tensor) -> Tensor:
        """The decoder's ``[..., D]`` to logits ``[..., vocabulary]``."""
        scale = self.config.d_model**-0.5 if self.config.scale_decoder_outputs else 1.0
        logits: Tensor = self.lm_head(hidden * scale if scale != 1.0 else hidden)
        return logits


def _of_encoder(config: T5Config) -> T5Config:
    inner = copy.deepcopy(config)
    inner.is_decoder = inner.use_cache = False
    return inner


def _of_decoder(config: T5Config) -> T5Config:
    inner = copy.deepcopy(config)
    inner.is_decoder, inner.num_layers = True, config.num_decoder_layers or config.num_layers
    return inner
