"""Reading weights that torch.save wrote (pytorch_model.bin): through torch's unpickler of weights alone, which runs no
code of the file."""

from __future__ import annotations

import mmap
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oxiformers.errors import FileError, FormatError, MissingFileError, OxiformersError, UnsupportedError
from oxiformers.files import json_type, refuse_foreign
from oxiformers.weights.index import Resolve, check_held, read_index

_ZIP = b"PK\x03\x04"


def read_pickled(path: Path, resolve: Resolve | None = None) -> dict[str, Tensor]:
    """The tensors of one file, or of the shards that an index (*.json) names, on the CPU.

    Files in torch's zip format are mapped copy-on-write: nothing is read before it is needed, and writing to a tensor
    never changes the file. Older files are read whole.

    Args:
        path: the file or the index.
        resolve: see `read_index`.

    Raises:
        MissingFileError, FileError: a file is not there or cannot be read.
        FormatError: a file holds something other than tensors by their names; the key is the entry's.
        UnsupportedError: a file refers to code, whose name is the key, or is a TorchScript program.
    """
    if path.suffix != ".json":
        return _read_file(path)
    placement = read_index(path, resolve)
    shards = {shard: _read_file(shard) for shard in dict.fromkeys(placement.values())}
    for name, shard in placement.items():
        check_held(path, name, shard, name in shards[shard])
    tensors = {name: shards[shard][name] for name, shard in placement.items()}
    for shard, held in shards.items():
        for name, tensor in held.items():
            if name not in placement and tensors.setdefault(name, tensor) is not tensor:
                raise FormatError.mismatch(name, "a tensor in one file", "it is in several", path=shard)
    return tensors


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as stream:
            zipped = stream.read(len(_ZIP)) == _ZIP
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}", path=str(path), errno=error.errno) from error
    except OSError as error:
        raise FileError(
            f"{path} cannot be read: {error.strerror}", path=str(path), errno=error.errno
        ) from error
    records = _records(path) if zipped else []
    if any(record.filename.endswith("/constants.pkl") for record in records):
        raise UnsupportedError.mismatch(
            "constants.pkl",
            "tensors by their names",
            "a TorchScript program",
            "programs are never run",
            path=path,
        )
    # A shared mapping, which torch can be set to, would write changes of the weights to the file; and compressed
    # records cannot be used as they lie.
    private = torch.serialization.get_default_mmap_options() == mmap.MAP_PRIVATE
    stored = bool(records) and all(record.compress_type == zipfile.ZIP_STORED for record in records)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=stored and private)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes the unpickler raise nearly anything
        refuse_foreign(path, "weights written by torch.save")
        raise _refusal(path, error) from error
    return _checked(path, loaded)


def _records(path: Path) -> list[zipfile.ZipInfo]:
    """What a zip file holds; nothing where it is damaged, for torch says what is wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (OSError, ValueError, struct.error, zipfile.BadZipFile, NotImplementedError):
        return []


def _refusal(path: Path, error: Exception) -> OxiformersError:
    """The error for what torch could not or would not read."""
    message = str(error)
    named = re.search(r"GLOBAL (\S+)|unrecognized function (<.*?>)|but got (<.*?>)", message)
    if named is not None:
        entry = next(group for group in named.groups() if group is not None)
        return UnsupportedError.mismatch(
            entry[:200],
            "tensors and plain containers alone",
            f"a reference to {entry[:200]}",
            "code that a file of weights names is never run; ask its author for safetensors",
            path=path,
        )
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reason = lines[-1] if lines and "Check the documentation" not in lines[-1] else (lines[-2:] or [""])[0]
    return FormatError.mismatch(
        "pickle", "weights written by torch.save", f"{type(error).__name__}: {reason[:200]}", path=path
    )


def _checked(path: Path, loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, dict):
        raise FormatError.mismatch("pickle", "a dictionary of tensors", _kind(loaded), path=path)
    for name, value in loaded.items():
        if not isinstance(name, str):
            raise FormatError.mismatch(f"{name!r:.80}", "a tensor's name", _kind(name), path=path)
        if not isinstance(value, Tensor):
            hint = (
                "for a checkpoint of a training program load its dictionary of tensors with torch.load and pass it "
                "as state_dict=" if isinstance(value, dict) else ""
            )  # fmt: skip
            raise FormatError.mismatch(name, "a tensor", _kind(value), hint, path=path)
    return dict(loaded)


def _kind(value: object) -> str:
    return "a tensor" if isinstance(value, Tensor) else json_type(value)
