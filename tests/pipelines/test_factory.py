"""How a pipeline is put together: task, model, tokenizer, device."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import oxiformers
from oxiformers.errors import ArgumentError, MissingFileError, OxiformersError, UnsupportedError
from oxiformers.pipelines import FeatureExtractionPipeline, TextClassificationPipeline
from oxiformers.pipelines.tasks import TASKS
from tests.pipelines.conftest import Ask

A = "The story is not bad, we never see it end."


def parts(folder: Path) -> dict[str, Any]:
    return {
        "model": oxiformers.AutoModelForSequenceClassification.from_pretrained(folder),
        "tokenizer": oxiformers.AutoTokenizer.from_pretrained(folder),
    }


def test_what_a_pipeline_shows(classifier: Any) -> None:
    assert type(classifier) is TextClassificationPipeline
    assert type(classifier.model).__name__ == "BertForSequenceClassification"
    assert classifier.tokenizer.model_max_length == 64
    assert classifier.device == torch.device("cpu")
    assert classifier.task == "text-classification"
    assert classifier.framework == "pt"
    assert classifier.dtype is classifier.torch_dtype is torch.float32
    assert "BertForSequenceClassification" in repr(classifier)
    assert not classifier.model.training


def test_objects_in_place_of_names(folders: dict[str, Path], classifier: Any) -> None:
    own = parts(folders["bert"])
    own["model"].train()
    pipe = oxiformers.pipeline("sentiment-analysis", **own)
    assert pipe.task == "text-classification"
    assert pipe.model is own["model"]
    assert not pipe.model.training
    assert pipe(A) == classifier(A)
    assert TextClassificationPipeline(**own)(A) == pipe(A)
    again = oxiformers.pipeline(model=own["model"], tokenizer=str(folders["bert"]))
    assert type(again) is TextClassificationPipeline
    assert again(A) == pipe(A)


def test_the_task_is_told_from_the_model(folders: dict[str, Path]) -> None:
    assert type(oxiformers.pipeline(model=folders["distilbert"])) is TextClassificationPipeline
    assert type(oxiformers.pipeline(model=str(folders["bert-base"]))) is FeatureExtractionPipeline


def test_a_model_whose_task_is_unknown(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder)
    config = oxiformers.AutoConfig.from_pretrained(folder)
    config.architectures = ["BertForSomethingElse"]
    config.save_pretrained(folder)
    with pytest.raises(
        ArgumentError, match=r"task: expected one of .*sentiment-analysis.*BertForSomethingElse"
    ):
        oxiformers.pipeline(model=folder)
    assert oxiformers.pipeline("text-classification", model=folder)(A)


def test_unknown_task() -> None:
    with pytest.raises(
        UnsupportedError, match=r"task: expected one of feature-extraction, sent.*, got 'guessing'"
    ):
        oxiformers.pipeline("guessing", model="nowhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a task or a model"),
        ({"task": "text-classification", "tokenizer": "x"}, "given without a model"),
        (
            {"task": "text-classification", "model": "x", "device": "cpu", "device_map": "cpu"},
            "device_map: expected None with device=",
        ),
        (
            {
                "task": "text-classification",
                "model": "x",
                "dtype": "float32",
                "model_kwargs": {"dtype": "float16"},
            },
            "dtype: given twice",
        ),
    ],
)
def test_arguments_that_contradict_each_other(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        oxiformers.pipeline(**arguments)


def test_a_model_object_needs_a_tokenizer(folders: dict[str, Path]) -> None:
    with pytest.raises(ArgumentError, match="needs its tokenizer too"):
        TextClassificationPipeline(parts(folders["bert"])["model"])


def test_other_frameworks(folders: dict[str, Path]) -> None:
    with pytest.raises(UnsupportedError, match="framework: expected 'pt', got 'tf'"):
        oxiformers.pipeline("text-classification", model=folders["bert"], framework="tf")


def test_an_argument_nobody_knows(folders: dict[str, Path]) -> None:
    with pytest.raises(ArgumentError, match="unexpected argument 'topk'") as caught:
        oxiformers.pipeline("text-classification", model=folders["bert"], topk=3)
    assert caught.value.key == "topk"


@pytest.mark.parametrize("task", sorted(TASKS))
def test_default_models(
    task: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are transformers' own, and looked for only in the cache where the Hub must not be called."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    name, revision = TASKS[task].default_model
    with pytest.raises(MissingFileError, match=name.split("/")[1]):
        oxiformers.pipeline(task, model_kwargs={"cache_dir": tmp_path})
    assert f"no model was named: taking {name}, revision {revision}" in caplog.text


def test_the_defaults_are_those_of_transformers(ask_524: Ask) -> None:
    answers = ask_524([[task] for task in TASKS])
    assert [tuple(answer["result"]) for answer in answers] == [row.default_model for row in TASKS.values()]


def test_device_and_dtype(folders: dict[str, Path]) -> None:
    folder = folders["bert"]
    assert oxiformers.pipeline(model=folder, device=-1).device == torch.device("cpu")
    assert oxiformers.pipeline(model=folder, device=torch.device("cpu")).device == torch.device("cpu")
    assert oxiformers.pipeline(model=folder, device_map="cpu").device == torch.device("cpu")
    assert oxiformers.pipeline(model=folder, torch_dtype=torch.float16).dtype is torch.float16
    assert oxiformers.pipeline(model=folder, model_kwargs={"torch_dtype": "bfloat16"}).dtype is torch.bfloat16


def test_model_kwargs_reach_the_model(folders: dict[str, Path], classifier: Any) -> None:
    pipe = oxiformers.pipeline(
        model=folders["bert"], device="cpu", model_kwargs={"attn_implementation": "eager"}
    )
    assert pipe.model.config.attn_implementation == "eager"
    assert pipe(A)[0]["score"] == pytest.approx(classifier(A)[0]["score"], abs=1e-5)


def test_saving(folders: dict[str, Path], tmp_path: Path, classifier: Any) -> None:
    classifier.save_pretrained(tmp_path)
    assert oxiformers.pipeline(model=tmp_path, device="cpu")(A) == classifier(A)


def test_a_tokenizer_with_arguments(folders: dict[str, Path]) -> None:
    pipe = oxiformers.pipeline(
        model=folders["bert"], tokenizer=(str(folders["bert"]), {"model_max_length": 7})
    )
    assert pipe.tokenizer.model_max_length == 7


class Plain(torch.nn.Module):
    """A model of one's own, that takes no layout: the mean of the embeddings of what the mask keeps."""

    def __init__(self, config: Any, size: int) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(size, 3, generator=generator))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mask = attention_mask.unsqueeze(-1)
        hidden = self.table[input_ids]
        return (hidden * mask).sum(1) / mask.sum(1), hidden


class PlainForSequenceClassification(Plain):
    pass


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_model_that_takes_padded_batches(side: str, folders: dict[str, Path]) -> None:
    tokenizer = oxiformers.AutoTokenizer.from_pretrained(folders["bert"], padding_side=side)
    config = oxiformers.AutoConfig.from_pretrained(folders["bert"])
    model = PlainForSequenceClassification(config, len(tokenizer))
    pipe = TextClassificationPipeline(model, tokenizer, function_to_apply="none", top_k=None)
    texts = [A, "dull", "the plot"]
    for text, found in zip(texts, pipe(texts), strict=True):
        mean = model.table[tokenizer(text)["input_ids"]].mean(0).tolist()
        scores = {label: mean[index] for index, label in config.id2label.items()}
        assert {one["label"]: one["score"] for one in found} == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_features_of_a_model_that_takes_padded_batches(side: str, folders: dict[str, Path]) -> None:
    class Hidden(Plain):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return super().forward(input_ids, attention_mask)[1:]

    tokenizer = oxiformers.AutoTokenizer.from_pretrained(folders["bert"], padding_side=side)
    model = Hidden(oxiformers.AutoConfig.from_pretrained(folders["bert"]), len(tokenizer))
    pipe = FeatureExtractionPipeline(model, tokenizer, return_tensors=True)
    for text, found in zip([A, "dull"], pipe([A, "dull"]), strict=True):
        assert torch.equal(found, model.table[tokenizer(text)["input_ids"]].detach().unsqueeze(0))


def test_importing_pipelines_imports_no_torch() -> None:
    code = (
        "import sys\nfrom oxiformers.pipelines import pipeline\n"
        "print(*({'torch', 'numpy', 'datasets', 'tqdm', 'huggingface_hub'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_running_one_of_a_folder_imports_only_what_it_needs(folders: dict[str, Path]) -> None:
    code = (
        f"import sys\nfrom oxiformers import pipeline\npipeline(model={str(folders['bert'])!r})(['good'])\n"
        "print(*({'datasets', 'huggingface_hub', 'jinja2', 'torch._dynamo', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OxiformersError, match="nothing-here"):
        oxiformers.pipeline("text-classification", model=tmp_path / "nothing-here")
