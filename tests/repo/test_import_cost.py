"""What an import pulls in, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "triton", "huggingface_hub", "jinja2", "numpy.testing", "oxiformers_kernels")


@pytest.mark.parametrize(
    "statement",
    ["import oxiformers", "from oxiformers import AutoTokenizer", "from oxiformers import BertTokenizerFast"],
)
def test_light_imports(statement: str) -> None:
    code = f"import sys\n{statement}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_every_public_name_exists() -> None:
    import oxiformers

    assert set(oxiformers.__all__) <= set(dir(oxiformers))
    for name in oxiformers.__all__:
        assert getattr(oxiformers, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        oxiformers.no_such_name  # noqa: B018


def test_a_prediction_imports_no_compiler() -> None:
    code = """
import sys
from oxiformers import pipeline
print(pipeline("sentiment-analysis", model="oxiformers/demo-sentiment")(["fine", "a longer sentence"]))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy", "triton") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
