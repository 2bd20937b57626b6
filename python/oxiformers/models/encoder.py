"""The skeleton of encoders of text; with is_decoder in their config they are decoders, and may read an encoder."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from oxiformers.layers.context import DecoderOptions, EncoderOptions
from oxiformers.models.stack import Stack


class Encoder(Stack):
    """Embeddings and layers of an encoder: see Stack for what subclasses say."""

    known_options = frozenset(EncoderOptions.__annotations__) | frozenset(DecoderOptions.__annotations__)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[EncoderOptions],
    ) -> Any:
        """Tokens ``[B, S]`` to ``[B, S, D]``, and to a pooled ``[B, D]`` where the model has a pooler.

        With past_key_values the tokens continue those of the calls before, see Decoder.forward.
        """
        return self.read(
            options, input_ids, attention_mask, position_ids, inputs_embeds, token_type_ids,
            options.get("past_key_values"),
        )  # fmt: skip
