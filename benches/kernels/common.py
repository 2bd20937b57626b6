"""The shape of a case that runs on a GPU, and how its sides are timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch


@dataclass
class KernelCase:
    """Sides that do the same work on the same tensors of a GPU.

    Attributes:
        name: what is compared, on which shapes.
        sides: name -> callable without arguments; "oxiformers" is ours and comes first.
        verify: raises where the sides disagree; called once, before any timing.
        bytes: what must be read and written at least; the share of the copy bandwidth is kept beside the ratio.
        flops: floating-point operations of our side; the rate is kept beside the ratio.
        memory: whether the peak of allocated memory of every side is measured too.
        details: facts to keep (shapes, dtype, which configuration ran).
    """

    name: str
    sides: dict[str, Callable[[], object]]
    verify: Callable[[], None] | None = None
    bytes: int | None = None
    flops: float | None = None
    memory: bool = False
    details: dict[str, object] = field(default_factory=dict)


def seconds(side: Callable[[], object], repetitions: int, flush: torch.Tensor | None = None) -> list[float]:
    """Seconds of each repetition on the device, between two events; ``flush`` is overwritten before each."""
    pairs = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repetitions)
    ]
    for start, end in pairs:
        if flush is not None:
            flush.zero_()
        start.record()
        side()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1000.0 for start, end in pairs]
