"""What every pipeline shares: its parts, the kinds of input it takes, and the way from inputs to results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError, InputTypeError, UnsupportedError
from ..logging import get_logger
from . import batching
from .inputs import Rows, Source, find_source, read_rows, read_windows
from .results import Results, SizedResults, check_batch_size

logger = get_logger(__name__)

#: Methods by which transformers' pipelines are extended, one input at a time; here nothing would call them.
_FOREIGN_HOOKS = ("_sanitize_parameters", "preprocess", "_forward", "postprocess")


class Arguments(NamedTuple):
    """Arguments sorted by who takes them: the tokenizer, and the task itself."""

    tokenizer: dict[str, Any]
    task: dict[str, Any]


class _Call(NamedTuple):
    """One call, resolved. Nothing of it is kept on the pipeline, so that threads may share it."""

    arguments: Arguments
    batch_size: int | None
    progress_bar: bool
    budget: int
    padding: batching.PadSettings | None
    accepted: frozenset[str]


class Pipeline:
    """From inputs to answers.

    Inputs are read in windows. A window is tokenized at once, planned into batches by a budget of tokens, and
    each batch goes through the model packed, without padding; results come in the order of the inputs. A list
    gives a list; a generator or a dataset gives an iterator that reads and computes as it is read itself.

    A pipeline holds no state of a call: threads may share it.

    To make a pipeline for another task, derive a class and write these methods:

    - `sort_arguments`: which keyword arguments are the task's own.
    - `collect`: what is kept of the model's outputs for a batch.
    - `finish`: from what was kept of a window to one result an input.

    A model without a packed door (whose forward takes no `layout`) says so with a class attribute
    `packed_door = False`; its batches are padded.

    Args:
        model: a PreTrainedModel, or a module that is called like one. It is set to evaluation, and moved.
        tokenizer: the tokenizer that belongs to it.
        task: the identifier under which the pipeline was asked for.
        device: where the model runs: a torch.device or its name, or the number of an accelerator, -1 for the
            CPU. By default the first accelerator there is, else the CPU.
        batch_size: the most inputs of a batch, beside the budget of tokens. Results do not depend on it.
        num_workers: accepted; nothing is loaded by other processes here.
        progress_bar: whether calls show a progress bar.
        framework: "pt".
        dtype, torch_dtype: accepted; a model that is loaded already has its dtype.
        **arguments: arguments of every call; a call's own win.

    Attributes:
        model, tokenizer, task, framework: as given.
        device: where the model runs.

    Raises:
        ArgumentError: an argument that the task does not have, or a value out of range.
    """

    #: The most inputs of a window: what is read ahead, and held until its results are given out.
    window_rows: ClassVar[int] = 512

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _FOREIGN_HOOKS:
            if name in cls.__dict__:
                raise UnsupportedError(
                    f"{cls.__name__}.{name} would never be called: pipelines here work on windows of inputs; "
                    "write sort_arguments, collect and finish (see oxiformers.pipelines.Pipeline)",
                    key=name,
                )

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        task: str = "",
        device: int | str | torch.device | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        progress_bar: bool = False,
        framework: str | None = "pt",
        dtype: Any = None,
        torch_dtype: Any = None,
        **arguments: Any,
    ) -> None:
        del num_workers, dtype, torch_dtype
        if framework not in (None, "pt"):
            raise UnsupportedError(
                f"framework: expected 'pt', got {framework!r}",
                key="framework",
                expected="'pt'",
                actual=repr(framework),
            )
        if tokenizer is None:
            raise ArgumentError(
                "tokenizer: a pipeline made of a model object needs its tokenizer too; pass tokenizer=",
                key="tokenizer",
                expected="a tokenizer",
                actual="None",
            )
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.framework = "pt"
        self.device = _place(model, device)
        model.eval()
        self._batch_size = check_batch_size(batch_size)
        self._progress_bar = progress_bar
        self._arguments = self._sort(arguments)

    # -- the parts of a task -----------------------------------------------------------------------

    def sort_arguments(self, arguments: dict[str, Any]) -> Arguments:
        """Sorts the keyword arguments of the constructor or of a call; those not given must not appear.

        Raises ArgumentError for a value out of range.
        """
        return Arguments(arguments, {})

    def collect(self, outputs: batching.Outputs) -> Any:
        """What is kept of the outputs for one batch. Runs in inference mode, on the model's device."""
        raise NotImplementedError

    def finish(self, kept: list[Any], plan: batching.Plan, arguments: Arguments) -> Iterable[Any]:
        """The results of a window, in the order of its inputs.

        Args:
            kept: what `collect` returned, a batch each.
            plan: the order in which the window was computed.
            arguments: of the call.
        """
        raise NotImplementedError

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
            inputs: a str; a dict with "text" and perhaps "text_pair"; or a list, generator, dataset (anything
                with a length and rows by number) or other iterable of those.
            batch_size, num_workers, progress_bar: see the class.
            **arguments: the task's, and those of the tokenizer: truncation, max_length, ...

        Returns:
            One input's result; a list of results for a list; an iterator of results, in order, for what is
            streamed (with a length where the dataset has one).

        Raises:
            InputTypeError: an input is no text; names its index.
            ArgumentError: an argument is out of range, or an input has more tokens than the model takes.
        """
        del num_workers
        call = self._resolve(arguments, batch_size, progress_bar)
        source = find_source(inputs)
        if not source.streamed:
            results = list(self._results(source, call))
            return results[0] if source.single else results

        def begin() -> Iterator[Any]:
            return self._results(source, call)

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
        """Writes the model and the tokenizer to a folder that `pipeline(model=folder)` reads back."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.tokenizer.save_pretrained(save_directory)

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

    def _sort(self, arguments: dict[str, Any]) -> Arguments:
        found = self.sort_arguments(arguments)
        batching.check_tokenizer_arguments(found.tokenizer)
        return found

    def _resolve(self, arguments: dict[str, Any], batch_size: int | None, progress_bar: bool | None) -> _Call:
        own, default = self._sort(arguments), self._arguments
        padding = None
        if not getattr(self.model, "packed_door", True):
            padding = self._pad_settings()
        return _Call(
            Arguments({**default.tokenizer, **own.tokenizer}, {**default.task, **own.task}),
            self._batch_size if batch_size is None else check_batch_size(batch_size),
            self._progress_bar if progress_bar is None else progress_bar,
            batching.token_budget(self.device),
            padding,
            batching.forward_arguments(self.model),
        )

    def _pad_settings(self) -> batching.PadSettings:
        if self.tokenizer.pad_token_id is None:
            raise ArgumentError(
                f"{type(self.model).__name__} takes padded batches only, and the tokenizer has no padding "
                "token; set tokenizer.pad_token",
                key="pad_token",
                expected="a token",
                actual="None",
            )
        return batching.PadSettings(self.tokenizer.pad_token_id, self.tokenizer.padding_side)

    def _results(self, source: Source, call: _Call) -> Iterator[Any]:
        """The results of all inputs, in order."""
        bar = _open_bar(source.total, self.task) if call.progress_bar else None
        try:
            first = 0
            for window in read_windows(iter(source), self.window_rows, ramp=source.once):
                words = bool(call.arguments.tokenizer.get("is_split_into_words"))
                rows = read_rows(window, first, source.from_dataset, words)
                yield from self._run_window(rows, first, call, bar)
                first += len(window)
        finally:
            if bar is not None:
                bar.close()

    def _run_window(self, rows: Rows, first: int, call: _Call, bar: Any) -> Iterable[Any]:
        plan = self._plan(rows, first, call)
        kept: list[Any] = []
        further = {"use_cache": False} if "use_cache" in call.accepted else {}
        with torch.inference_mode(), _on(self.device):
            for batch in plan.batches():
                try:
                    outputs = batching.run_model(self.model, batch, self.device, call.padding, **further)
                except ArgumentError as error:
                    if error.key == "max_position_embeddings":
                        raise self._too_long(error, plan, len(kept), first) from error
                    raise
                kept.append(self.collect(outputs))
                if bar is not None:
                    bar.update(batch.lengths.numel())
        return self.finish(kept, plan, call.arguments)

    def _plan(self, rows: Rows, first: int, call: _Call) -> batching.Plan:
        """Tokenizes a window and plans its batches."""
        arguments = call.arguments.tokenizer
        names = self.tokenizer.model_input_names
        types = arguments.get("return_token_type_ids")
        types = "token_type_ids" in names if types is None else bool(types)
        types = types and "token_type_ids" in call.accepted
        try:
            encoded = batching.encode(self.tokenizer, rows, arguments)
        except (ArgumentError, InputTypeError) as error:
            if not first:
                raise
            # The tokenizer counts from the start of the window.
            raise type(error)(
                f"in the inputs from {first} on: {error}",
                key=error.key,
                expected=error.expected,
                actual=error.actual,
            ) from error
        plan = batching.plan_window(encoded, call.budget, call.batch_size, types=types)
        if not int(plan.lengths[-1]):
            index = first + int(plan.order[-1])
            raise ArgumentError(
                f"inputs[{index}]: there is no token in it, as no special tokens are added",
                key=f"inputs[{index}]",
                expected="a token at least",
                actual="none",
            )
        return plan

    def _too_long(self, error: ArgumentError, plan: batching.Plan, done: int, first: int) -> ArgumentError:
        """The model's refusal of a text that is too long, with the text's index."""
        place = plan.cuts[done]
        index, tokens = first + int(plan.order[place]), int(plan.lengths[place])
        return ArgumentError(
            f"inputs[{index}]: {tokens} tokens are more than the model takes ({error.expected}); pass "
            "truncation=True, and max_length= where the tokenizer has no limit of its own",
            key=f"inputs[{index}]",
            expected=error.expected,
            actual=f"{tokens} tokens",
        )


def _place(model: Any, device: int | str | torch.device | None) -> torch.device:
    """Moves the model to the device asked for, and returns it; a model spread by a device map stays."""
    device_map = getattr(model, "hf_device_map", None)
    if device_map is not None:
        if device is not None:
            raise ArgumentError(
                "device: the model was loaded with device_map= and cannot be moved; leave device= out",
                key="device",
                expected="None",
                actual=repr(device),
            )
        first = next(iter(device_map.values()))
        return _parse_device(first)
    if device == -1:
        device = "cpu"
    target = _parse_device(device)
    if next((tensor.device for tensor in model.parameters()), target) != target:
        model.to(target)
    return target


def _parse_device(device: int | str | torch.device | None) -> torch.device:
    if isinstance(device, (str, torch.device)):
        return torch.device(device)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        if device is not None:
            logger.warning("device=%d: there is no accelerator; the CPU is used", device)
        return torch.device("cpu")
    return torch.device(accelerator.type, device or 0)


def _on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Makes the device the current one, where there are several: kernels are launched on the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _open_bar(total: int | None, task: str) -> Any:
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    return tqdm(total=total, desc=task or None, unit="text")


def join(tensors: list[Tensor]) -> Tensor:
    """What was collected of the batches, one after another, on the host."""
    return (tensors[0] if len(tensors) == 1 else torch.cat(tensors)).cpu()
