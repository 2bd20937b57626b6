"""docs/envs.md names every environment variable the code reads, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.repo.tree import PACKAGE, ROOT, files, parsed, relative

PREFIXED = re.compile(r"(OXIFORMERS|HF|TRANSFORMERS)_[A-Z0-9_]+")


def is_environ(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def read_by(path: Path) -> set[str]:
    """Names in os.environ.get("X"), os.environ["X"] and os.getenv("X"), and literals that look like one."""
    found: list[ast.expr] = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr == "getenv" or (node.func.attr == "get" and is_environ(node.func.value)):
                found.append(node.args[0])
        elif isinstance(node, ast.Subscript) and is_environ(node.value) and isinstance(node.ctx, ast.Load):
            found.append(node.slice)
    names = {node.value for node in found if isinstance(node, ast.Constant)}
    literals = {node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)}
    return names | {value for value in literals if isinstance(value, str) and PREFIXED.fullmatch(value)}


def test_the_page_is_complete() -> None:
    read: set[str] = set()
    for path in files(".py"):
        read |= read_by(path)
    for path in files(".rs"):
        read |= set(re.findall(r"env::var(?:_os)?\(\s*\"(\w+)\"", path.read_text(encoding="utf-8")))
    page = (ROOT / "docs" / "envs.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([A-Z0-9_]+)` \|", page, flags=re.MULTILINE)
    assert len(named) == len(set(named))
    assert {"missing": sorted(read - set(named)), "not read": sorted(set(named) - read)} == {
        "missing": [],
        "not read": [],
    }


def test_the_package_reads_them_in_one_place() -> None:
    for path in files(".py", under=PACKAGE):
        if path.name == "env.py":
            continue
        for node in ast.walk(parsed(path)):
            assert not (isinstance(node, ast.expr) and is_environ(node)), f"{relative(path)}:{node.lineno}"
