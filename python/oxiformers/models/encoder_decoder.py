"""What encoder-decoders share: how the two halves are called, and the head that predicts the next token."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.layers.cache import EncoderDecoderCache
from oxiformers.layers.decoder_door import DecoderDoor, DecoderOptions
from oxiformers.layers.inputs import check_options
from oxiformers.layers.layout import Layout
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.decoder import may_cache, next_token_loss
from oxiformers.models.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    ModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)


class Seq2SeqOptions(DecoderOptions, total=False):
    """As DecoderOptions; ``layout`` is that of the encoder's tokens.

    Attributes:
        decoder_layout: the decoder's tokens come packed, in the same order of sequences as the encoder's.
    """

    decoder_layout: Layout | None


_OPTIONS = frozenset(DecoderOptions.__annotations__) | frozenset(Seq2SeqOptions.__annotations__)


class Seq2SeqStack(PreTrainedModel):
    """The layers of an encoder or, where config.is_decoder, of a decoder that reads one.

    Class attributes:
        by_distance: attention depends on the distance in columns, see lay_out.
    """

    by_distance: ClassVar[bool] = False
    gradient_checkpointing = False

    def make_cache(self, past: Any, options: DecoderOptions) -> EncoderDecoderCache | None:
        """The cache of the calls before, or a new one where the call wants one and the stack is a decoder."""
        if past is not None and not isinstance(past, EncoderDecoderCache):
            due, found = "an oxiformers.EncoderDecoderCache", type(past).__name__
            raise InputTypeError(
                f"past_key_values: expected {due}, got {found}",
                key="past_key_values",
                expected=due,
                actual=found,
            )
        asked = options.get("use_cache")
        wanted = self.config.use_cache if asked is None else asked
        if past is None and self.config.is_decoder and wanted and may_cache(self, options):
            return EncoderDecoderCache()
        return past if self.config.is_decoder else None

    def door(
        self,
        options: DecoderOptions,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        past: EncoderDecoderCache | None,
        encoder_attention_mask: Tensor | None,
    ) -> DecoderDoor:
        """The way in and out of a call."""
        return DecoderDoor(
            self.config, options, input_ids, attention_mask, inputs_embeds,
            None if past is None else past.self_attention_cache,
            may_cache=False, by_distance=self.by_distance,
            rectangular=encoder_attention_mask is not None and encoder_attention_mask.dim() > 2,
        )  # fmt: skip


class EncoderDecoder(PreTrainedModel):
    """An encoder, and a decoder that reads its output.

    Both are stacks. The encoder is called as ``encoder(input_ids, attention_mask, inputs_embeds=...,
    layout=...)``; the decoder with its tokens, their mask, the encoder's output and mask, embeddings, a cache
    and the encoder's layout.
    """

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
    ) -> Seq2SeqModelOutput | tuple[Any, ...]:
        """Tokens ``[B, S]`` and the decoder's ``[B, S_decoder]`` to the decoder's ``[B, S_decoder, D]``.

        encoder_outputs, ``last_hidden_state`` first, take the place of input_ids; attention_mask is theirs.
        """
        door, encoded, decoded = self.run(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs,
            past_key_values, inputs_embeds, decoder_inputs_embeds, options,
        )  # fmt: skip
        assert decoded.last_hidden_state is not None
        last = door.leave(decoded.last_hidden_state)
        output = Seq2SeqModelOutput(last_hidden_state=last, **_sides(door, encoded, decoded))
        return output if door.return_dict else output.to_tuple()

    def run(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        decoder_input_ids: Tensor | None,
        decoder_attention_mask: Tensor | None,
        encoder_outputs: Any,
        past_key_values: Any,
        inputs_embeds: Tensor | None,
        decoder_inputs_embeds: Tensor | None,
        options: Seq2SeqOptions,
    ) -> tuple[DecoderDoor, BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions]:
        """The decoder's door, the encoder's output, and the decoder's as its tokens lie inside."""
        check_options(options, _OPTIONS)
        shown: DecoderOptions = {
            "output_attentions": options.get("output_attentions"),
            "output_hidden_states": options.get("output_hidden_states"),
            "return_dict": True,
        }
        if encoder_outputs is None:
            layout = options.get("layout")
            encoded = self.encoder(
                input_ids, attention_mask, inputs_embeds=inputs_embeds, layout=layout, **shown
            )
        elif isinstance(encoder_outputs, ModelOutput):
            encoded = encoder_outputs
        else:
            encoded = BaseModelOutput(*encoder_outputs)
        decoder = self.decoder
        past = decoder.make_cache(past_key_values, {"use_cache": options.get("use_cache")})
        outside: DecoderOptions = {
            **shown, "return_dict": options.get("return_dict"), "layout": options.get("decoder_layout")
        }  # fmt: skip
        door = decoder.door(
            outside, decoder_input_ids, decoder_attention_mask, decoder_inputs_embeds, past, attention_mask
        )
        _check_rows(door, encoded.last_hidden_state, options.get("layout"))
        decoded = decoder(
            door.enter(decoder_input_ids), decoder_attention_mask, encoded.last_hidden_state, attention_mask,
            door.enter(decoder_inputs_embeds), past, options.get("layout"),
            **(shown | {"layout": door.layout, "use_cache": False}),
        )  # fmt: skip
        return door, encoded, decoded


class Seq2SeqLM(EncoderDecoder):
    """An encoder-decoder with the logits of the next token."""

    def score(self, hidden: Tensor) -> Tensor:
        """The decoder's ``[..., D]`` to logits ``[..., vocabulary]``."""
        raise NotImplementedError

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **options: Unpack[Seq2SeqOptions],
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """As EncoderDecoder.forward, to logits ``[B, S_decoder, vocabulary]``.

        Args:
            labels: ``[B, S_decoder]``, what the decoder is to say; without decoder_input_ids they are also
                what it reads, one place later. -100 is left out.
            num_items_in_batch: what the sum of the losses is divided by; the number of labels by default.
        """
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.shift_right(labels, options.get("decoder_layout"))
        door, encoded, decoded = self.run(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs,
            past_key_values, inputs_embeds, decoder_inputs_embeds, options,
        )  # fmt: skip
        assert decoded.last_hidden_state is not None
        logits, loss = self.score(decoded.last_hidden_state), None
        if labels is not None:
            loss = next_token_loss(logits, door.enter_labels(labels), num_items_in_batch)
        output = Seq2SeqLMOutput(loss=loss, logits=door.leave(logits), **_sides(door, encoded, decoded))
        return output if door.return_dict else output.to_tuple()

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Labels ``[B, S]`` to what the decoder reads: one place later, after decoder_start_token_id."""
        return self.shift_right(labels)

    def shift_right(self, labels: Tensor, layout: Layout | None = None) -> Tensor:
        """As prepare_decoder_input_ids_from_labels; packed labels ``[T]`` with their layout.

        Raises:
            ArgumentError: the config has no decoder_start_token_id or no pad_token_id.
        """
        start, padding = self.config.decoder_start_token_id, self.config.pad_token_id
        if not isinstance(start, int) or padding is None:
            key, value = (
                ("pad_token_id", padding) if isinstance(start, int) else ("decoder_start_token_id", start)
            )
            raise ArgumentError(
                f"labels: to make the decoder's input of them, the config needs {key}, which is {value}",
                key=key, expected="an integer", actual=str(value),
            )  # fmt: skip
        shifted = F.pad(labels[..., :-1], (1, 0), value=start)
        if layout is not None:
            shifted = shifted.masked_fill(layout.positions(labels.device) == 0, start)
        return shifted.masked_fill(shifted == -100, padding)


def _check_rows(door: DecoderDoor, encoded: Tensor | None, layout: Layout | None) -> None:
    """Raises ArgumentError where the decoder has another number of sequences than the encoder."""
    if door.layout.shape is None or encoded is None or layout is not None:
        return
    if encoded.shape[0] != door.layout.shape[0]:
        raise ArgumentError(
            f"decoder_input_ids: {door.layout.shape[0]} sequences for an encoder's {encoded.shape[0]}",
            key="decoder_input_ids", expected=f"{encoded.shape[0]} sequences",
            actual=f"{door.layout.shape[0]} sequences",
        )  # fmt: skip


def _sides(
    door: DecoderDoor, encoded: BaseModelOutput, decoded: BaseModelOutputWithPastAndCrossAttentions
) -> dict[str, Any]:
    """What both outputs tell of the decoder and of the encoder."""
    return {
        "past_key_values": decoded.past_key_values,
        "decoder_hidden_states": door.leave_states(decoded.hidden_states),
        "decoder_attentions": door.leave_attentions(decoded.attentions),
        "cross_attentions": door.leave_attentions(decoded.cross_attentions),
        "encoder_last_hidden_state": encoded.last_hidden_state,
        "encoder_hidden_states": encoded.hidden_states,
        "encoder_attentions": encoded.attentions,
    }
