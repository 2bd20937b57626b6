"""The models under contract, with weights that leave nothing at zero."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch

from tests.models.contract.rows import ROWS, Row

#: Every class under contract: its name, and the name of its row.
CLASSES = {name: row for row, entry in ROWS.items() for name in entry.classes}


def row_of(name: str) -> Row:
    """The row of a class."""
    return ROWS[CLASSES[name]]


def kind_of(name: str) -> str:
    """What labels a class takes."""
    return row_of(name).classes[name]


def model_class(name: str) -> Any:
    """One of our classes by its public name."""
    return getattr(importlib.import_module(f"oxiformers.models.{CLASSES[name]}"), name)


def config_values(name: str) -> dict[str, Any]:
    """The arguments of a class's config."""
    values = dict(row_of(name).config)
    return values | {"num_labels": 2} if kind_of(name) == "question" else values


def build(name: str, **values: Any) -> Any:
    """A model with the same random weights at each call, in float32 and evaluation mode."""
    made = model_class(name)
    model = made(made.config_class(**config_values(name) | values)).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=random) * 0.4)
    return model


@cache
def subject(name: str) -> Any:
    """The model of `build` in float64, shared by the tests that leave it as it is."""
    return build(name).double()
