"""Normalisation layers, on the fused kernels where those run."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.layers.fused import may_fuse
from oxiformers_kernels.norm import layer_norm, rms_norm


class LayerNorm(nn.LayerNorm):
    """An nn.LayerNorm that adds a residual in passing."""

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """``[..., D]`` to the same: the norm of their sum where there is a residual."""
        # Under autocast the layer is one of those that torch computes in float32.
        if not may_fuse(input) or torch.is_autocast_enabled(input.device.type):
            total = input if residual is None else input + residual
            return F.layer_norm(total, self.normalized_shape, self.weight, self.bias, self.eps)
        if residual is None:
            return layer_norm(input, self.weight, self.bias, self.eps)
        return layer_norm(input, self.weight, self.bias, self.eps, residual=residual)[0]


class RMSNorm(nn.Module):
    """Root mean square normalisation (Zhang and Sennrich, arXiv:1910.07467), computed in float32.

    Args:
        size: D, the last dimension.
        eps: added to the mean of squares.
    """

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to the same; cast back to the input's dtype before the weight, as Llama does."""
        if may_fuse(hidden):
            return rms_norm(hidden, self.weight, self.eps)
        wide = hidden.float() if hidden.dtype in (torch.float16, torch.bfloat16) else hidden
        normal = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normal.to(hidden.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"
