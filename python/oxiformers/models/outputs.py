"""What a model's forward returns: a dataclass that is a dict and a tuple of its fields that are not None."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import Tensor
from torch.utils import _pytree as pytree

Tensors = tuple[Tensor, ...]


class ModelOutput(OrderedDict[str, Any]):
    """The base of the outputs. Subclasses are dataclasses whose first field may be required.

    `output.logits` and `output["logits"]` are the same; `output[0]`, `output[:2]` and `to_tuple()` leave out
    fields that are None, and so do `keys()` and iteration, which run over names as a dict's do. A first
    argument that is a dict, or an iterable of pairs (name, value), fills several fields. Every subclass is a
    node for torch's pytree, so that torch.compile, DistributedDataParallel and checkpointing see its tensors.
    """

    __dataclass_fields__: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        pytree.register_pytree_node(
            cls,
            _flatten,
            lambda values, names: _unflatten(cls, values, names),
            serialized_type_name=f"{cls.__module__}.{cls.__qualname__}",
            flatten_with_keys_fn=_flatten_with_keys,
        )

    def __post_init__(self) -> None:
        names = list(self.__dataclass_fields__)
        first = self.__dict__.get(names[0])
        if any(self.__dict__.get(name) is not None for name in names[1:]) or first is None:
            return
        if isinstance(first, dict):
            pairs = list(first.items())
        elif isinstance(first, (list, tuple, Iterator)):
            values = list(first)
            if not values or not all(_is_pair(value) for value in values):
                return
            pairs = values
        else:
            return
        setattr(self, names[0], None)
        for name, value in pairs:
            self[name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name in self.__dataclass_fields__:
            if value is not None:
                OrderedDict.__setitem__(self, name, value)
            elif name in self:
                OrderedDict.__delitem__(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        OrderedDict.__setitem__(self, name, value)

    def __getitem__(self, key: Any) -> Any:
        """The field of that name, or the item or slice of the tuple of fields that are not None."""
        if isinstance(key, str):
            return OrderedDict.__getitem__(self, "past_key_values" if key == "cache" else key)
        return self.to_tuple()[key]

    @property
    def cache(self) -> Any:
        """What transformers 5 calls past_key_values."""
        return self.past_key_values  # type: ignore[attr-defined]

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in order."""
        return tuple(self.values())

    def copy(self) -> Any:
        """Another output with the same values."""
        return type(self)(**self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self))

    def __delitem__(self, key: str) -> NoReturn:
        self._refuse("del")

    def setdefault(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: an output's fields are fixed."""
        self._refuse("setdefault")

    def pop(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: an output's fields are fixed."""
        self._refuse("pop")

    def update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: an output's fields are fixed."""
        self._refuse("update")

    def _refuse(self, operation: str) -> NoReturn:
        raise TypeError(
            f"{operation} is not for {type(self).__name__}: set a field, or make a dict of it first"
        )


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], str)


def _flatten(output: ModelOutput) -> tuple[list[Any], list[str]]:
    return list(output.values()), list(output.keys())


def _flatten_with_keys(output: ModelOutput) -> tuple[list[tuple[pytree.KeyEntry, Any]], list[str]]:
    return [(pytree.MappingKey(name), value) for name, value in output.items()], list(output.keys())


def _unflatten(cls: type[ModelOutput], values: Iterable[Any], names: list[str]) -> ModelOutput:
    return cls(**dict(zip(names, values, strict=True)))


def _rebuild(cls: type[ModelOutput], values: dict[str, Any]) -> ModelOutput:
    known = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
    output = cls(**known)
    for name in values.keys() - known.keys():
        output[name] = values[name]
    return output


@dataclass
class BaseModelOutput(ModelOutput):
    """An encoder's output.

    last_hidden_state ``[B, S, D]``; hidden_states: one ``[B, S, D]`` for the embeddings and one a layer;
    attentions: one ``[B, H, S, S]`` a layer. These two hold for every output below.
    """

    last_hidden_state: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """An encoder's output with one vector a sequence: pooler_output ``[B, D]``."""

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class BaseModelOutputWithPast(ModelOutput):
    """A decoder's output; past_key_values is the cache to pass to the next call."""

    last_hidden_state: Tensor | None = None
    past_key_values: Any = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """A decoder that may look at an encoder: cross_attentions, one ``[B, H, S, S_encoder]`` a layer."""

    last_hidden_state: Tensor | None = None
    past_key_values: Any = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    cross_attentions: Tensors | None = None


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """As `BaseModelOutputWithPooling`, for a model that may also be a decoder (bert)."""

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: Tensors | None = None
    past_key_values: Any = None
    attentions: Tensors | None = None
    cross_attentions: Tensors | None = None


@dataclass
class SequenceClassifierOutput(ModelOutput):
    """loss ``[]``; logits ``[B, labels]``."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class SequenceClassifierOutputWithPast(ModelOutput):
    """A decoder's classifier: loss ``[]``; logits ``[B, labels]``."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class TokenClassifierOutput(ModelOutput):
    """loss ``[]``; logits ``[B, S, labels]``."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class QuestionAnsweringModelOutput(ModelOutput):
    """loss ``[]``; start_logits and end_logits ``[B, S]``."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class MaskedLMOutput(ModelOutput):
    """loss ``[]``; logits ``[B, S, vocabulary]``."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class ImageClassifierOutput(ModelOutput):
    """loss ``[]``; logits ``[B, labels]``."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class MaskedImageModelingOutput(ModelOutput):
    """loss ``[]``; reconstruction ``[B, C, H, W]``, of the pixels."""

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class CausalLMOutputWithPast(ModelOutput):
    """loss ``[]``; logits ``[B, S, vocabulary]``; past_key_values is the cache to pass to the next call."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@dataclass
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """As `CausalLMOutputWithPast`, of a decoder that may look at an encoder (bert, gpt2)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    cross_attentions: Tensors | None = None


@dataclass
class Seq2SeqModelOutput(ModelOutput):
    """An encoder-decoder: last_hidden_state ``[B, S_decoder, D]``; the encoder's ``[B, S_encoder, D]``."""

    last_hidden_state: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: Tensors | None = None
    decoder_attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: Tensors | None = None
    encoder_attentions: Tensors | None = None


@dataclass
class Seq2SeqLMOutput(ModelOutput):
    """As `Seq2SeqModelOutput`, with loss ``[]`` and logits ``[B, S_decoder, vocabulary]``."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: Tensors | None = None
    decoder_attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: Tensors | None = None
    encoder_attentions: Tensors | None = None


@dataclass
class Seq2SeqSequenceClassifierOutput(ModelOutput):
    """As `Seq2SeqModelOutput`, with loss ``[]`` and logits ``[B, labels]``."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: Tensors | None = None
    decoder_attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: Tensors | None = None
    encoder_attentions: Tensors | None = None


@dataclass
class Seq2SeqQuestionAnsweringModelOutput(ModelOutput):
    """As `Seq2SeqModelOutput`, with loss ``[]``, start_logits and end_logits ``[B, S_decoder]``."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: Tensors | None = None
    decoder_attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: Tensors | None = None
    encoder_attentions: Tensors | None = None
