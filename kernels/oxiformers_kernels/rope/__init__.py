"""Rotary position embedding of queries and keys: checks the arguments and picks the implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.dispatch import Backend, choose
from oxiformers_kernels.rope import ref

__all__ = ["apply_rope"]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def apply_rope(
    q: Tensor,
    k: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    *,
    rotary_dim: int | None = None,
    interleaved: bool = False,
    inplace: bool = False,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Turns pairs of features of `q` and `k` by the angles of their positions (Su et al., arXiv:2104.09864).

    Differentiable in `q` and `k`; cos and sin are constants.

    Args:
        q: `[T, H, D]` (packed) or `[B, S, H, D]`, any strides, float16, bfloat16, float32 or float64.
        k: `[T, Hkv, D]` or `[B, S, Hkv, D]` in the dtype of `q`, or None.
        cos, sin: `[..., R / 2]`, or `[..., R]` where every value stands twice (in halves, or side by side if
            `interleaved`), R being `rotary_dim`. Leading dimensions broadcast to those of `q` before its heads; with
            `positions` it is one, and they are tables.
        positions: rows of the tables, int64, broadcastable to `[T]` or `[B, S]`. One out of range raises on the CPU; on
            a GPU, where it could not be seen without waiting, its token becomes NaN.
        rotary_dim: how many features, from the first on, are turned; None for all. The others stay as they are.
        interleaved: whether pairs are neighbours (GPT-J) instead of feature i and i + R / 2 (GPT-NeoX, Llama).
        inplace: writes the results over `q` and `k`, and returns these; not where gradients are recorded.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        q and k, turned, each in its dtype; None for a `k` of None.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: shapes, devices or strides that do not fit; an unknown backend; `inplace` under autograd.
        IndexError: a position out of range, on the CPU.
        BackendError: `triton` was asked for by name and cannot run.
    """
    tensors = [q] if k is None else [q, k]
    rotary_dim = q.shape[-1] if rotary_dim is None else rotary_dim
    _check(tensors, cos, sin, positions, rotary_dim)
    if inplace:
        _check_inplace(tensors)
    if cos.shape[-1] == rotary_dim:
        once = slice(0, None, 2) if interleaved else slice(0, rotary_dim // 2)
        cos, sin = cos[..., once], sin[..., once]
    cos, sin = cos.detach(), sin.detach()
    choice = choose("rope", backend, q.device, _unsupported(q))
    if choice.backend == "torch":
        turned = [ref.apply_rope(x, cos, sin, positions, rotary_dim, interleaved) for x in tensors]
        if inplace:
            turned = [x.copy_(result) for x, result in zip(tensors, turned, strict=True)]
    else:
        from oxiformers_kernels.rope import kernel

        turned = kernel.apply_rope(tensors, cos, sin, positions, rotary_dim, interleaved, inplace)
    return turned[0], None if k is None else turned[1]


def _check(
    tensors: list[Tensor], cos: Tensor, sin: Tensor, positions: Tensor | None, rotary_dim: int
) -> None:
    q = tensors[0]
    for name, tensor in (("q", q), ("cos", cos), ("sin", sin)):
        if not tensor.is_floating_point():
            raise checks.wrong_dtype("rope", name, tensor)
    if q.dim() not in (3, 4):
        raise checks.wrong_shape("rope", "q", q, "[T, H, D] or [B, S, H, D]")
    for k in tensors[1:]:
        if k.dtype != q.dtype:
            raise checks.wrong_dtype("rope", "k", k, q.dtype)
        if k.device != q.device:
            raise checks.wrong_device("rope", "k", k, q.device)
        if k.dim() != q.dim() or k.shape[:-2] != q.shape[:-2] or k.shape[-1] != q.shape[-1]:
            raise ValueError(
                f"rope: k {tuple(k.shape)} and q {tuple(q.shape)} differ in more than their heads"
            )
    if rotary_dim % 2 or not 0 < rotary_dim <= q.shape[-1]:
        raise ValueError(f"rope: rotary_dim={rotary_dim}, expected an even number up to {q.shape[-1]}")
    if cos.shape != sin.shape or cos.dim() == 0 or cos.shape[-1] not in (rotary_dim, rotary_dim // 2):
        raise ValueError(
            f"rope: cos {tuple(cos.shape)} and sin {tuple(sin.shape)}, expected equal shapes that end in {rotary_dim} "
            f"or {rotary_dim // 2}"
        )
    for name, other in (("cos", cos), ("sin", sin), ("positions", positions)):
        if other is not None and other.device != q.device:
            raise checks.wrong_device("rope", name, other, q.device)
    if positions is not None:
        if positions.dtype != torch.int64:
            raise checks.wrong_dtype("rope", "positions", positions, torch.int64)
        if cos.dim() != 2:
            raise checks.wrong_shape("rope", "cos", cos, "[P, R], a table, as positions are given")
    what, shape = ("cos", cos.shape[:-1]) if positions is None else ("positions", positions.shape)
    tokens = q.shape[:-2]
    fits = len(shape) <= len(tokens) and all(
        own in (1, full) for own, full in zip(reversed(shape), reversed(tokens), strict=False)
    )
    if not fits:
        raise ValueError(
            f"rope: {what} for tokens {tuple(shape)} does not broadcast to those of q, {tuple(tokens)}"
        )


def _check_inplace(tensors: list[Tensor]) -> None:
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        raise ValueError(
            "rope: inplace=True overwrites what autograd needs; use it where no gradient is recorded"
        )
    for x in tensors:
        if x.stride(-1) != 1 or any(
            stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)
        ):
            raise ValueError(
                f"rope: inplace=True needs elements of their own with last stride 1, strides are {x.stride()}"
            )


def _unsupported(q: Tensor) -> str | None:
    if q.dtype not in KERNEL_DTYPES:
        return f"the kernel takes float16, bfloat16 and float32, q is {q.dtype}"
    return None
