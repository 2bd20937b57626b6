"""transformers' way to write a pipeline: hooks that take one input at a time, and the steps that call them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch

from oxiformers.errors import InputTypeError, UnsupportedError
from oxiformers.logging import get_logger
from oxiformers.pipelines.call import Arguments, Call
from oxiformers.pipelines.collate import pad_collate_fn, split_rows
from oxiformers.pipelines.devices import move, on_device
from oxiformers.pipelines.inputs import Source, Window, find_source, naming, read_windows
from oxiformers.pipelines.rows import Batch, Order, Prepared

logger = get_logger(__name__)

Hook = TypeVar("Hook", bound=Callable[..., Any])

STEPS = frozenset({"sort_arguments", "find_source", "prepare", "run", "collect", "finish"})
HOOKS = frozenset({"_sanitize_parameters", "preprocess", "_forward", "forward", "postprocess"})


def equivalent(hook: Hook) -> Hook:
    """Marks a hook that does what the steps of its class do: it is there to be called and to be overridden."""
    hook.equivalent = True  # type: ignore[attr-defined]
    return hook


def written_as_hooks(pipeline_class: type) -> bool:
    """Whether hooks run the pipeline, not steps: the class decides that comes first of its bases and writes either.

    One that writes both is run by its hooks, as its own methods may happen to have the name of a step.
    """
    for one in pipeline_class.__mro__:
        own = one.__dict__
        if any(name in own and not hasattr(own[name], "equivalent") for name in HOOKS):
            return True
        if own.keys() & STEPS:
            return False
    return False


class Hooks:
    """The hooks of a pipeline, and what hooks call.

    A class that writes hooks is run by them, an input at a time, or in padded batches of `batch_size`. On a
    pipeline of the package they do the same as its steps, so that a subclass may override one of them.
    """

    task: str
    model: Any
    device: torch.device

    def preprocess(self, inputs: Any, **arguments: Any) -> Any:
        """One input to the model's inputs, a dict of tensors ``[1, ...]``; a ChunkPipeline yields several."""
        self._refuse_hook("preprocess")

    def _forward(self, model_inputs: Any, **arguments: Any) -> Any:
        """The model's inputs, on its device, to its outputs. Called by `forward`."""
        self._refuse_hook("_forward")

    def postprocess(self, model_outputs: Any, **arguments: Any) -> Any:
        """The model's outputs for one input, on the CPU, to its result; a ChunkPipeline gets a list of them."""
        self._refuse_hook("postprocess")

    def forward(self, model_inputs: Any, **arguments: Any) -> Any:
        """`_forward` without gradients, its inputs on the model's device, its outputs on the CPU."""
        with self.device_placement(), self.get_inference_context()():
            model_inputs = self._ensure_tensor_on_device(model_inputs, device=self.device)
            outputs = self._forward(model_inputs, **arguments)
            return self._ensure_tensor_on_device(outputs, device=torch.device("cpu"))

    def get_inference_context(self) -> Callable[[], AbstractContextManager[Any]]:
        """What makes the context in which `_forward` runs."""
        return torch.no_grad

    def device_placement(self) -> AbstractContextManager[Any]:
        """A context in which the model's device is the current one."""
        return on_device(self.device)

    def ensure_tensor_on_device(self, **inputs: Any) -> dict[str, Any]:
        """The keyword arguments as a dict, every tensor in them on the model's device."""
        moved: dict[str, Any] = self._ensure_tensor_on_device(inputs, self.device)
        return moved

    def _ensure_tensor_on_device(self, inputs: Any, device: torch.device) -> Any:
        return move(inputs, device)

    def check_model_type(self, supported_models: Iterable[str] | Mapping[Any, Any]) -> None:
        """Logs an error where the model's class is none of these.

        Args:
            supported_models: names of classes, or a mapping whose values are names or tuples of names.
        """
        names: list[str] = []
        values = supported_models.values() if isinstance(supported_models, Mapping) else supported_models
        for value in values:
            names += [value] if isinstance(value, str) else value
        if type(self.model).__name__ not in names:
            logger.error(
                "%s: the model %s is not supported; the models are %s",
                self.task, type(self.model).__name__, ", ".join(names),
            )  # fmt: skip

    def _refuse_hook(self, name: str) -> NoReturn:
        raise UnsupportedError(
            f"{type(self).__name__} does not write {name}; a pipeline of your own writes _sanitize_parameters, "
            "preprocess, _forward and postprocess",
            key=name,
        )


class HookSteps:
    """The steps of a pipeline whose class writes hooks.

    `pipeline` is a pipeline; where its `many_rows` is true, `preprocess` yields several rows of an input.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def sort_arguments(self, arguments: dict[str, Any]) -> Arguments:
        """As `_sanitize_parameters` sorts them. Raises InputTypeError where it does not return three dicts."""
        found = self._pipeline._sanitize_parameters(**arguments)
        if not isinstance(found, (tuple, list)) or [isinstance(part, dict) for part in found] != [True] * 3:
            name = f"{type(self._pipeline).__name__}._sanitize_parameters"
            raise InputTypeError.mismatch(
                name, "three dicts, for preprocess, _forward and postprocess", repr(found)
            )
        return Arguments(*found)

    def find_source(self, inputs: Any) -> Source:
        """A list, a dataset, an iterator, or else one input, whatever it is."""
        return find_source(inputs)

    def windows(self, source: Source, call: Call) -> Iterator[Window]:
        """As many inputs as a batch takes."""
        return read_windows(source, call.batch_size or 1, ramp=False)

    def prepare(self, window: Window, call: Call) -> Prepared:
        """`preprocess` of one input after another, and batches of what it gives."""
        return Prepared(self._batches(window, call), details=window)

    def _batches(self, window: Window, call: Call) -> Iterator[Batch]:
        size = call.batch_size or 1
        collate = self._collate() if self._padded(call) else None
        waiting: list[Any] = []
        inputs: list[int] = []
        done = 0
        for index, row in self._rows(window, call):
            waiting.append(row)
            inputs.append(index)
            if len(waiting) == size:
                yield _batch(done, inputs, waiting, collate)
                done += len(waiting)
                waiting, inputs = [], []
        if waiting:
            yield _batch(done, inputs, waiting, collate)

    def _rows(self, window: Window, call: Call) -> Iterator[tuple[int, Any]]:
        """The index of its input and the model inputs, of each row."""

        def preprocess(item: Any) -> Any:
            return self._pipeline.preprocess(item, **call.prepare)

        if not self._pipeline.many_rows:
            yield from enumerate(window.each(preprocess), window.first)
            return
        for index, item in enumerate(window.items, window.first):
            with naming(index):
                for row in preprocess(item):
                    yield index, row

    def _padded(self, call: Call) -> bool:
        """Whether rows go in collated: where batches were asked for, and there is more than one row to come."""
        return (call.batch_size or 1) > 1 and (self._pipeline.many_rows or not call.single)

    def _collate(self) -> Callable[[list[Any]], Any]:
        extractor = self._pipeline.feature_extractor
        return pad_collate_fn(
            self._pipeline.tokenizer, self._pipeline.image_processor if extractor is None else extractor
        )

    def run(self, batch: Batch, call: Call) -> list[Any]:
        """`forward` of a batch, cut into rows again."""
        with torch.inference_mode(False):  # `get_inference_context` says in what it runs
            outputs = self._pipeline.forward(batch.data, **call.run)
        rows = split_rows(outputs, len(batch.rows)) if self._padded(call) else [outputs]
        if self._pipeline.many_rows:
            for row in rows:
                # transformers tells by it which rows belong together; postprocess does not see it
                if isinstance(row, Mapping) and "is_last" in row:
                    del row["is_last"]  # type: ignore[attr-defined]
        return rows

    def collect(self, kept: list[Any], order: Order) -> list[Any]:
        """The outputs for each input; a list of them where an input may have several."""
        return order.collect(kept, self._pipeline.many_rows)

    def finish(self, collected: list[Any], details: Window, call: Call) -> Iterator[Any]:
        """`postprocess` of one input after another."""
        for index, outputs in enumerate(collected, details.first):
            with naming(index):
                result = self._pipeline.postprocess(outputs, **call.finish)
            yield result


def _batch(
    done: int, inputs: list[int], rows: list[Any], collate: Callable[[list[Any]], Any] | None
) -> Batch:
    data = rows[0] if collate is None else collate(rows)
    return Batch(done + np.arange(len(rows)), np.array(inputs), data)
