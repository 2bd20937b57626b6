"""Row softmax with a fused scale and mask: checks the arguments and picks the implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers_kernels.dispatch import Backend, choose
from oxiformers_kernels.softmax import ref

__all__ = ["softmax"]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def softmax(
    x: Tensor, mask: Tensor | None = None, *, scale: float = 1.0, backend: Backend | None = None
) -> Tensor:
    """softmax(x * scale + mask) over the last dimension, differentiable in `x` and in an additive mask.

    Args:
        x: scores `[..., N]`, any strides, float16, bfloat16, float32 or float64.
        mask: broadcastable to `x`. Boolean: True keeps, False removes. Floating: added; -inf or the lowest
            value of its dtype removes.
        scale: multiplies `x` before the mask.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        `[..., N]` in the dtype of `x`; removed entries are 0, all of them in a row with every entry removed.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: a mask that does not broadcast to `x` or lies on another device; an unknown backend.
        BackendError: `triton` was asked for by name and cannot run.
    """
    _check(x, mask)
    choice = choose("softmax", backend, x.device, _unsupported(x))
    if choice.backend == "torch":
        return ref.softmax(x, mask, scale)
    from oxiformers_kernels.softmax import kernel

    return kernel.softmax(x, mask, scale)


def _check(x: Tensor, mask: Tensor | None) -> None:
    if not x.is_floating_point():
        raise TypeError(f"softmax: x has dtype {x.dtype}, expected a floating dtype")
    if x.dim() == 0:
        raise ValueError("softmax: x has no dimension, expected [..., N]")
    if mask is None:
        return
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(f"softmax: mask has dtype {mask.dtype}, expected bool or a floating dtype")
    if mask.device != x.device:
        raise ValueError(f"softmax: mask is on {mask.device}, x on {x.device}")
    # Sizes from the right: each of the mask's is x's own or 1.
    fits = mask.dim() <= x.dim() and all(
        own in (1, full) for own, full in zip(reversed(mask.shape), reversed(x.shape), strict=False)
    )
    if not fits:
        raise ValueError(
            f"softmax: mask of shape {tuple(mask.shape)} does not broadcast to x {tuple(x.shape)}"
        )


def _unsupported(x: Tensor) -> str | None:
    if x.dtype not in KERNEL_DTYPES:
        return f"the kernel takes float16, bfloat16 and float32, x is {x.dtype}"
    return None
