"""Every class of every architecture: its parameters, and its numbers against transformers'.

An architecture is one row of `contract/rows.py` and one file of names in `contract/names/`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.models.answer import PROBE, Tensors, answer
from tests.models.contract.inputs import DTYPES, cases
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
    if case not in DTYPES
    for environment in environments
]
every_class = pytest.mark.parametrize("name", CLASSES)


def test_every_architecture_has_a_row():
    from oxiformers.auto import registry

    assert set(registry.ARCHITECTURES) == set(ROWS)


@cache
def recorded_names(row: str) -> dict[str, dict[str, list[int]]]:
    return json.loads((NAMES / f"{row}.json").read_text())


@every_class
def test_names_and_shapes_are_the_recorded_ones(name):
    ours = {key: list(tensor.shape) for key, tensor in subject(name).state_dict().items()}
    assert ours == recorded_names(CLASSES[name])[name]


@every_class
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
    options = {key: value for key, value in options.items() if key != "dtype"}
    if options.pop("output_attentions", False):
        # Asking for the weights of attention makes the batch rectangular: both ways are compared.
        rectangular = answer(subject(name), inputs, options | {"output_attentions": True})
        compare(name, rectangular, theirs, inputs)
        theirs = {key: tensor for key, tensor in theirs.items() if "attentions." not in key}
    compare(name, answer(subject(name), inputs, options), theirs, inputs)


@pytest.mark.parametrize("environment", ["457", "523"])
@every_class
def test_equals_transformers_in_float32(name, environment, oracle_of):
    oracle = oracle_of(environment)
    theirs, inputs = oracle.answer(name, "float32"), in_dtype(oracle.inputs(name, "float32"), torch.float32)
    model = build(name)
    ours = answer(model, inputs, {})
    compare(name, ours, theirs, inputs)
    with torch.inference_mode():  # where other kernels may be used
        output = model(**{key: tensor for key, tensor in inputs.items() if not key.startswith(PROBE)})
    named = {key: tensor for key, tensor in output.items() if key in ours}
    compare(name, named, {key: theirs[key] for key in named}, inputs)


@every_class
def test_is_as_exact_in_bfloat16_as_transformers(name, oracle_of):
    oracle = oracle_of("523")
    theirs, inputs = oracle.answer(name, "bfloat16"), oracle.inputs(name, "bfloat16")
    inputs = in_dtype(inputs, torch.bfloat16)
    ours = answer(build(name).bfloat16(), inputs, {})
    exact = answer(build(name).bfloat16().double(), in_dtype(inputs, torch.float64), {})
    assert ours.keys() == theirs.keys()
    real = inputs["attention_mask"].bool()
    ours, theirs, exact = (by_group(answers, real) for answers in (ours, theirs, exact))
    for group, expected in exact.items():
        errors = [(answers[group] - expected).norm() for answers in (ours, theirs)]
        assert errors[0] <= 2 * errors[1] + 0.01 * expected.norm(), group


def by_group(answers: Tensors, real: torch.Tensor) -> Tensors:
    """Each output without its padding, and all gradients as one vector."""
    groups: Tensors = {}
    for key, tensor in answers.items():
        if not key.startswith("grad."):
            groups[key] = tensor[real].double() if tensor.shape[:2] == real.shape else tensor.double()
    gradients = [answers[key].double().flatten() for key in sorted(answers) if key.startswith("grad.")]
    return groups | {"gradients": torch.cat(gradients)}


def in_dtype(inputs: Tensors, dtype: torch.dtype) -> Tensors:
    return {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in inputs.items()}


def compare(name: str, ours: Tensors, theirs: Tensors, inputs: Tensors) -> None:
    """The same tensors, equal at tokens; ours are zero at padding."""
    assert ours.keys() == theirs.keys()
    mask = inputs.get("attention_mask")
    real = mask.bool() if mask is not None and mask.dim() == 2 else None
    for key, tensor in ours.items():
        expected, exact = theirs[key], tensor.dtype == torch.float64 and row_of(name).exact
        expected = expected if exact else expected.to(tensor.dtype)
        if "attentions." in key:
            tensor, expected = tensor.transpose(1, 2), expected.transpose(1, 2)
        if real is not None and tensor.shape[:2] == real.shape and not key.startswith("grad."):
            assert not tensor[~real].any(), f"{key} is not zero at padding"
            tensor, expected = tensor[real], expected[real]
        torch.testing.assert_close(
            tensor, expected, rtol=1e-9 if exact else 1e-4, atol=1e-10 if exact else 1e-5,
            msg=lambda text, key=key: f"{key}: {text}",
        )  # fmt: skip


@pytest.mark.parametrize("environment", ["457", "523"])
@every_class
def test_loads_what_transformers_saved(name, environment, oracle_of):
    folder = oracle_of(environment).saved(name)
    model, info = model_class(name).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    ours, expected = model.state_dict(), build(name).state_dict()
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)
