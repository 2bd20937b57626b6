"""Rotary position embedding in plain torch: what the kernel computes, and the CPU path."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def apply_rope(
    x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None, rotary_dim: int, interleaved: bool
) -> Tensor:
    """x `[..., H, D]`, whose first `rotary_dim` features are turned in pairs; cos and sin `[..., rotary_dim / 2]`.

    The order of casts is that of Hugging Face's models: cos and sin in the dtype of `x`, products and sums in it too.

    Raises:
        IndexError: a position outside of the tables.
    """
    if positions is not None:
        cos, sin = F.embedding(positions, cos), F.embedding(positions, sin)
    cos, sin = cos.to(x.dtype).unsqueeze(-2), sin.to(x.dtype).unsqueeze(-2)
    turned, rest = x[..., :rotary_dim], x[..., rotary_dim:]
    if interleaved:
        first, second = turned[..., 0::2], turned[..., 1::2]
    else:
        first, second = turned.chunk(2, dim=-1)
    halves = (first * cos - second * sin, second * cos + first * sin)
    out = torch.stack(halves, dim=-1).flatten(-2) if interleaved else torch.cat(halves, dim=-1)
    return torch.cat((out, rest), dim=-1)
