"""Normalisation layers that torch does not have in the form checkpoints were trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        wide = hidden.float() if hidden.dtype in (torch.float16, torch.bfloat16) else hidden
        normal = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normal.to(hidden.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"
