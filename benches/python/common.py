"""What every benchmark shares: the shape of a case, and where the inputs lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Case:
    """Sides that do the same work on the same input.

    Attributes:
        name: what is compared, on what.
        sides: name -> callable; "oxiformers" is ours.
        details: facts to keep beside the ratio (sizes, padding factor).
        calibrate: measures the machine's rate, called around every repetition; or None.
        work: how much of what ``calibrate`` counts our side does.
        repetitions: overrides the command line for slow cases.
    """

    name: str
    sides: dict[str, Callable[[], object]]
    details: dict[str, object] = field(default_factory=dict)
    calibrate: Callable[[], float] | None = None
    work: float = 0.0
    repetitions: int | None = None


def shared(path: str) -> Path:
    """A file of the shared data; an error says how to point to it."""
    root = Path(os.environ.get("OXIFORMERS_SHARED", ROOT.parent / "shared"))
    if not (root / path).exists():
        raise FileNotFoundError(
            f"{root / path}: set OXIFORMERS_SHARED to the folder of tokenizers and corpora"
        )
    return root / path


def documents(name: str, limit: int | None = None) -> list[str]:
    """The documents of a corpus: separated by a blank line, one a line in short.txt."""
    text = shared(f"corpora/{name}").read_text(encoding="utf-8")
    parts = text.splitlines() if name == "short.txt" else text.split("\n\n")
    parts = [part for part in parts if part.strip()]
    return parts[:limit]
