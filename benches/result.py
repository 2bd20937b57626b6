"""One line of benches/results, and what every benchmark writes into it."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Result:
    """What was compared, on what, and by how much."""

    benchmark: str
    case: str
    peer: str
    # peer's time / our time, pair by pair
    ratio_p20: float
    ratio_p50: float
    ratio_p80: float
    repetitions: int
    details: dict[str, object] = field(default_factory=dict)
    commit: str = ""
    when: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.benchmark} / {self.case}: {self.ratio_p50:.2f}x {self.peer} "
            f"(p20 {self.ratio_p20:.2f}, p80 {self.ratio_p80:.2f}) {self.details}"
        )

    def append(self, path: Path) -> None:
        with open(path, "a") as results:
            results.write(json.dumps(asdict(self)) + "\n")


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(ratios: list[float]) -> tuple[float, float, float]:
    """The 20th, 50th and 80th percentile, as a Result keeps them."""
    low, middle, high = (round(percentile(ratios, share), 3) for share in (0.2, 0.5, 0.8))
    return low, middle, high


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version, and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that is measured, or nothing where the tree is not under git. New results are not changes."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    if shutil.which("git") is None:
        return ""
    changed = git("status", "--porcelain", "-uno", "--", str(ROOT), ":(exclude)benches/results")
    return git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")
