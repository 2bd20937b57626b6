"""Reading weights: one safetensors file or several shards, as tensors that lie where the file is mapped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from oxiformers._core import SafetensorsFile
from oxiformers.errors import FormatError, MissingFileError
from oxiformers.files import refuse_foreign
from oxiformers.weights.dtypes import shape_in_torch, to_torch
from oxiformers.weights.index import Resolve, check_held, read_index
from oxiformers.weights.names import SAFETENSORS, file_names

Location = str | os.PathLike[str]


class Checkpoint:
    """The tensors of one safetensors file, or of the shards that an index names.

    Opening reads the headers only. A tensor is a view of its file's private mapping: nothing is copied, its
    pages are read when touched, and writing to it in place changes this process's memory, never the file. The
    mapping lives as long as the checkpoint or any tensor of it. Safe to share between threads.

    Attributes:
        paths: the files, in the order in which they were named.
        metadata: the text annotations of all files; of equal names the first file's.
        aliases: names that stand for a stored tensor without being stored: alias -> stored name. Some writers
            of tied weights note them so in the annotations.
    """

    def __init__(self, files: Iterable[SafetensorsFile], located: dict[str, SafetensorsFile]) -> None:
        files = list(files)
        self.paths = [Path(file.path) for file in files]
        metadata: dict[str, str] = {}
        aliases: dict[str, str] = {}
        for file in files:
            for key, text in file.metadata.items():
                metadata.setdefault(key, text)
                if key != "format" and key not in located and located.get(text) is file:
                    aliases[key] = text
        self.metadata: Mapping[str, str] = metadata
        self.aliases: Mapping[str, str] = aliases
        self._located = located

    @classmethod
    def open(
        cls,
        source: Location | Iterable[Location],
        *,
        resolve: Resolve | None = None,
    ) -> Checkpoint:
        """Opens a checkpoint and checks all its headers.

        Args:
            source: a folder with model.safetensors or model.safetensors.index.json, a safetensors file, an
                index (*.json), or the safetensors files themselves.
            resolve: finds a shard by the name the index gives it, as a Hub source's `file` does; by default
                shards lie beside the index.

        Raises:
            MissingFileError: a file, or a shard that the index names, is not there.
            FormatError: a file is malformed, a shard does not hold a tensor that the index places in it, or
                two files hold a tensor of one name and no index says which counts.
        """
        if not isinstance(source, (str, os.PathLike)):
            return cls._of_files([_open(path) for path in source])
        path = Path(source)
        if path.is_dir():
            path = _find_weights(path)
        if path.suffix == ".json":
            return cls._of_index(path, resolve)
        return cls._of_files([_open(path)])

    @classmethod
    def _of_files(
        cls, files: list[SafetensorsFile], placed: dict[str, SafetensorsFile] | None = None
    ) -> Checkpoint:
        located = dict(placed or {})
        for file in files:
            names = file.keys()
            for name in names:
                owner = located.setdefault(name, file)
                if owner is not file and name not in (placed or {}):
                    raise FormatError.mismatch(
                        name, "a tensor in one file", f"it is in {owner.path} too", path=file.path
                    )
        return cls(files, located)

    @classmethod
    def _of_index(cls, index: Path, resolve: Resolve | None) -> Checkpoint:
        placement = read_index(index, resolve)
        shards = {path: _open(path) for path in dict.fromkeys(placement.values())}
        held = {path: set(file.keys()) for path, file in shards.items()}
        for name, path in placement.items():
            check_held(index, name, path, name in held[path])
        return cls._of_files(list(shards.values()), {name: shards[path] for name, path in placement.items()})

    def names(self) -> list[str]:
        """The names of the stored tensors: in the order of the index, else in that of their bytes."""
        return list(self._located)

    def __contains__(self, name: object) -> bool:
        return name in self._located

    def path(self, name: str) -> Path:
        """The file that holds a tensor. Raises KeyError for a name that is not stored."""
        return Path(self._located[name].path)

    def shape(self, name: str) -> torch.Size:
        """A tensor's shape. Raises KeyError for a name that is not stored."""
        file = self._located[name]
        dtype, shape, _, _ = file.info(name)
        return shape_in_torch(to_torch(dtype, file.path, name), shape, file.path, name)

    def dtype(self, name: str) -> torch.dtype:
        """A tensor's dtype. Raises KeyError for a name that is not stored, UnsupportedError for F6 dtypes."""
        file = self._located[name]
        return to_torch(file.info(name)[0], file.path, name)

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor: a writable view of the mapping, or a copy where the file does not align it to its dtype.

        Raises KeyError for a name that is not stored, UnsupportedError for dtypes that torch does not have.
        """
        file = self._located[name]
        stored, sizes, start, end = file.info(name)
        dtype = to_torch(stored, file.path, name)
        shape = shape_in_torch(dtype, sizes, file.path, name)
        if start == end:
            return torch.empty(shape, dtype=dtype)
        if start % dtype.itemsize:
            unaligned = torch.frombuffer(file, dtype=torch.uint8, count=end - start, offset=start)
            return unaligned.clone().view(dtype).view(shape)
        count = (end - start) // dtype.itemsize
        return torch.frombuffer(file, dtype=dtype, count=count, offset=start).view(shape)


def _open(path: Location) -> SafetensorsFile:
    try:
        return SafetensorsFile(os.fspath(path))
    except FormatError:
        refuse_foreign(path, "weights in the safetensors format")
        raise


def _find_weights(folder: Path) -> Path:
    files = file_names(SAFETENSORS)
    for name in (files.single, files.index):
        if (folder / name).exists():
            return folder / name
    raise MissingFileError(
        f"the folder {folder} has neither {files.single} nor {files.index}",
        path=str(folder),
        key=files.single,
    )
