"""Labels and scores equal those of transformers, and come in the same shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import oxiformers
from oxiformers.errors import ArgumentError, ConfigError
from tests.pipelines.conftest import Ask

A = "The story is not bad, we never see it end."
B = "dull"
C = "They love the slow scene and the bright actor! 1 - 2 - 3, watched unendingly..."
PAIR = {"text": A, "text_pair": C}


def close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> bool:
    """Whether two results have one shape, the same labels and scores that differ by at most the tolerance."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours["label"] == theirs["label"] and abs(ours["score"] - theirs["score"]) <= tolerance
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    return False


# inputs, arguments of the call
CALLS: list[tuple[Any, dict[str, Any]]] = [
    (A, {}),
    (B, {}),
    ("", {}),
    ([A], {}),
    ([A, B, C, ""], {}),
    (A, {"top_k": None}),
    (A, {"top_k": 1}),
    (A, {"top_k": 2}),
    (A, {"top_k": 100}),
    (A, {"top_k": 0}),
    ([A, B, C], {"top_k": None}),
    ([A, B, C], {"top_k": 1}),
    ([A, B, C], {"top_k": 2}),
    (PAIR, {}),
    (PAIR, {"top_k": 1}),
    ({"text": A}, {}),
    ([PAIR, {"text": B}, C], {}),
    ([[[A, B]]], {}),
    (A, {"function_to_apply": "none"}),
    (A, {"function_to_apply": "sigmoid"}),
    ([A, B], {"function_to_apply": "softmax", "top_k": None}),
    (A, {"function_to_apply": "SIGMOID"}),
    (" ".join([A] * 30), {"truncation": True}),
    (" ".join([A] * 30), {"truncation": True, "max_length": 9}),
    (" ".join([A] * 30), {"max_length": 9}),
    ({"text": A, "text_pair": " ".join([C] * 30)}, {"truncation": "only_second", "max_length": 40}),
    ([A, B, C], {"padding": "max_length", "max_length": 40, "truncation": True}),
    ([A, B, C], {"padding": True}),
    (A, {"add_special_tokens": False}),
    ([A, B, C], {"batch_size": 2}),
    ([A, B, C], {"batch_size": 2, "num_workers": 0}),
]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"top_k": None},
    {"top_k": 2},
    {"top_k": 1},
    {"function_to_apply": "none"},
    {"truncation": True, "max_length": 8},
    {"batch_size": 2},
]


@pytest.mark.parametrize("oracle", ["ask_524", "ask_457"])
@pytest.mark.parametrize("name", ["bert", "distilbert", "regression", "single", "several"])
def test_results_equal_those_of_transformers(
    oracle: str, name: str, folders: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    ask: Ask = request.getfixturevalue(oracle)
    folder = str(folders[name])
    task = "sentiment-analysis" if name == "bert" else "text-classification"
    # How scores are made differs from model to model; all else is the same code.
    calls, all_settings = (CALLS, SETTINGS) if name == "bert" else (CALLS[:12], [])
    cases = [[task, folder, {}, inputs, arguments] for inputs, arguments in calls]
    for settings in all_settings:
        cases += [[task, folder, settings, inputs, {}] for inputs in (A, [A, C], PAIR)]
        cases.append([task, folder, settings, A, {"top_k": 1}])
    model = oxiformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = oxiformers.AutoTokenizer.from_pretrained(folder)
    for case, answer in zip(cases, ask(cases), strict=True):
        *_, settings, inputs, arguments = case
        assert "result" in answer, (case, answer)
        pipe = oxiformers.pipeline(task, model=model, tokenizer=tokenizer, device="cpu", **settings)
        assert close(pipe(inputs, **arguments), answer["result"]), case


@pytest.mark.parametrize("everything", [True, False])
def test_return_all_scores(everything: bool, folders: dict[str, Path], ask_457: Ask) -> None:
    folder = str(folders["bert"])
    cases: list[list[Any]] = []
    for inputs in (A, [A, B], PAIR):
        cases.append(["text-classification", folder, {}, inputs, {"return_all_scores": everything}])
        cases.append(["text-classification", folder, {"return_all_scores": everything}, inputs, {}])
    for (_, _, settings, inputs, arguments), answer in zip(cases, ask_457(cases), strict=True):
        with pytest.warns(FutureWarning, match="top_k"):
            found = oxiformers.pipeline("text-classification", model=folder, **settings)(inputs, **arguments)
        assert close(found, answer["result"])


def test_a_trained_model(shared: Path) -> None:
    """The scores that are written beside the checkpoint."""
    folder = shared / "checkpoints" / "bert-ticket-classifier"
    pipe = oxiformers.pipeline("text-classification", model=folder, device="cpu", top_k=None)
    [first] = pipe("I cannot complete multifactor setup for the staff benefits site.")
    assert [(found["label"], round(found["score"], 4)) for found in first[:3]] == [
        ("login_issue", 0.9990),
        ("incident_report", 0.0008),
        ("data_privacy", 0.0002),
    ]
    [second] = pipe("Please register the field office for the mobile device care webinar.", top_k=1)
    assert (second["label"], round(second["score"], 4)) == ("data_privacy", 0.9889)


def test_half_precision_gives_floats(folders: dict[str, Path]) -> None:
    pipe = oxiformers.pipeline("text-classification", model=folders["bert"], device="cpu", dtype="bfloat16")
    exact = oxiformers.pipeline("text-classification", model=folders["bert"], device="cpu")
    assert pipe.dtype is torch.bfloat16
    assert pipe.torch_dtype is torch.bfloat16
    for half, full in zip(pipe(A, top_k=None), sorted(exact(A, top_k=None), key=str), strict=True):
        assert isinstance(half["score"], float)
        assert isinstance(full["score"], float)
    ours = {found["label"]: found["score"] for found in pipe(A, top_k=None)}
    for found in exact(A, top_k=None):
        assert abs(ours[found["label"]] - found["score"]) < 0.05


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"top_k": "3"}, "top_k"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"function_to_apply": "tanh"}, "function_to_apply"),
        ({"function_to_apply": 3}, "function_to_apply"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "8"}, "batch_size"),
        ({"trunctaion": True}, "trunctaion"),
        ({"return_overflowing_tokens": True}, "return_overflowing_tokens"),
        ({"is_split_into_words": True}, "is_split_into_words"),
        ({"truncation": "both"}, "TruncationStrategy"),
    ],
)
def test_arguments_that_will_not_do(arguments: dict[str, Any], key: str, classifier: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        classifier(A, **arguments)
    assert caught.value.key == key


def test_the_default_function_by_name(classifier: Any) -> None:
    assert classifier(A, function_to_apply="default") == classifier(A)
    assert classifier(A, function_to_apply=None) == classifier(A)


def test_a_model_without_a_classification_head(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    model = oxiformers.BertModel.from_pretrained(folders["bert-base"])
    tokenizer = oxiformers.AutoTokenizer.from_pretrained(folders["bert-base"])
    pipe = oxiformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    assert "BertModel is not known to classify sequences" in caplog.text
    with pytest.raises(ArgumentError, match=r"logits of shape \(1, labels\), .* got no logits of BertModel"):
        pipe(A)


def test_a_head_of_random_weights_is_told(folders: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    pipe = oxiformers.pipeline("text-classification", model=folders["bert-base"], device="cpu")
    assert "classifier.weight" in caplog.text
    assert len(pipe(A)) == 1


def test_labels_that_have_no_name(folders: dict[str, Path]) -> None:
    pipe = oxiformers.pipeline("text-classification", model=folders["bert"], device="cpu")
    del pipe.model.config.id2label[1]
    with pytest.raises(ConfigError, match=r"id2label: .* each of 3 logits, got 0, 2"):
        pipe(A)


def test_large_logits_overflow_nothing(folders: dict[str, Path]) -> None:
    pipe = oxiformers.pipeline("text-classification", model=folders["bert"], device="cpu")
    with torch.no_grad():
        pipe.model.classifier.bias.copy_(torch.tensor([-1000.0, 0.0, 1000.0]))
    scores = {found["label"]: found["score"] for found in pipe(A, top_k=None)}
    assert scores == {"positive": 1.0, "neutral": 0.0, "negative": 0.0}
    by_sigmoid = {
        found["label"]: found["score"] for found in pipe(A, top_k=None, function_to_apply="sigmoid")
    }
    assert by_sigmoid["positive"] == 1.0
    assert by_sigmoid["negative"] == 0.0
