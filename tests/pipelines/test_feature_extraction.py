"""Hidden states equal those of transformers, and come in the same shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import oxiformers
from oxiformers.errors import ArgumentError, InputTypeError
from tests.pipelines.conftest import Ask

A = "The story is not bad, we never see it end."
B = "dull"
LONG = " ".join([A] * 30)

CALLS: list[tuple[Any, dict[str, Any]]] = [
    (A, {}),
    ("", {}),
    ([A, B], {}),
    ([B], {}),
    ([A, B], {"truncation": True, "tokenize_kwargs": {"max_length": 5}}),
    (LONG, {"truncation": True}),
    (A, {"tokenize_kwargs": {"add_special_tokens": False}}),
    (B, {"tokenize_kwargs": {"add_special_tokens": False}}),
    (A, {"return_tensors": True}),
    ([A, B], {"return_tensors": True}),
    (A, {"return_tensors": "pt"}),
    (["dull", "plot", "scene"], {"batch_size": 2}),
]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"return_tensors": True},
    {"truncation": True},
    {"tokenize_kwargs": {"max_length": 6, "truncation": True}},
]


def close(ours: Any, theirs: Any) -> bool:
    """Whether two results have one shape, and values that differ by at most 1e-5."""
    if isinstance(ours, torch.Tensor):
        return list(ours.shape) == theirs["shape"] and close(ours.tolist(), theirs["values"])
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    return isinstance(ours, float) and abs(ours - theirs) <= 1e-5


@pytest.mark.parametrize("oracle", ["ask_524", "ask_457"])
@pytest.mark.parametrize("name", ["bert-base", "distilbert-base"])
def test_results_equal_those_of_transformers(
    oracle: str, name: str, folders: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    ask: Ask = request.getfixturevalue(oracle)
    folder = str(folders[name])
    cases = [["feature-extraction", folder, {}, inputs, arguments] for inputs, arguments in CALLS]
    for settings in SETTINGS:
        cases += [["feature-extraction", folder, settings, inputs, {}] for inputs in (A, [A, B])]
        cases.append(["feature-extraction", folder, settings, A, {"tokenize_kwargs": {"max_length": 4}}])
    parts = {
        "model": oxiformers.AutoModel.from_pretrained(folder),
        "tokenizer": oxiformers.AutoTokenizer.from_pretrained(folder),
    }
    for case, answer in zip(cases, ask(cases), strict=True):
        *_, settings, inputs, arguments = case
        assert "result" in answer, (case, answer)
        pipe = oxiformers.pipeline("feature-extraction", device="cpu", **parts, **settings)
        assert close(pipe(inputs, **arguments), answer["result"]), case


def test_padding_gives_zeros_where_transformers_computes_the_padding(
    extractor: Any, folders: dict[str, Path], ask_524: Ask
) -> None:
    arguments = {"tokenize_kwargs": {"padding": "max_length", "max_length": 16}}
    ours = np.array(extractor(A, **arguments))
    [answer] = ask_524([["feature-extraction", str(folders["bert-base"]), {}, A, arguments]])
    theirs = np.array(answer["result"])
    tokens = len(extractor(A)[0])
    assert tokens < 16
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[:, :tokens], theirs[:, :tokens], atol=1e-5)
    assert not ours[:, tokens:].any()
    left = np.array(extractor(A, padding="max_length", max_length=16, padding_side="left"))
    np.testing.assert_array_equal(left, np.roll(ours, 16 - tokens, axis=1))
    assert len(extractor(A, padding=True, pad_to_multiple_of=5)[0]) == -(-tokens // 5) * 5


def test_tensors_can_enter_a_graph(extractor: Any) -> None:
    """They belong to the caller: no tensors of inference mode, and none that share memory."""
    first, second = extractor([A, B], return_tensors=True)
    assert not first.is_inference()
    before = second.clone()
    head = torch.nn.Linear(first.shape[-1], 1)
    head(first).sum().backward()
    first.zero_()
    assert torch.equal(second, before)


def test_words_in_place_of_a_text(extractor: Any) -> None:
    words = A.replace(",", " ,").replace(".", " .").split()
    assert extractor([words, ["dull"]], is_split_into_words=True) == extractor([A, "dull"])
    with pytest.raises(InputTypeError, match=r"inputs\[1\]: expected a list of words"):
        extractor([words, "dull"], is_split_into_words=True)
    with pytest.raises(InputTypeError, match=r"inputs\[0\]\[1\]: expected a str \(a word\), got int"):
        extractor([["dull", 3]], is_split_into_words=True)


def test_an_argument_given_twice(extractor: Any) -> None:
    with pytest.raises(ArgumentError, match="truncation: given twice"):
        extractor(A, truncation=True, tokenize_kwargs={"truncation": True})


def test_a_model_with_a_head_gives_its_logits(folders: dict[str, Path], ask_524: Ask) -> None:
    """transformers takes the first output, whatever it is: here one row a text."""
    model = oxiformers.BertForSequenceClassification.from_pretrained(folders["bert"])
    tokenizer = oxiformers.AutoTokenizer.from_pretrained(folders["bert"])
    pipe = oxiformers.pipeline("feature-extraction", model=model, tokenizer=tokenizer, device="cpu")
    logits = [
        [found["score"] for found in sorted(found, key=lambda found: found["label"])]
        for found in oxiformers.pipeline(
            "text-classification", model=model, tokenizer=tokenizer, device="cpu"
        )([A, B], top_k=None, function_to_apply="none")
    ]
    assert pipe([A, B]) == [[row] for row in logits]
