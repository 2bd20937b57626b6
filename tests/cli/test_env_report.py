"""`oxiformers env` and `oxiformers.env_report()`: what runs where, and why."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import oxiformers
from oxiformers import cli, env
from oxiformers.report import EnvReport, OpReport, env_report
from oxiformers_kernels import dispatch


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in env.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def of(report: EnvReport, op: str, device: str = "cpu") -> OpReport:
    return next(one for one in report.ops if (one.op, one.device) == (op, device))


def test_what_it_says() -> None:
    report = oxiformers.env_report()
    assert report.versions["oxiformers"] == oxiformers.__version__
    assert torch.__version__.startswith(str(report.versions["torch"]))
    assert list(report.versions) == [
        "oxiformers", "oxiformers-kernels", "torch", "triton", "numpy", "huggingface-hub", "python", "cuda",
    ]  # fmt: skip
    assert report.devices["cpu"].startswith(f"{torch.get_num_threads()} threads")
    assert report.variables == {}
    assert {one.op for one in report.ops} == set(dispatch.ops()) >= {"attention", "norm", "softmax"}
    assert {one.device for one in report.ops} == set(report.devices)


def test_each_branch_of_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    one = of(env_report(), "attention")
    assert (one.backend, one.reason) == ("torch", "the tensors are on cpu, Triton needs cuda")
    monkeypatch.setenv("OXIFORMERS_KERNELS", "torch")
    one = of(env_report(), "attention")
    assert (one.backend, one.reason) == ("torch", "OXIFORMERS_KERNELS=torch")
    monkeypatch.setenv("OXIFORMERS_KERNELS", "triton")
    one = of(env_report(), "attention")
    assert one.backend is None and "OXIFORMERS_KERNELS=triton, but the tensors are on cpu" in one.reason
    monkeypatch.setenv("OXIFORMERS_KERNELS", "fast")
    one = of(env_report(), "attention")
    assert one.backend is None and "expected one of auto, triton, torch" in one.reason
    assert env_report().variables == {"OXIFORMERS_KERNELS": "fast"}


def test_under_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert of(env_report(), "norm").backend == "triton"


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_triton_installed", lambda: False)
    assert of(env_report(), "norm").reason == f"triton is not installed (platform {sys.platform})"


def test_its_text_is_a_table() -> None:
    report = EnvReport(
        versions={"oxiformers": "1", "triton": None},
        platform="a machine",
        openmp="as it likes",
        devices={"cpu": "2 threads", "cuda:0": "a GPU"},
        variables={},
        ops=(OpReport("norm", "cpu", "torch", "because"), OpReport("softmax", "cuda:0", None, "it cannot")),
    )
    assert str(report).splitlines() == [
        "oxiformers  1",
        "triton      not installed",
        "platform    a machine",
        "openmp      as it likes",
        "",
        "devices",
        "cpu     2 threads",
        "cuda:0  a GPU",
        "",
        "environment variables",
        "(none is set)",
        "",
        "ops",
        "norm     cpu     torch  because",
        "softmax  cuda:0  error  it cannot",
    ]


def test_every_variable_of_the_page_is_reported(repository: Path) -> None:
    page = (repository / "docs" / "envs.md").read_text(encoding="utf-8")
    run_time = page.partition("## At run time")[2].partition("## In tests")[0]
    assert set(re.findall(r"^\| `([A-Z0-9_]+)` \|", run_time, flags=re.MULTILINE)) == set(env.VARIABLES)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["env"]) == 0
    assert capsys.readouterr().out == f"{env_report()}\n"
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert f"oxiformers {oxiformers.__version__}" in capsys.readouterr().out


def test_the_command_is_installed(repository: Path) -> None:
    manifest = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    assert manifest["project"]["scripts"] == {"oxiformers": "oxiformers.cli:main"}


def test_it_runs_as_a_module_and_imports_no_triton() -> None:
    code = "import sys, oxiformers.cli; assert 'torch' not in sys.modules; oxiformers.cli.main(['env']); "
    code += "print([name for name in ('triton', 'torch._dynamo') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    shown = subprocess.run(
        [sys.executable, "-m", "oxiformers.cli", "env"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("oxiformers ")
