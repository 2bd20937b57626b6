"""What one call of a pipeline asks for."""

from __future__ import annotations

from typing import Any, NamedTuple

from oxiformers.errors import ArgumentError, UnsupportedError


class Arguments(NamedTuple):
    """Keyword arguments, sorted by the step that takes them: one that was not given is in none of them."""

    prepare: dict[str, Any]
    run: dict[str, Any]
    finish: dict[str, Any]

    def over(self, defaults: Arguments) -> Arguments:
        """These, and the defaults where these say nothing."""
        return Arguments(*({**default, **own} for default, own in zip(defaults, self, strict=True)))


class Call(NamedTuple):
    """One call, resolved. Nothing of it is kept on the pipeline, so that threads may share it.

    Attributes:
        prepare, run, finish: the arguments each step takes, those of the constructor included.
        batch_size: the most rows of a batch, None where nothing was said.
        single: there is one input, not in a container.
    """

    prepare: dict[str, Any]
    run: dict[str, Any]
    finish: dict[str, Any]
    batch_size: int | None
    single: bool


def check_batch_size(batch_size: Any) -> int | None:
    """`batch_size` as a number of rows, None for no limit. Raises ArgumentError."""
    if batch_size is None:
        return None
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ArgumentError.mismatch("batch_size", "an integer of at least 1, or None", repr(batch_size))
    return batch_size


def check_framework(framework: Any) -> None:
    """Raises UnsupportedError for anything but "pt" or None."""
    if framework not in (None, "pt"):
        raise UnsupportedError.mismatch("framework", "'pt'", repr(framework))
