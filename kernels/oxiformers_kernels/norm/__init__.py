"""LayerNorm and RMSNorm with a fused residual: checks the arguments and picks the implementation."""

from __future__ import annotations

from typing import Literal, get_args, overload

import torch
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.dispatch import Backend, choose
from oxiformers_kernels.norm import ref

__all__ = ["layer_norm", "rms_norm"]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)

Casting = Literal["llama", "gemma"]


@overload
def layer_norm(
    x: Tensor, weight: Tensor | None = ..., bias: Tensor | None = ..., eps: float = ..., *, residual: None = ...,
    backend: Backend | None = ...,
) -> Tensor: ...  # fmt: skip
@overload
def layer_norm(
    x: Tensor, weight: Tensor | None = ..., bias: Tensor | None = ..., eps: float = ..., *, residual: Tensor,
    backend: Backend | None = ...,
) -> tuple[Tensor, Tensor]: ...  # fmt: skip
def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    residual: Tensor | None = None,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """LayerNorm (Ba et al., arXiv:1607.06450) over the last dimension, differentiable in every tensor.

    Args:
        x: `[..., D]`, float16, bfloat16, float32 or float64. Any strides; where columns are not adjacent, or rows not
            evenly apart, the kernel works on a copy.
        weight, bias: `[D]`, of any of these dtypes.
        eps: added to the variance.
        residual: `[..., D]` in the dtype of `x`, added to it first; the sum is rounded to that dtype, then normalised.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        `[..., D]` in the dtype of `x`; with `residual`, that and the sum, which the next block adds to.

    Raises:
        TypeError: a dtype that is not listed above, a residual in another dtype than `x`.
        ValueError: a shape or device that does not match that of `x`; an unknown backend.
        BackendError: `triton` was asked for by name and cannot run.
    """
    _check("layer_norm", x, residual, weight=weight, bias=bias)
    choice = choose("layer_norm", backend, x.device, _unsupported(x, weight, bias))
    if choice.backend == "torch":
        normed, total = ref.layer_norm(x, residual, weight, bias, eps)
    else:
        from oxiformers_kernels.norm import kernel

        normed, total = kernel.layer_norm(x, residual, weight, bias, eps)
    return normed if residual is None else (normed, total)


@overload
def rms_norm(
    x: Tensor, weight: Tensor | None = ..., eps: float = ..., *, casting: Casting = ..., offset: float = ...,
    residual: None = ..., backend: Backend | None = ...,
) -> Tensor: ...  # fmt: skip
@overload
def rms_norm(
    x: Tensor, weight: Tensor | None = ..., eps: float = ..., *, casting: Casting = ..., offset: float = ...,
    residual: Tensor, backend: Backend | None = ...,
) -> tuple[Tensor, Tensor]: ...  # fmt: skip
def rms_norm(
    x: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-6,
    *,
    casting: Casting = "llama",
    offset: float = 0.0,
    residual: Tensor | None = None,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """RMSNorm (Zhang and Sennrich, arXiv:1910.07467) over the last dimension, differentiable in every tensor.

    Args:
        x: `[..., D]`, float16, bfloat16, float32 or float64. Any strides; where columns are not adjacent, or rows not
            evenly apart, the kernel works on a copy.
        weight: `[D]`, of any of these dtypes.
        eps: added to the mean of squares.
        casting: where the result is rounded to the dtype of `x`. `llama`: before the weight, so that a wider weight
            gives a wider result; `gemma`: after it.
        offset: added to the weight, in float32 (Gemma keeps weight - 1); casting `gemma` only.
        residual: `[..., D]` in the dtype of `x`, added to it first; the sum is rounded to that dtype, then normalised.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        `[..., D]`; with `residual`, that and the sum, which the next block adds to.

    Raises:
        TypeError: a dtype that is not listed above, a residual in another dtype than `x`.
        ValueError: a shape or device that does not match that of `x`; an unknown casting or backend; an offset
            without a weight or with casting `llama`.
        BackendError: `triton` was asked for by name and cannot run.
    """
    _check("rms_norm", x, residual, weight=weight)
    if casting not in get_args(Casting):
        raise ValueError(f"rms_norm: casting={casting!r}, expected one of {', '.join(get_args(Casting))}")
    if offset and (casting == "llama" or weight is None):
        raise ValueError(f"rms_norm: offset={offset} needs a weight and casting='gemma'")
    choice = choose("rms_norm", backend, x.device, _unsupported(x, weight, None))
    if choice.backend == "torch":
        normed, total = ref.rms_norm(x, residual, weight, eps, casting, offset)
    else:
        from oxiformers_kernels.norm import kernel

        normed, total = kernel.rms_norm(x, residual, weight, eps, casting, offset)
    return normed if residual is None else (normed, total)


def _check(op: str, x: Tensor, residual: Tensor | None, **parameters: Tensor | None) -> None:
    if not x.is_floating_point():
        raise checks.wrong_dtype(op, "x", x)
    if x.dim() == 0:
        raise checks.wrong_shape(op, "x", x, "[..., D]")
    if residual is not None:
        if residual.dtype != x.dtype:
            raise checks.wrong_dtype(op, "residual", residual, x.dtype)
        if residual.shape != x.shape:
            raise checks.wrong_shape(op, "residual", residual, x.shape)
        if residual.device != x.device:
            raise checks.wrong_device(op, "residual", residual, x.device)
    for name, parameter in parameters.items():
        if parameter is None:
            continue
        if not parameter.is_floating_point():
            raise checks.wrong_dtype(op, name, parameter)
        if parameter.shape != x.shape[-1:]:
            raise checks.wrong_shape(op, name, parameter, x.shape[-1:])
        if parameter.device != x.device:
            raise checks.wrong_device(op, name, parameter, x.device)


def _unsupported(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> str | None:
    for name, tensor in (("x", x), ("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype not in KERNEL_DTYPES:
            return f"the kernel takes float16, bfloat16 and float32, {name} is {tensor.dtype}"
    return None
