"""Saving weights: at every moment the folder holds the old checkpoint or the new one, whole."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import torch

from oxiformers._core import save_safetensors
from oxiformers.errors import ArgumentError, FileError, InputTypeError, UnsupportedError
from oxiformers.files import make_folder, write_text
from oxiformers.weights.dtypes import shape_in_format, to_format
from oxiformers.weights.names import SAFETENSORS, FileNames, file_names

#: What transformers asks of a file's annotations.
PYTORCH_METADATA: Mapping[str, str] = MappingProxyType({"format": "pt"})

_UNITS = {
    "": 1,
    "B": 1,
    **{prefix + "B": 1000**power for power, prefix in enumerate("KMGT", 1)},
    **{prefix + "IB": 1024**power for power, prefix in enumerate("KMGT", 1)},
}


def save_state_dict(
    folder: str | os.PathLike[str],
    state_dict: Mapping[str, torch.Tensor],
    *,
    tied: Mapping[str, str] = MappingProxyType({}),
    metadata: Mapping[str, str] = PYTORCH_METADATA,
    max_shard_size: int | str = "50GB",
    filename: str = SAFETENSORS,
    variant: str | None = None,
) -> None:
    """Saves tensors as `filename`, or as shards with an index where they exceed `max_shard_size`.

    The new files are written beside the old ones, made durable and put in their place only when all are
    complete; files of the earlier save that are no longer needed go last. A process killed at any moment
    leaves a folder that loads, as one save or the other. One process at a time may save to a folder.

    Args:
        tied: name -> the name it shares its memory with. It is left out of the files where both are the same
            tensor of `state_dict`, to be tied again on loading; a name that is not shared after all is saved.
        metadata: text annotations, written to every file.
        max_shard_size: bytes, or text such as "500MB" (10^6) or "5GiB" (2^30); a larger tensor is a shard of
            its own.
        filename: the single file's name; shards are named after it, as model-00001-of-00002.safetensors.
        variant: stands in all names, as in model.fp16.safetensors; other variants' files are left alone.

    Raises:
        FileError: from the file system (no space, no permission); the old files are intact.
        UnsupportedError: a dtype the format does not have, a sparse tensor.
        ArgumentError, InputTypeError: a meta tensor, a value that is no tensor, a size that is no size.
    """
    limit = parse_size(max_shard_size)
    tensors = {name: _checked(name, tensor) for name, tensor in state_dict.items()}
    kept = {name: tensor for name, tensor in tensors.items() if not _is_tied(name, tensors, tied)}
    shards = _split(kept, limit)
    folder = Path(folder)
    make_folder(folder)
    files = file_names(filename, variant)
    if len(shards) == 1:
        _write(folder / files.single, shards[0], metadata)
        _remove_stale(folder, files, {files.single})
        return
    names = files.shards(len(shards))
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    staged = [f".{name}.{token}.partial" for name in names]
    with _removed_on_error(folder / files.index, staged):
        for name, shard in zip(staged, shards, strict=True):
            _write(folder / name, shard, metadata)
        _put_in_place(folder / files.index, shards, names, staged)
    _remove_stale(folder, files, {files.index, *names})


def parse_size(size: int | str) -> int:
    """A number of bytes from 5000000, "5MB" (10^6) or "5MiB" (2^20). Raises ArgumentError."""
    if isinstance(size, int):
        value = size
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", size)
        if match is None or match[2].upper() not in _UNITS:
            raise _bad_size(size)
        value = int(float(match[1]) * _UNITS[match[2].upper()])
    if value < 1:
        raise _bad_size(size)
    return value


def _bad_size(size: int | str) -> ArgumentError:
    expected = 'a positive number of bytes such as 5000000, "5MB" or "5GiB"'
    return ArgumentError.mismatch("max_shard_size", expected, repr(size))


def _is_tied(name: str, tensors: Mapping[str, torch.Tensor], tied: Mapping[str, str]) -> bool:
    kept = tensors.get(tied.get(name, ""))
    if kept is None or tied[name] == name:
        return False
    tensor = tensors[name]
    return (
        tensor.device == kept.device
        and tensor.dtype == kept.dtype
        and tensor.shape == kept.shape
        and tensor.stride() == kept.stride()
        and tensor.data_ptr() == kept.data_ptr()
    )


def _checked(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor):
        raise InputTypeError.mismatch(name, "a tensor", type(tensor).__name__)
    if tensor.layout is not torch.strided or tensor.is_quantized:
        actual = "a quantized tensor" if tensor.is_quantized else f"a tensor of layout {tensor.layout}"
        raise UnsupportedError.mismatch(name, "a dense tensor, as safetensors holds them", actual)
    if tensor.is_meta:
        raise ArgumentError.mismatch(name, "a tensor with values", "one on the meta device")
    to_format(tensor.dtype, name)
    return tensor.detach()


def _split(tensors: dict[str, torch.Tensor], limit: int) -> list[dict[str, torch.Tensor]]:
    """Fills one shard after another, in the order of the names given."""
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    entries = [
        (name, to_format(tensor.dtype, name), shape_in_format(tensor), _bytes_of(tensor))
        for name, tensor in tensors.items()
    ]
    save_safetensors(os.fspath(path), entries, dict(metadata))


def _bytes_of(tensor: torch.Tensor) -> Callable[[], memoryview]:
    """The bytes, made when asked for: a copy (from a device, say) lives only while it is written."""

    def read() -> memoryview:
        plain = tensor.resolve_conj().resolve_neg().cpu().contiguous()
        return plain.reshape(-1).view(torch.uint8).numpy().data

    return read


def _put_in_place(
    index: Path, shards: list[dict[str, torch.Tensor]], names: list[str], staged: list[str]
) -> None:
    """Gives complete shards their names; at no moment does the index name a shard of another save."""
    folder = index.parent
    if any((folder / name).exists() for name in names):
        # The old index may name these: point it at the new shards where they lie, then replace the old ones.
        _write_index(index, shards, staged)
        for name, complete in zip(names, staged, strict=True):
            second = folder / (complete + ".tmp")
            with _as_file_error(folder / name):
                _duplicate(folder / complete, second)
                os.replace(second, folder / name)
        _sync(folder)
        _write_index(index, shards, names)
        for complete in staged:
            with _as_file_error(folder / complete):
                os.unlink(folder / complete)
    else:
        for name, complete in zip(names, staged, strict=True):
            with _as_file_error(folder / name):
                os.replace(folder / complete, folder / name)
        _sync(folder)
        _write_index(index, shards, names)


def _duplicate(source: Path, target: Path) -> None:
    """A second name for a file, or a second file on a file system without hard links."""
    try:
        os.link(source, target)
    except OSError:
        with source.open("rb") as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 24)
            writer.flush()
            os.fsync(writer.fileno())


def _write_index(path: Path, shards: list[dict[str, torch.Tensor]], names: list[str]) -> None:
    tensors = [tensor for shard in shards for tensor in shard.values()]
    index = {
        "metadata": {
            "total_parameters": sum(tensor.numel() for tensor in tensors),
            "total_size": sum(tensor.nbytes for tensor in tensors),
        },
        "weight_map": {
            tensor: name for shard, name in zip(shards, names, strict=True) for tensor in sorted(shard)
        },
    }
    with _as_file_error(path):
        write_text(path, json.dumps(index, indent=2) + "\n")
    _sync(path.parent)


def _remove_stale(folder: Path, files: FileNames, current: set[str]) -> None:
    """Removes what earlier saves under this name left: first what a loader looks for, then its parts."""
    single, index = re.escape(files.single), re.escape(files.index)
    stem, suffix = map(re.escape, os.path.splitext(files.single))
    shard = rf"{stem}-\d{{5}}-of-\d{{5}}{suffix}"
    leftover = rf"\.+({single}|{index}|{shard})(\.[0-9a-f-]+\.(tmp|partial)|\.tmp)+"
    with _as_file_error(folder):
        found = os.listdir(folder)
    heads = [name for name in (files.single, files.index) if name in found]
    parts = [name for name in found if re.fullmatch(f"{shard}|{leftover}", name)]
    for name in heads + parts:
        if name not in current:
            with _as_file_error(folder / name):
                os.unlink(folder / name)
    _sync(folder)


@contextmanager
def _removed_on_error(index: Path, staged: list[str]) -> Iterator[None]:
    """Removes shards that did not get their names, unless the index names them where they are."""
    try:
        yield
    except BaseException:
        named = index.read_text("utf-8") if index.exists() else ""
        # An error of the cleaning must not hide the first one; the next save removes what is left.
        with suppress(OSError):
            for name in staged:
                if name not in named:
                    index.with_name(name).unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Makes renames in the folder durable; only POSIX can open a folder for that."""
    if os.name != "posix":
        return
    with _as_file_error(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _as_file_error(path: Path) -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"{path} cannot be replaced: {error.strerror}", path=str(path), errno=error.errno
        ) from error
