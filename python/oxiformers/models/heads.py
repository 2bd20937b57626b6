"""Heads: one class a task, from what a base model computes to logits, loss and output.

An architecture mixes one into its own base class and names its base model, and no more where names are usual::

    class RobertaForTokenClassification(TokenClassification, RobertaPreTrainedModel):
        model_class = RobertaModel

A head does not know what its base model reads: the arguments of its forward are the base model's, then its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.errors import InputTypeError
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.linear import Linear
from oxiformers.layers.loss import sequence_loss, span_loss, token_loss
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.outputs import (
    MaskedLMOutput,
    ModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)


class Head(PreTrainedModel):
    """Something on top of the base model that lies under ``base_model_prefix``.

    Class attributes:
        model_class: of the base model; a head that is itself one (T5) owns the base model's parts.
        output_class: of forward; fields that the base model's output has, too, are taken from there.
        model_options: arguments of the base model's constructor.
        pools: whether the base model needs its pooler.
        arguments: those of forward in their order, where it is not the base model's arguments and then its own. One
            of the base model's that is not among them is given by name.
        head_dropout: the config's key of the dropout before a classifier; "" for classifier_dropout where the config
            sets it, else hidden_dropout_prob.
        reads_first_column: the logits depend on the first column of the batch and on nothing else of the last
            layer; on that column even where the mask hides it.
    """

    model_class: ClassVar[type[Any]]
    output_class: ClassVar[type[Any]]
    model_options: ClassVar[Mapping[str, Any]] = {}
    pools: ClassVar[bool] = False
    arguments: ClassVar[tuple[str, ...]] = ()
    head_dropout: ClassVar[str] = ""
    reads_first_column: ClassVar[bool] = False
    _inputs: ClassVar[tuple[str, ...]] = ()
    _read: ClassVar[tuple[str, ...]] = ()
    _own: ClassVar[tuple[str, ...]] = ()
    _positional: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "model_class"):
            return
        cls._inputs = _names(cls.model_class.forward)
        cls._read = tuple(name for name in _names(cls.predict) if name not in ("encoded", "context"))
        cls._own = tuple(name for name in cls._read if name not in cls._inputs)
        cls._positional = cls.arguments or (*cls._inputs, *cls._own)
        cls.known_options = cls.model_class.known_options
        cls.main_input_name = cls.model_class.main_input_name
        cls.forward = _with_signature(cls)  # type: ignore[method-assign]

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        if not isinstance(self, self.model_class):
            poolable = "add_pooling_layer" in inspect.signature(self.model_class.__init__).parameters
            options = dict(self.model_options)
            if poolable and not self.pools:
                options["add_pooling_layer"] = False
            self.add_module(self.base_model_prefix, self.model_class(config, **options))
        self.build(config)
        self.post_init()

    def build(self, config: Any) -> None:
        """Makes the head's own modules."""

    def prepare(self, given: dict[str, Any], own: dict[str, Any]) -> None:
        """Completes the base model's arguments `given`, or the head's `own`, which go to `predict`, by the others."""

    def dropout_before_classifier(self, config: Any) -> nn.Dropout:
        """The module, see `head_dropout`."""
        key = self.head_dropout or "classifier_dropout"
        if not self.head_dropout and getattr(config, key, None) is None:
            key = "hidden_dropout_prob"
        return nn.Dropout(getattr(config, key))

    def predict(self, encoded: Any, context: ForwardContext) -> ModelOutput:
        """The base model's output, its tokens as the context's layout has them, to loss and logits.

        Arguments after these two are arguments of forward, None by default; where the base model has one of that name,
        both get it. Keyword-only ones are of `prepare`.
        """
        raise NotImplementedError

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base model's arguments, then labels and what else the head takes; see the signature."""
        names, given = self._positional, dict(kwargs)
        if len(args) > len(names):
            raise InputTypeError.mismatch("arguments", f"at most {len(names)} without names", len(args))
        for name, value in zip(names, args, strict=False):
            if name in given:
                raise InputTypeError.mismatch(name, "to be given once", "twice")
            given[name] = value
        own = {name: given[name] for name in self._read if name in given}
        given = {name: value for name, value in given.items() if name not in self._own}
        taken = set(self._inputs) - self.known_options
        context, outermost = self.begin_forward({name: given[name] for name in given if name not in taken})
        context.first_column = context.reads_first = self.reads_first_column
        self.prepare(given, own)
        given["context"] = context
        if isinstance(self, self.model_class):
            encoded = self.model_class.forward(self, **given)
        else:
            encoded = self.base_model(**given)
        output = self.predict(encoded, context, **own)
        for name in output.__dataclass_fields__:
            if name not in ("loss", "logits") and (value := getattr(encoded, name, None)) is not None:
                setattr(output, name, value)
        return self.end_forward(output, context, outermost)


def _names(function: Any) -> tuple[str, ...]:
    """The arguments of a method that callers may give by place, without self."""
    parameters = list(inspect.signature(function).parameters.values())
    return tuple(item.name for item in parameters[1:] if item.kind is item.POSITIONAL_OR_KEYWORD)


def _with_signature(cls: type[Head]) -> Any:
    """The forward of a head, with the signature that its arguments make, which Trainers read."""

    def forward(self: Head, *args: Any, **kwargs: Any) -> Any:
        return Head.forward(self, *args, **kwargs)

    of_model = inspect.signature(cls.model_class.forward)
    inputs = list(of_model.parameters.values())
    known = dict(inspect.signature(cls.predict).parameters) | dict(of_model.parameters)
    named = [known[name].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in cls._positional]
    rest = [item for item in inputs if item.kind is item.VAR_KEYWORD]
    forward.__signature__ = of_model.replace(parameters=[inputs[0], *named, *rest])  # type: ignore[attr-defined]
    forward.__doc__ = cls.predict.__doc__
    forward.__qualname__ = f"{cls.__qualname__}.forward"
    forward.__module__ = cls.__module__
    return forward


class SequenceClassification(Head):
    """One class, several, or values for each sequence: a linear layer ``classifier`` after ``dropout``."""

    output_class = SequenceClassifierOutput
    pools = True
    reads_first_column = True
    dropout: nn.Module
    classifier: nn.Module

    def build(self, config: Any) -> None:
        """Makes ``dropout`` and ``classifier``."""
        self.dropout = self.dropout_before_classifier(config)
        self.classifier = Linear(config.hidden_size, config.num_labels)

    def logits_of(self, encoded: Any, context: ForwardContext) -> Tensor:
        """The base model's output to logits ``[B, labels]``, in the order of rows."""
        return cast(Tensor, self.classifier(self.dropout(encoded.pooler_output)))

    def predict(self, encoded: Any, context: ForwardContext, labels: Tensor | None = None) -> Any:
        """Tokens ``[B, S]`` to logits ``[B, labels]``; for labels see `loss.sequence_loss`."""
        logits = self.logits_of(encoded, context)
        loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return self.output_class(loss=loss, logits=logits)


class TokenScores(Head):
    """Logits for each token, and their cross-entropy."""

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to logits ``[..., classes]``."""
        raise NotImplementedError

    def predict(self, encoded: Any, context: ForwardContext, labels: Tensor | None = None) -> Any:
        """Tokens ``[B, S]`` to logits ``[B, S, classes]``; labels ``[B, S]``, of which -100 are left out."""
        logits = self.logits_of(encoded.last_hidden_state)
        loss = None if labels is None else token_loss(logits, context.pack_labels(labels))
        return self.output_class(loss=loss, logits=context.unpack(logits))


class TokenClassification(TokenScores):
    """A class for each token: a linear layer ``classifier`` after ``dropout``."""

    output_class = TokenClassifierOutput
    dropout: nn.Module
    classifier: nn.Module

    def build(self, config: Any) -> None:
        """Makes ``dropout`` and ``classifier``."""
        self.dropout = self.dropout_before_classifier(config)
        self.classifier = Linear(config.hidden_size, config.num_labels)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to logits ``[..., labels]``."""
        return cast(Tensor, self.classifier(self.dropout(hidden)))


class MaskedLM(TokenScores):
    """A token of the vocabulary for each token."""

    output_class = MaskedLMOutput


class QuestionAnswering(Head):
    """The span that answers a question: a linear layer ``qa_outputs`` scores its first and its last token."""

    output_class = QuestionAnsweringModelOutput
    qa_outputs: nn.Module

    def build(self, config: Any) -> None:
        """Makes ``qa_outputs``."""
        if config.num_labels != 2:
            raise config.error("num_labels", "2 for question answering: the first token and the last")
        self.qa_outputs = Linear(config.hidden_size, 2)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to logits ``[..., 2]``."""
        return cast(Tensor, self.qa_outputs(hidden))

    def predict(
        self,
        encoded: Any,
        context: ForwardContext,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
    ) -> Any:
        """Tokens ``[B, S]`` to two logits ``[B, S]``; for positions ``[B]`` see `loss.span_loss`."""
        start, end = self.logits_of(encoded.last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            spans = (start, start_positions), (end, end_positions)
            loss = torch.stack([span_loss(*span, context.layout) for span in spans]).mean()
        return self.output_class(
            loss=loss, start_logits=context.unpack(start), end_logits=context.unpack(end)
        )
