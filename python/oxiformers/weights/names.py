"""What files of weights are called: one file, or shards with an index, and variants of both."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from oxiformers.errors import ArgumentError


@dataclass(frozen=True)
class FileNames:
    """The names of one set of weights.

    Attributes:
        single: the file that holds all of them.
        index: the file that says which shard holds which tensor.
    """

    single: str
    index: str

    def shards(self, count: int) -> list[str]:
        """The names of that many shards: model-00001-of-00002.safetensors, ..."""
        stem, suffix = os.path.splitext(self.single)
        return [f"{stem}-{number:05d}-of-{count:05d}{suffix}" for number in range(1, count + 1)]


def file_names(single: str, variant: str | None = None) -> FileNames:
    """The names of weights that lie in `single` or in shards of it.

    A variant is another version of the same weights, such as "fp16": it stands before the last suffix, in
    model.fp16.safetensors, model.fp16-00001-of-00002.safetensors and model.safetensors.index.fp16.json.

    Raises:
        ArgumentError: the variant cannot be a part of a file's name.
    """
    index = single + ".index.json"
    if variant is None:
        return FileNames(single, index)
    if not isinstance(variant, str) or re.fullmatch(r"[\w-]+(\.[\w-]+)*", variant) is None:
        raise ArgumentError.mismatch(
            "variant", "letters, digits, '_', '-' and '.', such as 'fp16'", repr(variant)
        )
    return FileNames(_before_suffix(single, variant), _before_suffix(index, variant))


def _before_suffix(name: str, variant: str) -> str:
    stem, suffix = os.path.splitext(name)
    return f"{stem}.{variant}{suffix}"


SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
