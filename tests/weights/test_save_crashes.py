"""A save that stops at any step leaves a folder that loads: as the old checkpoint or the new one, unmixed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from oxiformers.errors import FileError
from oxiformers.weights import save
from oxiformers.weights.checkpoint import Checkpoint
from oxiformers.weights.save import save_state_dict


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours may run after it."""


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {f"t{n}": torch.full((10,), value) for n in range(6)}


@contextmanager
def stopping_at(
    step: int, monkeypatch: pytest.MonkeyPatch, stop: Callable[[str], BaseException], *, once: bool = False
) -> Iterator[list[str]]:
    """Lets `step` changes of the folder happen, then fails the next (all, unless `once`); yields those."""
    count = 0
    stopped: list[str] = []

    def guarded(name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == step + 1 or (count > step and not once):
                stopped.append(name)
                raise stop(name)
            return change(*arguments, **options)

        return run

    with monkeypatch.context() as patched:
        patched.setattr(save, "save_safetensors", guarded("write", save.save_safetensors))
        for name in ("replace", "link", "unlink"):
            patched.setattr(os, name, guarded(name, getattr(os, name)))
        yield stopped


def disk_full(name: str) -> OSError:
    """What the writer of weights raises, or else the operating system."""
    if name == "write":
        return FileError("No space left on device", errno=errno.ENOSPC)
    return OSError(errno.ENOSPC, "No space left on device")


def loaded(folder: Path) -> float:
    """The one value that fills the checkpoint, read as we and as others read it."""
    checkpoint = Checkpoint.open(folder)
    assert set(checkpoint.names()) == set(tensors(0))
    values = torch.cat([checkpoint.tensor(name) for name in checkpoint.names()]).unique()
    assert len(values) == 1
    for path in checkpoint.paths:
        assert torch.cat(list(load_file(path).values())).unique().tolist() == values.tolist()
    return float(values)


# Sizes that make 1, 2 and 3 files.
LAYOUTS = {"single": 10**6, "two": 120, "three": 80}


@pytest.mark.parametrize("new", LAYOUTS)
@pytest.mark.parametrize("old", LAYOUTS)
def test_a_save_killed_at_any_step(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What runs after the kill in this process is cleaning up; a killed process does none.
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
    seen: list[float] = []
    for step in range(1000):
        folder = tmp_path / str(step)
        save_state_dict(folder, tensors(1.0), max_shard_size=LAYOUTS[old])
        try:
            with stopping_at(step, monkeypatch, lambda _: Killed()):
                save_state_dict(folder, tensors(2.0), max_shard_size=LAYOUTS[new])
            seen.append(loaded(folder))
            break
        except Killed:
            seen.append(loaded(folder))
        save_state_dict(folder, tensors(3.0), max_shard_size=LAYOUTS[new])
        assert loaded(folder) == 3.0
        complete = {path.name for path in folder.iterdir()}
        fresh = tmp_path / "fresh"
        save_state_dict(fresh, tensors(3.0), max_shard_size=LAYOUTS[new])
        assert complete == {path.name for path in fresh.iterdir()}
    assert seen[0] == 1.0
    assert seen[-1] == 2.0
    assert seen == sorted(seen)
    assert len(seen) > (1 if new == "single" else 4)


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("old", LAYOUTS)
def test_an_error_at_any_step(old: str, once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system's errors instead: each is reported, and cleaning up removes nothing that is needed."""
    steps = 0
    while True:
        folder = tmp_path / str(steps)
        save_state_dict(folder, tensors(1.0), max_shard_size=LAYOUTS[old])
        before = {path.name for path in folder.iterdir()}
        with stopping_at(steps, monkeypatch, disk_full, once=once) as stopped:
            try:
                save_state_dict(folder, tensors(2.0), max_shard_size=LAYOUTS["three"])
                reported = None
            except FileError as error:
                reported = error.errno
        if not stopped:
            break
        # A link that cannot be made is replaced by a copy; every other error is the caller's to know.
        assert reported == (None if stopped == ["link"] else errno.ENOSPC)
        value = loaded(folder)
        if steps < 3 and once:
            assert {path.name for path in folder.iterdir()} == before
            assert value == 1.0
        steps += 1
    assert steps > 6
    assert loaded(folder) == 2.0


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for value in (1.0, 2.0):
        save_state_dict(tmp_path, tensors(value), max_shard_size=80)
        assert loaded(tmp_path) == value
    assert len(list(tmp_path.iterdir())) == 4
