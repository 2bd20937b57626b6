"""Every class of every architecture: its parameters, and its numbers against transformers'.

An architecture is one file of `contract/rows`, and what was recorded for it beside it.
"""

from __future__ import annotations

import pytest
import torch

from tests.models.answer import PROBE, Tensors, answer
from tests.models.contract.inputs import DTYPES, cases, kept, make
from tests.models.contract.marks import FULL, SUBJECTS, each, every_class
from tests.models.contract.names import Parameter, recorded
from tests.models.contract.subjects import (
    ROWS,
    build,
    config_of,
    is_exact,
    kind_of,
    model_class,
    row_name,
    row_of,
    subject,
    versions_of,
)

pytestmark = pytest.mark.contract
every_version = each("name,version", ((name, version) for name in SUBJECTS for version in versions_of(name)))
every_full_version = each("name,version", ((name, version) for name in FULL for version in versions_of(name)))


def test_every_architecture_has_a_row():
    from oxiformers.auto import registry

    assert {name.replace("-", "_") for name in registry.ARCHITECTURES} == set(ROWS)


@every_class
def test_names_and_shapes_are_the_recorded_ones(name):
    ours = {key: tuple(tensor.shape) for key, tensor in subject(name).state_dict().items()}
    assert ours == {key: value.shape for key, value in recorded(row_name(name))["classes"][name].items()}


@every_class
def test_built_without_memory_it_has_the_same_names(name):
    with torch.device("meta"):
        model = model_class(name)(config_of(name))
    assert model.state_dict().keys() == subject(name).state_dict().keys()
    assert all(tensor.is_meta for tensor in model.state_dict().values())


@every_class
def test_fresh_weights_are_drawn_as_transformers_draws_them(name):
    torch.manual_seed(0)
    state = model_class(name)(config_of(name)).state_dict()
    wrong = {}
    for key, expected in recorded(row_name(name))["classes"][name].items():
        tensor = state[key].double()
        deviation = float(tensor.std()) if tensor.numel() > 1 else 0.0
        ours = Parameter.of(list(tensor.shape), float(tensor.mean()), deviation)
        if not ours.is_like(expected):
            wrong[key] = (ours.write(), expected.write())
    assert not wrong


@each(
    "name,case,version,options",
    (
        (name, case.name, version, case.options)
        for name in SUBJECTS
        for case in cases(name)
        if case.name not in DTYPES
        for version in case.versions
    ),
)
def test_equals_transformers(name, case, version, options, oracle_of):
    inputs = make(name, case)
    theirs = oracle_of(version).answer(name, inputs, options)
    options = {key: value for key, value in options.items() if key != "dtype"}
    if options.pop("output_attentions", False):
        # Asking for the weights of attention makes the batch rectangular: both ways are compared.
        rectangular = answer(subject(name), inputs, options | {"output_attentions": True})
        compare(name, rectangular, theirs, inputs)
        theirs = {key: tensor for key, tensor in theirs.items() if "attentions." not in key}
    compare(name, answer(subject(name), inputs, options), theirs, inputs)


@every_full_version
def test_equals_transformers_in_float32(name, version, oracle_of):
    inputs = make(name, "float32")
    theirs = oracle_of(version).answer(name, inputs, {"dtype": "float32"})
    inputs, model = in_dtype(inputs, torch.float32), build(name)
    ours = answer(model, inputs, {})
    compare(name, ours, theirs, inputs)
    with torch.inference_mode():  # where other kernels may be used
        output = model(**{key: tensor for key, tensor in inputs.items() if not key.startswith(PROBE)})
    plain = {key: tensor for key, tensor in output.items() if key in ours}
    compare(name, plain, {key: theirs[key] for key in plain}, inputs)


@each(
    "name,version",
    (
        (name, version)
        for name in FULL
        for case in cases(name)
        if case.name == "bfloat16"
        for version in case.versions
    ),
)
def test_is_as_exact_in_bfloat16_as_transformers(name, version, oracle_of):
    inputs = make(name, "bfloat16")
    theirs = oracle_of(version).answer(name, inputs, {"dtype": "bfloat16"})
    inputs = in_dtype(inputs, torch.bfloat16)
    ours = answer(build(name).bfloat16(), inputs, {})
    exact = answer(build(name).bfloat16().double(), in_dtype(inputs, torch.float64), {})
    assert ours.keys() == theirs.keys()
    real = kept(name, inputs)
    ours, theirs, exact = (by_group(answers, real) for answers in (ours, theirs, exact))
    if any(key.startswith(PROBE) for key in inputs):
        # A sum of products with random numbers: how exact it comes out is chance.
        del exact["loss"]
    for group, expected in exact.items():
        errors = [(answers[group] - expected).norm() for answers in (ours, theirs)]
        assert errors[0] <= 2 * errors[1] + 0.01 * expected.norm(), group


def by_group(answers: Tensors, real: torch.Tensor | None) -> Tensors:
    """Each output without its padding, and all gradients as one vector."""
    groups: Tensors = {}
    for key, tensor in answers.items():
        if not key.startswith("grad."):
            tokenwise = real is not None and tensor.shape[:2] == real.shape
            groups[key] = tensor[real.bool()].double() if tokenwise else tensor.double()
    gradients = [answers[key].double().flatten() for key in sorted(answers) if key.startswith("grad.")]
    return groups | {"gradients": torch.cat(gradients)}


def in_dtype(inputs: Tensors, dtype: torch.dtype) -> Tensors:
    return {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in inputs.items()}


def compare(name: str, ours: Tensors, theirs: Tensors, inputs: Tensors) -> None:
    """The same tensors, equal at tokens; ours are zero at padding."""
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        expected, exact = theirs[key], tensor.dtype == torch.float64 and is_exact(name)
        expected = expected if exact else expected.to(tensor.dtype)
        if "attentions." in key:
            tensor, expected = tensor.transpose(1, 2), expected.transpose(1, 2)
        real = real_at(name, key, inputs)
        if real is not None and tensor.shape[:2] == real.shape:
            if row_of(name).modality == "tokens":
                assert not tensor[~real].any(), f"{key} is not zero at padding"
            tensor, expected = tensor[real], expected[real]
        torch.testing.assert_close(
            tensor, expected, rtol=1e-9 if exact else 1e-4, atol=1e-10 if exact else 1e-5,
            msg=lambda text, key=key: f"{key}: {text}",
        )  # fmt: skip


def real_at(name: str, key: str, inputs: Tensors) -> torch.Tensor | None:
    """The tokens of an output that are not padding; None where it has no padding."""
    if key.startswith("grad."):
        return None
    if kind_of(name).startswith("seq2seq") and not key.startswith("encoder_"):
        mask = inputs.get("decoder_attention_mask")
    else:
        mask = kept(name, inputs)
    return None if mask is None else mask.bool()


@every_version
def test_loads_what_transformers_saved(name, version, oracle_of):
    model, info = model_class(name).from_pretrained(oracle_of(version).saved(name), output_loading_info=True)
    assert not any(info.values()), info
    ours, expected = model.state_dict(), build(name).state_dict()
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)
