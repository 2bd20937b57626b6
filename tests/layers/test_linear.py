"""Both CPU libraries give the same linear layer, and the choice between them is the caller's to make."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from oxiformers.errors import ArgumentError
from oxiformers.layers import linear
from oxiformers.layers.activations import ACTIVATIONS
from oxiformers.layers.linear import Linear


@pytest.fixture(params=["onednn", "torch"])
def library(request, monkeypatch):
    monkeypatch.setenv("OXIFORMERS_LINEAR", request.param)
    linear.onednn_is_faster.cache_clear()
    yield request.param
    linear.onednn_is_faster.cache_clear()


@pytest.mark.parametrize("name", [None, *ACTIVATIONS])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_functional_linear(library, name, bias, dtype):
    torch.manual_seed(0)
    layer = Linear(24, 40, bias=bias, dtype=dtype)
    hidden = torch.randn(33, 24, dtype=dtype)
    function = None if name is None else ACTIVATIONS[name]
    with torch.no_grad():
        ours = layer(hidden, function)
        wide = F.linear(hidden.double(), layer.weight.double(), layer.bias.double() if bias else None)
        expected = wide if function is None else function(wide)
        tolerance = 2e-2 if dtype is torch.bfloat16 else 1e-5
        torch.testing.assert_close(ours.double(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("shape", [(2, 17, 24), (1, 24), (0, 24), (24,)])
def test_any_shape(library, shape):
    layer, hidden = Linear(24, 40), torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(layer(hidden), F.linear(hidden, layer.weight, layer.bias))


def test_onednn_is_called_where_chosen_and_only_without_gradient(monkeypatch):
    calls = []
    real = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(linear, "onednn_is_faster", lambda dtype: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *a: calls.append(1) or real(*a))
    layer, hidden = Linear(8, 8), torch.randn(16, 8)
    layer(hidden).sum().backward()
    assert layer.weight.grad is not None and not calls
    with torch.no_grad():
        layer(hidden)
        assert len(calls) == 1
        layer(hidden[:2])
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(hidden).dtype is torch.bfloat16
        torch.compile(layer, backend="eager")(hidden)
    assert len(calls) == 1


def test_a_changed_weight_is_seen_at_once(library):
    layer, hidden = Linear(8, 8, bias=False), torch.randn(16, 8)
    with torch.no_grad():
        layer(hidden)
        layer.weight.data.zero_()
        assert layer(hidden).abs().max() == 0


def test_non_contiguous_input(library):
    layer = Linear(8, 5)
    hidden = torch.randn(8, 16, 2).transpose(0, 1)[..., 1]
    with torch.no_grad():
        torch.testing.assert_close(layer(hidden), F.linear(hidden.contiguous(), layer.weight, layer.bias))


def test_unknown_library_is_refused(monkeypatch):
    monkeypatch.setenv("OXIFORMERS_LINEAR", "fastest")
    linear.onednn_is_faster.cache_clear()
    with pytest.raises(ArgumentError, match="OXIFORMERS_LINEAR"):
        linear.onednn_is_faster(torch.float32)
    linear.onednn_is_faster.cache_clear()


def test_bfloat16_is_left_to_torch_where_onednn_has_no_product(monkeypatch):
    monkeypatch.setenv("OXIFORMERS_LINEAR", "onednn")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    linear.onednn_is_faster.cache_clear()
    assert linear.onednn_is_faster(torch.float32)
    assert not linear.onednn_is_faster(torch.bfloat16)
    linear.onednn_is_faster.cache_clear()
