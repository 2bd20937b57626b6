"""The embeddings of a model at its input and its output: found where the class declares them, replaced, resized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.weights import meta

# New rows deviate from the mean of the old ones by this share of their variance (Hewitt, "Initializing New Word
# Embeddings for Pretrained Language Models", 2021).
_SHARE_OF_VARIANCE = 1e-9
# Old rows that are multiplied with noise in one go, which bounds the memory of the noise.
_ROWS_AT_ONCE = 8192


class TokenEmbeddings(nn.Module):
    """What a model has for its embeddings of tokens.

    Class attributes:
        base_model_prefix: the attribute under which a model with a head holds its base model.
        input_embedding: where the embedding of the input (input_ids, or patches of images) is, seen from the base
            model; "" for none.
        output_embedding: where the layer from hidden states to the vocabulary is, seen from the model; "" for none.
            Where the config says tie_word_embeddings, it shares its weight with the input embedding.
        tied: further names whose tensor is always another one's: {"encoder.embed_tokens.weight": "shared.weight"}.
    """

    base_model_prefix: ClassVar[str] = ""
    input_embedding: ClassVar[str] = ""
    output_embedding: ClassVar[str] = ""
    tied: ClassVar[Mapping[str, str]] = {}
    config: Config

    @property
    def base_model(self) -> nn.Module:
        """The model without its head; itself where it has none."""
        return cast(
            nn.Module, getattr(self, self.base_model_prefix, self) if self.base_model_prefix else self
        )

    def _tie(self, ties: Mapping[str, str]) -> None:
        for name, shared in ties.items():
            meta.put(self, name, meta.find(self, shared))

    def _declared_ties(self) -> dict[str, str]:
        """Every tie that a config may ask for."""
        ties: dict[str, str] = {}
        if self.output_embedding and self._input_path():
            ties[f"{self.output_embedding}.weight"] = f"{self._input_path()}.weight"
        ties |= declared(type(self), "tied")
        if (base := self.base_model) is not self:
            within = declared(type(base), "tied").items()
            ties |= {
                f"{self.base_model_prefix}.{name}": f"{self.base_model_prefix}.{shared}"
                for name, shared in within
            }
        return ties

    def _active_ties(self) -> dict[str, str]:
        """The ties that hold for the model's config."""
        ties = self._declared_ties()
        if not self.config.tie_word_embeddings:
            ties.pop(f"{self.output_embedding}.weight", None)
        return ties

    def tie_weights(self) -> None:
        """Makes tied weights one tensor again, as after one of them was replaced.

        The layers that share a weight follow its length; a bias is cut, or padded with zeros.
        """
        ties = self._active_ties()
        self._tie(ties)
        for name in ties:
            layer, _, kind = name.rpartition(".")
            if kind == "weight":
                _fit(self.get_submodule(layer))

    def _input_path(self) -> str:
        """Where the input embedding is, seen from this model."""
        base = self.base_model
        name = cast(Any, base).input_embedding
        prefix = "" if base is self else f"{self.base_model_prefix}."
        return f"{prefix}{name}" if name else ""

    def get_input_embeddings(self) -> nn.Module:
        """The embedding of the input. Raises UnsupportedError where there is none."""
        path = self._input_path()
        if not path:
            raise UnsupportedError(f"{type(self).__name__} has no embedding of tokens at its input")
        return self.get_submodule(path)

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the embedding of the input, wherever the model has it, and ties again what is tied to it."""
        self.get_input_embeddings()
        path = self._input_path()
        for name, shared in self._active_ties().items():
            layer = name.removesuffix(".weight")
            if shared == f"{path}.weight" and layer != self.output_embedding:
                self.set_submodule(layer, value)
        self.set_submodule(path, value)
        if isinstance(getattr(value, "weight", None), nn.Parameter):
            self.tie_weights()

    def get_output_embeddings(self) -> nn.Module | None:
        """The layer from hidden states to the vocabulary, or None."""
        return self.get_submodule(self.output_embedding) if self.output_embedding else None

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replaces the layer from hidden states to the vocabulary.

        Raises ArgumentError if there is none, or if the new one lacks the bias that the model has under two names.
        """
        if not self.output_embedding:
            raise ArgumentError(f"{type(self).__name__} has no output embeddings", key="value")
        bias = f"{self.output_embedding}.bias"
        shared = declared(type(self), "tied").get(bias)
        if shared is not None and getattr(value, "bias", None) is None:
            raise ArgumentError.mismatch(
                "value", "a layer with a bias", value, f"{shared} is the same tensor"
            )
        self.set_submodule(self.output_embedding, value)
        if shared is not None:
            # The new layer's is the one that counts.
            meta.put(self, shared, meta.find(self, bias))

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Module:
        """Gives the embeddings another number of tokens, at the input and at the output.

        Args:
            new_num_tokens: how many; as many as there are by default.
            pad_to_multiple_of: rounded up to a multiple of this.
            mean_resizing: new rows lie around the mean of the old ones; else they are drawn as in a new model.

        Returns:
            The input embedding.

        Raises:
            ArgumentError: a number below 1.
            UnsupportedError: the input is no tokens.
        """
        old = self.get_input_embeddings()
        if not isinstance(old, nn.Embedding):
            raise UnsupportedError(f"{type(self).__name__} has no embedding of tokens at its input")
        count = len(old.weight) if new_num_tokens is None else new_num_tokens
        for name, value in (("new_num_tokens", count), ("pad_to_multiple_of", pad_to_multiple_of)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ArgumentError.mismatch(name, "an integer of at least 1", repr(value))
        if pad_to_multiple_of is not None:
            count = -(-count // pad_to_multiple_of) * pad_to_multiple_of
        if new_num_tokens is None and pad_to_multiple_of is None:
            return old
        head = self.get_output_embeddings()
        self._resize(old, count, mean_resizing)
        if head is not None and f"{self.output_embedding}.weight" not in self._active_ties():
            self._resize(head, count, mean_resizing)
        self.tie_weights()
        for model in self.modules():
            if isinstance(model, TokenEmbeddings) and model.reads_tokens_by(old.weight):
                cast(Any, model.config).vocab_size = count
        return old

    def reads_tokens_by(self, weight: Tensor) -> bool:
        """Whether a weight is that of the embedding of input_ids."""
        path = self._input_path()
        return bool(path) and getattr(self.get_submodule(path), "weight", None) is weight

    @torch.no_grad()
    def _resize(self, layer: nn.Module, count: int, mean_resizing: bool) -> None:
        """Gives a layer another number of tokens; it stays the same module, with the same parameters."""
        before = {name: tensor.data for name, tensor in layer.named_parameters(recurse=False)}
        kept = min(count, len(before["weight"]))
        added = count - kept
        for name, rows in before.items():
            parameter = layer.get_parameter(name)
            parameter.data, parameter.grad = rows.new_empty(count, *rows.shape[1:]), None
        _fit(layer)
        if added and not mean_resizing:
            cast(Any, self)._init_weights(layer)
        for name, rows in before.items():
            after = layer.get_parameter(name).data
            after[:kept] = rows[:kept]
            if added and mean_resizing:
                after[kept:] = _around_mean(rows, added)


def _fit(layer: nn.Module) -> None:
    """Makes a layer's own numbers, and its bias, those of its weight's tokens."""
    count = len(cast(Tensor, layer.weight))
    if isinstance(layer, nn.Embedding):
        layer.num_embeddings = count
        if layer.padding_idx is not None and layer.padding_idx >= count:
            layer.padding_idx = None
    elif isinstance(layer, nn.Linear):
        layer.out_features = count
    bias = getattr(layer, "bias", None)
    if isinstance(bias, Tensor) and len(bias) != count:
        bias.data, bias.grad = F.pad(bias.data, (0, count - len(bias))), None


def _around_mean(rows: Tensor, count: int) -> Tensor:
    """New rows from a normal distribution: the mean of the old ones, and a small share of their covariance."""
    mean = rows.mean(0, dtype=torch.float32)
    drawn = torch.zeros(count, *rows.shape[1:], dtype=torch.float32, device=rows.device)
    for some in rows.split(_ROWS_AT_ONCE):
        noise = torch.randn(count, len(some), dtype=torch.float32, device=rows.device)
        drawn += noise @ (some.float() - mean)
    drawn *= (_SHARE_OF_VARIANCE / len(rows)) ** 0.5
    return (drawn + mean).to(rows.dtype)


def declared(cls: type[Any], name: str) -> Any:
    """A declaration of a class and of all its bases together: a dict, or a tuple without repetitions."""
    values = [base.__dict__[name] for base in reversed(cls.__mro__) if name in base.__dict__]
    if values and isinstance(values[0], Mapping):
        merged: dict[str, Any] = {}
        for value in values:
            merged |= value
        return merged
    return tuple(dict.fromkeys(item for value in values for item in value))
