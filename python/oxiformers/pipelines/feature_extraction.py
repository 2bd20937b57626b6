"""Texts to the vectors of their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from oxiformers.errors import ArgumentError
from oxiformers.pipelines.batching import check_tokenizer_arguments, lengths_asked
from oxiformers.pipelines.call import Arguments, Call
from oxiformers.pipelines.hooks import equivalent
from oxiformers.pipelines.rows import Batch
from oxiformers.pipelines.text import TextPipeline


class FeatureExtractionPipeline(TextPipeline):
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
                raise ArgumentError(f"{name}: given twice, as an argument and in tokenize_kwargs", key=name)
        rest.update(nested)
        check_tokenizer_arguments(rest)
        return Arguments(rest, {}, task)

    def run(self, batch: Batch, call: Call) -> tuple[Tensor, ...]:
        """The first output, a tensor a text: ``[S, D]``, or ``[L]`` of a model that gives one row a text."""
        outputs = self.run_texts(batch)
        return outputs.sequences(outputs.first())

    def finish(self, collected: list[Tensor], details: Any, call: Call) -> Iterator[Any]:
        """A nested list or a tensor for each text of the window, made when it is asked for."""
        as_tensors = call.finish.get("return_tensors", False)
        for features in collected:
            vector = self._pad(features, call.prepare).unsqueeze(0)
            # A copy, as the window is large, and a tensor of inference mode could not enter a graph.
            yield vector.to("cpu", copy=True) if as_tensors else vector.tolist()

    @equivalent
    def postprocess(self, model_outputs: Any, **arguments: Any) -> Any:
        """The first output for one text, ``[1, S, D]``, as a tensor or nested lists."""
        first = model_outputs[0]
        return first if arguments.get("return_tensors") else first.tolist()

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
