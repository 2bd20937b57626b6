"""The tables of docs/map.md, made of the first sentence of every module: `make map` writes them."""

from __future__ import annotations

import ast
import re
from itertools import groupby
from pathlib import Path

from tests.repo.tree import KERNELS, PACKAGE, ROOT, files, parsed, relative

PAGE = ROOT / "docs" / "map.md"
START, END = "<!-- modules: start, written by `make map` -->", "<!-- modules: end -->"


def modules() -> list[Path]:
    """Every module of the library, Python first, then kernels, then Rust."""
    rust = [path for path in files(".rs", under=ROOT / "rust") if "src" in path.relative_to(ROOT).parts]
    listed = [*files(".py", under=PACKAGE), *files(".py", under=KERNELS), *rust]
    return [path for path in listed if path.stat().st_size > 0]


def first_sentence(path: Path) -> str:
    """What a module says of itself: the first sentence of its docstring."""
    if path.suffix == ".rs":
        lines = [
            line[3:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line[:3] == "//!"
        ]
        text = "\n".join(lines)
    else:
        text = ast.get_docstring(parsed(path)) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    assert paragraph, f"{relative(path)} does not say what it is"
    return re.split(r"(?<=[.!?])\s", paragraph)[0].rstrip(".").replace("|", r"\|")


def tables() -> str:
    """A heading and a table for every folder."""
    parts = []
    for folder, group in groupby(
        sorted(modules(), key=lambda path: (path.parts[:-1], path)), key=lambda p: p.parent
    ):
        rows = [f"| `{path.name}` | {first_sentence(path)} |" for path in group]
        parts.append(
            "\n".join([f"### {relative(folder)}", "", "| module | what it is |", "|---|---|", *rows])
        )
    return "\n\n".join(parts)


def page_with(page: str, tables: str) -> str:
    """The page with what stands between its markers replaced."""
    before, _, rest = page.partition(START)
    _, found, after = rest.partition(END)
    assert found, f"docs/map.md: the markers {START} and {END} are missing"
    return f"{before}{START}\n\n{tables}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")
