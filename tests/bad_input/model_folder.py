"""A small whole model folder to spoil: BERT with three labels, its tokenizer, and ways to change one file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from oxiformers import AutoModelForSequenceClassification, BertConfig, BertTokenizer

VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "a", "b", "c", ".",
]  # fmt: skip
LAYERS, WIDTH, LONGEST, LABELS = 2, 8, 16, 3

Spoil = Callable[[Path], object]
"""Changes a copy of the good folder."""


def build(folder: Path) -> None:
    """Saves the good model."""
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LONGEST,
        num_labels=LABELS,
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    BertTokenizer(vocab=ids, model_max_length=LONGEST).save_pretrained(folder)


def content(name: str, data: bytes | str) -> Spoil:
    """Replaces a file."""
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def cut(name: str, size: int) -> Spoil:
    """Cuts a file off."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def without(*names: str) -> Spoil:
    """Takes files away."""

    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return spoil


def renamed(old: str, new: str) -> Spoil:
    """Gives a file another name."""
    return lambda folder: (folder / old).rename(folder / new)


def keys(name: str, **values: Any) -> Spoil:
    """Sets keys of a JSON file; a key may be a path, its parts joined by dots."""

    def spoil(folder: Path) -> None:
        top = json.loads((folder / name).read_text())
        for path, value in values.items():
            *parents, last = path.split(".")
            place = top
            for parent in parents:
                place = place[int(parent) if isinstance(place, list) else parent]
            place[int(last) if isinstance(place, list) else last] = value
        (folder / name).write_text(json.dumps(top))

    return spoil


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Spoil:
    """Changes the weights."""

    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        held = load_file(path)
        change(held)
        save_file({name: tensor.contiguous() for name, tensor in held.items()}, path)

    return spoil


def several(*steps: Spoil) -> Spoil:
    """One after the other."""

    def spoil(folder: Path) -> None:
        for step in steps:
            step(folder)

    return spoil
