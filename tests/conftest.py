"""Fixtures every test may use: the shared data, and interpreters that have transformers installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.models.contract.budget"]

REPOSITORY = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI") == "true"


def _absent(what: str, variable: str) -> None:
    """Skips on a plain clone; in CI, where everything is provided, absence is an error."""
    message = f"{what} is not there (set {variable} to point elsewhere)"
    if IN_CI:
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real tokenizers, checkpoints, datasets and corpora."""
    folder = Path(os.environ.get("OXIFORMERS_SHARED") or REPOSITORY.parent / "shared")
    if not folder.is_dir():
        _absent("the folder of shared test data, ../shared,", "OXIFORMERS_SHARED")
    return folder


def _interpreter(environment: str, variable: str) -> Path:
    python = Path(os.environ.get(variable) or REPOSITORY / environment / "bin" / "python")
    if not python.is_file():
        _absent(f"{environment}/bin/python, made by `make test`,", variable)
    return python


@pytest.fixture(scope="session")
def python_524() -> Path:
    """An interpreter with transformers 5.24.0 and tokenizers 0.23.3."""
    return _interpreter(".venv-524", "OXIFORMERS_PYTHON_524")


@pytest.fixture(scope="session")
def python_457() -> Path:
    """An interpreter with transformers 4.57.6 and tokenizers 0.22.2."""
    return _interpreter(".venv-457", "OXIFORMERS_PYTHON_457")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file run in one process, where what its fixtures make is made once, unless they name a group."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    marked = [item for item in items if "gpu" in item.keywords]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
