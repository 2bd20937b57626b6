"""Heads of encoder-decoders: next tokens with a bias, classes of sequences, answers; and their decoders alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers.config import Config
from oxiformers.errors import ArgumentError
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.layout import Layout
from oxiformers.layers.linear import Linear
from oxiformers.layers.loss import sequence_loss, span_loss
from oxiformers.layers.roberta_names import RobertaNamesClassificationHead
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.decoder import CausalLM
from oxiformers.models.encoder_decoder import Seq2SeqLM, Seq2SeqStack
from oxiformers.models.heads import Head, QuestionAnswering
from oxiformers.models.outputs import (
    CausalLMOutputWithCrossAttentions,
    Seq2SeqQuestionAnsweringModelOutput,
    Seq2SeqSequenceClassifierOutput,
)


class BiasedSeq2SeqLM(Seq2SeqLM):
    """The logits of the next token with a bias that is not trained, ``final_logits_bias``."""

    defaulted = (r"^final_logits_bias$",)
    final_logits_bias: Tensor

    def build(self, config: Any) -> None:
        """Makes ``lm_head`` and the bias, zeros."""
        super().build(config)
        self.register_buffer("final_logits_bias", torch.zeros(1, config.vocab_size))

    def logits_of(self, hidden: Tensor) -> Tensor:
        """The decoder's ``[..., D]`` to logits ``[..., vocabulary]``."""
        logits = super().logits_of(hidden)
        return logits + self.final_logits_bias.view(-1).to(logits.dtype)

    def tie_weights(self) -> None:
        """As TokenEmbeddings does; the bias follows the number of tokens, and new ones have none."""
        super().tie_weights()
        added = len(self.lm_head.weight) - self.final_logits_bias.shape[1]
        if added:
            self.final_logits_bias = F.pad(self.final_logits_bias, (0, added))


class Seq2SeqHead(Head):
    """A head of the decoder's tokens, which by default are the encoder's, one position later."""

    def prepare(self, given: dict[str, Any], own: dict[str, Any]) -> None:
        """Hands the base model's arguments to `predict`."""
        own["inputs"] = given


class Seq2SeqSequenceClassification(Seq2SeqHead):
    """One class, several, or values for each sequence, by the decoder's token at the last end of sequence."""

    output_class = Seq2SeqSequenceClassifierOutput

    def build(self, config: Any) -> None:
        """Makes ``classification_head``."""
        if not isinstance(config.eos_token_id, int):
            raise config.error("eos_token_id", "an integer: a sequence is classified by what is read there")
        self.classification_head = RobertaNamesClassificationHead(
            config.hidden_size, config.num_labels, config.classifier_dropout
        )

    def predict(
        self, encoded: Any, context: ForwardContext, labels: Tensor | None = None, *, inputs: Any = None
    ) -> Any:
        """Tokens ``[B, S]`` to logits ``[B, labels]``; for labels see `loss.sequence_loss`.

        Every sequence has the same number of eos_token_id, and the decoder as many tokens as the encoder.
        """
        tokens = context.unpack(encoded.last_hidden_state)
        flat = tokens if context.came_in_packed else tokens.flatten(0, 1)
        logits = self.classification_head(flat[self._last_ends(inputs.get("input_ids"), context)])
        loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return self.output_class(loss=loss, logits=logits)

    def _last_ends(self, ids: Tensor | None, context: ForwardContext) -> Tensor:
        """Which tokens of the flattened batch are the last eos_token_id of their sequences, ``[B]``."""
        if ids is None:
            raise ArgumentError.mismatch(
                "input_ids", "a tensor", None, "embeddings do not show where a sequence ends"
            )
        if ids.shape != context.tokens.shape[: ids.dim()]:
            shape = tuple(context.tokens.shape)
            raise ArgumentError.mismatch(
                "decoder_input_ids", f"the shape of input_ids, {tuple(ids.shape)}", shape
            )
        if context.came_in_packed:
            assert context.layout.query is not None
            lengths = context.layout.query.lengths.to(ids.device)
        else:
            lengths = torch.full(ids.shape[:1], ids.shape[1], device=ids.device)
        rows = torch.arange(len(lengths), device=ids.device)
        row = torch.repeat_interleave(rows, lengths, output_size=ids.numel())
        end: Any = self.config.eos_token_id
        is_end = ids.flatten().eq(end)
        counts = torch.zeros_like(rows).index_add(0, row, is_end.long())
        if not torch.compiler.is_compiling() and (not counts.all() or bool((counts != counts[0]).any())):
            raise ArgumentError.mismatch(
                "input_ids", "as many eos_token_id in each sequence, and at least one", counts.tolist(),
                "All examples must have the same number of <eos> tokens.",
            )  # fmt: skip
        at_ends = torch.arange(ids.numel(), device=ids.device).masked_fill(~is_end, 0)
        return torch.zeros_like(rows).scatter_reduce(0, row, at_ends, "amax")


class Seq2SeqQuestionAnswering(Seq2SeqHead, QuestionAnswering):
    """The span that answers a question, by the decoder's tokens, whatever labels the config has."""

    output_class: ClassVar[type[Any]] = Seq2SeqQuestionAnsweringModelOutput

    def build(self, config: Any) -> None:
        """Makes ``qa_outputs``."""
        self.qa_outputs = Linear(config.hidden_size, 2)

    def predict(
        self,
        encoded: Any,
        context: ForwardContext,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        *,
        inputs: Any = None,
    ) -> Any:
        """Tokens ``[B, S]`` to two logits ``[B, S]``; for positions ``[B]`` see `loss.span_loss`."""
        output = super().predict(encoded, context)
        if start_positions is not None and end_positions is not None:
            layout, mask = context.layout, inputs.get("attention_mask")
            scores = output.start_logits, output.end_logits
            if not context.came_in_packed:
                shifted = inputs.get("decoder_input_ids") is None is inputs.get("decoder_inputs_embeds")
                if shifted and mask is not None:
                    # The decoder has read the encoder's padding, which answers nothing.
                    layout = Layout.of(scores[0], mask)
                scores = layout.pack(scores[0]), layout.pack(scores[1])
            spans = zip(scores, (start_positions, end_positions), strict=True)
            output.loss = torch.stack([span_loss(*span, layout) for span in spans]).mean()
        return output


class DecoderWrapper(PreTrainedModel):
    """A decoder under the name that it has in its encoder-decoder, so that one's checkpoints fit the other.

    Class attributes:
        decoder_class: of the decoder.
    """

    decoder_class: ClassVar[type[Seq2SeqStack]]
    known_options = Seq2SeqStack.known_options
    input_embedding = "decoder.embed_tokens"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.decoder = self.decoder_class(config)

    @wraps(Seq2SeqStack.forward)
    def forward(self, *arguments: Any, **named: Any) -> Any:  # type: ignore[override]
        """As the decoder's."""
        return self.decoder(*arguments, **named)


class DecoderCausalLM(CausalLM):
    """The decoder of an encoder-decoder, which may read an encoder, and the logits of the next token."""

    output_class = CausalLMOutputWithCrossAttentions
    # Checkpoints of the whole model serve, too.
    ignored: ClassVar[tuple[str, ...]] = (r"^model\.(encoder\.|shared\.)", r"^final_logits_bias$")
    substitutes: ClassVar[Mapping[str, str]] = {
        "model.shared.weight": "model.decoder.embed_tokens.weight",
    }

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config.copy_with(is_decoder=True, is_encoder_decoder=False), *args, **kwargs)

    def targets(self, labels: Tensor, context: ForwardContext) -> Tensor:
        """The labels where they stand: unlike other decoders' they are what is to be predicted there."""
        return context.pack_labels(labels)

    def get_decoder(self) -> Any:
        """The decoder."""
        decoder: Any = self.get_submodule("model.decoder")
        return decoder
