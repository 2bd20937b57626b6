"""Answers of oracles kept on disk, by all that they depend on: inputs, the oracle's source, its environment.

    cache = OracleCache(python, ORACLE, *more_source)   # the interpreter, and the files that make up the program
    key = cache.key(job, folder)                        # JSON values; a Path counts by what is in it, not by its name
    answer = cache.get(key)                             # bytes, or None where it has to be asked for
    cache.put(key, answer)

Where an answer is a file or a folder, `copy_out(key, target)` and `copy_in(key, source)` do the same. The cache spares
developers the wait only: a fresh clone starts without one, and deleting `.cache` never changes a result. Several
processes may share it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "oracle"


class OracleCache:
    """The answers that one program gives in one environment.

    Args:
        python: the environment's interpreter.
        programs: the program's source, helpers it imports included.
        folder: where answers are kept.
    """

    def __init__(self, python: Path, *programs: Path, folder: Path = FOLDER) -> None:
        if not programs:
            raise ValueError("the source of the oracle is part of the key")
        self._common = _digest([_installed(python), *map(_contents, programs)])
        self._folder = folder

    def key(self, *inputs: Any) -> str:
        """Where the answer to these inputs is kept. A Path may stand anywhere in lists and in dicts' values."""
        return _digest([self._common, _plain(inputs)])

    def get(self, key: str) -> bytes | None:
        """The answer, or None."""
        try:
            return self._place(key).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, key: str, answer: bytes) -> None:
        """Keeps an answer."""
        with tempfile.TemporaryDirectory(dir=self._made()) as own:
            (Path(own) / "answer").write_bytes(answer)
            self.copy_in(key, Path(own) / "answer")

    def copy_out(self, key: str, target: Path) -> bool:
        """Copies a kept file or folder to `target`; whether there is one."""
        place = self._place(key)
        if place.is_dir():
            shutil.copytree(place, target, dirs_exist_ok=True)
        elif place.is_file():
            shutil.copyfile(place, target)
        else:
            return False
        return True

    def copy_in(self, key: str, source: Path) -> None:
        """Keeps a copy of a file or a folder; never seen half written."""
        place = self._place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._made()) as own:
            copy = Path(own) / "copy"
            if source.is_dir():
                shutil.copytree(source, copy)
            else:
                shutil.copyfile(source, copy)
            try:
                os.replace(copy, place)
            except OSError:
                # A folder does not take the place of one that another process put there before.
                if not place.is_dir():
                    raise

    def _place(self, key: str) -> Path:
        return self._folder / key[:2] / key[2:]

    def _made(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder


def _digest(parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The value as JSON, with the contents of paths in their stead."""
    if isinstance(value, Path):
        return {"contents": _contents(value)}
    if isinstance(value, dict):
        return {"dict": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _contents(path: Path) -> Any:
    """A digest of a file, or those of a folder's files by their names."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {file.relative_to(path).as_posix(): _contents(file) for file in files}
    found = path.stat()
    return _file_digest(path, found.st_mtime_ns, found.st_size)


@cache
def _file_digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _installed(python: Path) -> list[str]:
    """Name and version of everything the environment has, and of its Python."""
    environment = python.parent.parent
    packages = sorted(path.name for path in environment.glob("lib/python*/site-packages/*.dist-info"))
    if not packages:
        raise ValueError(f"{environment}: expected an environment with packages, got none")
    return [(environment / "pyvenv.cfg").read_text(), *packages]
