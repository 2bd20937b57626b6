"""Texts to the vectors of their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError
from .base import Arguments, Pipeline
from .batching import Outputs, Plan, lengths_asked


class FeatureExtractionPipeline(Pipeline):
    """Texts to the hidden states of a model: the first of its outputs.

    Arguments of the constructor or a call, beside those of Pipeline and of the tokenizer:

    - return_tensors: True gives a tensor ``[1, S, D]`` on the CPU for each text, instead of nested lists.
    - tokenize_kwargs: arguments of the tokenizer, as a dict.

    With ``padding="max_length"`` a result has the padded length, and zeros at padding.
    """

    #: A window's results are D numbers a token, many times what a label takes.
    window_rows = 64

    def sort_arguments(self, arguments: dict[str, Any]) -> Arguments:
        """return_tensors is the task's own, the rest is the tokenizer's, as is what tokenize_kwargs holds."""
        rest = dict(arguments)
        task: dict[str, Any] = {}
        return_tensors = rest.pop("return_tensors", None)
        if return_tensors is not None:
            task["return_tensors"] = bool(return_tensors)
        nested = rest.pop("tokenize_kwargs", None) or {}
        for name in nested:
            if name in rest:
                raise ArgumentError(
                    f"{name}: given twice, as an argument and in tokenize_kwargs",
                    key=name,
                    expected="once",
                    actual="twice",
                )
        return Arguments({**rest, **nested}, task)

    def collect(self, outputs: Outputs) -> tuple[Tensor, ...]:
        """The first output, a tensor a text: ``[S, D]``, or ``[L]`` of a model that gives one row a text."""
        return outputs.sequences(outputs.first())

    def finish(self, kept: list[Any], plan: Plan, arguments: Arguments) -> Iterator[Any]:
        """A nested list or a tensor for each text of the window, made when it is asked for."""
        vectors = [vector for batch in kept for vector in batch]
        as_tensors = arguments.task.get("return_tensors", False)
        for place in plan.restore().tolist():
            vector = self._pad(vectors[place], arguments.tokenizer).unsqueeze(0)
            # A copy, as the window is large, and a tensor of inference mode could not enter a graph.
            yield vector.to("cpu", copy=True) if as_tensors else vector.tolist()

    def _pad(self, vector: Tensor, arguments: dict[str, Any]) -> Tensor:
        """``[S, D]`` with rows of zeros up to the padded length the arguments ask for."""
        if vector.dim() < 2 or not arguments.get("padding"):
            return vector
        asked = lengths_asked(self.tokenizer, arguments)
        length = vector.shape[0]
        if asked.padding == "max_length" and asked.max_length is not None:
            length = max(length, asked.max_length)
        multiple = arguments.get("pad_to_multiple_of")
        if asked.padding is not None and multiple:
            length += -length % multiple
        zeros = vector.new_zeros(length - vector.shape[0], *vector.shape[1:])
        left = (arguments.get("padding_side") or self.tokenizer.padding_side) == "left"
        return torch.cat([zeros, vector] if left else [vector, zeros])
