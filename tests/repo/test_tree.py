"""The rules every file keeps: size, documentation that is complete, no trace of one machine, one version."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import oxiformers
import oxiformers_kernels
from tests.repo import module_map, type_stub
from tests.repo.tree import ROOT, files, relative

#: A stub tells of a whole compiled module, which has one.
MAXIMUM_LINES = {".py": 500, ".rs": 500, ".pyi": 600}


@pytest.mark.parametrize("path", files(".py", ".pyi", ".rs"), ids=relative)
def test_a_file_is_one_concept(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "@generated" in text[:500]:
        return
    assert text.count("\n") <= MAXIMUM_LINES[path.suffix]


def test_the_map_is_up_to_date() -> None:
    page = module_map.PAGE.read_text(encoding="utf-8")
    assert page == module_map.page_with(page, module_map.tables()), "run `make map`"


def test_type_checkers_see_the_public_names() -> None:
    assert type_stub.STUB.read_text(encoding="utf-8") == type_stub.stub(), "run `make map`"
    named = {
        item.asname
        for node in ast.walk(ast.parse(type_stub.stub()))
        if isinstance(node, ast.ImportFrom)
        for item in node.names
    }
    assert named | {"__version__"} == set(oxiformers.__all__)


# One machine's paths, and the hosts packages come from; spelled so that this file does not match itself.
FOREIGN = re.compile(
    r"(?<![.\w])/(?:work|farm|root|home)(?=/)|/tmp/[a-z]\w*|python[h]osted|pypi[.]org|index[.]crates"
)


@pytest.mark.parametrize("path", [path for path in files() if path.suffix != ".lock"], ids=relative)
def test_no_trace_of_a_machine(path: Path) -> None:
    data = path.read_bytes()
    if b"\0" in data[:8192]:
        return
    found = [
        f"{number}: {line.strip()[:120]}"
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1)
        if FOREIGN.search(line)
    ]
    assert found == []


def test_one_version() -> None:
    def manifest(name: str) -> dict[str, Any]:
        return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))

    main, kernels, cargo = (
        manifest("pyproject.toml"),
        manifest("kernels/pyproject.toml"),
        manifest("Cargo.toml"),
    )
    version = main["project"]["version"]
    assert f"oxiformers-kernels=={version}" in main["project"]["dependencies"]
    assert {
        "kernels": kernels["project"]["version"],
        "cargo": cargo["workspace"]["package"]["version"],
        "oxiformers": oxiformers.__version__,
        "oxiformers_kernels": oxiformers_kernels.__version__,
        "_core": __import__("oxiformers._core", fromlist=["_core"]).__version__,
    } == dict.fromkeys(("kernels", "cargo", "oxiformers", "oxiformers_kernels", "_core"), version)
