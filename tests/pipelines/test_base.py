"""The base of pipelines, by one that knows no text: vectors in, several rows an input, ragged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.pipelines import Pipeline
from oxiformers.pipelines.call import Arguments
from oxiformers.pipelines.rows import Prepared, make_batches


class LargestSums(Pipeline):
    """{"signals": [...]}, vectors of any lengths, to what the model says of each, the largest first."""

    many_rows = True

    def sort_arguments(self, arguments: dict[str, Any]) -> Arguments:
        return Arguments({}, {}, {"top_k": arguments.pop("top_k")} if "top_k" in arguments else {})

    def prepare(self, window: Any, call: Any) -> Prepared:
        inputs = list(window.each(self.read))
        rows = [row for tensors in inputs for row in tensors]
        counts, lengths = [len(tensors) for tensors in inputs], [len(row) for row in rows]
        batches = make_batches(rows, window, call.batch_size or 4, counts=counts, lengths=lengths)
        return Prepared(batches, details=counts)

    def read(self, item: Any) -> list[Tensor]:
        return [torch.tensor(signal, dtype=torch.float32) for signal in item["signals"]]

    def run(self, batch: Any, call: Any) -> Tensor:
        sums: Tensor = self.model(pad_sequence(batch.data, batch_first=True))
        return sums

    def finish(self, collected: Any, details: Any, call: Any) -> Iterator[Any]:
        for rows, count in zip(collected, details, strict=True):
            yield {
                "sums": sorted((row.item() for row in rows), reverse=True)[: call.finish.get("top_k")],
                "of": count,
            }


class Sums(torch.nn.Module):
    """Padded vectors ``[B, S]`` to their sums; keeps the shapes it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, rows: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        self.shapes.append(tuple(rows.shape))
        return (rows * self.weight).sum(-1)


def pipe(**arguments: Any) -> LargestSums:
    return LargestSums(Sums(), device="cpu", **arguments)


# Inputs of 0 to 4 rows, of 1 to 6 numbers.
INPUTS = [
    {"signals": [[float(number + row)] * (1 + (number * 3 + row) % 6) for row in range(number % 5)]}
    for number in range(23)
]
EXPECTED = [
    {"sums": sorted((sum(row) for row in item["signals"]), reverse=True), "of": len(item["signals"])}
    for item in INPUTS
]


def test_one_input_and_a_list() -> None:
    assert pipe()(INPUTS[3]) == EXPECTED[3]
    assert pipe()(INPUTS) == EXPECTED
    assert pipe()([]) == []
    assert pipe()(INPUTS[0]) == {"sums": [], "of": 0}


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_rows_of_all_inputs_share_batches_by_length(batch_size: int) -> None:
    own = pipe(batch_size=batch_size)
    assert own(INPUTS) == EXPECTED
    shapes = own.model.shapes
    assert sum(rows for rows, _ in shapes) == sum(len(item["signals"]) for item in INPUTS)
    assert all(rows == batch_size for rows, _ in shapes[:-1])
    assert [length for _, length in shapes] == sorted((length for _, length in shapes), reverse=True)


@pytest.mark.parametrize("window_rows", [1, 4, 512])
def test_streams(window_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LargestSums, "window_rows", window_rows)
    own = pipe(top_k=1)
    found = own(item for item in INPUTS)
    assert not own.model.shapes
    assert list(found) == [{**answer, "sums": answer["sums"][:1]} for answer in EXPECTED]
    assert list(own((item for item in INPUTS), top_k=None)) == EXPECTED


def test_an_array_is_one_input() -> None:
    """Whatever is no list, dataset or iterator: pixels, samples, a path."""

    class Total(LargestSums):
        def read(self, item: Any) -> list[Tensor]:
            return list(torch.from_numpy(item).float())

    array = np.ones((2, 3))
    own = Total(Sums(), device="cpu")
    assert own(array) == {"sums": [3, 3], "of": 2}
    assert own([array, array[:1]]) == [{"sums": [3, 3], "of": 2}, {"sums": [3], "of": 1}]


def test_pixels_are_rows_of_one_shape() -> None:
    class Brightness(Pipeline):
        """A picture ``[H, W]`` to its brightness."""

        def prepare(self, window: Any, call: Any) -> Prepared:
            return Prepared(make_batches(list(window.each(torch.as_tensor)), window, call.batch_size or 2))

        def run(self, batch: Any, call: Any) -> Any:
            return self.model(torch.stack(batch.data).flatten(1))

        def finish(self, collected: Any, details: Any, call: Any) -> Iterator[float]:
            return (row.item() for row in collected)

    own = Brightness(Sums(), device="cpu")
    pictures = [torch.full((2, 3), float(number)) for number in range(5)]
    assert own(pictures[1]) == 6
    assert own(pictures) == [0, 6, 12, 18, 24]
    assert own.model.shapes == [(1, 6), (2, 6), (2, 6), (1, 6)]
    with pytest.raises(ArgumentError, match="unexpected argument 'top_k': Brightness takes none"):
        own(pictures, top_k=3)


def test_an_error_says_which_input_raised_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LargestSums, "window_rows", 4)
    with pytest.raises(KeyError) as caught:
        pipe()([*INPUTS[:6], {"signal": []}])
    assert caught.value.__notes__ == ["raised by inputs[6]"]


def test_progress_counts_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    pipe(progress_bar=True)(INPUTS)
    assert f"{len(INPUTS)}/{len(INPUTS)}" in capsys.readouterr().err


def test_steps_that_are_not_written() -> None:
    with pytest.raises(NotImplementedError, match="Pipeline writes neither prepare nor"):
        Pipeline(Sums(), device="cpu")(3)


def test_parts_of_a_processor() -> None:
    class Processor:
        tokenizer, image_processor = object(), object()

    own = Pipeline(Sums(), processor=Processor(), device="cpu")
    assert (own.tokenizer, own.image_processor) == (Processor.tokenizer, Processor.image_processor)
    assert own.feature_extractor is None
    assert Pipeline(Sums(), own.tokenizer, processor=Processor(), device="cpu").image_processor is None

    class Seeing(Pipeline):
        _load_image_processor = True

    with pytest.raises(ArgumentError, match="image_processor: expected an object, got None"):
        Seeing(Sums(), device="cpu")


# Streams in which something fails: what came before it is answered, whatever fails, and then the error is raised.


class Numbered:
    """A dataset whose row 9 cannot be read."""

    def __len__(self) -> int:
        return len(INPUTS)

    def __getitem__(self, index: int) -> Any:
        if index == 9:
            raise OSError("the disk is gone")
        return INPUTS[index]


class NumberedForTorch(Numbered, torch.utils.data.Dataset):  # type: ignore[type-arg]
    pass


def broken(number: int = 9) -> Iterator[Any]:
    yield from INPUTS[:number]
    raise OSError("the disk is gone")


def wrong() -> Iterator[Any]:
    yield from INPUTS[:9]
    yield {"signal": []}
    yield from INPUTS[10:]


class ThatRaises(Iterator[Any]):
    """An iterator that is no generator."""

    def __init__(self) -> None:
        self.items = iter(INPUTS[:9])

    def __next__(self) -> Any:
        for item in self.items:
            return item
        raise OSError("the disk is gone")


@pytest.mark.parametrize("window_rows", [1, 2, 5, 512])
@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize(
    ("inputs", "error"),
    [(broken, OSError), (ThatRaises, OSError), (NumberedForTorch, OSError), (wrong, KeyError)],
)
def test_what_came_before_a_failure_is_answered(
    inputs: Any,
    error: type[Exception],
    batch_size: int | None,
    window_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LargestSums, "window_rows", window_rows)
    results = []
    with pytest.raises(error) as caught:
        results.extend(pipe(batch_size=batch_size)(inputs()))
    assert results == EXPECTED[:9]
    assert getattr(caught.value, "__notes__", []) == (["raised by inputs[9]"] if error is KeyError else [])


def test_a_failure_at_once_and_a_failing_step() -> None:
    with pytest.raises(OSError, match="disk"):
        next(pipe()(broken(0)))

    class Failing(LargestSums):
        """A model, and a finish, that fail for one input."""

        def run(self, batch: Any, call: Any) -> Tensor:
            if any(row[0] == 17 for row in batch.data):
                raise RuntimeError("out of memory")
            return super().run(batch, call)

    results = []
    with pytest.raises(RuntimeError, match="out of memory"):
        results.extend(Failing(Sums(), device="cpu")(iter(INPUTS)))
    assert results == EXPECTED[: len(results)]
    assert 17.0 in [row[0] for row in INPUTS[len(results)]["signals"]]


def test_a_list_fails_as_a_whole() -> None:
    own = pipe()
    with pytest.raises(KeyError):
        own(list(wrong()))
    assert own.model.shapes == []


def test_an_interrupt_is_not_an_answer() -> None:
    """It is raised at once: what was read before it is not computed first."""

    def interrupted() -> Iterator[Any]:
        yield from INPUTS[:3]
        raise KeyboardInterrupt

    own = pipe()
    found = own(interrupted())
    next(found)
    with pytest.raises(KeyboardInterrupt):
        next(found)
    assert len(own.model.shapes) == 0


def test_an_error_that_names_its_input_is_left_as_it_is() -> None:
    class Strict(LargestSums):
        def read(self, item: Any) -> list[Tensor]:
            if not isinstance(item, dict):
                raise InputTypeError.mismatch(item, "a dict", type(item).__name__)
            return super().read(item)

    for key, notes in (("signals", ["raised by inputs[1]"]), ("inputs[1]", [])):
        with pytest.raises(TypeError, match="expected a dict, got str") as caught:
            Strict(Sums(), device="cpu")([INPUTS[1], key])
        assert getattr(caught.value, "__notes__", []) == notes
