"""Pipelines of one's own, written as transformers' hooks, answer what they answer there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import oxiformers
from oxiformers.errors import ArgumentError, InputTypeError, UnsupportedError
from oxiformers.pipelines import (
    PIPELINE_REGISTRY,
    ChunkPipeline,
    Pipeline,
    TextClassificationPipeline,
    get_supported_tasks,
    tasks,
)
from oxiformers.pipelines.pt_utils import KeyDataset
from tests.pipelines import hook_cases
from tests.pipelines.conftest import Ask

A = "The story is not bad, we never see it end."
B = "dull"
C = "They love the slow scene and the bright actor! 1 - 2 - 3, watched unendingly..."
TEXTS = [A, B, C, "good plot", "bad"]

WAYS: list[dict[str, Any]] = [
    {"inputs": A},
    {"inputs": TEXTS},
    {"inputs": TEXTS, "arguments": {"batch_size": 2}},
    {"inputs": TEXTS, "settings": {"batch_size": 3, "num_workers": 0}},
    {"inputs": TEXTS, "as": "generator"},
    {"inputs": TEXTS, "as": "generator", "arguments": {"batch_size": 2}},
    {"inputs": TEXTS, "as": "dataset", "arguments": {"batch_size": 4}},
    {"inputs": TEXTS, "padding_side": "left", "arguments": {"batch_size": 5}},
    {"inputs": A, "settings": {"batch_size": 2}},
    {"inputs": []},
]
ITEMS: list[Any] = [3, None, "text", {"a": 1}, {"b": [1, 2]}]
CASES: dict[str, list[dict[str, Any]]] = {
    "Pair": [
        *WAYS,
        {"inputs": TEXTS, "register": True},
        {"inputs": A, "arguments": {"second_text": C}},
        {"inputs": TEXTS, "settings": {"second_text": B, "scale": 0.5}},
        {"inputs": A, "settings": {"second_text": B, "digits": 5}, "arguments": {"digits": 2}},
        {"inputs": TEXTS, "settings": {"scale": 2.0}, "arguments": {"batch_size": 2, "second_text": C}},
    ],
    "Kinds": [
        *({"inputs": item} for item in ITEMS),
        {"inputs": ["a", "b"], "as": "tuple"},
        {"inputs": "alone", "settings": {"batch_size": 2}},
        {"inputs": ITEMS},
        {"inputs": [[1, 2], [3]]},
        {"inputs": ITEMS, "settings": {"times": 3}},
        {"inputs": ITEMS, "arguments": {"batch_size": 2}},
        {"inputs": ITEMS, "as": "dataset", "arguments": {"batch_size": 3}},
        {"inputs": ITEMS, "arguments": {"batch_size": 5}, "padding_side": "left"},
    ],
    "Tokens": [*WAYS, {"inputs": TEXTS, "arguments": {"layer": 0, "batch_size": 5}}],
    "Chunks": [
        *WAYS,
        {"inputs": TEXTS, "register": True},
        {"inputs": TEXTS, "arguments": {"words": 2, "batch_size": 3}},
        {"inputs": C, "settings": {"words": 1}, "arguments": {"batch_size": 4}},
    ],
    "Scores": [
        *WAYS,
        {"inputs": TEXTS, "arguments": {"top_k": 2}},
        {"inputs": TEXTS, "settings": {"top_k": None, "function_to_apply": "sigmoid"}},
        {"inputs": [{"text": A, "text_pair": B}, {"text": C}]},
        {"inputs": [" ".join([A] * 30)], "arguments": {"truncation": True, "max_length": 9}},
    ],
    "Shout": [
        *WAYS,
        {"inputs": TEXTS, "arguments": {"exclaim": " not good!", "top_k": 1}},
        {"inputs": TEXTS, "settings": {"exclaim": "!", "top_k": 1}, "arguments": {"exclaim": "?", "top_k": 2}},
    ],
}  # fmt: skip


def close(ours: Any, theirs: Any) -> bool:
    """Whether two results are the same, numbers up to 1e-5."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(close(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        return abs(ours - theirs) <= 1e-5 * max(1, abs(theirs))
    return type(ours) is type(theirs) and bool(ours == theirs)


@pytest.fixture
def registry() -> Iterator[None]:
    """Takes back what a test registers."""
    before = dict(tasks.TASKS)
    yield
    tasks.TASKS.clear()
    tasks.TASKS.update(before)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("oracle", ["ask_524", "ask_457"])
@pytest.mark.parametrize("name", CASES)
def test_results_equal_those_of_transformers(
    name: str, oracle: str, folders: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    ask: Ask = request.getfixturevalue(oracle)
    classes = hook_cases.define("oxiformers")
    cases = [{"class": name, "model": str(folders["bert"]), **case} for case in CASES[name]]
    if oracle == "ask_524":
        # 5 reads inputs[0] of a list
        cases = [case for case in cases if case["inputs"] != []]
    for case, answer in zip(cases, ask(cases), strict=True):  # type: ignore[arg-type]
        assert "result" in answer, (case, answer)
        ours = json.loads(json.dumps(hook_cases.answer("oxiformers", classes, case)))
        assert close(ours, answer["result"]), (case, ours, answer["result"])


# What runs a class, and what its hooks may use.


class Plus(Pipeline):
    """Numbers plus the model's weight, and what a call was asked for."""

    def _sanitize_parameters(self, **kwargs: Any) -> Any:
        return kwargs, {}, {}

    def preprocess(self, number: Any, **arguments: Any) -> Any:
        return {"x": torch.tensor([[float(number)]]), "arguments": arguments}

    def _forward(self, inputs: Any) -> Any:
        return {"x": self.model(inputs["x"]), "arguments": inputs["arguments"]}

    def postprocess(self, outputs: Any) -> Any:
        return outputs["x"].item(), outputs["arguments"]

    def run(self, steps: int) -> int:
        """A method of its own, which happens to have the name of a step."""
        return steps + 1


class One(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not torch.is_inference_mode_enabled()
        return x + self.weight


def plus(own: type[Pipeline] = Plus, **arguments: Any) -> Any:
    return own(One(), device="cpu", **arguments)


def test_a_pipeline_without_a_tokenizer() -> None:
    assert plus()(3) == (4, {})
    assert plus()([1, 2], a=1) == [(2, {"a": 1}), (3, {"a": 1})]
    assert plus(a=1, batch_size=2)([1, 2, 3], b=2) == [(float(n), {"a": 1, "b": 2}) for n in (2, 3, 4)]
    assert plus().run(1) == 2
    assert plus(modelcard="x", binary_output=True, args_parser=None, torch_dtype="auto")(1) == (2, {})


def test_attributes_that_hooks_use() -> None:
    pipe = plus(batch_size=4, num_workers=2)
    assert (pipe._batch_size, pipe._num_workers, pipe.framework) == (4, 2, "pt")
    assert (pipe.tokenizer, pipe.feature_extractor, pipe.image_processor, pipe.processor) == (None,) * 4
    moved = pipe.ensure_tensor_on_device(
        a=torch.zeros(1), b=[torch.zeros(2), "c"], d=(1, {"e": torch.zeros(3)})
    )
    assert moved["b"][1] == "c"
    assert moved["d"][1]["e"].shape == (3,)
    with pipe.device_placement():
        assert pipe.forward(pipe.preprocess(1))["x"].item() == 2


def test_tensors_are_moved_wherever_they_are() -> None:
    """Each way: to the model's device before _forward, to the CPU after it."""
    from oxiformers.models.outputs import SequenceClassifierOutput
    from oxiformers.pipelines.devices import move

    meta, zeros = torch.device("meta"), torch.zeros(1)
    output = move(SequenceClassifierOutput(logits=zeros, hidden_states=(zeros,)), meta)
    assert type(output) is SequenceClassifierOutput
    assert output.logits.is_meta
    assert output.hidden_states[0].is_meta
    assert move(oxiformers.BatchEncoding({"x": zeros}), meta)["x"].is_meta
    assert [move([zeros], meta)[0].is_meta, move({"x": (zeros,)}, meta)["x"][0].is_meta] == [True, True]


def test_the_context_of_forward() -> None:
    class Graphs(Plus):
        """The gradient of what the model says: with gradients, as it asks for."""

        def get_inference_context(self) -> Any:
            return torch.enable_grad

        def postprocess(self, outputs: Any) -> Any:
            outputs["x"].sum().backward()
            return self.model.weight.grad.item()

    assert plus(Graphs)(3) == 1


def test_the_model_is_checked_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    plus().check_model_type(["One"])
    plus().check_model_type({"a": ("Two", "One"), "b": "Three"})
    assert caplog.text == ""
    plus(task="adding").check_model_type({"a": ("Two", "Four"), "b": "Three"})
    assert "adding: the model One is not supported; the models are Two, Four, Three" in caplog.text


def test_who_runs_a_class(folders: dict[str, Path]) -> None:
    """The nearest class decides: steps below hooks are steps again."""

    class Steps(Plus):
        def prepare(self, window: Any, call: Any) -> Any:
            raise RuntimeError("prepare was called")

    class Mixed:
        def postprocess(self, outputs: Any) -> Any:
            return "mixed"

    with pytest.raises(RuntimeError, match="prepare was called"):
        plus(Steps)(1)
    assert plus(type("Own", (Mixed, Plus), {}))(1) == "mixed"
    own = type("Own", (Mixed, TextClassificationPipeline), {})
    assert oxiformers.pipeline(model=folders["bert"], pipeline_class=own)(["a", "b"]) == ["mixed"] * 2


def test_hooks_that_are_not_written_or_wrong() -> None:
    class Half(Pipeline):
        def _sanitize_parameters(self, **kwargs: Any) -> Any:
            return {}, {}, {}

    with pytest.raises(
        UnsupportedError, match="Half does not write preprocess; a pipeline of your own writes"
    ):
        plus(Half)(1)

    class Two(Plus):
        def _sanitize_parameters(self, **kwargs: Any) -> Any:
            return {}, {}

    with pytest.raises(
        InputTypeError, match=r"Two._sanitize_parameters: expected three dicts.*got \(\{\}, \{\}\)"
    ):
        plus(Two)


def test_hooks_of_the_packages_own_pipelines(
    folders: dict[str, Path], classifier: Any, extractor: Any
) -> None:
    """They may be called one by one."""
    [expected] = classifier(A)
    found = classifier.postprocess(classifier.forward(classifier.preprocess(A)))
    assert found["label"] == expected["label"]
    assert found["score"] == pytest.approx(expected["score"], abs=1e-6)
    pair = {"text": A, "text_pair": B}
    assert classifier.preprocess(pair)["token_type_ids"].sum() > 0
    features = extractor.postprocess(
        extractor.forward(extractor.preprocess(A, max_length=4)), return_tensors=True
    )
    assert torch.allclose(features, extractor(A, max_length=4, return_tensors=True), atol=1e-5)
    assert classifier._sanitize_parameters(top_k=2, truncation=True) == (
        {"truncation": True}, {}, {"top_k": 2, "_legacy": False},
    )  # fmt: skip


# Inputs of hooks: streams, failures, chunks.


def test_a_stream_is_read_one_batch_at_a_time() -> None:
    for batch_size in (1, 3):
        read = 0

        def numbers() -> Iterator[int]:
            nonlocal read
            for number in range(10):
                read += 1
                yield number

        found = plus(batch_size=batch_size)(numbers())
        assert read == 0
        assert next(found) == (1, {})
        assert read == batch_size
        assert [value for value, _ in found] == list(range(2, 11))


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_what_came_before_a_failure_is_answered(batch_size: int) -> None:
    results = []
    with pytest.raises(ValueError, match="could not convert") as caught:
        results.extend(plus(batch_size=batch_size)(number for number in [1, 2, 3, 4, 5, "six", 7]))
    assert [value for value, _ in results] == [2, 3, 4, 5, 6]
    assert caught.value.__notes__ == ["raised by inputs[5]"]
    with pytest.raises(ValueError, match="could not convert") as caught:
        plus(batch_size=batch_size)([1, 2, 3, 4, 5, "six", 7])
    assert caught.value.__notes__ == ["raised by inputs[5]"]


def test_datasets_and_files(tmp_path: Path) -> None:
    """A dataset has a length, by its column too; a file is one input."""
    results = plus()(KeyDataset([{"n": 1}, {"n": 2}], "n"))
    assert len(results) == 2
    assert list(results) == list(results) == [(2, {}), (3, {})]
    datasets = pytest.importorskip("datasets")
    assert [value for value, _ in plus()(KeyDataset(datasets.Dataset.from_dict({"n": [1, 2]}), "n"))] == [
        2,
        3,
    ]

    class Size(Plus):
        def preprocess(self, item: Any, **arguments: Any) -> Any:
            return super().preprocess(len(item.read()) if hasattr(item, "read") else len(item["n"]))

    path = tmp_path / "file"
    path.write_text("a\nb\n")
    with path.open() as file:
        assert plus(Size)(file) == (5, {})
    assert [value for value, _ in plus(Size)(datasets.Dataset.from_dict({"n": ["a", "bcd"]}))] == [2, 4]


class Digits(ChunkPipeline):
    """The digits of a number, each plus the weight; a number below 0 has none."""

    read = 0

    def _sanitize_parameters(self, **kwargs: Any) -> Any:
        return {}, {}, {}

    def preprocess(self, number: int) -> Iterator[Any]:
        for digit in str(number) if number >= 0 else "":
            type(self).read += 1
            yield {"x": torch.tensor([[float(digit)]])}

    def _forward(self, inputs: Any) -> Any:
        return {"x": self.model(inputs["x"]), "read": self.read}

    def postprocess(self, outputs: Any) -> Any:
        return [chunk["x"].item() for chunk in outputs]


@pytest.mark.parametrize("batch_size", [None, 1, 2, 5])
def test_chunks_need_no_last_one(batch_size: int | None) -> None:
    """An input without a chunk has its answer too, and the inputs after it."""
    pipe = plus(Digits, batch_size=batch_size)
    assert pipe(907) == [10, 1, 8]
    assert pipe([12, -1, 3, -1]) == [[2, 3], [], [4], []]
    assert list(pipe(number for number in [12, -1, 3456])) == [[2, 3], [], [4, 5, 6, 7]]


def test_chunks_are_made_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Digits, "read", 0)
    seen: list[int] = []

    class Seen(Digits):
        def postprocess(self, outputs: Any) -> Any:
            seen.extend(chunk["read"] for chunk in outputs)

    plus(Seen)(12345)
    assert seen == [1, 2, 3, 4, 5]


def test_batches_need_a_padding_token(folders: dict[str, Path]) -> None:
    own = hook_cases.define("oxiformers")["Pair"]
    pipe = oxiformers.pipeline("text-classification", model=folders["bert"], pipeline_class=own, batch_size=2)
    pipe.tokenizer.pad_token = None
    assert pipe(A)
    with pytest.raises(
        ArgumentError, match=r"pad_token: expected a token, got None; a padded batch needs one"
    ):
        pipe([A, B])


# Registering, loading and saving.


@pytest.mark.usefixtures("registry")
def test_registering(folders: dict[str, Path], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    own = hook_cases.define("oxiformers")["Pair"]
    PIPELINE_REGISTRY.register_pipeline("pairs", pipeline_class=own, type="text")
    assert "pairs" in get_supported_tasks()
    assert "pairs" in PIPELINE_REGISTRY.get_supported_tasks()
    pipe = oxiformers.pipeline("pairs", model=folders["bert"], device="cpu")
    assert (type(pipe), pipe.task) == (own, "pairs")
    assert type(pipe.model).__name__ == "BertForSequenceClassification", "the class its config names"
    with pytest.raises(
        ArgumentError, match="model: expected a model, got None; the task pairs has no default"
    ):
        oxiformers.pipeline("pairs")
    assert caplog.text == ""
    default = {"pt": (str(folders["regression"]), None)}
    PIPELINE_REGISTRY.register_pipeline(
        "pairs",
        own,
        pt_model=(oxiformers.AutoModelForSeq2SeqLM, oxiformers.AutoModelForSequenceClassification),
        default=default,
    )
    assert "pairs: registered anew, as Pair" in caplog.text
    assert oxiformers.pipeline("pairs", device="cpu").model.config.num_labels == 1
    pipe.save_pretrained(tmp_path)
    assert oxiformers.pipeline("pairs", model=tmp_path, device="cpu")(A) == pipe(A)
    PIPELINE_REGISTRY.register_pipeline("pairs", own, pt_model=oxiformers.AutoModelForSeq2SeqLM)
    with pytest.raises(UnsupportedError, match="AutoModelForSeq2SeqLM"):
        oxiformers.pipeline("pairs", model=folders["distilbert"])
    PIPELINE_REGISTRY.register_pipeline("sentiment-analysis", own)
    assert type(oxiformers.pipeline("sentiment-analysis", model=folders["bert"])) is own


@pytest.mark.parametrize(
    "default", [("a/b", "c"), {"pt": ("a/b", "c")}, {"model": ("a/b", "c")}, {"model": {"pt": ("a/b", "c")}}]
)
@pytest.mark.usefixtures("registry")
def test_default_models_that_are_registered(default: Any) -> None:
    PIPELINE_REGISTRY.register_pipeline("adding", Plus, default=default)
    assert tasks.TASKS["adding"].default_model == ("a/b", "c")
    PIPELINE_REGISTRY.register_pipeline("adding", Plus, default="a/b")
    assert tasks.TASKS["adding"].default_model == ("a/b", None)


@pytest.mark.usefixtures("registry")
def test_what_cannot_be_registered() -> None:
    with pytest.raises(InputTypeError, match=r"default: expected \(\"user/model\", \"revision\"\), got 3"):
        PIPELINE_REGISTRY.register_pipeline("adding", Plus, default=3)
    with pytest.raises(InputTypeError, match="pipeline_class: expected a class, got 'Plus'"):
        PIPELINE_REGISTRY.register_pipeline("adding", "Plus")  # type: ignore[arg-type]
    assert "adding" not in tasks.TASKS


def test_a_model_without_a_tokenizer(folders: dict[str, Path], tmp_path: Path) -> None:
    """A pipeline of one's own needs none; one whose class says so does."""
    model = oxiformers.BertForSequenceClassification.from_pretrained(folders["bert"])
    model.save_pretrained(tmp_path)
    kinds = hook_cases.define("oxiformers")["Kinds"]
    pipe = oxiformers.pipeline("text-classification", model=tmp_path, pipeline_class=kinds)
    assert pipe.tokenizer is None
    assert pipe(3)[:2] == ["alone", "3"]
    for needy in (TextClassificationPipeline, type("Needy", (kinds,), {"_load_tokenizer": True})):
        with pytest.raises(oxiformers.MissingFileError, match=r"tokenizer\.json"):
            oxiformers.pipeline("text-classification", model=tmp_path, pipeline_class=needy)
    free = type("Free", (kinds,), {"_load_tokenizer": False})
    assert (
        oxiformers.pipeline("text-classification", model=folders["bert"], pipeline_class=free).tokenizer
        is None
    )


def test_parts_that_are_passed(folders: dict[str, Path]) -> None:
    extractor = object()
    kinds = hook_cases.define("oxiformers")["Kinds"]
    pipe = oxiformers.pipeline(
        "text-classification", model=folders["bert"], pipeline_class=kinds, feature_extractor=extractor
    )
    assert pipe.feature_extractor is extractor
    with pytest.raises(
        UnsupportedError, match="image_processor: expected an object, got 'x'; only tokenizers"
    ):
        oxiformers.pipeline("text-classification", model=folders["bert"], image_processor="x")
