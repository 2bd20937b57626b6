"""Row softmax and log-softmax with a fused scale, bias, mask and dropout: checks the arguments and picks one."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.dispatch import Backend, choose
from oxiformers_kernels.softmax import ref

__all__ = ["log_softmax", "packed_softmax", "softmax"]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def softmax(
    x: Tensor,
    mask: Tensor | None = None,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
    dropout: float = 0.0,
    seed: Tensor | int | None = None,
    inplace: bool = False,
    backend: Backend | None = None,
) -> Tensor:
    """dropout(softmax(x * scale + bias + mask)) over the last dimension, differentiable in all that is floating.

    Args:
        x: scores `[..., N]`, any strides, float16, bfloat16, float32 or float64.
        mask: broadcastable to `x`. Boolean: True keeps, False removes. Floating: added; -inf or the lowest
            value of its dtype removes.
        bias: floating, broadcastable to `x`, added; -inf removes.
        scale: multiplies `x` before the bias and the mask.
        dropout: the probability with which a result is zeroed, in [0, 1); the others are divided by 1 - dropout.
        seed: of dropout, 64 bits: a number, or an int64 tensor with one element on the device of `x`, which is read
            there. The same seed drops the same elements in every implementation. None draws one from torch's generator.
        inplace: the result takes the memory of `x`, which is contiguous and takes no part in autograd.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        `[..., N]` in the dtype of `x`; removed entries are 0, all of them in a row with every entry removed.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: a mask, a bias or a seed that does not fit `x` or lies on another device; a dropout outside of
            [0, 1); `inplace` where autograd needs `x`, or where it is not contiguous; an unknown backend.
        BackendError: `triton` was asked for by name and cannot run.
    """
    _check("softmax", x, mask, bias)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"softmax: dropout={dropout}, expected a probability in [0, 1)")
    if inplace:
        _check_inplace(x, mask, bias)
    words = _seed(x, seed) if dropout else None
    choice = choose("softmax", backend, x.device, _unsupported(x))
    if choice.backend == "torch":
        return ref.softmax(x, mask, bias, scale, dropout, words, inplace)
    from oxiformers_kernels.softmax import kernel

    return kernel.softmax(x, mask, bias, scale, dropout, words, inplace)


def log_softmax(
    x: Tensor,
    mask: Tensor | None = None,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
    backend: Backend | None = None,
) -> Tensor:
    """log_softmax(x * scale + bias + mask) over the last dimension, differentiable in all that is floating.

    Args:
        x, mask, bias, scale, backend: as for `softmax`.

    Returns:
        `[..., N]` in the dtype of `x`; removed entries are -inf, and gradients given to them count for nothing.

    Raises:
        TypeError, ValueError, BackendError: as `softmax`.
    """
    _check("log_softmax", x, mask, bias)
    choice = choose("log_softmax", backend, x.device, _unsupported(x))
    if choice.backend == "torch":
        return ref.log_softmax(x, mask, bias, scale)
    from oxiformers_kernels.softmax import kernel

    return kernel.log_softmax(x, mask, bias, scale)


def packed_softmax(x: Tensor, cu_seqlens: Tensor, *, backend: Backend | None = None) -> Tensor:
    """softmax over the tokens of each of several sequences that lie one after another, differentiable in `x`.

    Args:
        x: `[T]` or `[T, ...]`, any strides, float16, bfloat16, float32 or float64; every column is its own softmax.
        cu_seqlens: int32 or int64 `[B + 1]` on the device of `x`: 0, where each further sequence begins, and T.
            Sequences may be empty. The values are not checked, that would wait for the device.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        the shape and dtype of `x`; where all of a sequence is -inf, 0.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: an `x` without a dimension; a `cu_seqlens` of another shape or device; an unknown backend.
        BackendError: `triton` was asked for by name and cannot run.
    """
    if not x.is_floating_point():
        raise checks.wrong_dtype("packed_softmax", "x", x)
    if x.dim() == 0:
        raise checks.wrong_shape("packed_softmax", "x", x, "[T, ...]")
    checks.require_ends("packed_softmax", "cu_seqlens", cu_seqlens, x.device)
    choice = choose("packed_softmax", backend, x.device, _unsupported(x))
    if choice.backend == "torch":
        return ref.packed_softmax(x, cu_seqlens)
    from oxiformers_kernels.softmax import packed_kernel

    return packed_kernel.packed_softmax(x, cu_seqlens)


def _check(op: str, x: Tensor, mask: Tensor | None, bias: Tensor | None) -> None:
    if not x.is_floating_point():
        raise checks.wrong_dtype(op, "x", x)
    if x.dim() == 0:
        raise checks.wrong_shape(op, "x", x, "[..., N]")
    for name, added in (("mask", mask), ("bias", bias)):
        if added is None:
            continue
        if not added.is_floating_point() and (name == "bias" or added.dtype != torch.bool):
            expected = "bool or a floating dtype" if name == "mask" else "a floating dtype"
            raise checks.wrong_dtype(op, name, added, expected)
        if added.device != x.device:
            raise checks.wrong_device(op, name, added, x.device)
        # Sizes from the right: each is x's own or 1.
        fits = added.dim() <= x.dim() and all(
            own in (1, full) for own, full in zip(reversed(added.shape), reversed(x.shape), strict=False)
        )
        if not fits:
            raise ValueError(
                f"{op}: {name} of shape {tuple(added.shape)} does not broadcast to x {tuple(x.shape)}"
            )


def _check_inplace(x: Tensor, mask: Tensor | None, bias: Tensor | None) -> None:
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, mask, bias)):
        raise ValueError("softmax: inplace=True overwrites x, and autograd needs a gradient through it")
    if not x.is_contiguous():
        raise ValueError(f"softmax: inplace=True needs a contiguous x, its strides are {x.stride()}")


def _seed(x: Tensor, seed: Tensor | int | None) -> Tensor:
    """The seed as a tensor beside `x`, without asking the device for anything."""
    if seed is None:
        return torch.randint(0, 2**63 - 1, (), dtype=torch.int64, device=x.device)
    if isinstance(seed, int):
        return torch.full((), seed, dtype=torch.int64, device=x.device)
    if seed.dtype != torch.int64 or seed.numel() != 1:
        raise ValueError(f"softmax: seed is {seed.dtype} of shape {tuple(seed.shape)}, expected one int64")
    if seed.device != x.device:
        raise checks.wrong_device("softmax", "seed", seed, x.device)
    return seed.reshape(())


def _unsupported(x: Tensor) -> str | None:
    if x.dtype not in KERNEL_DTYPES:
        return f"the kernel takes float16, bfloat16 and float32, x is {x.dtype}"
    if x.numel() >= 2**31 * max(1, x.shape[-1]):
        return "the kernel numbers rows in 32 bits"
    return None
