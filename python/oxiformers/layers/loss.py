"""The losses that models return where they are given labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers.config import Config
from oxiformers.errors import ArgumentError
from oxiformers.layers.fused import may_fuse
from oxiformers.layers.layout import Layout
from oxiformers.layers.tokens import require_tensor
from oxiformers_kernels.cross_entropy import cross_entropy as cross_entropy_op
from oxiformers_kernels.dispatch import BackendError


def sequence_loss(logits: Tensor, labels: Tensor, config: Config) -> Tensor:
    """The loss of one prediction a sequence, by the config's problem_type.

    Where the config has none, it is taken from the labels and kept in the config, so that it is saved with
    the model: one logit is a regression, integer labels are classes, others are several labels at once.

    Args:
        logits: ``[B, labels]``.
        labels: ``[B]`` classes or values, or ``[B, labels]``.
        config: of the model.
    """
    require_tensor(labels, "labels")
    problem_type = config.problem_type
    if problem_type is None:
        if config.num_labels == 1:
            problem_type = "regression"
        elif labels.dtype in (torch.int64, torch.int32):
            problem_type = "single_label_classification"
        else:
            problem_type = "multi_label_classification"
    loss = _sequence_loss(logits, labels, problem_type, config.num_labels)
    # A traced graph that changed the config would be traced again for it.
    if not torch.compiler.is_compiling():
        config.problem_type = problem_type
    return loss


def _sequence_loss(logits: Tensor, labels: Tensor, problem_type: str, classes: int) -> Tensor:
    if problem_type == "single_label_classification":
        return cross_entropy(logits.view(-1, classes), labels.view(-1))
    if problem_type == "regression":
        if classes == 1:
            logits, labels = logits.squeeze(), labels.squeeze()
        return loss_of(_squared_error, logits, labels, f"values {list(logits.shape)}")
    expected = f"floating-point labels {list(logits.shape)} between 0 and 1"
    return loss_of(F.binary_cross_entropy_with_logits, logits, labels, expected)


def _squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape != labels.shape:
        raise ValueError(f"shapes {tuple(logits.shape)} and {tuple(labels.shape)}")
    return F.mse_loss(logits, labels)


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of tokens ``[..., classes]`` against labels ``[...]``; -100 is left out."""
    return cross_entropy(logits, labels)


def span_loss(logits: Tensor, positions: Tensor, layout: Layout) -> Tensor:
    """The mean cross-entropy of one token out of each sequence's own.

    Args:
        logits: ``[B, S]`` or ``[T]``, as the layout lies.
        positions: ``[B]`` or ``[B, 1]``, the column of the right token, in the order of rows. Positions
            beyond the sequence, and those of padding, are left out; negative ones count as 0.
        layout: of the batch.
    """
    positions = positions.view(-1).clamp(min=0)
    if layout.shape is None:
        return _packed_span_loss(logits, positions, layout)
    width = layout.shape[1]
    real = layout.unpack(torch.ones_like(logits)) > 0
    scores = layout.unpack(logits).masked_fill(~real, torch.finfo(logits.dtype).min)
    column = positions.clamp(max=width - 1).unsqueeze(1)
    known = (positions < width) & real.gather(1, column).squeeze(1)
    return F.cross_entropy(scores, positions.masked_fill(~known, -100))


def _packed_span_loss(logits: Tensor, positions: Tensor, layout: Layout) -> Tensor:
    assert layout.query is not None
    starts, ends = layout.query.cu_seqlens[:-1], layout.query.cu_seqlens[1:]
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    rows = torch.arange(starts.shape[0], device=logits.device)
    row = torch.repeat_interleave(rows, ends - starts, output_size=logits.shape[0])
    peak = wide.new_zeros(starts.shape[0]).scatter_reduce(0, row, wide.detach(), "amax", include_self=False)
    total = wide.new_zeros(starts.shape[0]).index_add(0, row, (wide - peak[row]).exp())
    known = starts + positions < ends
    right = wide[(starts + positions).clamp(max=logits.shape[0] - 1)]
    losses = (total.log() + peak - right).masked_fill(~known, 0.0)
    return (losses.sum() / known.sum()).to(logits.dtype)


def masked_pixel_loss(reconstruction: Tensor, pixels: Tensor, mask: Tensor) -> Tensor:
    """The mean absolute difference of masked pixels: of images ``[B, C, H, W]``, under a mask ``[B, 1, H, W]``."""
    differences = (reconstruction - pixels).abs() * mask
    loss: Tensor = differences.sum() / (mask.sum() + 1e-5) / pixels.shape[1]
    return loss


def loss_of(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor, expected: str
) -> Tensor:
    """``loss(logits, labels)``, with an error about labels that says what was expected.

    Raises:
        ArgumentError: labels of another shape, dtype or range.
        InputTypeError: labels that are no tensor.
    """
    require_tensor(labels, "labels")
    if torch.compiler.is_compiling():
        return loss(logits, labels)
    try:
        return loss(logits, labels)
    except (torch.OutOfMemoryError, BackendError):
        raise
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        actual = f"{labels.dtype} of shape {tuple(labels.shape)}"
        if labels.numel() and not labels.is_floating_point():
            actual += f", from {int(labels.min())} to {int(labels.max())}"
        raise ArgumentError(
            f"labels: expected {expected}, got {actual}", key="labels", expected=expected, actual=actual
        ) from error


def cross_entropy(
    logits: Tensor, labels: Tensor, reduction: Literal["mean", "sum"] = "mean", *, widely: bool = False
) -> Tensor:
    """The cross-entropy of ``[..., classes]`` against classes ``[...]``; -100 is left out. Errors as `loss_of`.

    Where ``widely``, half-precision logits are widened and the loss is in float32; else it is in the logits' dtype.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        if may_fuse(logits):
            fused = cross_entropy_op(logits, labels, reduction=reduction)
            return fused if widely else fused.to(logits.dtype)
        half = widely and logits.dtype in (torch.float16, torch.bfloat16)
        return F.cross_entropy(logits.float() if half else logits, labels, reduction=reduction)

    classes = logits.shape[-1]
    return loss_of(
        loss,
        logits.flatten(0, -2),
        labels.flatten() if isinstance(labels, Tensor) else labels,
        f"int64 classes {list(logits.shape[:-1])} from 0 to {classes - 1}, or -100",
    )
