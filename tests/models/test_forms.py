"""Every class of every architecture against itself: however a batch lies and is computed, one result."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.models.answer import PROBE, Tensors, answer
from tests.models.contract.forms import may_be_packed, packed, padded_further, repacked
from tests.models.contract.inputs import WIDTH, make, masks_of, usual
from tests.models.contract.marks import FULL, each, every_base, every_class, of
from tests.models.contract.subjects import (
    CLASSES,
    build,
    config_values,
    is_full,
    kind_of,
    model_class,
    row_of,
    subject,
    takes,
)

pytestmark = pytest.mark.contract
STATES = {"output_hidden_states": True}
TOKENS = [name for name in CLASSES if row_of(name).modality == "tokens"]


def assert_equal(ours: Tensors, expected: Tensors) -> None:
    assert ours.keys() == expected.keys()
    for key, tensor in ours.items():
        torch.testing.assert_close(
            tensor, expected[key], rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}"
        )


def plain_inputs(name: str, dtype: torch.dtype = torch.float32) -> Tensors:
    """The usual batch, without what forward does not take."""
    return {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for key, tensor in make(name, usual(name)).items()
        if not key.startswith(PROBE)
    }


@of(name for name in FULL if name in TOKENS and not row_of(name).sees_padding)
def test_right_padding_changes_nothing(name):
    inputs = make(name, "right")
    model = subject(name)
    expected, ours = answer(model, inputs, STATES), answer(model, padded_further(name, inputs, 3), STATES)
    for key, tensor in ours.items():
        if not key.startswith("grad.") and tensor.dim() > 1 and tensor.shape[1] == WIDTH + 3:
            assert not tensor[:, WIDTH:].any()
            ours[key] = tensor[:, :WIDTH]
    assert_equal(ours, expected)


@each(
    "name,case",
    (
        (name, case)
        for name in TOKENS
        for case in ("right", "left", "holes", "token_type_ids", "position_ids", "inputs_embeds")
        if is_full(name) or case == "right"
        if case in takes(name) or case in ("right", "left", "holes")
        if may_be_packed(name, case)
    ),
)
def test_packed_equals_padded(name, case):
    inputs = make(name, case)
    expected = repacked(answer(subject(name), inputs, STATES), inputs)
    flat, layout = packed(name, inputs)
    ours = answer(subject(name), flat, STATES | {"layout": layout})
    if not inputs["attention_mask"][:, 0].all():
        # Of a padded batch the first column is read, of a packed one the first token.
        if kind_of(name) == "sequence":
            assert not torch.allclose(ours["logits"], expected["logits"])
            return
        ours, expected = (
            {key: answers[key] for key in answers if key != "pooler_output"} for answers in (ours, expected)
        )
    assert_equal(ours, expected)


@each(
    "name,case",
    ((name, case) for name in CLASSES for case in masks_of(name) if is_full(name) or case == usual(name)),
)
def test_eager_equals_packed(name, case):
    inputs = make(name, case)
    expected = answer(subject(name), inputs, STATES)
    eager = copy.deepcopy(subject(name))
    eager.config.attn_implementation = "eager"
    assert_equal(answer(eager, inputs, STATES), expected)


@every_class
def test_answers_as_a_tuple(name):
    inputs = plain_inputs(name, torch.float64)
    named = subject(name)(**inputs, output_hidden_states=True)
    plain = subject(name)(**inputs, output_hidden_states=True, return_dict=False)
    assert isinstance(plain, tuple)
    assert len(plain) == len(named.to_tuple())
    for ours, expected in zip(plain, named.to_tuple(), strict=True):
        assert type(ours) is type(expected)
        if isinstance(ours, torch.Tensor):
            assert torch.equal(ours, expected)


@every_base
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient(name, use_reentrant):
    inputs = make(name, usual(name))
    model = copy.deepcopy(subject(name)).train()
    expected = answer(model, inputs, {})
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    calls = count_calls(model)
    assert_equal(answer(model, inputs, {}), expected)
    assert calls[0] == 2, "the layer is not computed again"
    model.gradient_checkpointing_disable()
    assert_equal(answer(model, inputs, {}), expected)
    assert calls[0] == 3


def count_calls(model: torch.nn.Module) -> list[int]:
    """How often the first layer was called from now on."""
    calls = [0]

    def count(*_: object) -> None:
        calls[0] += 1

    config = model.config
    layers = next(
        module
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == config.num_hidden_layers
    )
    layers[0].register_forward_pre_hook(count)
    return calls


@every_class
def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    model = build(name)
    model.save_pretrained(tmp_path)
    loaded, info = model_class(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert loaded.config.to_dict() == model.config.to_dict() | {"architectures": [name]}
    ours, expected = loaded.state_dict(), model.state_dict()
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)


@every_class
def test_dropout_draws_in_training_alone(name):
    dropouts = {key: 0.3 for key in config_values(name) if "drop" in key}
    model, inputs = build(name, **dropouts), plain_inputs(name)
    still = [model(**inputs)[0] for _ in range(2)]
    assert torch.equal(*still)
    moving = [model.train()(**inputs)[0] for _ in range(2)]
    assert not torch.equal(*moving)
