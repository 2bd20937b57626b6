"""What a model is given: tensors of the right rank and range, and errors that name the argument where they are not."""

from __future__ import annotations

from torch import Tensor

from oxiformers.errors import ArgumentError, InputTypeError


def require_tensor(value: object, key: str) -> None:
    """Raises InputTypeError for anything but a tensor or None."""
    if value is not None and not isinstance(value, Tensor):
        raise InputTypeError.mismatch(key, "a torch.Tensor", type(value).__name__)


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
            "expected exactly one of input_ids and inputs_embeds", key="input_ids",
            expected="exactly one of input_ids and inputs_embeds", actual="neither" if tokens is None else "both",
        )  # fmt: skip
    key = "input_ids" if inputs_embeds is None else "inputs_embeds"
    require_tensor(tokens, key)
    require_tensor(attention_mask, "attention_mask")
    rank = tokens.dim() - (inputs_embeds is not None)
    if rank != 2 and not (packed and rank == 1):
        expected = "[batch, sequence]" if inputs_embeds is None else "[batch, sequence, size]"
        raise ArgumentError.mismatch(
            key, expected, f"shape {tuple(tokens.shape)}", "pass layout= for packed tokens"
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
