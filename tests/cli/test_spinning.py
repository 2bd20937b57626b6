"""How OpenMP's threads wait: what the package sets, when it leaves that alone, and what libgomp reads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

REPORT = "import os; from oxiformers import env; print(os.environ.get('GOMP_SPINCOUNT'), env.limit_spinning(), sep='|')"


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, in an environment that says nothing else of how threads wait."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_", "KMP_"))
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | variables, capture_output=True, text=True, check=True
    )


def test_unset_it_is_set() -> None:
    assert run(REPORT).stdout == "1000|GOMP_SPINCOUNT=1000, set by oxiformers\n"


@pytest.mark.parametrize("value", ["300000", "INFINITY", ""])
def test_a_value_of_the_environment_stays(value: str) -> None:
    said = run(REPORT, GOMP_SPINCOUNT=value).stdout
    assert said == f"{value}|GOMP_SPINCOUNT={value}, from the environment\n"


def test_a_wait_policy_stays() -> None:
    value, said = run(REPORT, OMP_WAIT_POLICY="active").stdout.split("|")
    assert value == "None"
    assert said.startswith("GOMP_SPINCOUNT is not set: OMP_WAIT_POLICY=active, from the environment,")


def test_after_torch_it_is_too_late() -> None:
    code = "import torch, oxiformers.cli; oxiformers.cli.main(['env'])"
    rows = run(code).stdout.splitlines()
    (row,) = [row for row in rows if row.startswith("openmp ")]
    assert row.split(None, 1)[1].startswith("GOMP_SPINCOUNT is not set: torch was imported before oxiformers")
    assert not any(row.startswith("GOMP_SPINCOUNT") for row in rows)


def test_a_child_inherits_it() -> None:
    child = f"import sys, subprocess; sys.exit(subprocess.call([sys.executable, '-c', {REPORT!r}]))"
    assert run("import oxiformers; " + child).stdout == "1000|GOMP_SPINCOUNT=1000, from the environment\n"


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings libgomp on Linux only")
def test_libgomp_reads_it() -> None:
    shown = run("import oxiformers; oxiformers.PreTrainedModel", OMP_DISPLAY_ENV="VERBOSE").stderr
    assert "GOMP_SPINCOUNT = '1000'" in shown
