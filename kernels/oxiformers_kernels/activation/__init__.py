"""The gated activations of transformers' MLPs: checks the arguments and picks the implementation."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.activation import ref
from oxiformers_kernels.dispatch import Backend, choose

__all__ = ["geglu", "swiglu"]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)

Approximate = Literal["none", "tanh"]


def swiglu(
    gate: Tensor,
    up: Tensor,
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
    *,
    backend: Backend | None = None,
) -> Tensor:
    """silu(gate + gate_bias) * (up + up_bias) (Shazeer, arXiv:2002.05202), differentiable in every tensor.

    The backward computes the activation again: `gate` and `up` are all that is kept.

    Args:
        gate, up: `[..., D]` of one shape and dtype, float16, bfloat16, float32 or float64. The halves of one tensor are
            read where they lie; where columns are not adjacent, or rows not evenly apart, a copy is made.
        gate_bias, up_bias: `[D]`, floating.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        `[..., D]` in the dtype of `gate`.

    Raises:
        TypeError: a dtype that is not listed above, or two dtypes.
        ValueError: shapes or devices that do not match; an unknown backend.
        BackendError: `triton` was asked for by name and cannot run.
    """
    _check("swiglu", gate, up, gate_bias, up_bias)
    choice = choose("swiglu", backend, gate.device, _unsupported(gate))
    if choice.backend == "torch":
        return ref.swiglu(gate, up, gate_bias, up_bias)
    from oxiformers_kernels.activation import kernel

    return kernel.swiglu(gate, up, gate_bias, up_bias)


def geglu(
    gate: Tensor,
    up: Tensor,
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
    *,
    approximate: Approximate = "tanh",
    backend: Backend | None = None,
) -> Tensor:
    """gelu(gate + gate_bias) * (up + up_bias) (Shazeer, arXiv:2002.05202), differentiable in every tensor.

    Args:
        gate, up, gate_bias, up_bias, backend: as for `swiglu`.
        approximate: `tanh`, or `none` for the error function, as in `torch.nn.functional.gelu`.

    Returns:
        `[..., D]` in the dtype of `gate`.

    Raises:
        TypeError, ValueError, BackendError: as `swiglu`; ValueError for an unknown `approximate` too.
    """
    _check("geglu", gate, up, gate_bias, up_bias)
    if approximate not in get_args(Approximate):
        expected = ", ".join(get_args(Approximate))
        raise ValueError(f"geglu: approximate={approximate!r}, expected one of {expected}")
    choice = choose("geglu", backend, gate.device, _unsupported(gate))
    if choice.backend == "torch":
        return ref.geglu(gate, up, gate_bias, up_bias, approximate)
    from oxiformers_kernels.activation import kernel

    return kernel.geglu(gate, up, gate_bias, up_bias, approximate)


def _check(op: str, gate: Tensor, up: Tensor, gate_bias: Tensor | None, up_bias: Tensor | None) -> None:
    if not gate.is_floating_point():
        raise checks.wrong_dtype(op, "gate", gate)
    if gate.dim() == 0:
        raise checks.wrong_shape(op, "gate", gate, "[..., D]")
    if up.dtype != gate.dtype:
        raise checks.wrong_dtype(op, "up", up, gate.dtype)
    for name, bias in (("gate_bias", gate_bias), ("up_bias", up_bias)):
        if bias is not None and not bias.is_floating_point():
            raise checks.wrong_dtype(op, name, bias)
    for name, tensor, shape in (
        ("up", up, gate.shape),
        ("gate_bias", gate_bias, gate.shape[-1:]),
        ("up_bias", up_bias, gate.shape[-1:]),
    ):
        if tensor is not None and tensor.shape != shape:
            raise checks.wrong_shape(op, name, tensor, shape)
        if tensor is not None and tensor.device != gate.device:
            raise checks.wrong_device(op, name, tensor, gate.device)


def _unsupported(gate: Tensor) -> str | None:
    if gate.dtype not in KERNEL_DTYPES:
        return f"the kernel takes float16, bfloat16 and float32, gate is {gate.dtype}"
    return None
