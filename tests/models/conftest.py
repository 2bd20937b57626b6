"""transformers' answers, from one process for each of its versions."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import pytest
import torch

from tests.models.answer import Tensors
from tests.models.contract import budget
from tests.models.contract.subjects import build
from tests.models.oracle_process import OracleError, OracleProcess


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Threads cost more than these models take. What torch imports when it is first used is no row's cost."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.device("meta"):
        torch.nn.Embedding(1, 1)
    torch.nn.Linear(1, 1)(torch.ones(1)).backward()
    yield
    torch.set_num_threads(before)


class Oracle:
    """The answers of one version of transformers about what is under contract."""

    def __init__(self, version: str, process: OracleProcess) -> None:
        self.version, self.process = version, process

    def answer(self, name: str, inputs: Tensors, options: dict) -> Tensors:
        """All that a subject gives, its gradients too; fails with transformers' error where it has none."""
        return self._ask("answer", name, inputs, options=options)

    def calls(self, name: str, inputs: Tensors) -> Tensors:
        """The logits of calls that continue one another, and the last cache."""
        return self._ask("calls", name, inputs)

    def parts(self, name: str, expressions: list[str], inputs: Tensors) -> Tensors:
        """What parts of a subject give alone."""
        return self._ask("parts", name, inputs, expressions=expressions)

    def saved(self, name: str) -> Path:
        """The folder of a subject's model as transformers saves it."""
        try:
            return self.process.saved(name, partial(build, name))
        except OracleError as error:
            pytest.fail(f"transformers {self.version} has no answer: {error}")

    def _ask(self, command: str, name: str, inputs: Tensors, **options) -> Tensors:
        self.process.seconds = 0.0
        try:
            return self.process.answer(command, name, partial(build, name), inputs, **options)
        except OracleError as error:
            pytest.fail(f"transformers {self.version} has no answer: {error}")
        finally:
            budget.add(self.process.seconds)


@pytest.fixture(scope="session")
def oracle_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Oracle by version, "457" or "524"."""
    processes = []

    @cache
    def make_oracle(version: str) -> Oracle:
        python = request.getfixturevalue(f"python_{version}")
        processes.append(OracleProcess(python, tmp_path_factory.mktemp(f"oracle-{version}")))
        return Oracle(version, processes[-1])

    yield make_oracle
    for process in processes:
        process.close()
