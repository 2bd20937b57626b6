"""The figures the README quotes are those of benches/results, and the kernels' are measured as they are said to be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from benches import table
from benches.kernels import run
from benches.kernels.common import KernelCase, Side, Timing
from benches.result import Result
from tests.repo.tree import ROOT


def test_the_readme_shows_the_latest_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "| **" in readme
    assert table.with_table(readme) == readme


def test_what_is_measured_runs_without_the_makefiles_spin_count() -> None:
    code = "import os, benches.run as run; print(os.environ.get('GOMP_SPINCOUNT'), run.SPIN_COUNT)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"GOMP_SPINCOUNT": "7"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "None 7\n"


class FakeGpu:
    """A device on which a side takes the seconds, and allocates the bytes, that it returns."""

    copy_bandwidth = 1000.0
    matmul_rate = 4000.0

    def __init__(self) -> None:
        self.order: list[str] = []
        self.evicted = False
        self.is_lost = False

    def warm(self, side: Side) -> None:
        side()

    def alternate(
        self, sides: Mapping[str, Side], rounds: int, calls: int, evict: bool, ahead: float = 0.0
    ) -> dict[str, Timing]:
        self.evicted = evict
        self.order = list(sides) * (rounds * calls)
        taken = {name: [float(side())] * (rounds * calls) for name, side in sides.items()}  # type: ignore[arg-type]
        return {name: Timing(seconds, seconds) for name, seconds in taken.items()}

    def peak(self, side: Side) -> int:
        return int(100 * side())  # type: ignore[operator, arg-type]

    def release(self) -> None:
        pass

    def lost(self) -> bool:
        return self.is_lost


def measured(
    *cases: KernelCase | Exception, device: FakeGpu | None = None, seconds: float = 60.0
) -> list[Any]:
    """What a benchmark of these cases gives; an exception stands for a case that cannot be made."""

    def make() -> Iterator[KernelCase]:
        for case in cases:
            if isinstance(case, Exception):
                raise case
            yield case

    module = ModuleType("fake")
    module.cases = make  # type: ignore[attr-defined]
    return list(run.run_benchmark("fake", module, device or FakeGpu(), 5, seconds))  # type: ignore[arg-type]


def fails() -> None:
    raise ValueError("out of luck")


def test_a_case_becomes_a_line_a_peer() -> None:
    device = FakeGpu()
    case = KernelCase(
        "forward, small", {"oxiformers": lambda: 0.5, "torch": lambda: 1.0, "liger": lambda: 0.25},
        bytes=250, flops=500.0, memory=True, details={"dtype": "bfloat16"},
    )  # fmt: skip
    torchs, ligers = measured(case, device=device)
    assert (torchs.benchmark, torchs.case, torchs.peer) == ("kernels/fake", "forward, small", "torch")
    assert (torchs.ratio_p20, torchs.ratio_p50, torchs.ratio_p80, ligers.ratio_p50) == (2.0, 2.0, 2.0, 0.5)
    assert torchs.details == {
        "dtype": "bfloat16", "bandwidth_share": 0.5, "matmul_share": 0.25, "memory_ratio": 2.0, "launch_ratio": 2.0,
    }  # fmt: skip
    assert device.evicted and device.order[:4] == ["oxiformers", "torch", "liger", "oxiformers"]
    assert torchs.repetitions == len(device.order) / 3 >= 10


def test_a_side_that_fails_is_told_of_and_the_run_goes_on() -> None:
    fast, slow = (lambda: 1.0), (lambda: 2.0)
    wrong = KernelCase("unequal", {"oxiformers": fast, "torch": slow}, verify=fails)
    broken = KernelCase("broken", {"oxiformers": fails, "torch": slow})
    peerless = KernelCase("peer", {"oxiformers": fast, "torch": fails, "liger": slow})
    lines = measured(wrong, broken, peerless, RuntimeError("no memory"))
    assert [line if isinstance(line, str) else line.peer for line in lines] == [
        "fake / unequal: ValueError: out of luck",
        "fake / broken: ValueError: out of luck",
        "liger",
        "fake / peer: torch: ValueError: out of luck",
        "fake: RuntimeError: no memory",
    ]


def test_a_lost_device_and_a_spent_budget_end_a_benchmark() -> None:
    good = KernelCase("good", {"oxiformers": lambda: 1.0, "torch": lambda: 1.0})
    bad = KernelCase("bad", {"oxiformers": lambda: 1.0}, verify=fails)
    device = FakeGpu()
    device.is_lost = True
    assert measured(bad, good, device=device) == ["fake / bad: ValueError: out of luck"]
    (line,) = measured(good, good, seconds=-1.0)
    assert line.startswith("fake / good: not measured, nor what follows")


def test_without_a_gpu_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["run.py", "--commit", "0"])
    assert run.main() == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not {"run", "common"} & set(run.names())


def line(case: str, peer: str, ratio: float, **details: object) -> dict[str, Any]:
    hardware = {"gpu": "NVIDIA H200", "driver": "1", "cuda": "13.0", "multiprocessors": 132}
    result = Result("kernels/norm", case, peer, ratio, ratio, ratio, 10, dict(details), hardware=hardware)
    return dict(vars(result), versions={"torch": "2.11.0", "triton": "3.6.0"})


def test_kernels_are_grouped_by_what_a_case_does() -> None:
    lines = [
        line("forward, 64 x 100", "torch", 2.0, bandwidth_share=0.9),
        line("forward, 64 x 4096", "torch", 3.0, bandwidth_share=0.8),
        line("forward, 64 x 4096", "liger", 1.5, bandwidth_share=0.8),
        line("backward, 64 x 100", "torch", 1.25, memory_ratio=4.0),
    ]
    text = table.kernel_table(lines)
    assert (
        "| norm, forward | 2 shapes | torch | **2.00** to **3.00** | bandwidth share 0.80 to 0.90 |" in text
    )
    assert "| norm, forward | 64 x 4096 | liger | **1.50** | bandwidth share 0.80 |" in text
    assert "| norm, backward | 64 x 100 | torch | **1.25** | memory ratio 4.00 |" in text
    assert "NVIDIA H200" in text and "torch 2.11.0" in text and "triton 3.6.0" in text
    assert "not been measured" in table.kernel_table([])
