"""SwiGLU and GeGLU in plain torch: what the kernels compute, and the CPU path."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def swiglu(gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None) -> Tensor:
    """silu(gate + gate_bias) * (up + up_bias).

    Every step is rounded to the dtype of `gate`, as where Hugging Face's models call one after the other.
    """
    return functional.silu(_biased(gate, gate_bias)) * _biased(up, up_bias)


def geglu(
    gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None, approximate: str
) -> Tensor:
    """gelu(gate + gate_bias) * (up + up_bias), rounded as in `swiglu`."""
    return functional.gelu(_biased(gate, gate_bias), approximate=approximate) * _biased(up, up_bias)


def _biased(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias.to(x.dtype)
