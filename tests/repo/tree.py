"""The files of the repository, as git lists them."""

from __future__ import annotations

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "python" / "oxiformers"
KERNELS = ROOT / "kernels" / "oxiformers_kernels"


@functools.cache
def files(*suffixes: str, under: Path = ROOT) -> list[Path]:
    """Tracked and new files below `under`, without what git ignores; all of them where no suffix is given."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", str(under)]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in sorted(set(listed.split("\0"))) if name]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def relative(path: Path) -> str:
    """The path as documentation writes it."""
    return path.relative_to(ROOT).as_posix()
