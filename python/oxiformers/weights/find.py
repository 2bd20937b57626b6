"""Finding a model's weights: which file, of which format, in the order in which transformers prefers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oxiformers.errors import UnsupportedError
from oxiformers.hub import Source
from oxiformers.weights.checkpoint import Checkpoint
from oxiformers.weights.names import PICKLED, SAFETENSORS, FileNames, file_names
from oxiformers.weights.pickled import read_pickled
from oxiformers.weights.state_dict import StateDict

if TYPE_CHECKING:
    from oxiformers.weights.load import Weights

#: Formats of other frameworks, for an error that says so.
OTHER_FILES = ("tf_model.h5", "model.ckpt.index", "flax_model.msgpack")


def open_weights(
    source: Source, variant: str | None = None, use_safetensors: bool | None = None
) -> tuple[Weights, Path]:
    """Opens the weights of a folder or repository; safetensors before files of torch.save, one file before shards.

    Args:
        source: where they lie.
        variant: see `file_names`.
        use_safetensors: True for safetensors alone, False for files of torch.save alone.

    Returns:
        The weights, and the file or index that was found.

    Raises:
        UnsupportedError: the weights are there, but in another framework's format only.
        MissingFileError: there are none.
        FormatError: they are malformed; see `Checkpoint.open` and `read_pickled`.
    """
    formats = {True: [SAFETENSORS], False: [PICKLED], None: [SAFETENSORS, PICKLED]}[use_safetensors]
    path = _find(source, [file_names(name, variant) for name in formats])
    resolve = source.file if path.suffix == ".json" else None
    if path.name.startswith(PICKLED.partition(".")[0]):
        return StateDict(read_pickled(path, resolve), path), path
    return Checkpoint.open(path, resolve=resolve), path


def _find(source: Source, formats: list[FileNames]) -> Path:
    names = [name for files in formats for name in (files.single, files.index)]
    # What is at hand is taken before a repository is asked for what may be there besides.
    for ask in (False, True):
        for name in names:
            if (path := source.file(name, required=False, ask=ask)) is not None:
                return path
    for name in OTHER_FILES:
        if (other := source.file(name, required=False)) is not None:
            raise UnsupportedError.mismatch(
                name,
                " or ".join(files.single for files in formats),
                f"weights in {name} only",
                "convert them with transformers 4 (from_tf=True or from_flax=True) and save_pretrained",
                path=other,
            )
    path = source.file(names[0])
    assert path is not None  # a required file is there or raises
    return path
