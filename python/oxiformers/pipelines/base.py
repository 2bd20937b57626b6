"""What every pipeline shares: its parts, and the way from inputs to results, whatever the inputs are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch

from oxiformers.errors import ArgumentError
from oxiformers.pipelines.call import Arguments, Call, check_batch_size, check_framework
from oxiformers.pipelines.devices import on_device, place_model
from oxiformers.pipelines.hooks import Hooks, HookSteps, equivalent, written_as_hooks
from oxiformers.pipelines.inputs import Source, Window, find_source, read_windows
from oxiformers.pipelines.results import Results, SizedResults
from oxiformers.pipelines.rows import Batch, Order, Prepared

#: Arguments that transformers' pipelines take and nothing reads.
_UNREAD = ("args_parser", "binary_output", "modelcard", "dtype", "torch_dtype")


class Pipeline(Hooks):
    """From inputs to answers.

    Inputs are read in windows. Each window is prepared as rows for the model, one input a row or several, in
    batches; results come in the order of the inputs. A list gives a list; an iterator or a dataset gives an
    iterator that reads and computes as it is read itself. Where an input of those fails, or reading it does, the
    inputs before it are answered first.

    A pipeline holds no state of a call: threads may share it.

    To make a pipeline for another task, derive a class and write these steps:

    - `sort_arguments`: which keyword arguments there are, and which step takes them.
    - `prepare`: a window of inputs to batches of rows (`rows.make_batches`). One input may become several rows, or
      none: then the class says `many_rows = True`.
    - `run`: a batch through the model, and what is kept of its outputs, one entry a row.
    - `collect`: what was kept, back to the inputs. As it stands, it gives each input its row, or the list of its
      rows.
    - `finish`: from that to one result an input.

    Or write transformers' hooks, `_sanitize_parameters`, `preprocess`, `_forward` and `postprocess`, which see one
    input at a time (see Hooks).

    Args:
        model: a PreTrainedModel, or a module that is called like one. It is set to evaluation, and moved.
        tokenizer, feature_extractor, image_processor, processor: what makes the model's inputs; a pipeline needs
            those of them that its task says. With a processor alone, its parts are taken.
        task: the identifier under which the pipeline was asked for.
        device: where the model runs: a torch.device or its name, or the number of an accelerator, -1 for the
            CPU. By default the first accelerator there is, else the CPU.
        batch_size: the most rows of a batch. Results do not depend on it.
        num_workers: accepted; nothing is loaded by other processes here.
        progress_bar: whether calls show a progress bar.
        framework: "pt".
        **arguments: arguments of every call; a call's own win.

    Attributes:
        model, tokenizer, feature_extractor, image_processor, processor, task, framework: as given.
        device: where the model runs.

    Raises:
        ArgumentError: an argument that the task does not have, or a value out of range.
    """

    #: The most inputs of a window: what is read ahead, and held until its results are given out.
    window_rows: ClassVar[int] = 512
    #: Whether an input may become several rows, or none.
    many_rows: ClassVar[bool] = False
    #: What the progress bar counts.
    unit: ClassVar[str] = "input"

    #: Whether the part is loaded from the model's folder: True, and it must be there; None, where it is; False, never.
    _load_tokenizer: ClassVar[bool | None] = None
    _load_feature_extractor: ClassVar[bool | None] = None
    _load_image_processor: ClassVar[bool | None] = None
    _load_processor: ClassVar[bool | None] = None

    _hooked: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._hooked = written_as_hooks(cls)

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        image_processor: Any = None,
        processor: Any = None,
        *,
        task: str = "",
        device: int | str | torch.device | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        progress_bar: bool = False,
        framework: str | None = "pt",
        **arguments: Any,
    ) -> None:
        check_framework(framework)
        for name in _UNREAD:
            arguments.pop(name, None)
        if processor is not None and (tokenizer, feature_extractor, image_processor) == (None, None, None):
            tokenizer = getattr(processor, "tokenizer", None)
            feature_extractor = getattr(processor, "feature_extractor", None)
            image_processor = getattr(processor, "image_processor", None)
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.feature_extractor = feature_extractor
        self.image_processor = image_processor
        self.processor = processor
        self.framework = "pt"
        self._check_parts()
        self.device = place_model(model, device)
        model.eval()
        self._batch_size = check_batch_size(batch_size)
        self._num_workers = num_workers
        self._progress_bar = progress_bar
        self._arguments = self._steps.sort_arguments(arguments)

    def _check_parts(self) -> None:
        for name in ("tokenizer", "feature_extractor", "image_processor", "processor"):
            if getattr(self, f"_load_{name}") and getattr(self, name) is None:
                hint = f"a pipeline made of a model object needs its {name} too; pass {name}="
                raise ArgumentError.mismatch(name, "an object", None, hint)

    # -- the steps of a task -----------------------------------------------------------------------

    def sort_arguments(self, arguments: dict[str, Any]) -> Arguments:
        """Sorts the keyword arguments of the constructor or of a call; those not given must not appear.

        Raises ArgumentError for an argument there is not, or a value out of range.
        """
        for name in arguments:
            raise ArgumentError(f"unexpected argument {name!r}: {type(self).__name__} takes none", key=name)
        return Arguments({}, {}, {})

    def find_source(self, inputs: Any) -> Source:
        """What the argument `inputs` is: one input, a list, or something to stream."""
        return find_source(inputs)

    def prepare(self, window: Window, call: Call) -> Prepared:
        """A window of inputs as batches of rows. Raises InputTypeError, with its index, for what is no input."""
        raise NotImplementedError(f"{type(self).__name__} writes neither prepare nor transformers' hooks")

    def run(self, batch: Batch, call: Call) -> Any:
        """What is kept of the model's outputs for a batch: a tensor ``[B, ...]`` or a list, one entry a row.

        Runs in inference mode; its device is the current one.
        """
        raise NotImplementedError(f"{type(self).__name__} does not write run")

    def collect(self, kept: list[Any], order: Order) -> Any:
        """What `run` kept of each batch, by input: the input's row, or the list of its rows.

        Args:
            kept: what `run` returned, a batch each.
            order: in which order the rows were computed.
        """
        return order.collect(kept, self.many_rows)

    def finish(self, collected: Any, details: Any, call: Call) -> Iterable[Any]:
        """The results of a window, in the order of its inputs.

        Args:
            collected: what `collect` returned.
            details: those that `prepare` gave.
            call: with the arguments of this step, `call.finish`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not write finish")

    def windows(self, source: Source, call: Call) -> Iterator[Window]:
        """The inputs of a call, in the windows in which they are prepared."""
        return read_windows(source, self.window_rows, ramp=source.once)

    @property
    def _steps(self) -> Pipeline | HookSteps:
        """What the steps are taken from: this object, or the hooks its class writes."""
        return HookSteps(self) if self._hooked else self

    @equivalent
    def _sanitize_parameters(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The hook that sorts arguments: three dicts, for preprocess, _forward and postprocess."""
        return self.sort_arguments(arguments)

    # -- calling -----------------------------------------------------------------------------------

    def __call__(
        self,
        inputs: Any,
        *,
        batch_size: int | None = None,
        num_workers: int | None = None,
        progress_bar: bool | None = None,
        **arguments: Any,
    ) -> Any:
        """Runs the task.

        Args:
            inputs: one input, as the task takes it; or a list, generator, dataset or other iterable of those.
            batch_size, num_workers, progress_bar: see the class.
            **arguments: the task's.

        Returns:
            One input's result; a list of results for a list; an iterator of results, in order, for what is
            streamed (with a length where the dataset has one).

        Raises:
            InputTypeError: an input is of the wrong type; names its index.
            ArgumentError: an argument is out of range, or an input does not fit the model.
        """
        del num_workers
        steps = self._steps
        sorted_arguments = steps.sort_arguments(arguments).over(self._arguments)
        size = self._batch_size if batch_size is None else check_batch_size(batch_size)
        source = steps.find_source(inputs)
        call = Call(*sorted_arguments, size, source.single)
        shown = self._progress_bar if progress_bar is None else progress_bar
        if not source.streamed:
            results = list(self._results(source, call, shown))
            return results[0] if source.single else results

        def begin() -> Iterator[Any]:
            return self._results(source, call, shown)

        if source.total is None:
            return Results(begin, source.once)
        return SizedResults(begin, source.once, source.total)

    def transform(self, inputs: Any) -> Any:
        """The same as a call: the name scikit-learn uses."""
        return self(inputs)

    def predict(self, inputs: Any) -> Any:
        """The same as a call: the name scikit-learn uses."""
        return self(inputs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Writes the model and its parts to a folder that `pipeline(model=folder)` reads back."""
        self.model.save_pretrained(save_directory, **kwargs)
        for part in (self.tokenizer, self.feature_extractor, self.image_processor, self.processor):
            if part is not None:
                part.save_pretrained(save_directory)

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of the model's weights."""
        dtype: torch.dtype | None = getattr(self.model, "dtype", None)
        return dtype

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """The same as `dtype`: its older name."""
        return self.dtype

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(task={self.task!r}, model={type(self.model).__name__}, "
            f"dtype={self.dtype}, device={str(self.device)!r})"
        )

    # -- from a window to its results --------------------------------------------------------------

    def _results(self, source: Source, call: Call, progress_bar: bool) -> Iterator[Any]:
        """The results of all inputs, in order."""
        bar = _open_bar(source.total, self.task, self.unit) if progress_bar else None
        try:
            for window in self._steps.windows(source, call):
                yield from self._answer(window, call, bar, source.streamed)
        finally:
            if bar is not None:
                bar.close()

    def _answer(self, window: Window, call: Call, bar: Any, in_order: bool) -> Iterator[Any]:
        """The results of a window.

        Where it fails and results are given out one by one, what is left of it is computed anew, by halves, so
        that the inputs before the one that fails are answered.
        """
        given = 0
        try:
            for result in self._run_window(window, call, bar):
                yield result
                given += 1
            return
        except Exception:
            if not in_order or len(window.items) - given < 2:
                raise
        middle = given + (len(window.items) - given) // 2
        yield from self._answer(window.part(given, middle), call, bar, in_order)
        yield from self._answer(window.part(middle), call, bar, in_order)

    def _run_window(self, window: Window, call: Call, bar: Any) -> Iterable[Any]:
        steps = self._steps
        prepared = steps.prepare(window, call)
        kept: list[Any] = []
        rows: list[Any] = []
        inputs: list[Any] = []
        for batch in prepared.batches:
            with torch.inference_mode(), on_device(self.device):
                kept.append(steps.run(batch, call))
            rows.append(batch.rows)
            inputs.append(batch.inputs)
            if bar is not None and not self.many_rows:
                bar.update(len(batch.rows))
        if bar is not None:
            bar.update(window.first + len(window.items) - bar.n)
        empty = [np.zeros(0, np.int64)]
        order = Order(np.concatenate(rows or empty), np.concatenate(inputs or empty), window)
        return steps.finish(steps.collect(kept, order), prepared.details, call)


class ChunkPipeline(Pipeline):
    """A pipeline of one's own, written as transformers' hooks, whose `preprocess` yields several rows of an input.

    `postprocess` gets the list of what `_forward` gave for them. Rows may carry `is_last`, as transformers asks for;
    rows of an input belong together without it.
    """

    many_rows = True


def _open_bar(total: int | None, task: str, unit: str) -> Any:
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    return tqdm(total=total, desc=task or None, unit=unit)
