"""The norms as torch's own, where no kernel runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oxiformers.layers.norm import LayerNorm, RMSNorm


def test_a_layer_norm_is_torchs():
    torch.manual_seed(0)
    ours, theirs = LayerNorm(8, eps=1e-3), nn.LayerNorm(8, eps=1e-3)
    assert isinstance(ours, nn.LayerNorm)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    hidden, residual = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    ours, theirs = ours.double(), theirs.double()
    torch.testing.assert_close(ours(hidden), theirs(hidden))
    torch.testing.assert_close(ours(hidden, residual), theirs(hidden + residual))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_root_mean_square_norm(dtype):
    norm = RMSNorm(8, 1e-3).to(dtype)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
    hidden = torch.randn(3, 8).to(dtype)
    theirs = torch.nn.functional.rms_norm(hidden.double(), (8,), norm.weight.double(), 1e-3)
    torch.testing.assert_close(
        norm(hidden).double(), theirs, rtol=2e-2 if dtype is torch.bfloat16 else 1e-5, atol=1e-6
    )
