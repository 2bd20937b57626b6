"""Cross entropy of given logits and of a linear layer, in plain torch: what the kernels compute, and the CPU path."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor, labels: Tensor, ignore_index: int, label_smoothing: float, softcap: float, z_loss: float
) -> Tensor:
    """The loss of every row: logits `[T, V]`, labels `[T]` -> `[T]` in float32 (float64 for float64).

    The order of casts is that of Hugging Face's models: the cap in the dtype of the logits, the loss in float32.

    Raises:
        IndexError: a label outside of [0, V) that is not `ignore_index`.
    """
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = F.cross_entropy(
        logits, labels, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction="none"
    )
    if z_loss:
        penalty = z_loss * logits.logsumexp(dim=-1).square()
        losses = losses + penalty.masked_fill(labels == ignore_index, 0.0)
    return losses


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
) -> Tensor:
    """`cross_entropy` of the logits hidden @ weight^T + bias: hidden `[T, D]`, weight `[V, D]`, bias `[V]` -> `[T]`."""
    logits = F.linear(hidden, weight, bias)
    return cross_entropy(logits, labels, ignore_index, label_smoothing, softcap, z_loss)


def divisor(labels: Tensor, ignore_index: int, reduction: str, num_items: int | Tensor | None) -> Tensor:
    """What the sum of the losses is divided by: a float32 scalar on the device of `labels`."""
    if reduction == "sum":
        return torch.ones((), dtype=torch.float32, device=labels.device)
    if num_items is None:
        return (labels != ignore_index).sum(dtype=torch.float32)
    if isinstance(num_items, Tensor):
        return num_items.detach().to(torch.float32).reshape(())
    return torch.full((), float(num_items), dtype=torch.float32, device=labels.device)


def reduce(
    losses: Tensor, labels: Tensor, ignore_index: int, reduction: str, num_items: int | Tensor | None
) -> Tensor:
    """The losses as they are, their sum, or their sum over the rows that count or over `num_items`."""
    if reduction == "none":
        return losses
    return losses.sum() / divisor(labels, ignore_index, reduction, num_items)
