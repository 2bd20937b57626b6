"""Tensors as views of a private mapping: right values, no copy, no warning, and never a changed file."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from oxiformers._core import SafetensorsFile
from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.weights.checkpoint import Checkpoint
from oxiformers.weights.dtypes import TORCH_DTYPES
from tests.weights.crafted import entry, header, one, write


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal dtype, shape and bytes; NaNs included."""
    raw = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (left, right)]
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(*raw)


def random_bytes(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """A tensor of any dtype with random bits (random truth values for bool)."""
    generator = torch.Generator().manual_seed(seed)
    size = int(np.prod(shape)) * dtype.itemsize
    high = 2 if dtype is torch.bool else 256
    raw = torch.randint(0, high, (size,), dtype=torch.uint8, generator=generator)
    return raw.view(dtype).reshape(shape)


#: F8_E8M0 and F4 are written by the safetensors package, but its torch reader does not know them.
READABLE = [dtype for name, dtype in TORCH_DTYPES.items() if name not in ("F8_E8M0", "F4")]


@pytest.mark.parametrize("dtype", READABLE, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (0,), (2, 0, 3), (1, 2, 1, 4)], ids=str)
def test_every_dtype_and_shape_reads_as_safetensors_reads_it(
    dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": random_bytes(dtype, shape, 1), "b": random_bytes(dtype, (7,), 2)}, path)
    checkpoint = Checkpoint.open(path)
    for name, expected in load_file(path).items():
        assert same(checkpoint.tensor(name), expected)
        assert checkpoint.dtype(name) is dtype
        assert checkpoint.shape(name) == expected.shape


@pytest.mark.parametrize("dtype", [torch.float8_e8m0fnu, torch.float4_e2m1fn_x2], ids=str)
def test_block_scaled_dtypes_read_as_they_were_written(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = random_bytes(dtype, (4, 6), 3)
    save_file({"a": tensor}, tmp_path / "model.safetensors")
    checkpoint = Checkpoint.open(tmp_path)
    assert checkpoint.shape("a") == (4, 6)
    assert same(checkpoint.tensor("a"), tensor)


def test_dtypes_that_torch_lacks_are_refused_by_name(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path, one(bytes(3), dtype="F6_E2M3", shape=[4], offsets=[0, 3])))
    assert checkpoint.names() == ["a"]
    for read in (checkpoint.tensor, checkpoint.dtype, checkpoint.shape):
        with pytest.raises(UnsupportedError) as caught:
            read("a")
        assert caught.value.key == "a"
        assert caught.value.actual == "F6_E2M3"
    odd = Checkpoint.open(write(tmp_path, one(bytes(3), dtype="F4", shape=[2, 3], offsets=[0, 3]), "odd"))
    with pytest.raises(UnsupportedError):
        odd.tensor("a")


def test_nothing_is_copied_and_writes_stay_here(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(5000, dtype=torch.float32)}, path)
    before = path.read_bytes()
    checkpoint, other = Checkpoint.open(path), Checkpoint.open(path)
    first, second = checkpoint.tensor("a"), checkpoint.tensor("a")
    assert first.data_ptr() == second.data_ptr()
    first[17] = -1.0
    first.mul_(2)
    assert second[17] == -2.0
    assert other.tensor("a")[17] == 17.0
    del checkpoint, first, second, other
    gc.collect()
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_can_be_mapped(tmp_path: Path) -> None:
    path = write(tmp_path, one(np.float32([1, 2]).tobytes()))
    path.chmod(0o400)
    tensor = Checkpoint.open(path).tensor("a")
    tensor += 1
    assert tensor.tolist() == [2.0, 3.0]


def test_a_tensor_outlives_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    expected = torch.arange(100_000, dtype=torch.int64)
    save_file({"a": expected}, path)
    checkpoint = Checkpoint.open(path)
    tensor = checkpoint.tensor("a")[10:]
    del checkpoint
    path.unlink()
    gc.collect()
    assert torch.equal(tensor, expected[10:])


def test_the_mapping_goes_with_its_last_user(tmp_path: Path) -> None:
    path = write(tmp_path, one())

    def mapped() -> bool:
        return str(path) in Path("/proc/self/maps").read_text()

    file = SafetensorsFile(str(path))
    tensor, view = torch.frombuffer(file, dtype=torch.uint8), memoryview(file)
    for drop in ("file", "tensor"):
        assert mapped()
        if drop == "file":
            del file
        else:
            del tensor
        gc.collect()
    assert mapped()
    view.release()
    del view
    gc.collect()
    assert not mapped()


def test_the_buffer_is_the_file(tmp_path: Path) -> None:
    content = one(np.float32([1, 2]).tobytes())
    file = SafetensorsFile(str(write(tmp_path, content)))
    view = memoryview(file)
    assert not view.readonly
    assert view.contiguous
    assert (view.format, view.itemsize, view.ndim) == ("B", 1, 1)
    assert bytes(view) == content
    dtype, shape, start, end = file.info("a")
    assert (dtype, shape, end) == ("F32", [2], len(content))
    assert np.frombuffer(file, dtype=np.float32, offset=start).tolist() == [1.0, 2.0]
    with pytest.raises(ArgumentError):
        file.info("b")


@pytest.mark.parametrize("padding", range(8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.complex64], ids=str)
def test_unaligned_tensors_are_copied(padding: int, dtype: torch.dtype, tmp_path: Path) -> None:
    expected = random_bytes(dtype, (3, 2), 4)
    name = next(name for name, known in TORCH_DTYPES.items() if known is dtype)
    size = expected.nbytes
    text = f'{{"a": {entry(name, [3, 2], [0, size])}}}'
    content = header(text + " " * padding, expected.reshape(-1).view(torch.uint8).numpy().tobytes())
    checkpoint = Checkpoint.open(write(tmp_path, content))
    tensor = checkpoint.tensor("a")
    assert same(tensor, expected)
    assert tensor.data_ptr() % dtype.itemsize == 0
    aligned = (8 + len(text) + padding) % dtype.itemsize == 0
    assert (checkpoint.tensor("a").data_ptr() == tensor.data_ptr()) == aligned
    tensor.zero_()


def test_no_warning_on_the_way(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3), "b": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checkpoint = Checkpoint.open(tmp_path)
        for name in checkpoint.names():
            torch.nn.Parameter(checkpoint.tensor(name)).sum().backward()
    assert not caught


def test_threads_read_one_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    expected = {f"t{number}": torch.full((1000,), number) for number in range(50)}
    save_file(expected, path)
    shared = Checkpoint.open(path)
    wrong: list[str] = []

    def work(seed: int) -> None:
        for step in range(200):
            name = f"t{(seed * 7 + step) % 50}"
            own = Checkpoint.open(path) if step % 20 == 0 else shared
            if not torch.equal(own.tensor(name), expected[name]):
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_forked_child_sees_the_weights_and_keeps_its_writes(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from oxiformers.weights.checkpoint import Checkpoint\n"
        "tensor = Checkpoint.open(sys.argv[1]).tensor('a')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    right = tensor.tolist() == [1.0, 2.0]\n"
        "    tensor[0] = 5\n"
        "    os._exit(0 if right and tensor[0] == 5 else 1)\n"
        "_, status = os.waitpid(child, 0)\n"
        "sys.exit(status or tensor.tolist() != [1.0, 2.0])\n"
    )
    path = write(tmp_path, one(np.float32([1, 2]).tobytes()))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, path], capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(
    Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2",
    reason="this system forbids overcommitment",
)
def test_a_file_larger_than_memory_can_be_mapped(tmp_path: Path) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size = (2 * memory) // 4 * 4
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        text = f'{{"a": {entry("F32", [size // 4], [0, size])}}}'
        file.write(header(text.ljust(256)))
        file.truncate(file.tell() + size)
    tensor = Checkpoint.open(path).tensor("a")
    tensor[-1] = 1.0
    assert tensor.numel() == size // 4


def test_annotations_and_aliases(shared: Path) -> None:
    checkpoint = Checkpoint.open(shared / "checkpoints" / "tinystories-656k-llama")
    assert checkpoint.aliases == {"model.embed_tokens.weight": "lm_head.weight"}
    assert checkpoint.metadata["format"] == "pt"
    assert "model.embed_tokens.weight" not in checkpoint.names()
    assert "lm_head.weight" in checkpoint


def test_only_names_of_stored_tensors_make_an_alias(tmp_path: Path) -> None:
    annotations = '{"format": "a", "x": "a", "y": "nothing", "a": "b", "note": "trained on b"}'
    tensors = f'"a": {entry("U8", [1], [0, 1])}, "b": {entry("U8", [1], [1, 2])}'
    content = header(f'{{"__metadata__": {annotations}, {tensors}}}', b"\x00\x01")
    assert Checkpoint.open(write(tmp_path, content)).aliases == {"x": "a"}


def test_shards_through_a_resolver(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    write(tmp_path / "cache", one(np.float32([1, 2]).tobytes()), "blob")
    write(tmp_path, b'{"weight_map": {"a": "model-00001-of-00001.safetensors"}}', "some.index.json")
    asked: list[str] = []

    def resolve(name: str) -> Path:
        asked.append(name)
        return tmp_path / "cache" / "blob"

    checkpoint = Checkpoint.open(tmp_path / "some.index.json", resolve=resolve)
    assert checkpoint.tensor("a").tolist() == [1.0, 2.0]
    assert asked == ["model-00001-of-00001.safetensors"]


def test_real_checkpoints_read_as_safetensors_reads_them(shared: Path) -> None:
    files = sorted((shared / "checkpoints").glob("*/model.safetensors"))
    assert files
    for path in files:
        checkpoint = Checkpoint.open(path.parent)
        expected = load_file(path)
        assert set(checkpoint.names()) == set(expected)
        assert all(same(checkpoint.tensor(name), tensor) for name, tensor in expected.items())
