"""What the documentation shows runs."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import KERNELS, PACKAGE, ROOT, files, relative


@pytest.mark.parametrize("name", ["README.md", "kernels/README.md"])
def test_python_in_the_readme(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a file run in order and in one namespace."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    namespace: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{name}, block {number}", "exec"), namespace)


def test_docstring_examples() -> None:
    for root, package in ((PACKAGE, "oxiformers"), (KERNELS, "oxiformers_kernels")):
        for path in files(".py", under=root):
            if ">>>" not in path.read_text(encoding="utf-8"):
                continue
            words = (package, *path.relative_to(root).with_suffix("").parts)
            module = importlib.import_module(".".join(words).removesuffix(".__init__"))
            result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            assert result.failed == 0, relative(path)


def test_the_demo_classifies() -> None:
    sentences = ["A warm, funny and touching film.", "A dull mess from start to finish."]
    result = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "demo.py"), *sentences],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line.split()[0] for line in result.stdout.splitlines()[:2]] == ["POSITIVE", "NEGATIVE"]
