"""return_tensors="tf": what reaches TensorFlow, by a module in its place that says what it is given."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.tokenization import PreTrainedTokenizerFast, TensorType
from tests.tokenization.steps import TICKETS


class Tensor:
    """In place of tensorflow.Tensor."""

    def __init__(self, value: Any, dtype: str | None) -> None:
        self.value, self.dtype = np.asarray(value), dtype


@pytest.fixture
def tokenizer(folders: dict[str, Path]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(folders[TICKETS], pad_token="[PAD]")


@pytest.fixture
def tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("tensorflow")
    module.constant = lambda value, dtype=None: Tensor(value, dtype)
    module.is_tensor = lambda value: isinstance(value, Tensor)
    module.int32 = "int32"
    monkeypatch.setitem(sys.modules, "tensorflow", module)


@pytest.mark.usefixtures("tensorflow")
def test_tensors(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ["reset my password", "multifactor"]
    for kind in ("tf", TensorType.TENSORFLOW):
        found = tokenizer(texts, padding=True, return_tensors=kind)
        expected = tokenizer(texts, padding=True, return_tensors="np")
        for key, value in expected.items():
            assert isinstance(found[key], Tensor) and found[key].dtype == "int32"
            assert np.array_equal(found[key].value, value)
    again = found.convert_to_tensors("tf")
    assert again["input_ids"] is found["input_ids"]
    padded = tokenizer.pad({"input_ids": [[1, 2], [3]]}, return_tensors="tf")
    assert padded["input_ids"].value.shape == (2, 2)
    with pytest.raises(ArgumentError, match="padding=True"):
        tokenizer(texts, return_tensors="tf")


def test_without_tensorflow(tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UnsupportedError) as caught:
        tokenizer("a", return_tensors="tf")
    assert caught.value.key == "return_tensors"
