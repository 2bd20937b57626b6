"""The index of a sharded checkpoint: which file holds which tensor."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from oxiformers._core import read_shard_index
from oxiformers.errors import FormatError, MissingFileError
from oxiformers.files import refuse_foreign

Resolve = Callable[[str], Path | None]


def read_index(index: Path, resolve: Resolve | None = None) -> dict[str, Path]:
    """The shard that holds each tensor, in the order of the index.

    Args:
        index: the index's file.
        resolve: finds a shard by the name the index gives it, as a Hub source's `file` does; by default
            shards lie beside the index.

    Raises:
        FormatError: the index is malformed, or a name in it leads out of its folder.
        MissingFileError: a shard is not there.
    """
    try:
        placement = read_shard_index(os.fspath(index))
    except FormatError:
        refuse_foreign(index, "an index of weights")
        raise
    found: dict[str, Path] = {}
    for name, shard in placement.items():
        if shard in found:
            continue
        path = resolve(shard) if resolve is not None else index.parent / shard
        if path is None or not path.exists():
            raise MissingFileError(
                f"{index} places {name} in {shard}, which is not there", path=str(path or shard), key=name
            )
        found[shard] = path
    return {name: found[shard] for name, shard in placement.items()}


def check_held(index: Path, name: str, shard: Path, is_held: bool) -> None:
    """Raises FormatError where a shard does not hold a tensor that the index places in it."""
    if not is_held:
        raise FormatError.mismatch(
            f"weight_map.{name}", f"a tensor of {shard.name}", "none of this name", path=index
        )
