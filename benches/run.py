"""Runs a benchmark the way its figures may be quoted: tests first, machine idle, sides alternated, one JSON line.

    python benches/run.py [NAME ...] [--repetitions 7] [--skip-tests] [--list]

GOMP_SPINCOUNT, which the Makefile sets for tests, is not set for what is measured, on either side; oxiformers sets it
itself where it is imported before torch.

Every benchmark is a module of benches/python with ``TESTS`` (pytest paths that must be green), and ``cases()``: an
iterator of Case. A case holds the sides (ours first), each a callable without arguments, already verified to give the
same output. Times never leave this program: what is printed and kept are ratios within one run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# Every side runs as in a user's shell, which leaves OpenMP its default: the variable goes before torch is imported.
SPIN_COUNT = os.environ.pop("GOMP_SPINCOUNT", None)

from benches.python.common import Case  # noqa: E402
from benches.result import Result, commit, spread, versions  # noqa: E402

BENCHMARKS = ("tokenizer_call", "tokenizers", "pipeline_classification", "startup")
PACKAGES = (
    *("oxiformers", "torch", "numpy", "transformers", "tokenizers", "huggingface_hub"),
    *("tokie", "gigatoken", "fastokens", "iree-tokenizer", "kitoken", "tiktoken", "sentencepiece"),
)


def wait_until_idle(limit: float = 60.0) -> float:
    """Waits until nothing else computes, and returns the load that was left."""
    end = time.monotonic() + limit
    while True:
        before = _busy_seconds()
        time.sleep(2.0)
        load = (_busy_seconds() - before) / 2.0
        if load < 0.15 or time.monotonic() > end:
            return round(load, 2)


def _busy_seconds() -> float:
    """Seconds all processors together have computed since the start of the machine."""
    with open("/proc/stat") as stat:
        numbers = [int(number) for number in stat.readline().split()[1:]]
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")


def timed(side) -> float:
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def run_case(benchmark: str, case: Case, repetitions: int) -> list[Result]:
    repetitions = case.repetitions or repetitions
    load = wait_until_idle()
    for side in case.sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in case.sides}
    calibrations: list[float] = []
    for _ in range(repetitions):
        if case.calibrate is not None:
            calibrations.append(case.calibrate())
        for name, side in case.sides.items():
            seconds[name].append(timed(side))
    if case.calibrate is not None:
        calibrations.append(case.calibrate())
    ours = seconds["oxiformers"]
    results = []
    for name, theirs in seconds.items():
        if name == "oxiformers":
            continue
        ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
        details = dict(case.details, load_before=load)
        results.append(Result(benchmark, case.name, name, *spread(ratios), repetitions, details))
    if case.calibrate is not None:
        # The rate just before and just after each repetition, so that a machine that drifts does not decide.
        efficiencies = [
            case.work / (time_taken * (calibrations[index] + calibrations[index + 1]) / 2)
            for index, time_taken in enumerate(ours)
        ]
        for result in results:
            result.details["efficiency_p50"] = round(statistics.median(efficiencies), 3)
    return results


def hardware() -> dict[str, object]:
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.platform()}


def tests_pass(paths: tuple[str, ...]) -> bool:
    # The tests run in the development environment: the bench environment holds the release build and the peers.
    python = os.environ.get("OXIFORMERS_TEST_PYTHON", str(ROOT / ".venv/bin/python"))
    command = [python, "-m", "pytest", "-q", "-x", *(str(ROOT / path) for path in paths)]
    spin_count = {} if SPIN_COUNT is None else {"GOMP_SPINCOUNT": SPIN_COUNT}
    return subprocess.run(command, cwd=ROOT, env=os.environ | spin_count).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default"
    )
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--skip-tests", action="store_true", help="for trying out: nothing is kept")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        print("\n".join(BENCHMARKS))
        return 0
    for name in options.names or BENCHMARKS:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark is named {name}; there are {', '.join(BENCHMARKS)}")
        module = importlib.import_module(f"benches.python.{name}")
        if not options.skip_tests and not tests_pass(module.TESTS):
            print(f"{name}: its tests fail, so nothing is measured", file=sys.stderr)
            return 1
        for case in module.cases():
            for result in run_case(name, case, max(options.repetitions, 5)):
                result.commit, result.versions, result.hardware = commit(), versions(PACKAGES), hardware()
                result.when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                print(result, flush=True)
                if not options.skip_tests:
                    result.append(ROOT / "benches/results" / f"{name}.jsonl")
    return 0


if __name__ == "__main__":
    sys.exit(main())
