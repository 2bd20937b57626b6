"""Every architecture's base model under torch.compile and torch.export, padded and packed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from oxiformers.layers.layout import Layout
from tests.models.answer import PROBE, Tensors
from tests.models.contract.forms import packed
from tests.models.contract.inputs import WIDTH, make, usual
from tests.models.contract.marks import BASES, every_base, of
from tests.models.contract.subjects import build, config_values, row_of

pytestmark = pytest.mark.contract
#: What configs call their number of layers.
LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "encoder_layers", "decoder_layers")
packable = of(name for name in BASES if row_of(name).modality == "tokens")


@pytest.fixture(autouse=True, scope="module")
def _warm():
    """What is imported once is no row's cost."""
    identity = torch.nn.Identity()
    torch.compile(identity, backend="eager")(torch.ones(2))
    torch.export.export(identity, (torch.ones(2),), strict=False)


def small(name: str) -> Any:
    """A model of one layer, which traces like two."""
    depths = [key for key in LAYERS if key in config_values(name)]
    return build(name, use_cache=False, **dict.fromkeys(depths, 1))


def in_float32(inputs: Tensors) -> Tensors:
    return {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in inputs.items()
        if not key.startswith(PROBE)
    }


def packed_batch(name: str, lengths: list[int]) -> tuple[Tensors, Layout]:
    inputs = make(name, "right")
    inputs["attention_mask"] = (torch.arange(WIDTH) < torch.tensor(lengths)[:, None]).long()
    flat, layout = packed(name, inputs)
    return in_float32(flat), layout


def assert_same(ours: Any, expected: Any) -> None:
    assert ours.keys() == expected.keys()
    for key, tensor in expected.items():
        if isinstance(tensor, torch.Tensor):
            torch.testing.assert_close(ours[key], tensor)


class WithLayout(torch.nn.Module):
    """A model whose batches all lie the same, as an exported program needs."""

    def __init__(self, model: torch.nn.Module, layout: Layout) -> None:
        super().__init__()
        self.model, self.layout = model, layout

    def forward(self, **inputs: torch.Tensor) -> Any:
        return self.model(**inputs, layout=self.layout)


@every_base
def test_a_padded_call_compiles_and_exports(name):
    torch.compiler.reset()
    model, inputs = small(name), in_float32(make(name, usual(name)))
    expected = model(**inputs)
    assert_same(torch.compile(model, backend="eager", fullgraph=True)(**inputs), expected)
    program = torch.export.export(model, (), inputs, strict=False)
    assert_same(program.module()(**inputs), expected)


@packable
def test_one_graph_serves_packed_batches_of_differing_lengths(name):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    model = small(name)
    step = torch.compile(model, backend=backend, fullgraph=True, dynamic=True)
    for lengths in ([9, 4, 1, 6], [2, 3, 8, 7], [5, 5, 6, 1]):
        inputs, layout = packed_batch(name, lengths)
        assert_same(step(**inputs, layout=layout), model(**inputs, layout=layout))
    assert len(graphs) == 1


@packable
def test_a_packed_call_exports(name):
    model = small(name)
    inputs, layout = packed_batch(name, [9, 4, 1, 6])
    program = torch.export.export(WithLayout(model, layout), (), inputs, strict=False)
    assert_same(program.module()(**inputs), model(**inputs, layout=layout))
