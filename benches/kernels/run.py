"""Measures the kernels on a GPU: tests first, sides verified and alternated, one JSON line a peer.

    python3 benches/kernels/run.py [NAME ...] [--out FILE] [--repetitions 7] [--seconds N] [--skip-tests] [--list]

Every other module of this folder is a benchmark: ``cases()`` yields KernelCase, one at a time, so that memory is free
before the next is made. Its tests are those of tests/kernels/test_NAME*_kernel.py that need a GPU, unless ``TESTS``
names others; ``SECONDS`` is its budget where 30 are not enough. Times never leave this program: what is printed and
kept are ratios within one run, shares of the rates that the same device reaches when it copies and multiplies, and
peaks of memory.

It needs torch, triton and this repository, installed or not. Exit status: 0 where everything was measured, 1 where a
test or a case failed or the budget was spent, 2 without a GPU.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import torch  # noqa: E402

from benches.kernels.common import Gpu, KernelCase  # noqa: E402
from benches.result import Result, commit, spread, versions  # noqa: E402

OURS = "oxiformers"
PACKAGES = ("torch", "triton", "liger_kernel", "oxiformers-kernels")
# Device time of one case, all sides and rounds together.
CASE_SECONDS = 0.4
CALLS = range(2, 21)
BENCHMARK_SECONDS = 30.0


def names() -> list[str]:
    """The benchmarks: every module of this folder but this one and what they share."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("run", "common", "__init__"))


def run_case(benchmark: str, case: KernelCase, device: Gpu, rounds: int) -> tuple[list[Result], list[str]]:
    """The results against every peer, and what went wrong with those that have none."""
    if case.verify is not None:
        case.verify()
    sides, errors = {}, []
    for name, side in case.sides.items():
        try:
            device.warm(side)
        except Exception as error:
            # A peer that cannot run is told of, and costs no other its figure.
            if name == OURS or device.lost():
                raise
            errors.append(f"{name}: {_first_line(error)}")
        else:
            sides[name] = side
    evict = case.bytes is not None
    trial = device.alternate(sides, rounds=1, calls=2, evict=evict)
    turn = sum(min(timing.device) for timing in trial.values())
    calls = min(CALLS[-1], max(CALLS[0], int(CASE_SECONDS / rounds / max(turn, 1e-6))))
    ahead = 1.5 * calls * sum(min(timing.host) for timing in trial.values())
    timings = device.alternate(sides, rounds, calls, evict, ahead)
    ours = timings[OURS]
    details = dict(case.details)
    seconds = statistics.median(ours.device)
    if case.bytes is not None:
        details["bandwidth_share"] = round(case.bytes / seconds / device.copy_bandwidth, 3)
    if case.flops is not None:
        details["matmul_share"] = round(case.flops / seconds / device.matmul_rate, 3)
    peaks = {name: device.peak(side) for name, side in sides.items()} if case.memory else {}
    results = []
    for name, theirs in timings.items():
        if name == OURS:
            continue
        own = dict(details)
        own["launch_ratio"] = round(statistics.median(theirs.host) / statistics.median(ours.host), 2)
        if peaks.get(OURS):
            own["memory_ratio"] = round(peaks[name] / peaks[OURS], 3)
        ratios = [their / our for our, their in zip(ours.device, theirs.device, strict=True)]
        results.append(Result(f"kernels/{benchmark}", case.name, name, *spread(ratios), len(ratios), own))
    return results, errors


def run_benchmark(
    benchmark: str, module: ModuleType, device: Gpu, rounds: int, seconds: float
) -> Iterator[Result | str]:
    """Every result of a benchmark, and a line for everything that failed."""
    end = time.monotonic() + seconds
    cases, case = iter(module.cases()), None
    while True:
        what = benchmark
        try:
            case = next(cases, None)
            if case is None:
                return
            what = f"{benchmark} / {case.name}"
            if time.monotonic() > end:
                yield f"{what}: not measured, nor what follows: the budget of {seconds:.0f} s is spent"
                return
            results, errors = run_case(benchmark, case, device, rounds)
            yield from results
            yield from (f"{what}: {error}" for error in errors)
        except Exception as error:  # noqa: BLE001 - told of, counted in the exit status, and the run goes on
            yield f"{what}: {_first_line(error)}"
            if device.lost():
                return
        case = None
        gc.collect()
        device.release()


def _first_line(error: Exception) -> str:
    """The kind of an error and the start of its message; compilers' messages have hundreds of lines."""
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def start_tests(benchmark: str, module: ModuleType, output: IO[bytes]) -> subprocess.Popen[bytes] | None:
    """Starts the benchmark's tests in a process of their own, or returns None where there is none."""
    paths = [str(ROOT / path) for path in getattr(module, "TESTS", ())]
    paths = paths or sorted(map(str, (ROOT / "tests/kernels").glob(f"test_{benchmark}*_kernel.py")))
    if not paths:
        return None
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / "kernels"))))
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-m", "gpu and not interpreter", *paths]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)


def tested(modules: dict[str, ModuleType]) -> list[str]:
    """The benchmarks whose tests pass; all tests run at the same time, as compiling is what they do most."""
    passed = []
    with tempfile.TemporaryDirectory() as folder:
        started = {}
        for name, module in modules.items():
            output = open(Path(folder) / name, "w+b")  # noqa: SIM115 - closed below, when the process has ended
            started[name] = (start_tests(name, module, output), output)
        for name, (process, output) in started.items():
            with output:
                if process is None:
                    print(f"{name}: it has no tests, so nothing is measured", file=sys.stderr, flush=True)
                elif process.wait() == 0:
                    passed.append(name)
                else:
                    output.seek(0)
                    text = output.read().decode(errors="replace")[-8000:]
                    print(
                        f"{name}: its tests fail, so nothing is measured\n{text}", file=sys.stderr, flush=True
                    )
    return passed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "benches/results/kernels.jsonl")
    parser.add_argument("--repetitions", type=int, default=7, help="rounds of a few calls each, 5 at least")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="budget of a benchmark, compiling included"
    )
    parser.add_argument("--skip-tests", action="store_true", help="where they have just passed")
    parser.add_argument("--commit", default=commit(), help="what is measured, where the tree has no git")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    for name in options.names:
        if name not in names():
            parser.error(f"no benchmark is named {name}; there are {', '.join(names())}")
    return options


def main() -> int:
    options = parse()
    if options.list:
        print("\n".join(names()))
        return 0
    if not torch.cuda.is_available():
        print("no CUDA device: nothing is measured", file=sys.stderr)
        return 2
    modules, failed = {}, False
    for name in options.names or names():
        try:
            modules[name] = importlib.import_module(f"benches.kernels.{name}")
        except ImportError as error:
            failed = True
            print(f"{name}: {_first_line(error)}", file=sys.stderr, flush=True)
    wanted = list(modules) if options.skip_tests else tested(modules)
    failed |= len(wanted) < len(modules)
    device = Gpu()
    found, when = versions(PACKAGES), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for index, name in enumerate(wanted):
        start = time.monotonic()
        for result in run_benchmark(
            name, modules[name], device, max(options.repetitions, 5), options.seconds
        ):
            if isinstance(result, str):
                failed = True
                print(f"ERROR {result}", file=sys.stderr, flush=True)
                continue
            result.commit, result.when = options.commit, when
            result.versions, result.hardware = found, device.hardware()
            result.append(options.out)
            print(result, flush=True)
        print(f"{name}: {time.monotonic() - start:.0f} s in all", flush=True)
        if device.lost():
            # An illegal access ends what this process may do on the device; a new one takes what is left.
            rest = wanted[index + 1 :]
            if rest:
                command = [
                    *(sys.executable, __file__, *rest, "--skip-tests", "--out", str(options.out.resolve())),
                    *("--repetitions", str(options.repetitions), "--commit", options.commit),
                    *(("--seconds", str(options.seconds)) if options.seconds else ()),
                ]
                subprocess.run(command)
            return 1
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
