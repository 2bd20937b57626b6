"""Saving: readable by safetensors and transformers, tied tensors once, shards named as the Hub names them."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import load_torch_model
from safetensors import safe_open
from safetensors.torch import load_file, save

from oxiformers._core import save_safetensors
from oxiformers.errors import ArgumentError, FileError, InputTypeError, UnsupportedError
from oxiformers.weights.checkpoint import Checkpoint
from oxiformers.weights.dtypes import TORCH_DTYPES
from oxiformers.weights.save import parse_size, save_state_dict
from tests.weights.test_checkpoint import random_bytes, same

ALL_DTYPES = list(TORCH_DTYPES.values())


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    """A small state dict of several dtypes and shapes."""
    shapes: list[tuple[int, ...]] = [(3, 5), (), (0, 2), (7,), (2, 2, 2)]
    return {
        f"layer.{place}.{dtype}".removesuffix(".torch"): random_bytes(dtype, shapes[place % 5], seed + place)
        for place, dtype in enumerate(ALL_DTYPES)
        if dtype is not torch.float4_e2m1fn_x2
    }


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_bytes_are_those_of_safetensors(tmp_path: Path) -> None:
    tensors = state() | {
        "four.bits": random_bytes(torch.float4_e2m1fn_x2, (3, 4), 9),
        'zoë "1"\n': torch.ones(2),
    }
    save_state_dict(tmp_path, tensors)
    assert files(tmp_path) == {"model.safetensors"}
    assert (tmp_path / "model.safetensors").read_bytes() == save(tensors, {"format": "pt"})


def test_every_dtype_comes_back(tmp_path: Path) -> None:
    tensors = {str(dtype): random_bytes(dtype, (2, 3), place) for place, dtype in enumerate(ALL_DTYPES)}
    save_state_dict(tmp_path, tensors)
    checkpoint = Checkpoint.open(tmp_path)
    for name, tensor in tensors.items():
        assert same(checkpoint.tensor(name), tensor)


def test_views_of_all_kinds(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "transposed": base.T,
        "strided": base[::2, 1::3],
        "expanded": torch.ones(1, 3).expand(5, 3),
        "shared": base,
        "shared part": base[2:],
        "parameter": torch.nn.Parameter(base.clone()),
        "conjugate": torch.complex(base, base + 1).conj(),
        "negative": torch.complex(base, base + 1).conj().imag,
    }
    save_state_dict(tmp_path, tensors)
    found = load_file(tmp_path / "model.safetensors")
    for name, tensor in tensors.items():
        assert same(found[name], tensor.detach().resolve_conj().resolve_neg()), name


def test_tied_tensors_are_written_once(tmp_path: Path) -> None:
    embedding = torch.nn.Parameter(torch.randn(4, 3))
    tensors = {"embed.weight": embedding, "head.weight": embedding, "copy.weight": embedding.detach().clone()}
    tied = {"head.weight": "embed.weight", "copy.weight": "embed.weight", "absent": "embed.weight"}
    save_state_dict(tmp_path, tensors, tied=tied)
    assert set(load_file(tmp_path / "model.safetensors")) == {"embed.weight", "copy.weight"}
    save_state_dict(tmp_path, {"head.weight": embedding}, tied=tied)
    assert set(load_file(tmp_path / "model.safetensors")) == {"head.weight"}


def test_annotations(tmp_path: Path) -> None:
    save_state_dict(tmp_path, {"a": torch.ones(1)}, metadata={"format": "pt", "note": 'a "quoted" ö\n'})
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "note": 'a "quoted" ö\n'}
    save_state_dict(tmp_path, {"a": torch.ones(1)}, metadata={})
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() is None


def test_shards_and_their_index(tmp_path: Path) -> None:
    tensors = {f"layers.{n}.weight": torch.full((100,), float(n)) for n in range(5)} | {
        "big": torch.zeros(1000)
    }
    save_state_dict(tmp_path, tensors, max_shard_size=900)
    names = [f"model-{n:05d}-of-00004.safetensors" for n in (1, 2, 3, 4)]
    assert files(tmp_path) == {*names, "model.safetensors.index.json"}
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_parameters": 1500, "total_size": 6000}
    assert index["weight_map"] == {
        "layers.0.weight": names[0], "layers.1.weight": names[0],
        "layers.2.weight": names[1], "layers.3.weight": names[1],
        "layers.4.weight": names[2], "big": names[3],
    }  # fmt: skip
    checkpoint = Checkpoint.open(tmp_path)
    assert all(same(checkpoint.tensor(name), tensor) for name, tensor in tensors.items())
    assert [path.name for path in checkpoint.paths] == names

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(100, 1, bias=False) for _ in range(5))
            self.big = torch.nn.Parameter(torch.ones(1000))

        def load_state_dict(self, state_dict, strict=True, assign=False):  # type: ignore[no-untyped-def]
            shaped = {
                key: value.reshape(1, -1) if key != "big" else value for key, value in state_dict.items()
            }
            return super().load_state_dict(shaped, strict, assign)

    model = Model()
    load_torch_model(model, tmp_path)
    assert model.layers[3].weight.eq(3.0).all()
    assert model.big.eq(0).all()


def test_another_name(tmp_path: Path) -> None:
    save_state_dict(
        tmp_path, {"a": torch.ones(9), "b": torch.ones(9)}, filename="ema.safetensors", max_shard_size=40
    )
    assert files(tmp_path) == {
        "ema-00001-of-00002.safetensors", "ema-00002-of-00002.safetensors", "ema.safetensors.index.json",
    }  # fmt: skip


def test_earlier_files_go_and_foreign_ones_stay(tmp_path: Path) -> None:
    tensors = {f"t{n}": torch.full((10,), float(n)) for n in range(6)}
    keep = {"config.json", "model-notes.txt", "ema-00001-of-00003.safetensors", "model_2.safetensors"}
    for name in keep:
        (tmp_path / name).write_text("mine")
    staged = ".model-00001-of-00002.safetensors.12-ab.partial"
    for name in (staged, f".{staged}.12-0.tmp", f"{staged}.tmp", ".model.safetensors.12-0.tmp"):
        (tmp_path / name).write_text("left by a killed save")
    for limit, count in ((80, 3), (40, 6), (40, 6), (1000, 1), (80, 3), (80, 3), (1000, 1)):
        save_state_dict(tmp_path, tensors, max_shard_size=limit)
        shards = {f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)}
        assert files(tmp_path) - keep == (
            {"model.safetensors"} if count == 1 else shards | {"model.safetensors.index.json"}
        )
        checkpoint = Checkpoint.open(tmp_path)
        assert all(same(checkpoint.tensor(name), tensor) for name, tensor in tensors.items())


def test_a_checkpoint_can_be_saved_over_itself(tmp_path: Path) -> None:
    expected = {f"t{n}": torch.full((1000,), float(n)) for n in range(4)}
    save_state_dict(tmp_path, expected, max_shard_size=8000)
    for limit in (8000, 10**6, 10**6, 8000, 4000):
        checkpoint = Checkpoint.open(tmp_path)
        tensors = {name: checkpoint.tensor(name) for name in checkpoint.names()}
        save_state_dict(tmp_path, tensors, max_shard_size=limit)
        assert all(same(tensors[name], tensor) for name, tensor in expected.items())
        again = Checkpoint.open(tmp_path)
        assert all(same(again.tensor(name), tensor) for name, tensor in expected.items())


def test_nothing_is_saved_too(tmp_path: Path) -> None:
    save_state_dict(tmp_path, {})
    assert load_file(tmp_path / "model.safetensors") == {}
    assert Checkpoint.open(tmp_path).names() == []


def test_only_one_copy_exists_at_a_time(tmp_path: Path) -> None:
    """Sources are asked when their turn comes, and let go before the next."""
    alive: list[int] = []

    class Source:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self) -> memoryview:
            alive.append(tracemalloc.get_traced_memory()[0])
            return memoryview(bytearray(1 << 20))

    tracemalloc.start()
    try:
        save_safetensors(
            str(tmp_path / "x"), [(f"t{n}", "U8", [1 << 20], Source(f"t{n}")) for n in range(8)], None
        )
    finally:
        tracemalloc.stop()
    assert max(alive) - min(alive) < 1 << 20


def test_entries_that_contradict_themselves(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    wrong = [
        [("a", "U8", [2], bytes(3))],
        [("a", "U8", [2], lambda: bytes(1))],
        [("a", "F128", [2], bytes(3))],
        [("a", "U8", [1], b"1"), ("a", "U8", [1], b"2")],
        [("__metadata__", "U8", [1], b"1")],
        [("a", "F64", [2**61], b"")],
        [("a", "F4", [1], b"")],
        [("a", "U8", [4], np.zeros((4, 2), np.uint8)[:, 0])],
    ]
    for entries in wrong:
        with pytest.raises(ArgumentError) as caught:
            save_safetensors(path, entries)
        assert caught.value.key == "entries"
    with pytest.raises(TypeError):
        save_safetensors(path, [("a", "U8", [2], "text")])
    with pytest.raises(ZeroDivisionError):
        save_safetensors(path, [("a", "U8", [2], lambda: bytes(1 // 0))])
    assert files(tmp_path) == set()


def test_values_that_cannot_be_saved_are_named(tmp_path: Path) -> None:
    wrong: list[tuple[object, type[Exception]]] = [
        (torch.ones(2, 2).to_sparse(), UnsupportedError),
        (torch.ones(2, dtype=torch.complex128), UnsupportedError),
        (torch.ones(2, device="meta"), ArgumentError),
        (np.ones(2), InputTypeError),
        ("text", InputTypeError),
    ]
    for value, kind in wrong:
        with pytest.raises(kind) as caught:
            save_state_dict(tmp_path, {"fine": torch.ones(1), "the.name": value})  # type: ignore[dict-item]
        assert caught.value.key == "the.name"  # type: ignore[attr-defined]
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5GB", 5 * 10**9),
        ("5 GB", 5 * 10**9),
        ("1.5mb", 1_500_000),
        ("2GiB", 2**31),
        ("7", 7),
        ("1KB", 1000),
        (12, 12),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "5 apples", "-1GB", "0", 0, -5, "1e3", "0.1B"])
def test_sizes_that_are_none(text: str | int, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as caught:
        save_state_dict(tmp_path, {"a": torch.ones(1)}, max_shard_size=text)
    assert caught.value.key == "max_shard_size"


def test_permissions_are_kept_and_links_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_state_dict(tmp_path, {"a": torch.zeros(1)})
    path.chmod(0o640)
    save_state_dict(tmp_path, {"a": torch.ones(1)})
    assert path.stat().st_mode & 0o777 == 0o640
    blob = tmp_path / "blob"
    path.rename(blob)
    path.symlink_to(blob)
    save_state_dict(tmp_path, {"a": torch.full((1,), 2.0)})
    assert not path.is_symlink()
    assert load_file(blob)["a"].item() == 1.0


@pytest.mark.parametrize("limit", [10**9, 400])
def test_a_full_disk_leaves_the_old_files(limit: int, tmp_path: Path) -> None:
    """A limit on file sizes stands in for the disk: the same call fails, in the same place."""
    old = {f"t{n}": torch.full((90,), float(n)) for n in range(4)}
    save_state_dict(tmp_path, old, max_shard_size=limit)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    script = (
        "import resource, sys, torch\n"
        "from oxiformers.errors import FileError\n"
        "from oxiformers.weights.save import save_state_dict\n"
        "new = {'t0': torch.ones(90), 'large': torch.ones(9000)}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    save_state_dict(sys.argv[1], new, max_shard_size=int(sys.argv[2]))\n"
        "except FileError as error:\n"
        "    print(error.errno, error.path)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    code, path = done.stdout.split()
    assert int(code) == errno.EFBIG
    assert Path(path).parent == tmp_path
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        save_state_dict(tmp_path / "file", {"a": torch.ones(1)})
    with pytest.raises(FileError) as caught:
        save_safetensors("/proc/model.safetensors", [("a", "U8", [1], b"1")])
    assert caught.value.path == "/proc/model.safetensors"
    (tmp_path / "folder" / "model.safetensors").mkdir(parents=True)
    with pytest.raises(FileError):
        save_state_dict(tmp_path / "folder", {"a": torch.ones(1)})
    assert files(tmp_path / "folder") == {"model.safetensors"}


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for limit in (40, 10**6):
        save_state_dict(tmp_path, state(), max_shard_size=limit)
        checkpoint = Checkpoint.open(tmp_path)
        assert checkpoint.names()
        assert count() == before


def test_transformers_reads_what_was_saved(python_524: Path, python_457: Path, tmp_path: Path) -> None:
    """A tied Llama in one file and in shards, read by transformers without a complaint about its weights."""
    make = (
        "import sys, torch, transformers as t\n"
        "config = t.LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, vocab_size=40,\n"
        "    num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True)\n"
        "model = t.LlamaForCausalLM(config)\n"
        "torch.save(model.state_dict(), sys.argv[1])\n"
        "for folder in sys.argv[2:]:\n"
        "    model.config.save_pretrained(folder)\n"
    )
    read = (
        "import sys, torch, transformers as t\n"
        "state = torch.load(sys.argv[1], weights_only=True)\n"
        "for folder in sys.argv[2:]:\n"
        "    model, info = t.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)\n"
        "    assert not any(info.values()), info\n"
        "    assert set(model.state_dict()) == set(state)\n"
        "    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    folders = {"1GB": tmp_path / "single", "3KB": tmp_path / "shards"}
    arguments = [tmp_path / "state.pt", *folders.values()]
    subprocess.run([python_524, "-c", make, *arguments], check=True, env=environment, timeout=300)
    weights = torch.load(tmp_path / "state.pt", weights_only=True)
    for limit, folder in folders.items():
        tied = {"lm_head.weight": "model.embed_tokens.weight"}
        save_state_dict(folder, weights, tied=tied, max_shard_size=limit)
        assert "lm_head.weight" not in Checkpoint.open(folder)
    for python in (python_524, python_457):
        subprocess.run([python, "-c", read, *arguments], check=True, env=environment, timeout=300)


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    """kill -9 while the bytes of the second file are on their way."""
    save_state_dict(tmp_path, {"a": torch.ones(100)})
    before = (tmp_path / "model.safetensors").read_bytes()
    script = (
        "import os, signal, sys\n"
        "from oxiformers._core import save_safetensors\n"
        "def die():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "entries = [('a', 'U8', [1 << 24], bytes(1 << 24)), ('b', 'U8', [1], die)]\n"
        "save_safetensors(sys.argv[1], entries)\n"
    )
    path = tmp_path / "model.safetensors"
    done = subprocess.run([sys.executable, "-c", script, path], timeout=120)
    assert done.returncode == -signal.SIGKILL
    left = files(tmp_path) - {"model.safetensors"}
    assert len(left) == 1
    assert (tmp_path / left.pop()).stat().st_size >= 1 << 24
    assert path.read_bytes() == before
    save_state_dict(tmp_path, {"a": torch.ones(100)})
    assert files(tmp_path) == {"model.safetensors"}
