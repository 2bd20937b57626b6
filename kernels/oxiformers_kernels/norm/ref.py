"""LayerNorm and RMSNorm in plain torch: what the kernels compute, and the CPU path."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def layer_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """LayerNorm of x + residual over the last dimension, and that sum.

    Statistics, weight and bias in float32 (float64 for float64), one rounding to the dtype of `x` at the end, as
    `torch.nn.LayerNorm` does, which takes equal dtypes only.
    """
    total = x if residual is None else x + residual
    if all(parameter is None or parameter.dtype == x.dtype for parameter in (weight, bias)):
        return functional.layer_norm(total, x.shape[-1:], weight, bias, eps), total
    wide = _wide(total)
    weight, bias = (None if parameter is None else parameter.to(wide.dtype) for parameter in (weight, bias))
    return functional.layer_norm(wide, x.shape[-1:], weight, bias, eps).to(x.dtype), total


def rms_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, eps: float, casting: str, offset: float
) -> tuple[Tensor, Tensor]:
    """RMSNorm of x + residual over the last dimension, and that sum.

    The two orders of casts are those of Hugging Face's models. `llama` rounds to the dtype of `x`, then multiplies
    by the weight in the wider dtype of the two; `gemma` multiplies by weight + offset in float32 and rounds last.
    """
    total = x if residual is None else x + residual
    wide = _wide(total)
    normal = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + eps)
    if weight is None:
        return normal.to(x.dtype), total
    if casting == "llama":
        return normal.to(x.dtype) * weight, total
    return (normal * (weight.to(normal.dtype) + offset)).to(x.dtype), total


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
