"""The good folder is built once; each test spoils its own copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.bad_input.model_folder import build


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that loads; not to be changed."""
    folder = tmp_path_factory.mktemp("good") / "model"
    build(folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(good, tmp_path / "model"))
