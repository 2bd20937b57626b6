"""Every class of every architecture: its parameters, and its numbers against transformers'.

An architecture is one row of `contract/rows.py` and one file of names in `contract/names/`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.models.answer import PER_LAYER, Tensors, answer
from tests.models.contract.inputs import cases
from tests.models.contract.rows import ROWS
from tests.models.contract.subjects import (
    CLASSES,
    build,
    config_values,
    kind_of,
    model_class,
    row_of,
    subject,
)

NAMES = Path(__file__).parent / "contract" / "names"
CASES = [
    pytest.param(name, case, environment, options, id=f"{name}-{case}-{environment}")
    for name in CLASSES
    for case, environments, options in cases(row_of(name), kind_of(name))
    for environment in environments
]


def test_every_architecture_has_a_row():
    from oxiformers.auto import registry

    assert set(registry.ARCHITECTURES) == set(ROWS)


@cache
def recorded_names(row: str) -> dict[str, dict[str, list[int]]]:
    return json.loads((NAMES / f"{row}.json").read_text())


@pytest.mark.parametrize("name", CLASSES)
def test_names_and_shapes_are_the_recorded_ones(name):
    ours = {key: list(tensor.shape) for key, tensor in subject(name).state_dict().items()}
    assert ours == recorded_names(CLASSES[name])[name]


@pytest.mark.parametrize("name", CLASSES)
def test_built_without_memory_it_has_the_same_names(name):
    made = model_class(name)
    with torch.device("meta"):
        model = made(made.config_class(**config_values(name)))
    assert model.state_dict().keys() == subject(name).state_dict().keys()
    assert all(tensor.is_meta for tensor in model.state_dict().values())


@pytest.mark.parametrize(("name", "case", "environment", "options"), CASES)
def test_equals_transformers(name, case, environment, options, oracle_of):
    oracle = oracle_of(environment)
    theirs, inputs = oracle.answer(name, case), oracle.inputs(name, case)
    options = dict(options)
    asked = {key: options.pop(key) for key in ("output_attentions", "dtype") if key in options}
    model = subject(name)
    if asked.get("dtype") == "float32":
        model = build(name)
        inputs = {
            key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in inputs.items()
        }
    ours = answer(model, inputs, options)
    if asked.get("output_attentions"):
        # Asking for the weights of attention makes the batch rectangular: both ways are compared.
        rectangular = answer(model, inputs, options | {"output_attentions": True})
        compare(rectangular, theirs, inputs)
        theirs = {key: tensor for key, tensor in theirs.items() if "attentions." not in key}
    compare(ours, theirs, inputs)
    if asked.get("dtype") == "float32":
        with torch.inference_mode():
            tensors = {key: tensor for key, tensor in inputs.items() if not key.startswith("probe.")}
            output = model(**tensors)
        compare({key: tensor for key, tensor in output.items() if key in ours}, theirs, inputs, subset=True)


def compare(ours: Tensors, theirs: Tensors, inputs: Tensors, subset: bool = False) -> None:
    """The same tensors, equal at tokens; ours are zero at padding."""
    assert subset or ours.keys() == theirs.keys()
    mask = inputs.get("attention_mask")
    mask = mask if mask is not None and mask.dim() == 2 else None
    for key, tensor in ours.items():
        expected, layerwise = theirs[key], key.rpartition(".")[0] in PER_LAYER
        if mask is not None and tensor.shape[:2] == mask.shape and not key.startswith("grad."):
            real = mask.bool()
        elif mask is not None and layerwise and "attentions" in key and tensor.shape[2] == mask.shape[1]:
            tensor, expected, real = tensor.transpose(1, 2), expected.transpose(1, 2), mask.bool()
        else:
            real = torch.ones(tensor.shape[:1], dtype=torch.bool) if tensor.dim() else None
        if real is not None:
            assert not tensor[~real].any(), f"{key} is not zero at padding"
            tensor, expected = tensor[real], expected[real]
        close = (
            {"rtol": 1e-9, "atol": 1e-10} if expected.dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
        )
        torch.testing.assert_close(tensor, expected, **close, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("environment", ["457", "523"])
@pytest.mark.parametrize("name", CLASSES)
def test_loads_what_transformers_saved(name, environment, oracle_of):
    folder = oracle_of(environment).saved(name)
    model, info = model_class(name).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    ours, expected = model.state_dict(), build(name).state_dict()
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)
