"""Oracles and real tokenizers for the tokenizer tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tokenization.jobs import Session
from tests.tokenization.steps import DIFFICULT, TICKETS, TOKENIZERS, named_alone


class Oracle:
    """A transformers in a process of its own, which answers jobs."""

    def __init__(self, python: Path) -> None:
        self.process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("jobs.py")), "transformers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={
                "PATH": "/usr/bin:/bin",
                "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "OMP_NUM_THREADS": "1",
                "RUST_BACKTRACE": "0",
                "HOME": str(Path.home()),
            },
        )

    def run(self, job: dict[str, Any]) -> Any:
        """The results of the job's steps."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the oracle ended with code {self.process.wait()} on {job}"
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def oracle_524(python_524: Path) -> Iterator[Oracle]:
    """transformers 5.23."""
    oracle = Oracle(python_524)
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def oracle_457(python_457: Path) -> Iterator[Oracle]:
    """transformers 4.57."""
    oracle = Oracle(python_457)
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def ours() -> Session:
    """oxiformers, run by the same jobs."""
    return Session("oxiformers.tokenization")


@pytest.fixture(scope="session")
def folders(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of the tokenizers' folders, without the paths of the machine that made one of them."""
    root = tmp_path_factory.mktemp("tokenizers")
    copies = {}
    for name in TOKENIZERS:
        source = shared / ("checkpoints" if name == TICKETS else "tokenizers") / name
        copies[name] = root / name
        copies[name].mkdir()
        for file in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
            if (source / file).is_file():
                shutil.copy(source / file, copies[name] / file)
                (copies[name] / file).chmod(0o644)
        config = copies[name] / "tokenizer_config.json"
        if config.is_file():
            settings = json.loads(config.read_text())
            settings.pop("tokenizer_file", None)
            config.write_text(json.dumps(settings))
    return copies


@pytest.fixture(scope="session")
def lines(shared: Path) -> list[str]:
    """Lines of many scripts, long and short, and some made to be difficult."""
    found = []
    for name in ("english", "multilingual", "cjk", "code", "short"):
        text = (shared / "corpora" / f"{name}.txt").read_text(encoding="utf-8")
        candidates = [line for line in text.splitlines() if line.strip()]
        found += candidates[:: max(1, len(candidates) // 12)][:12]
    return [*found, *DIFFICULT]


def assert_same(ours: Any, theirs: Any, steps: list[Any]) -> None:
    """Equal results; an error equals any error. Names the step and the place of the first difference."""
    place = difference(ours, theirs)
    if place is not None:
        number = int(place[0][0]) if place[0] else 0
        step = steps[number] if number < len(steps) else None
        where = f"at {place[0]} of {step!s:.400}"
        raise AssertionError(f"{where}\nours:   {place[1]!s:.600}\ntheirs: {place[2]!s:.600}")


def difference(
    ours: Any, theirs: Any, place: tuple[Any, ...] = ()
) -> tuple[tuple[Any, ...], Any, Any] | None:
    """The first place where two results differ, and both values there."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if "error" in ours and "error" in theirs:
            return None
        if theirs.get("error") == "PanicException":  # a crash is no answer to be equal to
            return None
        if 0 in ours.get("shape", ()) and 0 in theirs.get(
            "shape", ()
        ):  # no offsets: [B, 0, 2] there is [B, 0]
            return difference(ours["dtype"], theirs["dtype"], (*place, "dtype"))
        if list(ours) == list(theirs):
            pairs = [(key, ours[key], theirs[key]) for key in ours]
            return next((found for key, a, b in pairs if (found := difference(a, b, (*place, key)))), None)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(index, *both) for index, both in enumerate(zip(ours, theirs, strict=True))]
        return next((found for index, a, b in pairs if (found := difference(a, b, (*place, index)))), None)
    return None if ours == theirs else (place, ours, theirs)


Compare = Callable[..., None]


@pytest.fixture(scope="session")
def same_as_524(ours: Session, oracle_524: Oracle, folders: dict[str, Path]) -> Compare:
    """Runs a job here and in transformers 5.23, and compares."""
    return _comparison(ours, oracle_524, folders, version_5=True)


@pytest.fixture(scope="session")
def same_as_457(ours: Session, oracle_457: Oracle, folders: dict[str, Path]) -> Compare:
    """Runs a job here and in transformers 4.57, and compares."""
    return _comparison(ours, oracle_457, folders, version_5=False)


def _comparison(ours: Session, oracle: Oracle, folders: dict[str, Path], version_5: bool) -> Compare:
    def compare(
        name: str,
        *steps: dict[str, Any],
        cls: str = "BertTokenizerFast",
        fresh: bool = False,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        cls = "PreTrainedTokenizerFast" if name == TICKETS else cls
        load = {"class": cls, "path": str(folders[name]), "kwargs": kwargs or {}}
        job = {"load": load, "steps": list(steps), "fresh": fresh}
        theirs = oracle.run(job)
        mine = ours.run(job)
        if version_5:
            mine = named_alone(mine, job["steps"])
        assert_same(mine, theirs, job["steps"])

    return compare


def copied(source: Path, folder: Path, *left_out: str) -> Path:
    """A copy of the folder, without some files and without the paths its config was saved with."""
    folder.mkdir()
    for file in source.iterdir():
        if file.name not in left_out:
            shutil.copy(file, folder)
            (folder / file.name).chmod(0o644)
    config = folder / "tokenizer_config.json"
    if config.is_file():
        settings = json.loads(config.read_text())
        settings.pop("tokenizer_file", None)
        config.write_text(json.dumps(settings))
    return folder
