"""Every kind of input, streamed and not; and what is no input."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oxiformers
from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.pipelines.inputs import SLOW, Source, read_windows
from oxiformers.pipelines.pt_utils import KeyDataset, KeyPairDataset

TEXTS = [
    " ".join(["the good story is not dull"] * (1 + number * 7 % 5) + ["and"] * (number % 3))
    + " 1" * (number % 2)
    for number in range(40)
]
OTHERS = ["they watch " + "not " * (number % 4) for number in range(len(TEXTS))]


class ByNumber:
    """A dataset with a length and rows by number, as torch's often are, that counts what is read."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows
        self.read = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        self.read += 1
        return self.rows[index % len(self.rows)]


@pytest.fixture(scope="module")
def expected(classifier: Any) -> list[dict[str, Any]]:
    """Each text classified on its own."""
    return [classifier(text)[0] for text in TEXTS]


def close(found: Any, expected: list[dict[str, Any]]) -> bool:
    """Batches of other sizes round in other ways, by a few units in the last place."""
    found = list(found)
    return [result["label"] for result in found] == [result["label"] for result in expected] and np.allclose(
        [result["score"] for result in found], [result["score"] for result in expected], rtol=0, atol=1e-6
    )


def test_the_texts_get_different_answers(expected: list[dict[str, Any]]) -> None:
    assert len({round(result["score"], 4) for result in expected}) > 10


def test_list(classifier: Any, expected: list[dict[str, Any]]) -> None:
    found = classifier(TEXTS)
    assert type(found) is list
    assert close(found, expected)
    assert classifier([]) == []


@pytest.mark.parametrize("window_rows", [1, 3, 16])
def test_a_list_longer_than_a_window(
    window_rows: int, classifier: Any, expected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(classifier), "window_rows", window_rows)
    assert close(classifier(TEXTS), expected)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_batch_size_changes_nothing(batch_size: int, classifier: Any, expected: list[dict[str, Any]]) -> None:
    assert close(classifier(TEXTS, batch_size=batch_size), expected)


@pytest.mark.parametrize("budget", ["1", "20", "100000"])
def test_token_budget_changes_nothing(
    budget: str, classifier: Any, expected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OXIFORMERS_TOKEN_BUDGET", budget)
    assert close(classifier(TEXTS), expected)


@pytest.mark.parametrize("budget", ["0", "-1", "many", "1.5"])
def test_token_budget_that_is_none(budget: str, classifier: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OXIFORMERS_TOKEN_BUDGET", budget)
    with pytest.raises(ArgumentError, match=r"OXIFORMERS_TOKEN_BUDGET: expected an integer of at least 1"):
        classifier(TEXTS)


def test_generator(classifier: Any, expected: list[dict[str, Any]]) -> None:
    found = classifier(text for text in TEXTS)
    assert iter(found) is found
    with pytest.raises(TypeError):
        len(found)
    assert close(found, expected)
    assert list(found) == []


def test_generator_of_nothing(classifier: Any) -> None:
    assert list(classifier(text for text in [])) == []


def test_iterators_that_are_no_generators(classifier: Any, expected: list[dict[str, Any]]) -> None:
    assert close(classifier(iter(TEXTS)), expected)
    assert close(classifier(map(str.strip, TEXTS)), expected)


def test_a_generator_is_read_as_results_are_asked_for(classifier: Any) -> None:
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for text in TEXTS * 50:
            read += 1
            yield text

    found = classifier(texts())
    assert read == 0
    next(found)
    assert read == 1
    for count in range(2, 1500):
        next(found)
        assert count <= read < count + classifier.window_rows


def test_a_generator_that_waits_for_its_answers(classifier: Any) -> None:
    """A queue that gets its next text only when the last one is answered must not hang."""
    answered = threading.Event()

    def texts() -> Iterator[str]:
        for text in TEXTS[:8]:
            yield text
            assert answered.wait(5), "the next input was asked for before the answer was out"
            answered.clear()
            threading.Event().wait(2 * SLOW)

    results = []
    for result in classifier(texts()):
        results.append(result)
        answered.set()
    assert len(results) == 8


def test_windows_grow_and_shrink() -> None:
    """One input first, four times as many each time, and back to one where inputs are slow."""

    def items() -> Iterator[int]:
        for number in range(120):
            if number == 30:
                threading.Event().wait(2 * SLOW)
            yield number

    windows = list(read_windows(Source(items(), None), 32, ramp=True))
    assert [number for window in windows for number in window.items] == list(range(120))
    assert [window.first for window in windows] == [window.items[0] for window in windows]
    sizes = [len(window.items) for window in windows]
    assert sizes[:4] == [1, 4, 16, 10]
    assert windows[3].items[-1] == 30
    assert sizes[4] == 1
    assert max(sizes) == 32
    steady = read_windows(Source(range(70), 70), 32, ramp=False)
    assert [len(window.items) for window in steady] == [32, 32, 6]


@pytest.mark.parametrize("rows", ["text", "dict", "pair"])
def test_datasets(rows: str, classifier: Any, expected: list[dict[str, Any]]) -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"text": TEXTS, "other": OTHERS, "label": [0] * len(TEXTS)})
    if rows == "text":
        found = classifier(KeyDataset(dataset, "text"))
    elif rows == "dict":
        found = classifier(dataset)
    else:
        found = classifier(KeyPairDataset(dataset, "text", "other"))
        pairs = zip(TEXTS, OTHERS, strict=True)
        expected = [classifier({"text": text, "text_pair": pair}) for text, pair in pairs]
    assert len(found) == len(TEXTS)
    assert close(found, expected)
    assert close(found, expected), "a dataset's results can be gone through again"


def test_a_column_and_a_stream_of_datasets(classifier: Any, expected: list[dict[str, Any]]) -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"text": TEXTS})
    column = classifier(dataset["text"])
    assert type(column) is list
    assert close(column, expected)
    streamed = classifier(dataset.to_iterable_dataset())
    assert close(streamed, expected)
    with pytest.raises(TypeError):
        len(streamed)


def test_datasets_that_only_number_their_rows(classifier: Any, expected: list[dict[str, Any]]) -> None:
    dataset = ByNumber(TEXTS)
    found = classifier(dataset)
    assert len(found) == len(TEXTS)
    assert dataset.read == 0
    assert close(found, expected)
    assert dataset.read == len(TEXTS)
    assert close(classifier(KeyDataset(ByNumber([{"t": text} for text in TEXTS]), "t")), expected)
    assert close(classifier(np.array(TEXTS)), expected)


def test_data_frames(classifier: Any, expected: list[dict[str, Any]]) -> None:
    """One iterates over the names of its columns, which nobody wants classified."""
    frame = pytest.importorskip("pandas").DataFrame({"text": TEXTS})
    with pytest.raises(InputTypeError, match="got DataFrame; of a data frame pass one column"):
        classifier(frame)
    assert close(classifier(frame["text"]), expected)


def test_mixed_list(classifier: Any, expected: list[dict[str, Any]]) -> None:
    mixed = [{"text": text} if number % 2 else text for number, text in enumerate(TEXTS)]
    assert close(classifier(mixed), expected)
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
    [first, second] = classifier([pair, TEXTS[2]])
    assert close([first], [classifier(pair)])
    assert close([second], expected[2:3])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, r"inputs: expected a str, .* got NoneType"),
        (3, r"inputs: expected .* got int"),
        (b"good", r"inputs: expected .* got bytes"),
        (("good", "bad"), r"inputs: .* got tuple; for several texts pass a list"),
        (["good", 3], r"inputs\[1\]: expected a str .* got int"),
        (["good", None], r"inputs\[1\]: .* got NoneType"),
        ([["good", "bad"]], r'inputs\[0\]: .* got a list of 2; a pair .* "text_pair"'),
        ([("good", "bad")], r"inputs\[0\]: .* got a tuple of 2"),
        ([{"text": "good", "pair": "bad"}], r"inputs\[0\]: .* got 'text', 'pair'"),
        ([{"text_pair": "good"}], r"inputs\[0\]: expected a dict .* got 'text_pair'"),
        ([{"text": 3}], r"inputs\[0\]: expected a str .* got int"),
        ([{"text": "good", "text_pair": 3}], r"inputs\[0\]\['text_pair'\]: expected a str, got int"),
        (ByNumber([{"sentence": "good"}]), r"inputs\[0\]: .* name the column with KeyDataset"),
    ],
)
def test_what_is_no_input(inputs: Any, message: str, classifier: Any, extractor: Any) -> None:
    for pipe in (classifier, extractor):
        with pytest.raises(InputTypeError, match=message) as caught:
            list(pipe(inputs))
        assert isinstance(caught.value, TypeError)


def test_the_index_counts_from_the_first_input(classifier: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(classifier), "window_rows", 4)
    with pytest.raises(InputTypeError, match=r"inputs\[9\]: .* got float") as caught:
        classifier([*TEXTS[:9], 1.5])
    assert caught.value.key == "inputs[9]"


@pytest.mark.parametrize("window_rows", [1, 4, 512])
@pytest.mark.parametrize(
    ("item", "error"),
    [
        (1.5, InputTypeError),
        ({"text_pair": "good"}, InputTypeError),
        ("\ud800", ArgumentError),
        (" ".join(["good"] * 100), ArgumentError),
        (OSError("the disk is gone"), OSError),
    ],
)
def test_what_came_before_a_failure_is_answered(
    item: Any, error: type[Exception], window_rows: int, classifier: Any, expected: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of a generator and of a dataset, whatever the fault; of a list, the error is all there is."""
    monkeypatch.setattr(type(classifier), "window_rows", window_rows)

    class Faulty(ByNumber):
        def __getitem__(self, index: int) -> Any:
            found = super().__getitem__(index)
            if isinstance(found, Exception):
                raise found
            return found

    inputs = [*TEXTS[:21], item, *TEXTS[22:]]
    for stream in (iter(Faulty(inputs)), Faulty(inputs)):
        results: list[Any] = []
        with pytest.raises(error) as caught:
            results.extend(classifier(stream))
        assert len(results) == 21
        assert close(results, expected[:21])
        assert getattr(caught.value, "key", "inputs[21]") == "inputs[21]"
    if error is not OSError:
        with pytest.raises(error, match=r"inputs\[21\]"):
            classifier(inputs)


def test_long_texts(classifier: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    long = " ".join(["good"] * 100)
    monkeypatch.setattr(type(classifier), "window_rows", 4)
    message = r"inputs\[6\]: expected at most 64 tokens, got 102 tokens; pass truncation=True"
    with pytest.raises(ArgumentError, match=message) as caught:
        classifier([*TEXTS[:6], long, *TEXTS[:2]])
    assert caught.value.key == "inputs[6]"
    results = classifier([*TEXTS[:6], long, *TEXTS[:2]], truncation=True)
    assert close(results[6:7], classifier(" ".join(["good"] * 62)))


def test_texts_without_a_token(classifier: Any, extractor: Any) -> None:
    for pipe in (classifier, extractor):
        with pytest.raises(
            ArgumentError, match=r"inputs\[1\]: expected at least one token, got none; no special"
        ):
            pipe(["good", "", "bad"], add_special_tokens=False)
    assert len(classifier(["", "   ", "\0"])) == 3


def test_texts_that_are_hard_to_read(classifier: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match=r"1.*surrogate|surrogate.*1"):
        classifier(["good", "\ud800"])
    with monkeypatch.context() as patch:
        patch.setattr(type(classifier), "window_rows", 4)
        with pytest.raises(ArgumentError, match=r"inputs\[5\]: expected text that") as caught:
            classifier(["good"] * 5 + ["\ud800"])
        assert caught.value.key == "inputs[5]"
    assert len(classifier(["x" * 1_000_000, "\0" * 5, "good"], truncation=True)) == 3


def test_progress_bar(classifier: Any, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    results = classifier(TEXTS, progress_bar=True)
    assert len(results) == len(TEXTS)
    assert f"{len(TEXTS)}/{len(TEXTS)}" in capsys.readouterr().err
    list(classifier((text for text in TEXTS), progress_bar=True))
    assert f"{len(TEXTS)}text" in capsys.readouterr().err
    pipe = oxiformers.pipeline("text-classification", model=folders["bert"], device="cpu", progress_bar=True)
    pipe(TEXTS)
    assert f"{len(TEXTS)}/{len(TEXTS)}" in capsys.readouterr().err
    pipe(TEXTS, progress_bar=False)
    assert capsys.readouterr().err == ""


def test_threads_share_a_pipeline(classifier: Any) -> None:
    """Eight threads, each with arguments of its own, get what they get alone."""
    arguments: list[dict[str, Any]] = [
        {
            "truncation": True,
            "max_length": 4 + 3 * number,
            "top_k": [None, 1, 2][number % 3],
            "batch_size": 1 + number,
        }
        for number in range(8)
    ]
    alone = [classifier(TEXTS, **own) for own in arguments]
    wrong: list[str] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(5):
            found = classifier(TEXTS, **arguments[number])
            for ours, expected in zip(found, alone[number], strict=True):
                if not close(ours, expected):
                    wrong.append(f"thread {number}: {ours} for {expected}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_call_leaves_nothing_behind(classifier: Any) -> None:
    before = dict(vars(classifier))
    first = classifier(TEXTS[0])
    classifier(TEXTS, top_k=None, truncation=True, max_length=4, batch_size=2, function_to_apply="none")
    assert vars(classifier) == before
    assert classifier(TEXTS[0]) == first
