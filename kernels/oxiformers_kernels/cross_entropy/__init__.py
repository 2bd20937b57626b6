"""Cross entropy, of given logits or of a linear layer: checks the arguments and picks the implementation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from oxiformers_kernels import checks
from oxiformers_kernels.cross_entropy import ref
from oxiformers_kernels.dispatch import Backend, choose

__all__ = ["cross_entropy", "linear_cross_entropy"]

Reduction = Literal["mean", "sum", "none"]

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    softcap: float = 0.0,
    z_loss: float = 0.0,
    reduction: Reduction = "mean",
    num_items: int | Tensor | None = None,
    backend: Backend | None = None,
) -> Tensor:
    """The cross entropy of logits and labels, in float32, differentiable in `logits`.

    Args:
        logits: `[T, V]`, any strides, float16, bfloat16, float32 or float64.
        labels: `[T]`, int64, in [0, V). Another one raises on the CPU; on a GPU, where it could not be seen without
            waiting, its loss and gradient are NaN.
        ignore_index: rows of this label give 0 and have no gradient.
        label_smoothing: the share of the target that is spread evenly over the V entries (Szegedy et al.,
            arXiv:1512.00567), from 0 to 1.
        softcap: logits become softcap * tanh(logits / softcap) before the loss (Gemma 2, arXiv:2408.00118); 0 for none.
        z_loss: what is added is z_loss * logsumexp(logits)^2 (PaLM, arXiv:2204.02311).
        reduction: `none` gives `[T]`, `sum` their sum, `mean` their sum over the number of rows that are not ignored
            (NaN if there is none), or over `num_items`.
        num_items: what `mean` divides by, where a batch is summed up in parts: a number or a tensor of one element.
        backend: `auto`, `triton` or `torch`; None follows the environment variable OXIFORMERS_KERNELS.

    Returns:
        a scalar, or `[T]` for `none`; float32, float64 for float64 logits.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: shapes, devices or options that do not fit; an unknown backend.
        IndexError: a label out of range, on the CPU.
        BackendError: `triton` was asked for by name and cannot run.
    """
    if not logits.is_floating_point():
        raise checks.wrong_dtype("cross_entropy", "logits", logits)
    if logits.dim() != 2 or logits.shape[1] == 0:
        raise checks.wrong_shape("cross_entropy", "logits", logits, "[T, V]")
    _check_loss("cross_entropy", logits, labels, label_smoothing, softcap, reduction, num_items)
    options = (ignore_index, float(label_smoothing), float(softcap), float(z_loss))
    choice = choose("cross_entropy", backend, logits.device, _unsupported(logits))
    if choice.backend == "torch":
        losses = ref.cross_entropy(logits, labels, *options)
    else:
        from oxiformers_kernels.cross_entropy import kernel

        losses = kernel.cross_entropy(logits, labels, *options)
    return ref.reduce(losses, labels, ignore_index, reduction, num_items)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    softcap: float = 0.0,
    z_loss: float = 0.0,
    reduction: Reduction = "mean",
    num_items: int | Tensor | None = None,
    backend: Backend | None = None,
) -> Tensor:
    """`cross_entropy` of the logits hidden @ weight^T + bias, which are never whole in memory.

    Differentiable in `hidden`, `weight` and `bias`. With `mean` and `sum` the gradients are computed beside the loss,
    in three matrix products; a backward scales them, once in place (twice through a retained graph: in copies). With
    `none` the backward multiplies the logits again. Under autocast the arguments are cast as those of a linear layer.

    Args:
        hidden: `[T, D]`, float16, bfloat16, float32 or float64.
        weight: `[V, D]`, the dtype of `hidden`.
        labels: `[T]`, as in `cross_entropy`; so are all other arguments, the returned loss and the errors.
        bias: `[V]`, the dtype of `hidden`, or None.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    if not hidden.is_floating_point():
        raise checks.wrong_dtype("linear_cross_entropy", "hidden", hidden)
    _check_linear(hidden, weight, bias)
    _check_loss("linear_cross_entropy", hidden, labels, label_smoothing, softcap, reduction, num_items)
    options = (ignore_index, float(label_smoothing), float(softcap), float(z_loss))
    choice = choose("linear_cross_entropy", backend, hidden.device, _unsupported(hidden))
    if choice.backend == "torch":
        losses = ref.linear_cross_entropy(hidden, weight, bias, labels, *options)
        return ref.reduce(losses, labels, ignore_index, reduction, num_items)
    from oxiformers_kernels.cross_entropy import linear

    return linear.linear_cross_entropy(hidden, weight, bias, labels, *options, reduction, num_items)


def _check_linear(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    op = "linear_cross_entropy"
    if hidden.dim() != 2 or weight.dim() != 2 or hidden.shape[1] != weight.shape[1] or weight.shape[0] == 0:
        raise ValueError(
            f"{op}: hidden {tuple(hidden.shape)} and weight {tuple(weight.shape)}, expected [T, D] and [V, D]"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise checks.wrong_shape(op, "bias", bias, weight.shape[:1])
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != hidden.dtype:
            raise checks.wrong_dtype(op, name, tensor, hidden.dtype)
        if tensor is not None and tensor.device != hidden.device:
            raise checks.wrong_device(op, name, tensor, hidden.device)


def _check_loss(
    op: str,
    rows: Tensor,
    labels: Tensor,
    label_smoothing: float,
    softcap: float,
    reduction: str,
    num_items: int | Tensor | None,
) -> None:
    if labels.dtype != torch.int64:
        raise checks.wrong_dtype(op, "labels", labels, torch.int64)
    if labels.shape != rows.shape[:1]:
        raise checks.wrong_shape(op, "labels", labels, rows.shape[:1])
    if labels.device != rows.device:
        raise checks.wrong_device(op, "labels", labels, rows.device)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{op}: label_smoothing={label_smoothing}, expected 0 to 1")
    if softcap < 0.0:
        raise ValueError(f"{op}: softcap={softcap}, expected 0 (none) or more")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{op}: reduction={reduction!r}, expected mean, sum or none")
    if num_items is None:
        return
    if reduction != "mean":
        raise ValueError(f"{op}: num_items is what mean divides by, reduction is {reduction}")
    if isinstance(num_items, Tensor):
        if num_items.numel() != 1 or num_items.device != rows.device:
            raise ValueError(
                f"{op}: num_items has shape {tuple(num_items.shape)} on {num_items.device}, expected one element "
                f"on {rows.device}"
            )
    elif num_items < 1:
        raise ValueError(f"{op}: num_items={num_items}, expected 1 or more")


def _unsupported(rows: Tensor) -> str | None:
    if rows.dtype not in KERNEL_DTYPES:
        return f"the kernel takes float16, bfloat16 and float32, the rows are {rows.dtype}"
    return None
