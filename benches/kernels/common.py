"""The shape of a case that runs on a GPU, and how its sides are timed."""

from __future__ import annotations

import itertools
import math
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

Side = Callable[[], object]

# Five times the largest L2 of the GPUs the kernels are for (50 MiB).
EVICTING_BYTES = 256 << 20
COPIED_BYTES = 1 << 30
MATMUL_SIZE = 8192


@dataclass
class KernelCase:
    """Sides that do the same work on the same tensors of a GPU.

    Attributes:
        name: what is compared, on which shapes; the README groups cases by what stands before the first comma.
        sides: name -> callable without arguments; "oxiformers" is ours and comes first.
        verify: raises where the sides disagree; called once, before any timing.
        bytes: what must be read and written at least; the share of the copy bandwidth is kept beside the ratio,
            and nothing is left in the L2 cache before a call.
        flops: floating-point operations of our side; the share of the matmul rate is kept beside the ratio.
        memory: whether the peak of allocated memory of every side is measured too.
        details: facts to keep (shapes, dtype, which configuration ran).
    """

    name: str
    sides: dict[str, Side]
    verify: Callable[[], None] | None = None
    bytes: int | None = None
    flops: float | None = None
    memory: bool = False
    details: dict[str, object] = field(default_factory=dict)


class Timing(NamedTuple):
    """Seconds of every call of one side: on the device, and until the host had handed it over."""

    device: list[float]
    host: list[float]


class Gpu:
    """Times calls on the current CUDA device."""

    def __init__(self) -> None:
        self._buffer = torch.zeros(EVICTING_BYTES // 4, device="cuda")
        self._total = torch.zeros((), device="cuda")
        self._evicting_seconds = self._median(self._evict, calls=5)
        self.copy_bandwidth = self._copy_bandwidth()
        self.matmul_rate = self._matmul_rate()

    def hardware(self) -> dict[str, object]:
        """What ran the kernels; a driver that does not say its version is `unknown`."""
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            driver = subprocess.run(query, capture_output=True, text=True).stdout.split("\n")[0].strip()
        except FileNotFoundError:
            driver = ""
        return {
            "gpu": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "driver": driver or "unknown",
            "cuda": torch.version.cuda,
        }

    def warm(self, side: Side) -> None:
        """Compiles what a side compiles at its first calls."""
        for _ in range(2):
            side()
        torch.cuda.synchronize()

    def alternate(
        self, sides: Mapping[str, Side], rounds: int, calls: int, evict: bool, ahead: float = 0.0
    ) -> dict[str, Timing]:
        """Calls the sides in turn, `calls` times each a round, each call between two events.

        Args:
            evict: empties the L2 cache of the sides' tensors before each call.
            ahead: seconds the device is kept busy at the start of a round, so that the time between two events is
                the device's alone and not that of a host that cannot keep up.
        """
        timings = {name: Timing([], []) for name in sides}
        for _ in range(rounds):
            events = []
            for _ in range(min(500, math.ceil(ahead / self._evicting_seconds))):
                self._evict()
            for _, (name, side) in itertools.product(range(calls), sides.items()):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                if evict:
                    self._evict()
                begin = time.perf_counter()
                start.record()
                side()
                end.record()
                timings[name].host.append(time.perf_counter() - begin)
                events.append((name, start, end))
            torch.cuda.synchronize()
            for name, start, end in events:
                timings[name].device.append(start.elapsed_time(end) / 1000.0)
        return timings

    def peak(self, side: Side) -> int:
        """Bytes a call allocates at its peak, beyond what lay there before."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        side()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)

    def release(self) -> None:
        """Gives back what a case has held, so that the next one finds the device empty."""
        # Compiled again for its own shapes, no case is served by a peer made for any shape.
        torch.compiler.reset()
        torch.cuda.empty_cache()

    def lost(self) -> bool:
        """Whether an error has made the device unusable for this process."""
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return True
        return False

    def _evict(self) -> None:
        # Read, not overwritten: lines that are to be written back would be charged to the call that follows.
        torch.sum(self._buffer, dim=0, out=self._total)

    def _median(self, side: Side, calls: int) -> float:
        events = []
        for _ in range(calls + 2):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            side()
            end.record()
            events.append((start, end))
        torch.cuda.synchronize()
        return float(statistics.median(start.elapsed_time(end) / 1000.0 for start, end in events[2:]))

    def _copy_bandwidth(self) -> float:
        """Bytes a second that a large copy reads and writes."""
        source = torch.zeros(COPIED_BYTES // 4, device="cuda")
        target = torch.empty_like(source)
        return 2 * COPIED_BYTES / self._median(lambda: target.copy_(source), calls=10)

    def _matmul_rate(self) -> float:
        """Floating-point operations a second of a large product in bfloat16."""
        factor = torch.randn(MATMUL_SIZE, MATMUL_SIZE, device="cuda", dtype=torch.bfloat16)
        product = torch.empty_like(factor)
        return (
            2.0 * MATMUL_SIZE**3 / self._median(lambda: torch.matmul(factor, factor, out=product), calls=10)
        )
