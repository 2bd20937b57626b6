"""The Rust core: tokenization, collation and weights. Private: the public modules wrap what is here."""

from collections.abc import Buffer, Callable, Iterable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__version__: str

# -- weights ---------------------------------------------------------------------------------------------------------

@final
class SafetensorsFile(Buffer):
    """A safetensors file: checked header, and the whole file, header included, as one private writable buffer.

    Writes to the buffer never reach the file. The buffer lives as long as this object or anything made over it.

    Raises:
        MissingFileError, FileError: it cannot be opened or mapped.
        FormatError: it is not a safetensors file; ``key`` names the tensor and field.
    """

    def __new__(cls, path: str) -> SafetensorsFile: ...
    @property
    def path(self) -> str: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    def keys(self) -> list[str]:
        """The tensors' names, in the order of their bytes."""

    def info(self, name: str) -> tuple[str, list[int], int, int]:
        """A tensor's dtype, shape, first byte and the byte after its last, counted from the buffer's start."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

def read_shard_index(path: str) -> dict[str, str]:
    """Which shard holds which tensor: the checked ``weight_map`` of a ``*.safetensors.index.json``."""

def save_safetensors(
    path: str,
    entries: Sequence[tuple[str, str, Sequence[int], Buffer | Callable[[], Buffer]]],
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes a safetensors file that appears whole or not at all; an older one stays until then.

    An entry is (name, dtype, shape, source). A source is a contiguous buffer, or a function that returns one, called
    when its turn has come.
    """

# -- collate ---------------------------------------------------------------------------------------------------------

def pad_sequences(
    features: Iterable[Iterable[int] | NDArray[np.integer[Any]]],
    pad_value: int,
    *,
    multiple_of: int | None = None,
    max_length: int | None = None,
    side: str = "right",
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pads features to one rectangle: values and mask (1 at values, 0 at padding), both ``[B, S]``."""

def pack_sequences(
    features: Iterable[Iterable[int] | NDArray[np.integer[Any]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Packs features one after another: values ``[T]``, positions in each ``[T]``, cu_seqlens ``[B + 1]``."""

def plan_batches(
    lengths: Iterable[int] | NDArray[np.integer[Any]], token_budget: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorts by length, longest first, and cuts where a batch would exceed the budget.

    Returns:
        order ``[N]``: batch ``k`` is ``order[boundaries[k]:boundaries[k + 1]]``, and what is computed for place ``i``
        belongs to feature ``order[i]``.
        boundaries ``[batches + 1]``. A feature longer than the budget is a batch of its own.
    """
