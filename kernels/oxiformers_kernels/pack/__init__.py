"""From padded batches to packed tokens, back, and to one vector a sequence: checks the arguments and dispatches."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.dispatch import Backend, choose
from oxiformers_kernels.pack import ref

__all__ = ["pack", "pool", "unpack"]

How = Literal["mean", "first", "last"]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def pack(padded: Tensor, where: Tensor, *, backend: Backend | None = None) -> Tensor:
    """The tokens of a padded batch, one after another; differentiable in `padded`.

    Args:
        padded: `[B, S, ...]`, any dtype but complex ones, any strides.
        where: the tokens that stay: int64 `[T]`, distinct places in the batch flattened to `[B * S]`, or a boolean mask
            `[B, S]`, whose places are counted, for which the host waits. A place beyond the batch raises on the CPU,
            and gives zeros on a GPU.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        `[T, ...]`.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: shapes or devices that do not fit; an unknown backend.
        IndexError: a place out of range, on the CPU.
        BackendError: `triton` was asked for by name and cannot run.
    """
    if padded.dim() < 2:
        raise checks.wrong_shape("pack", "padded", padded, "[B, S, ...]")
    index = _index("pack", where, padded, (padded.shape[0], padded.shape[1]))
    flat = padded.flatten(0, 1)
    if choose("pack", backend, padded.device, _not_movable(padded)).backend == "torch":
        return ref.pack(flat, index)
    from oxiformers_kernels.pack import kernel

    return kernel.pack(flat, index)


def unpack(packed: Tensor, where: Tensor, rows: int, width: int, *, backend: Backend | None = None) -> Tensor:
    """The padded batch of packed tokens, 0 where there is none; differentiable in `packed`.

    Args:
        packed: `[T, ...]`, any dtype but complex ones, any strides.
        where: as in `pack`; a place beyond the batch raises on the CPU, and is left out on a GPU.
        rows, width: B and S of the result.

    Returns:
        `[rows, width, ...]`. For `backend` and errors see `pack`.
    """
    if packed.dim() == 0 or rows < 0 or width < 0:
        raise ValueError(
            f"unpack: packed {tuple(packed.shape)} to {rows} rows of {width}, expected [T, ...] and sizes"
        )
    index = _index("unpack", where, packed, (rows, width))
    if index.shape[0] != packed.shape[0]:
        raise ValueError(f"unpack: {index.shape[0]} places for {packed.shape[0]} packed tokens")
    if choose("unpack", backend, packed.device, _not_movable(packed)).backend == "torch":
        flat = ref.unpack(packed, index, rows * width)
    else:
        from oxiformers_kernels.pack import kernel

        flat = kernel.unpack(packed, index, rows * width)
    return flat.view(rows, width, *packed.shape[1:])


def pool(packed: Tensor, cu_seqlens: Tensor, how: How = "mean", *, backend: Backend | None = None) -> Tensor:
    """One vector a sequence: the mean of its tokens, its first (CLS) or its last; differentiable in `packed`.

    Args:
        packed: `[T, D]`, any strides, float16, bfloat16, float32 or float64.
        cu_seqlens: int32 or int64 `[B + 1]`, where sequences start and end: from 0 to T, never falling.
        how: `mean`, `first` or `last`.

    Returns:
        `[B, D]` in the dtype of `packed`; zeros for an empty sequence. For `backend` and errors see `pack`.
    """
    if not packed.is_floating_point():
        raise checks.wrong_dtype("pool", "packed", packed)
    if packed.dim() != 2:
        raise checks.wrong_shape("pool", "packed", packed, "[T, D]")
    checks.require_ends("pool", "cu_seqlens", cu_seqlens, packed.device)
    if how not in ("mean", "first", "last"):
        raise ValueError(f"pool: how={how!r}, expected mean, first or last")
    unsupported = None
    if packed.dtype not in KERNEL_DTYPES:
        unsupported = f"the kernel takes float16, bfloat16 and float32, packed is {packed.dtype}"
    if choose("pool", backend, packed.device, unsupported).backend == "torch":
        return ref.pool(packed, cu_seqlens, how)
    from oxiformers_kernels.pack import kernel

    return kernel.pool(packed, cu_seqlens, how)


def _index(op: str, where: Tensor, tensor: Tensor, shape: tuple[int, int]) -> Tensor:
    if where.device != tensor.device:
        raise checks.wrong_device(op, "where", where, tensor.device)
    if where.dtype == torch.bool:
        if where.shape != shape:
            raise checks.wrong_shape(op, "the mask", where, shape)
        return where.flatten().nonzero().squeeze(1)
    if where.dtype != torch.int64:
        raise checks.wrong_dtype(op, "where", where, "torch.int64 or torch.bool")
    if where.dim() != 1:
        raise checks.wrong_shape(op, "where", where, "[T] or a mask [B, S]")
    return where


def _not_movable(tensor: Tensor) -> str | None:
    return f"the kernel takes no {tensor.dtype}" if tensor.is_complex() else None
