"""A linear layer with its weight transposed gives what nn.Linear gives, by whichever library computes it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from oxiformers.layers import linear
from oxiformers.layers.activations import ACTIVATIONS
from oxiformers.layers.conv1d import Conv1D


@pytest.fixture(params=["onednn", "torch"])
def library(request, monkeypatch):
    monkeypatch.setenv("OXIFORMERS_LINEAR", request.param)
    linear.onednn_is_faster.cache_clear()
    yield request.param
    linear.onednn_is_faster.cache_clear()


@pytest.mark.parametrize("name", [None, "gelu_new", "silu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(24,), (1, 24), (0, 24), (2, 17, 24), (3, 50, 24)])
def test_equals_functional_linear(library, name, dtype, shape):
    torch.manual_seed(0)
    layer, hidden = Conv1D(24, 40).to(dtype), torch.randn(shape, dtype=dtype)
    torch.nn.init.normal_(layer.bias)
    function = None if name is None else ACTIVATIONS[name]
    expected = F.linear(hidden.double(), layer.weight.double().t(), layer.bias.double())
    expected = expected if function is None else function(expected)
    tolerance = 2e-2 if dtype is torch.bfloat16 else 1e-5
    with torch.no_grad():
        torch.testing.assert_close(layer(hidden, function).double(), expected, atol=tolerance, rtol=tolerance)


def test_onednn_is_called_for_many_rows_and_only_without_gradient(monkeypatch):
    calls = []
    real = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(linear, "onednn_is_faster", lambda dtype: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *a: calls.append(1) or real(*a))
    layer, hidden = Conv1D(8, 8), torch.randn(128, 8)
    layer(hidden).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        layer(hidden[:32])
        layer.double()(hidden.double())
        assert not calls
        before = layer.float()(hidden)
        assert len(calls) == 1
        layer.weight.data.mul_(2)
        torch.testing.assert_close(layer(hidden), 2 * before)
