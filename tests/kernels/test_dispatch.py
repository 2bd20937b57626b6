"""The dispatch every op asks: what measurements change, what is recorded, what is shown ahead of a call."""

from __future__ import annotations

import logging
import sys

import pytest
import torch

from oxiformers_kernels import dispatch
from oxiformers_kernels.dispatch import BackendError, Choice, Decision, choose, ops, preview, recorded
from oxiformers_kernels.softmax import softmax

CPU = torch.device("cpu")
RUNS = Choice("triton", "Triton can run this call")


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OXIFORMERS_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for cached in (dispatch._say_once, dispatch._triton_installed, dispatch._capability_obstacle):
        cached.cache_clear()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device on which Triton runs: no tensor is made on it."""
    monkeypatch.setattr(dispatch, "_triton_installed", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    return torch.device("cuda", 0)


def test_auto_takes_what_was_measured_faster(device: torch.device, caplog: pytest.LogCaptureFixture) -> None:
    assert choose("op", None, device) == RUNS
    assert choose("op", None, device, slower="rows of 2") == ("torch", "measured slower: rows of 2")
    assert choose("op", "auto", device, slower="rows of 2").backend == "torch"
    assert caplog.records == [], "a choice for speed is no fallback"


def test_triton_by_name_runs_though_slower(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("op", "triton", device, slower="rows of 2") == ("triton", "backend=triton")
    monkeypatch.setenv("OXIFORMERS_KERNELS", "triton")
    assert choose("op", None, device, slower="rows of 2") == ("triton", "OXIFORMERS_KERNELS=triton")


def test_what_cannot_run_is_not_called_slower(device: torch.device) -> None:
    assert choose("op", None, device, "no such dtype", "rows of 2") == ("torch", "no such dtype")
    with pytest.raises(BackendError, match="op: backend=triton, but no such dtype"):
        choose("op", "triton", device, "no such dtype", "rows of 2")
    assert choose("op", None, CPU, None, "rows of 2").reason == "the tensors are on cpu, Triton needs cuda"


def test_decisions_are_recorded_inside_of_the_block() -> None:
    reason = "the tensors are on cpu, Triton needs cuda"
    softmax(torch.ones(2))
    with recorded() as outer:
        softmax(torch.ones(2))
        with recorded() as inner:
            softmax(torch.ones(2), backend="torch")
        with pytest.raises(BackendError):
            softmax(torch.ones(2), backend="triton")
    softmax(torch.ones(2))
    assert inner == [Decision("softmax", "torch", "backend=torch")]
    assert outer == [Decision("softmax", "torch", reason)]


def test_a_preview_logs_nothing(device: torch.device, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="oxiformers_kernels"), recorded() as decisions:
        assert preview("softmax", CPU).backend == "torch"
        assert preview("softmax", device) == RUNS
    assert caplog.records == [] and decisions == []


def test_a_preview_of_a_call_that_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OXIFORMERS_KERNELS", "triton")
    with pytest.raises(BackendError, match="softmax: OXIFORMERS_KERNELS=triton, but the tensors are on cpu"):
        preview("softmax", CPU)
    monkeypatch.setenv("OXIFORMERS_KERNELS", "fast")
    with pytest.raises(ValueError, match="OXIFORMERS_KERNELS='fast'"):
        preview("softmax", CPU)


def test_the_ops_are_the_subpackages() -> None:
    for op in ops():
        __import__(f"oxiformers_kernels.{op}")
        assert sys.modules[f"oxiformers_kernels.{op}"].__all__
    assert {"attention", "norm", "softmax"} <= set(ops())
