"""Small models with their tokenizers, and what transformers answers with them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import oxiformers

ORACLE = Path(__file__).with_name("oracle.py")
WORDS = """
    the a of and to in is it that was good bad film story actor scene plot dull bright slow fast
    not never always we you they love hate watch see end start long short un
    ##ing ##ed ##s ##ly ##able . , ! ? ' - 1 2 3
"""
LABELS = {0: "negative", 1: "neutral", 2: "positive"}

Ask = Callable[[list[list[Any]]], list[dict[str, Any]]]


def write_vocabulary(folder: Path) -> Path:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    pieces += [
        piece
        for letter in "abcdefghijklmnopqrstuvwxyz"
        for piece in (letter, "##" + letter)
        if piece not in pieces
    ]
    path = folder / "vocab.txt"
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return path


def save(folder: Path, model: Any, tokenizer: Any) -> Path:
    folder.mkdir()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of models with random weights, by a name that says what they are."""
    root = tmp_path_factory.mktemp("models")
    vocabulary = write_vocabulary(root)
    tokenizers = {
        "bert": oxiformers.BertTokenizerFast(vocab_file=str(vocabulary), model_max_length=64),
        "distilbert": oxiformers.DistilBertTokenizerFast(vocab_file=str(vocabulary), model_max_length=64),
    }
    size = len(tokenizers["bert"])
    # A wide range of weights, so that texts get different labels and a wrong one shows.
    bert = {
        "vocab_size": size, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.3, "id2label": LABELS,
    }  # fmt: skip
    distilbert = {
        "vocab_size": size, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48,
        "max_position_embeddings": 64, "initializer_range": 0.3, "id2label": LABELS,
    }  # fmt: skip
    torch.manual_seed(0)
    made = {
        "bert": oxiformers.BertForSequenceClassification(oxiformers.BertConfig(**bert)),
        "distilbert": oxiformers.DistilBertForSequenceClassification(
            oxiformers.DistilBertConfig(**distilbert)
        ),
        "regression": oxiformers.BertForSequenceClassification(
            oxiformers.BertConfig(**{**bert, "id2label": {0: "stars"}, "problem_type": "regression"})
        ),
        "single": oxiformers.BertForSequenceClassification(
            oxiformers.BertConfig(**{**bert, "id2label": {0: "toxic"}})
        ),
        "several": oxiformers.BertForSequenceClassification(
            oxiformers.BertConfig(**{**bert, "problem_type": "multi_label_classification"})
        ),
        "bert-base": oxiformers.BertModel(oxiformers.BertConfig(**bert)),
        "distilbert-base": oxiformers.DistilBertModel(oxiformers.DistilBertConfig(**distilbert)),
    }
    return {
        name: save(root / name, model, tokenizers[model.config.model_type]) for name, model in made.items()
    }


@pytest.fixture(scope="session")
def classifier(folders: dict[str, Path]) -> Any:
    """A pipeline that tests share, as nothing of a call stays on it."""
    return oxiformers.pipeline("text-classification", model=folders["bert"], device="cpu")


@pytest.fixture(scope="session")
def extractor(folders: dict[str, Path]) -> Any:
    """As `classifier`, for features."""
    return oxiformers.pipeline("feature-extraction", model=folders["bert-base"], device="cpu")


@contextmanager
def _asking(python: Path) -> Iterator[Ask]:
    """A process that answers cases; transformers takes seconds to import, so all tests share it."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(
        [str(python), str(ORACLE)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(cases: list[list[Any]]) -> list[dict[str, Any]]:
            print(json.dumps(cases), file=process.stdin, flush=True)
            answers: list[dict[str, Any]] = json.loads(process.stdout.readline())
            return answers

        yield ask
        process.stdin.close()


@pytest.fixture(scope="session")
def ask_524(python_524: Path) -> Iterator[Ask]:
    """What transformers 5.24 answers to a list of cases."""
    with _asking(python_524) as ask:
        yield ask


@pytest.fixture(scope="session")
def ask_457(python_457: Path) -> Iterator[Ask]:
    """What transformers 4.57 answers to a list of cases."""
    with _asking(python_457) as ask:
        yield ask
