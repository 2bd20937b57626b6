"""Every class of every architecture against itself: however a batch lies and is computed, one result."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.models.answer import Tensors, answer
from tests.models.contract.forms import packed, padded_further, repacked
from tests.models.contract.inputs import MASKS, WIDTH, make
from tests.models.contract.subjects import (
    CLASSES,
    build,
    config_values,
    kind_of,
    model_class,
    row_of,
    subject,
)

every_class = pytest.mark.parametrize("name", CLASSES)
PADDED = [case for case, mask in MASKS.items() if mask is not None]


def inputs_of(name: str, case: str = "right") -> Tensors:
    return make(row_of(name), kind_of(name), case)


def assert_equal(ours: Tensors, expected: Tensors) -> None:
    assert ours.keys() == expected.keys()
    for key, tensor in ours.items():
        torch.testing.assert_close(
            tensor, expected[key], rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}"
        )


@every_class
def test_right_padding_changes_nothing(name):
    inputs = inputs_of(name)
    model, states = subject(name), {"output_hidden_states": True}
    expected, ours = answer(model, inputs, states), answer(model, padded_further(inputs, 3), states)
    for key, tensor in ours.items():
        if not key.startswith("grad.") and tensor.dim() > 1 and tensor.shape[1] == WIDTH + 3:
            assert not tensor[:, WIDTH:].any()
            ours[key] = tensor[:, :WIDTH]
    assert_equal(ours, expected)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        (name, case)
        for name in CLASSES
        for case in (*PADDED, "token_type_ids", "position_ids", "inputs_embeds")
        if case in row_of(name).takes
        # Without positions of its own a packed batch has no holes.
        or (case in PADDED and (case != "holes" or "position_ids" in row_of(name).takes))
    ],
)
def test_packed_equals_padded(name, case):
    inputs = inputs_of(name, case)
    states = {"output_hidden_states": True}
    expected = repacked(answer(subject(name), inputs, states), inputs)
    flat, layout = packed(inputs, "position_ids" in row_of(name).takes)
    ours = answer(subject(name), flat, states | {"layout": layout})
    if not inputs["attention_mask"][:, 0].all():
        # Of a padded batch the first column is read, of a packed one the first token.
        if kind_of(name) == "sequence":
            assert not torch.allclose(ours["logits"], expected["logits"])
            return
        ours, expected = (
            {key: answers[key] for key in answers if key != "pooler_output"} for answers in (ours, expected)
        )
    assert_equal(ours, expected)


@every_class
@pytest.mark.parametrize("case", MASKS)
def test_eager_equals_packed(name, case):
    inputs, states = inputs_of(name, case), {"output_hidden_states": True}
    expected = answer(subject(name), inputs, states)
    eager = copy.deepcopy(subject(name))
    eager.config.attn_implementation = "eager"
    assert_equal(answer(eager, inputs, states), expected)


@every_class
def test_answers_as_a_tuple(name):
    inputs = {key: tensor for key, tensor in inputs_of(name).items() if not key.startswith("probe.")}
    named = subject(name)(**inputs, output_hidden_states=True)
    plain = subject(name)(**inputs, output_hidden_states=True, return_dict=False)
    assert isinstance(plain, tuple)
    assert len(plain) == len(named.to_tuple())
    for ours, expected in zip(plain, named.to_tuple(), strict=True):
        assert type(ours) is type(expected)
        if isinstance(ours, torch.Tensor):
            assert torch.equal(ours, expected)


@every_class
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient(name, use_reentrant):
    inputs = inputs_of(name)
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

    layers = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
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
def test_one_graph_serves_batches_of_differing_lengths(name):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    model = build(name, use_cache=False)
    step = torch.compile(build(name, use_cache=False), backend=backend, fullgraph=True, dynamic=True)
    for mask in ([9, 4, 1, 6], [2, 3, 8, 7], [5, 5, 6, 1]):
        inputs = inputs_of(name)
        inputs["attention_mask"] = (torch.arange(WIDTH) < torch.tensor(mask)[:, None]).long()
        flat, layout = packed(inputs, "position_ids" in row_of(name).takes)
        flat = {key: tensor for key, tensor in flat.items() if not key.startswith("probe.")}
        for ours, expected in zip(
            step(**flat, layout=layout).to_tuple(), model(**flat, layout=layout).to_tuple(), strict=True
        ):
            torch.testing.assert_close(ours, expected)
    assert len(graphs) == 1


@every_class
def test_dropout_draws_in_training_alone(name):
    dropouts = {key: 0.3 for key in config_values(name) if "drop" in key}
    model = build(name, **dropouts)
    inputs = {key: tensor for key, tensor in inputs_of(name).items() if not key.startswith("probe.")}
    still = [model(**inputs)[0] for _ in range(2)]
    assert torch.equal(*still)
    moving = [model.train()(**inputs)[0] for _ in range(2)]
    assert not torch.equal(*moving)


@every_class
def test_random_weights_are_drawn(name):
    made = model_class(name)
    torch.manual_seed(0)
    model = made(made.config_class(**config_values(name)))
    embeddings = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    padding = {id(module.weight) for module in embeddings if module.padding_idx is not None}
    norms = {f"{path}.weight" for path, module in model.named_modules() if "Norm" in type(module).__name__}
    row = row_of(name)
    for key, weight in model.named_parameters():
        if weight.dim() > 1:
            rows = weight[1:] if id(weight) in padding else weight
            deviation = row.config.get("initializer_range", rows.std())
            if row.scaled and key.endswith(row.scaled):
                deviation /= (2 * row.layers) ** 0.5
            assert 0.6 * deviation < rows.std() < 1.4 * deviation, key
            assert rows.std() > 0.01, key
        else:
            assert torch.equal(weight, torch.full_like(weight, float(key in norms))), key
