"""What encoder-decoders share: their two stacks, how these are called, and the head that predicts the next token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor

from oxiformers.errors import ArgumentError
from oxiformers.layers.context import DecoderOptions, ForwardContext, Seq2SeqOptions
from oxiformers.layers.layout import Layout
from oxiformers.layers.linear import Linear
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.decoder import next_token_loss
from oxiformers.models.heads import Head
from oxiformers.models.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    ModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)
from oxiformers.models.stack import Stack


class Seq2SeqStack(Stack):
    """The layers of an encoder or, where `is_decoder`, of a decoder that reads one: see Stack."""

    output_class = BaseModelOutputWithPastAndCrossAttentions
    layers_name = "layers"
    known_options = frozenset(DecoderOptions.__annotations__) | {"head_mask", "cross_attn_head_mask"}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Any = None,
        **options: Any,
    ) -> Any:
        """Tokens ``[B, S]`` to ``[B, S, D]``; a decoder reads encoder_hidden_states ``[B, S_encoder, D]``."""
        read = {
            "encoder_hidden_states": encoder_hidden_states,
            "encoder_attention_mask": encoder_attention_mask,
        }
        return self.read(
            {**options, **read},
            input_ids,
            attention_mask,
            None,
            inputs_embeds,
            past_key_values=past_key_values,
        )

    @property
    def reads_encoder(self) -> bool:
        """Whether there is cross-attention: in every decoder."""
        return self.is_decoder


class EncoderDecoder(PreTrainedModel):
    """An encoder and a decoder that reads its output, both of them Seq2SeqStacks.

    Class attributes:
        shifts_input_ids: the decoder reads input_ids, one position later, where it is given nothing.
    """

    known_options = frozenset(Seq2SeqOptions.__annotations__)
    input_embedding = "shared"
    tied: ClassVar[Mapping[str, str]] = {
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    }
    shifts_input_ids: ClassVar[bool] = False
    encoder: Any
    decoder: Any

    def get_encoder(self) -> Any:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> Any:
        """The decoder."""
        return self.decoder

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        **options: Unpack[Seq2SeqOptions],
    ) -> Any:
        """Tokens ``[B, S]`` and the decoder's ``[B, S_decoder]`` to the decoder's ``[B, S_decoder, D]``.

        encoder_outputs, ``last_hidden_state`` first, take the place of input_ids; attention_mask is theirs.
        """
        context, outermost = self.begin_forward(options)
        layout = options.get("layout")
        if self.shifts_input_ids and decoder_input_ids is None and decoder_inputs_embeds is None:
            if input_ids is None:
                raise ArgumentError.mismatch(
                    "decoder_input_ids", "the decoder's tokens without input_ids", None
                )
            decoder_input_ids = self.shift_right(input_ids, layout)
            context.lie_as(layout)
        if encoder_outputs is None:
            side = context.beside(layout, options.get("head_mask"))
            encoded = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, context=side
            )
            self.unpack(encoded, side)
        elif isinstance(encoder_outputs, ModelOutput):
            encoded = encoder_outputs
        else:
            encoded = BaseModelOutput(*encoder_outputs)
        decoded = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=attention_mask,
            inputs_embeds=decoder_inputs_embeds,
            past_key_values=options.get("cache") if past_key_values is None else past_key_values,
            encoder_layout=layout,
            context=context,
        )
        output = Seq2SeqModelOutput(
            last_hidden_state=decoded.last_hidden_state,
            past_key_values=decoded.past_key_values,
            decoder_hidden_states=decoded.hidden_states,
            decoder_attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_last_hidden_state=encoded.last_hidden_state,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
        )
        return self.end_forward(output, context, outermost)

    def shift_right(self, tokens: Tensor, layout: Layout | None = None) -> Tensor:
        """Tokens ``[B, S]`` (or ``[T]`` with a layout), such as labels, to what the decoder reads: one position
        later, after decoder_start_token_id; -100 becomes pad_token_id.

        Raises:
            ArgumentError: the config has no decoder_start_token_id or no pad_token_id.
        """
        start: Any = self.config.decoder_start_token_id
        padding: Any = self.config.pad_token_id
        for key, value in (("decoder_start_token_id", start), ("pad_token_id", padding)):
            if not isinstance(value, int):
                raise ArgumentError.mismatch(
                    f"config.{key}", "an integer", value, "the decoder's input is made from it"
                )
        shifted = F.pad(tokens[..., :-1], (1, 0), value=start)
        if layout is not None:
            shifted = shifted.masked_fill(layout.positions(tokens.device) == 0, start)
        return shifted.masked_fill(shifted == -100, padding)


class Seq2SeqLM(Head):
    """An encoder-decoder and the logits of the next token, ``lm_head``."""

    output_class = Seq2SeqLMOutput
    output_embedding = "lm_head"

    def build(self, config: Any) -> None:
        """Makes ``lm_head``."""
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """The decoder's ``[..., D]`` to logits ``[..., vocabulary]``."""
        logits: Tensor = self.lm_head(hidden)
        return logits

    def prepare(self, given: dict[str, Any], own: dict[str, Any]) -> None:
        """Makes the decoder's input of the labels, where it has none."""
        labels = own.get("labels")
        if labels is not None and given.get("decoder_input_ids") is None is given.get(
            "decoder_inputs_embeds"
        ):
            given["decoder_input_ids"] = self.shift_right(labels, given.get("decoder_layout"))

    def predict(
        self,
        encoded: Any,
        context: ForwardContext,
        labels: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
    ) -> Any:
        """As EncoderDecoder.forward, to logits ``[B, S_decoder, vocabulary]``.

        Args:
            labels: ``[B, S_decoder]``, what the decoder is to say; without decoder_input_ids they are also
                what it reads, one position later. -100 is left out.
            num_items_in_batch: what the sum of the losses is divided by; the number of labels by default.
        """
        logits, loss = self.logits_of(encoded.last_hidden_state), None
        if labels is not None:
            loss = next_token_loss(logits, context.pack_labels(labels), num_items_in_batch)
        return self.output_class(loss=loss, logits=context.unpack(logits))

    def get_encoder(self) -> Any:
        """The encoder."""
        return self.base_model.encoder

    def get_decoder(self) -> Any:
        """The decoder."""
        return self.base_model.decoder

    def shift_right(self, tokens: Tensor, layout: Layout | None = None) -> Tensor:
        """See EncoderDecoder.shift_right."""
        base: Any = self.base_model
        shift: Any = EncoderDecoder.shift_right if base is self else type(base).shift_right
        shifted: Tensor = shift(base, tokens, layout)
        return shifted

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Labels ``[B, S]`` to what the decoder reads: one position later, after decoder_start_token_id."""
        return self.shift_right(labels)
