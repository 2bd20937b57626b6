"""Finding and replacing a model's embeddings of words, at its input and at its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

from torch import nn

from oxiformers.errors import ArgumentError, UnsupportedError

# Where the models keep the embedding of their input, seen from the base model.
_INPUT = ("embeddings.word_embeddings", "embed_tokens", "shared", "wte")


class WordEmbeddings(nn.Module):
    """A model's embeddings of words: at the input by its usual names, at the output by `tied`."""

    base_model_prefix: ClassVar[str] = ""
    tied: ClassVar[Mapping[str, str]] = {}

    @property
    def base_model(self) -> nn.Module:
        """The model without its head; itself where it has none."""
        return cast(
            nn.Module, getattr(self, self.base_model_prefix, self) if self.base_model_prefix else self
        )

    def tie_weights(self) -> None:
        """Makes tied weights one tensor again."""
        raise NotImplementedError

    def get_input_embeddings(self) -> nn.Module:
        """The embedding of input_ids. Raises UnsupportedError where there is none."""
        holder, name = self._input_embedding()
        return cast(nn.Module, getattr(holder, name))

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the embedding of input_ids, and ties again what is tied to it."""
        holder, name = self._input_embedding()
        setattr(holder, name, value)
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Module | None:
        """The layer from hidden states to the vocabulary, or None."""
        holder, name = self._output_embedding()
        return cast(nn.Module, getattr(holder, name)) if holder is not None else None

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replaces the layer from hidden states to the vocabulary. Raises ArgumentError if there is none."""
        holder, name = self._output_embedding()
        if holder is None:
            raise ArgumentError(f"{type(self).__name__} has no output embeddings", key="value")
        setattr(holder, name, value)

    def _input_embedding(self) -> tuple[nn.Module, str]:
        base = self.base_model
        for path in _INPUT:
            parent, _, name = path.rpartition(".")
            holder = getattr(base, parent, None) if parent else base
            if holder is not None and hasattr(holder, name):
                return holder, name
        raise UnsupportedError(f"{type(self).__name__} has no embedding of words at its input")

    def _output_embedding(self) -> tuple[nn.Module | None, str]:
        for name in ("lm_head.weight", *self.tied):
            path, _, attribute = name.rpartition(".")
            parent, _, child = path.rpartition(".")
            try:
                holder = self.get_submodule(parent)
            except AttributeError:
                continue
            module = getattr(holder, child, None)
            layer = isinstance(module, nn.Module) and not isinstance(module, nn.Embedding)
            if attribute == "weight" and layer:
                return holder, child
        return None, ""
