"""The tasks an encoder is put to: one class each, from the encoder's tokens to logits, loss and output.

An architecture mixes one into its own base class, owns the parameters, and says how it scores::

    class BertForSequenceClassification(SequenceClassification, BertPreTrainedModel):
        def score(self, encoded, layout): ...
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack, cast

import torch
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.door import Door, ForwardOptions
from oxiformers.layers.layout import Layout
from oxiformers.layers.loss import sequence_loss, span_loss, token_loss
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.outputs import (
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)


class EncoderHead(PreTrainedModel):
    """Something on top of the encoder that lies under ``base_model_prefix``.

    Class attributes:
        reads_first_column: the logits depend on the first column of the batch and on nothing else of the last
            layer; on that column even where the mask hides it.
    """

    reads_first_column: ClassVar[bool] = False

    def encode(
        self,
        options: ForwardOptions,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
    ) -> tuple[Door, Any]:
        """The way in and out of a call, and the encoder's output as it lies inside."""
        first = self.reads_first_column
        door = Door(self.config, options, input_ids, attention_mask, inputs_embeds, first_column=first)
        inputs = {
            "input_ids": input_ids,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        # An encoder without token types has no argument for them.
        given = {name: door.enter(tensor) for name, tensor in inputs.items() if tensor is not None}
        inside: ForwardOptions = {
            "output_attentions": door.output_attentions,
            "output_hidden_states": door.output_hidden_states,
            "return_dict": True,
            "layout": door.layout,
        }
        if first and not door.output_hidden_states:
            door.layout = inside["layout"] = door.layout.reading_first()
        return door, self.base_model(**given, **(options | inside))


class SequenceClassification(EncoderHead):
    """One class, several, or values for each sequence."""

    def score(self, encoded: Any, layout: Layout) -> Tensor:
        """The encoder's output to logits ``[B, labels]``, in the order of rows."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[ForwardOptions],
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Tokens ``[B, S]`` to logits ``[B, labels]``; for labels see `sequence_loss`."""
        door, encoded = self.encode(
            options, input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
        )
        logits = self.score(encoded, door.layout)
        output = SequenceClassifierOutput(
            loss=None if labels is None else sequence_loss(logits, labels, self.config),
            logits=logits,
            hidden_states=door.leave_states(encoded.hidden_states),
            attentions=door.leave_attentions(encoded.attentions),
        )
        return output if door.return_dict else output.to_tuple()


class TokenScores(EncoderHead):
    """Logits for each token, and their cross-entropy."""

    output_class: ClassVar[type[TokenClassifierOutput | MaskedLMOutput]]

    def score(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to logits ``[..., classes]``."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Unpack[ForwardOptions],
    ) -> TokenClassifierOutput | MaskedLMOutput | tuple[Any, ...]:
        """Tokens ``[B, S]`` to logits ``[B, S, classes]``; labels ``[B, S]``, of which -100 are left out."""
        door, encoded = self.encode(
            options, input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
        )
        logits = self.score(encoded.last_hidden_state)
        output = self.output_class(
            loss=None if labels is None else token_loss(logits, door.enter_labels(labels)),
            logits=door.leave(logits),
            hidden_states=door.leave_states(encoded.hidden_states),
            attentions=door.leave_attentions(encoded.attentions),
        )
        return output if door.return_dict else output.to_tuple()


class TokenClassification(TokenScores):
    """A class for each token: a linear layer ``classifier`` after ``dropout``."""

    output_class = TokenClassifierOutput
    dropout: nn.Module
    classifier: nn.Module

    def score(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to logits ``[..., labels]``."""
        return cast(Tensor, self.classifier(self.dropout(hidden)))


class MaskedLM(TokenScores):
    """A word for each token."""

    output_class = MaskedLMOutput


class QuestionAnswering(EncoderHead):
    """The span that answers a question: a linear layer ``qa_outputs`` scores its first and its last token."""

    qa_outputs: nn.Module

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise config.error("num_labels", "2 for question answering: the first token and the last")

    def score(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to logits ``[..., 2]``."""
        return cast(Tensor, self.qa_outputs(hidden))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **options: Unpack[ForwardOptions],
    ) -> QuestionAnsweringModelOutput | tuple[Any, ...]:
        """Tokens ``[B, S]`` to two logits ``[B, S]``; for positions ``[B]`` see `span_loss`."""
        door, encoded = self.encode(
            options, input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
        )
        start, end = self.score(encoded.last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            spans = (start, start_positions), (end, end_positions)
            loss = torch.stack([span_loss(*span, door.layout) for span in spans]).mean()
        output = QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=door.leave(start),
            end_logits=door.leave(end),
            hidden_states=door.leave_states(encoded.hidden_states),
            attentions=door.leave_attentions(encoded.attentions),
        )
        return output if door.return_dict else output.to_tuple()
