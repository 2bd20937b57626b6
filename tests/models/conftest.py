"""transformers' answers to every case, computed once for each of its versions."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.answer import Tensors
from tests.models.contract.inputs import cases, make
from tests.models.contract.subjects import CLASSES, build, kind_of, row_of

ORACLE = Path(__file__).parent / "oracle.py"


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Threads cost more than these models take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Oracle:
    """The answers of one version of transformers."""

    def __init__(self, environment: str, python: Path, models: Path, answers: Path) -> None:
        self.environment, self.python, self.models, self.answers = environment, python, models, answers
        self.ran = False

    def saved(self, name: str) -> Path:
        """The folder of a class's model as transformers saved it."""
        self._run()
        return self.answers / name

    def inputs(self, name: str, case: str) -> Tensors:
        """The arguments of a case."""
        return load_file(self.models / name / "inputs" / f"{case}.safetensors")

    def answer(self, name: str, case: str) -> Tensors:
        """All that transformers gave to a case; fails with its error where it has none."""
        self._run()
        path = self.answers / f"{name}.{case}.safetensors"
        if (error := path.with_suffix(".error")).exists():
            pytest.fail(f"transformers {self.environment} has no answer: {error.read_text()}")
        return load_file(path)

    def _run(self) -> None:
        if self.ran:
            return
        jobs = [
            {
                "class": name,
                "model": str(self.models / name),
                "saved": str(self.answers / name),
                "inputs": str(self.models / name / "inputs" / f"{case}.safetensors"),
                "output": str(self.answers / f"{name}.{case}.safetensors"),
                "options": options,
            }
            for name in CLASSES
            for case, environments, options in cases(row_of(name), kind_of(name))
            if self.environment in environments
        ]
        path = self.answers / "jobs.json"
        path.write_text(json.dumps(jobs))
        run_oracle(self.python, "answer", path)
        self.ran = True


def run_oracle(python: Path, command: str, path: Path) -> str:
    """What oracle.py prints; raises with its errors where it fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [python, ORACLE, command, path],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{python} oracle.py {command} failed:\n{done.stderr}")
    return done.stdout


@pytest.fixture(scope="session")
def contract_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model under contract as we save it, each in a folder with its cases."""
    folder = tmp_path_factory.mktemp("contract")
    for name in CLASSES:
        build(name).save_pretrained(folder / name)
        inputs = folder / name / "inputs"
        inputs.mkdir()
        for case, _, _ in cases(row_of(name), kind_of(name)):
            save_file(make(row_of(name), kind_of(name), case), inputs / f"{case}.safetensors")
    return folder


@pytest.fixture(scope="session")
def oracle_of(
    request: pytest.FixtureRequest, contract_models: Path, tmp_path_factory: pytest.TempPathFactory
):
    """Oracle by version, "457" or "523"."""

    @cache
    def make_oracle(environment: str) -> Oracle:
        python = request.getfixturevalue(f"python_{environment}")
        return Oracle(environment, python, contract_models, tmp_path_factory.mktemp(f"answers-{environment}"))

    return make_oracle
