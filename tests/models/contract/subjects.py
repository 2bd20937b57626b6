"""What is under contract: the rows, and their models with weights that leave nothing at zero.

A subject is a class by its name, or a variant of its config as "CLASS-VARIANT".
"""

from __future__ import annotations

import zlib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import oxiformers
from tests.models.contract.labels import LABELLED
from tests.models.contract.row import Class, Row, Versions

FOLDER = Path(__file__).parent / "rows"

#: Every architecture under contract, by the name of its file.
ROWS: dict[str, Row] = {
    path.stem: import_module(f"tests.models.contract.rows.{path.stem}").ROW
    for path in sorted(FOLDER.glob("*.py"))
}
#: Every class under contract: its name, and the name of its row.
CLASSES = {name: row for row, entry in ROWS.items() for name in entry.classes}


def row_of(name: str) -> Row:
    """The row of a subject."""
    return ROWS[row_name(name)]


def row_name(name: str) -> str:
    """The name of a subject's row."""
    return CLASSES[name.partition("-")[0]]


def class_of(name: str) -> Class:
    """What the row says of a subject's class."""
    entry = row_of(name).classes[name.partition("-")[0]]
    return entry if isinstance(entry, Class) else Class(entry)


def kind_of(name: str) -> str:
    """What a subject predicts."""
    return class_of(name).kind


def takes(name: str) -> dict[str, Versions]:
    """The optional inputs of a subject, and the versions that take them."""
    merged = {**row_of(name).takes, **class_of(name).takes}
    return {key: versions for key, versions in merged.items() if versions}


def versions_of(name: str) -> Versions:
    """The versions of transformers that have a subject."""
    return tuple(version for version in row_of(name).versions if version in class_of(name).versions)


def base_of(row: str) -> str:
    """The base model of a row: its first class."""
    return next(iter(ROWS[row].classes))


def variants_of(row: str) -> list[str]:
    """The base model and the first head of a row, in each of its variants."""
    return [f"{name}-{variant}" for variant in ROWS[row].variants for name in list(ROWS[row].classes)[:2]]


def is_full(name: str) -> bool:
    """Whether a subject is tried with every case: the base model and the first class after it."""
    return name in list(row_of(name).classes)[:2]


def model_class(name: str) -> Any:
    """One of our classes by its public name."""
    return getattr(oxiformers, name.partition("-")[0])


def config_values(name: str) -> dict[str, Any]:
    """The arguments of a subject's config."""
    row, variant = row_of(name), name.partition("-")[2]
    count = LABELLED.get(kind_of(name))
    values = dict(row.config) if count is None else {"num_labels": count, **row.config}
    return values | dict(class_of(name).config) | (dict(row.variants[variant]) if variant else {})


def config_of(name: str, **values: Any) -> Any:
    """A subject's config."""
    return model_class(name).config_class(**config_values(name) | values)


def build(name: str, **values: Any) -> Any:
    """A model with the same random weights at each call, in float32 and evaluation mode.

    A weight of the same name and shape is the same in every config.
    """
    return with_weights(model_class(name)(config_of(name, **values)).eval())


def with_weights(model: Any) -> Any:
    """Gives a model its weights."""
    with torch.no_grad():
        for key, weight in model.named_parameters():
            random = torch.Generator().manual_seed(zlib.crc32(key.encode()))
            weight.copy_(torch.randn(weight.shape, generator=random) * 0.4)
    return model


def is_exact(name: str) -> bool:
    """Whether transformers computes all of a subject in float64 where asked for."""
    return row_of(name).exact and class_of(name).exact


@cache
def subject(name: str) -> Any:
    """The model of `build` in float64, shared by the tests that leave it as it is."""
    return build(name).double()
