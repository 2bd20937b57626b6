"""What a model is given: tensors of the right rank and range, and errors that name the argument where they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.layers.fused import may_fuse
from oxiformers_kernels.cross_entropy import cross_entropy as cross_entropy_op
from oxiformers_kernels.dispatch import BackendError


def require_tensor(value: object, key: str) -> None:
    """Raises InputTypeError for anything but a tensor or None."""
    if value is not None and not isinstance(value, Tensor):
        kind = type(value).__name__
        raise InputTypeError(
            f"{key}: expected a torch.Tensor, got {kind}", key=key, expected="a torch.Tensor", actual=kind
        )


def tokens_of(
    input_ids: Tensor | None, inputs_embeds: Tensor | None, attention_mask: Tensor | None, *, packed: bool
) -> Tensor:
    """The one of input_ids and inputs_embeds that is given.

    Args:
        input_ids: ``[B, S]``, or ``[T]`` where packed.
        inputs_embeds: ``[B, S, D]``, or ``[T, D]`` where packed.
        attention_mask: checked to be a tensor.
        packed: the batch comes with a layout.

    Raises:
        ArgumentError: neither or both, or a wrong number of dimensions.
        InputTypeError: no tensor.
    """
    tokens = input_ids if inputs_embeds is None else inputs_embeds
    if tokens is None or (input_ids is not None and inputs_embeds is not None):
        raise ArgumentError(
            "expected exactly one of input_ids and inputs_embeds",
            key="input_ids",
            expected="exactly one of input_ids and inputs_embeds",
            actual="neither" if tokens is None else "both",
        )
    key = "input_ids" if inputs_embeds is None else "inputs_embeds"
    require_tensor(tokens, key)
    require_tensor(attention_mask, "attention_mask")
    rank = tokens.dim() - (inputs_embeds is not None)
    # A layout may also be that of an unpacked batch, when one model calls another.
    if rank != 2 and not (packed and rank == 1):
        expected = "[batch, sequence]" if inputs_embeds is None else "[batch, sequence, size]"
        raise ArgumentError(
            f"{key}: expected {expected}, got shape {tuple(tokens.shape)}; pass layout= for packed tokens",
            key=key,
            expected=expected,
            actual=str(tuple(tokens.shape)),
        )
    return tokens


def check_options(given: object, known: frozenset[str]) -> None:
    """Raises InputTypeError (a TypeError) for a keyword that a forward does not know; None says nothing."""
    assert isinstance(given, dict)
    for name, value in given.items():
        if name not in known and value is not None:
            raise InputTypeError(
                f"forward() got an unexpected argument {name!r}",
                key=name,
                expected=", ".join(sorted(known)),
                actual=name,
            )


class Embedding(nn.Embedding):
    """A table of vectors that names what it was asked for and does not have.

    Args:
        count: number of ids.
        size: D.
        padding_id: the id whose vector is not trained; or None.
        key: the argument that the ids come from.
    """

    def __init__(self, count: int, size: int, padding_id: int | None = None, key: str = "input_ids") -> None:
        super().__init__(count, size, padding_idx=padding_id)
        self.key = key

    def forward(self, input: Tensor) -> Tensor:
        """Ids ``[...]`` to ``[..., D]``."""
        if torch.compiler.is_compiling():
            return super().forward(input)
        try:
            return super().forward(input)
        except torch.OutOfMemoryError:
            raise
        except (IndexError, RuntimeError, TypeError) as error:
            self._explain(input, error)

    def _explain(self, ids: Tensor, error: Exception) -> NoReturn:
        require_tensor(ids, self.key)
        if ids.dtype not in (torch.int64, torch.int32):
            raise InputTypeError(
                f"{self.key}: expected int64 or int32, got {ids.dtype}",
                key=self.key,
                expected="int64 or int32",
                actual=str(ids.dtype),
            ) from error
        outside = ids[(ids < 0) | (ids >= self.num_embeddings)] if isinstance(error, IndexError) else ids[:0]
        if outside.numel() == 0:
            raise error
        raise ArgumentError(
            f"{self.key}: {int(outside[0])} is outside of 0 to {self.num_embeddings - 1}",
            key=self.key,
            expected=f"0 to {self.num_embeddings - 1}",
            actual=str(int(outside[0])),
        ) from error


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
