"""pytorch_model.bin: what torch.save wrote comes back as it was, and nothing a file names is ever run."""

from __future__ import annotations

import argparse
import json
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oxiformers.errors import FileError, FormatError, InputTypeError, MissingFileError, UnsupportedError
from oxiformers.weights.dtypes import TORCH_DTYPES
from oxiformers.weights.pickled import read_pickled
from oxiformers.weights.state_dict import StateDict
from tests.weights.test_checkpoint import random_bytes, same

LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(value: Any, path: Path, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def opened(path: Path) -> StateDict:
    return StateDict(read_pickled(path), path)


@LAYOUTS
def test_every_dtype_comes_back(zipped: bool, tmp_path: Path) -> None:
    dtypes = {*TORCH_DTYPES.values()} - {torch.float4_e2m1fn_x2}
    if not zipped:  # torch.load knows no others in the older format
        dtypes = {
            torch.float32,
            torch.float16,
            torch.bfloat16,
            torch.float64,
            torch.int64,
            torch.uint8,
            torch.bool,
        }
    tensors = {f"t.{dtype}": random_bytes(dtype, (3, 5), 1) for dtype in dtypes}
    tensors |= {"empty": torch.ones(0, 3), "number": torch.tensor(2.5)}
    weights = opened(save(tensors, tmp_path / "pytorch_model.bin", zipped))
    assert weights.names() == list(tensors)
    for name, tensor in tensors.items():
        assert same(weights.tensor(name), tensor)
        assert weights.dtype(name) is tensor.dtype
        assert weights.shape(name) == tuple(tensor.shape)


@LAYOUTS
def test_state_dicts_of_modules_and_parameters(zipped: bool, tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    for value in (module.state_dict(), dict(module.named_parameters()), OrderedDict(module.state_dict())):
        weights = opened(save(value, tmp_path / "w.bin", zipped))
        assert weights.names() == ["weight", "bias"]
        assert torch.equal(weights.tensor("weight"), module.weight)
        assert type(weights.tensor("weight")) is Tensor
        assert not weights.tensor("weight").requires_grad


@LAYOUTS
def test_tensors_that_share_memory(zipped: bool, tmp_path: Path) -> None:
    """The same one is an alias; overlapping, transposed and repeated ones become contiguous copies."""
    table = torch.arange(12.0).view(3, 4)
    value = {
        "table": table, "again": table, "rows": table[1:], "last": table[2], "transposed": table.T,
        "column": table[:, 1], "repeated": torch.ones(1).expand(5), "reshaped": table.view(12),
    }  # fmt: skip
    weights = opened(save(value, tmp_path / "w.bin", zipped))
    assert weights.aliases == {"again": "table"}
    got = {name: weights.tensor(name) for name in weights.names()}
    assert got.keys() | {"again"} == value.keys()
    assert all(tensor.is_contiguous() for tensor in got.values())
    expected = {name: value[name].clone() for name in got}
    for name, tensor in got.items():
        assert torch.equal(tensor, expected[name]), name
    for name, tensor in got.items():  # and none changes with another
        tensor.add_(100)
        assert torch.equal(tensor, expected[name] + 100), name


def test_views_side_by_side_are_not_copied(tmp_path: Path) -> None:
    query, key = torch.arange(8.0).chunk(2)
    weights = opened(save({"query": query, "key": key}, tmp_path / "w.bin"))
    distance = weights.tensor("key").data_ptr() - weights.tensor("query").data_ptr()
    assert distance == query.nbytes


def test_a_zip_file_is_mapped_and_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save({"a": torch.ones(1 << 16)}, tmp_path / "w.bin")
    before = path.read_bytes()
    tensor = read_pickled(path)["a"]
    with open("/proc/self/maps") as maps:
        mapped = [line for line in maps if line.rstrip().endswith(str(path))]
    assert mapped
    tensor.zero_()
    assert path.read_bytes() == before
    with torch.serialization.set_default_mmap_options(1):  # MAP_SHARED: a change would reach the file
        read_pickled(path)["a"].zero_()
    assert path.read_bytes() == before


# Code


class Runs:
    """Unpickled by pickle, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@LAYOUTS
def test_code_is_never_run(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "run"
    path = save({"a": torch.ones(2), "b": Runs(mark)}, tmp_path / "pytorch_model.bin", zipped)
    with pytest.raises(UnsupportedError) as caught:
        read_pickled(path)
    assert not mark.exists()
    assert caught.value.path == str(path)
    assert caught.value.key in ("posix.mkdir", "nt.mkdir")
    assert f"{path}: {caught.value.key}: expected tensors" in str(caught.value)
    assert len(str(caught.value)) < 500
    torch.load(path, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"args": argparse.Namespace(a=1)}, "argparse.Namespace"),
        ({"f": eval}, "eval"),
        ({"path": Path("a")}, "pathlib.PosixPath"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_what_is_no_tensor_is_named(value: Any, key: str, tmp_path: Path) -> None:
    path = save(value, tmp_path / "w.bin")
    with pytest.raises(UnsupportedError, match="safetensors") as caught:
        read_pickled(path)
    assert (caught.value.path, caught.value.key) == (str(path), key)


def test_a_program_is_refused(tmp_path: Path) -> None:
    path = save({"a": torch.ones(1)}, tmp_path / "w.bin")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("w/constants.pkl", b"")
    with pytest.raises(UnsupportedError, match="TorchScript") as caught:
        read_pickled(path)
    assert caught.value.path == str(path)


# Files that are something else


@pytest.mark.parametrize(
    ("value", "key", "actual"),
    [
        ([torch.ones(1)], "pickle", "an array"),
        (torch.ones(1), "pickle", "a tensor"),
        ({"a": 1}, "a", "an integer"),
        ({"a": None}, "a", "null"),
        ({3: torch.ones(1)}, "3", "an integer"),
        ({"model": {"a": torch.ones(1)}}, "model", "an object"),
    ],
)
def test_files_that_hold_other_things(value: Any, key: str, actual: str, tmp_path: Path) -> None:
    path = save(value, tmp_path / "w.bin")
    with pytest.raises(FormatError) as caught:
        read_pickled(path)
    assert (caught.value.path, caught.value.key, caught.value.actual) == (str(path), key, actual)
    assert ("state_dict=" in str(caught.value)) == (actual == "an object")


@pytest.mark.parametrize(
    "tensor", [torch.eye(2).to_sparse(), torch.ones(2, device="meta")], ids=["sparse", "meta"]
)
def test_tensors_that_are_not_dense(tensor: Tensor, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        opened(save({"a": torch.ones(1), "the.name": tensor}, tmp_path / "w.bin"))
    assert caught.value.key == "the.name"
    with pytest.raises(UnsupportedError):
        StateDict({"the.name": tensor})
    with pytest.raises(InputTypeError, match=r"the\.name"):
        StateDict({"the.name": 3})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "EOFError"),
        (b"PK\x03\x04", "expected weights written by torch.save"),
        (b"\x80\x02}q\x00.", "expected weights written by torch.save"),
        (bytes(1000), "expected weights written by torch.save"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!doctype html><html><body>404</body></html>", "a web page"),
    ],
)
def test_files_that_hold_no_weights(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        read_pickled(path)
    assert said in str(caught.value)
    assert caught.value.path == str(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_pickled(tmp_path / "absent.bin")
    with pytest.raises(FileError):
        read_pickled(tmp_path)


@LAYOUTS
def test_damaged_files_are_refused_or_read(zipped: bool, tmp_path: Path) -> None:
    """Cut at many places, and with bytes changed: an error of ours, or tensors, never anything else."""
    whole = save({"a": torch.ones(3, 4), "b": torch.ones(7)}, tmp_path / "w.bin", zipped).read_bytes()
    path = tmp_path / "damaged.bin"
    cut = [whole[:size] for size in range(0, len(whole) - 1, max(1, len(whole) // 40))]
    changed = [
        whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        for place in range(0, len(whole), max(1, len(whole) // 120))
    ]
    refused = 0
    for data in cut + changed:
        path.write_bytes(data)
        try:
            weights = opened(path)
        except (FormatError, UnsupportedError):
            refused += 1
            continue
        for name in weights.names():
            weights.tensor(name).clone()
    assert refused > len(cut) * 0.9


def rewritten(
    path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    """The same zip file with other records, or compressed."""
    target = path.with_name("rewritten.bin")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as archive:
        for record in source.namelist():
            archive.writestr(record, change(record, source.read(record)))
    return target


def test_a_tensor_that_reaches_beyond_its_file(tmp_path: Path) -> None:
    """Of two million numbers eight bytes are there: refused, not read past the end."""
    good = save({"a": torch.ones(1 << 21)}, tmp_path / "good.bin")
    bad = rewritten(good, lambda name, data: data[:8] if name.endswith("data/0") else data)
    with pytest.raises(FormatError):
        read_pickled(bad)


def test_a_compressed_file(tmp_path: Path) -> None:
    value = {"a": torch.arange(4096.0), "b": torch.ones(3)}
    path = rewritten(save(value, tmp_path / "w.bin"), lambda _, data: data, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 16384
    assert all(torch.equal(tensor, value[name]) for name, tensor in read_pickled(path).items())


# Shards


def shards(folder: Path, index: dict[str, Any] | None = None) -> dict[str, Tensor]:
    tensors = {f"t{number}": torch.full((3,), float(number)) for number in range(4)}
    names = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    weight_map = {name: names[place % 2] for place, name in enumerate(tensors)}
    for shard in names:
        save({name: tensor for name, tensor in tensors.items() if weight_map[name] == shard}, folder / shard)
    written = {"metadata": {}, "weight_map": weight_map} if index is None else index
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(written))
    return tensors


def test_shards(tmp_path: Path) -> None:
    tensors = shards(tmp_path)
    index = tmp_path / "pytorch_model.bin.index.json"
    weights = opened(index)
    assert weights.names() == list(tensors)
    assert all(torch.equal(weights.tensor(name), tensor) for name, tensor in tensors.items())
    asked: list[str] = []

    def resolve(name: str) -> Path:
        asked.append(name)
        return tmp_path / name

    assert read_pickled(index, resolve).keys() == tensors.keys()
    assert len(asked) == 2
    (tmp_path / asked[0]).unlink()
    with pytest.raises(MissingFileError, match=asked[0]):
        read_pickled(index)


def test_an_index_that_contradicts_its_shards(tmp_path: Path) -> None:
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    shards(tmp_path, {"weight_map": {"zz": first}})
    index = tmp_path / "pytorch_model.bin.index.json"
    with pytest.raises(FormatError) as caught:
        read_pickled(index)
    assert caught.value.key == "weight_map.zz"
    save({"t0": torch.ones(1), "both": torch.ones(1)}, tmp_path / first)
    save({"t1": torch.ones(1), "both": torch.ones(1)}, tmp_path / second)
    index.write_text(json.dumps({"weight_map": {"t0": first, "t1": second}}))
    with pytest.raises(FormatError, match="both"):
        read_pickled(index)
    index.write_text("<!doctype html>")
    with pytest.raises(FormatError, match="web page"):
        read_pickled(index)
