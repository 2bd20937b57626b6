"""What to add to a report of a problem: versions, devices, settings, and which implementation of each op runs."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

import torch

from oxiformers import __version__, env
from oxiformers.layers import fused

_PACKAGES = ("oxiformers-kernels", "torch", "triton", "numpy", "huggingface-hub")


@dataclass(frozen=True)
class OpReport:
    """What runs an op on a device, for arguments that its kernel supports.

    Attributes:
        op: its name.
        device: "cpu", "cuda:0".
        backend: "triton" or "torch"; None if a call would fail.
        reason: why that one, or why a call would fail.
    """

    op: str
    device: str
    backend: str | None
    reason: str


@dataclass(frozen=True)
class EnvReport:
    """What this process runs on and with; `print` shows it as text.

    Attributes:
        versions: of each package, None where it is not installed.
        platform: operating system, machine.
        openmp: how OpenMP's threads wait, and who decided it.
        devices: the devices tensors may be on, with a description.
        variables: the environment variables that oxiformers reads, as far as they are set, and their values.
        ops: what runs each op on each device.
    """

    versions: dict[str, str | None]
    platform: str
    openmp: str
    devices: dict[str, str]
    variables: dict[str, str]
    ops: tuple[OpReport, ...]

    def __str__(self) -> str:
        versions = [(name, version or "not installed") for name, version in self.versions.items()]
        devices = list(self.devices.items())
        variables = list(self.variables.items()) or [("(none is set)", "")]
        ops = [(one.op, one.device, one.backend or "error", one.reason) for one in self.ops]
        return "\n".join([
            *_table([*versions, ("platform", self.platform), ("openmp", self.openmp)]), "",
            "devices", *_table(devices), "",
            "environment variables", *_table(variables), "",
            "ops", *_table(ops),
        ])  # fmt: skip


def env_report() -> EnvReport:
    """Versions, devices, environment variables, and for each op which implementation runs, and why.

    Imports torch, not triton.
    """
    versions: dict[str, str | None] = {"oxiformers": __version__}
    versions |= {name: _version(name) for name in _PACKAGES}
    versions |= {"python": platform.python_version(), "cuda": torch.version.cuda}
    devices = _devices()
    return EnvReport(
        versions=versions,
        platform=platform.platform(),
        openmp=env.limit_spinning(),
        devices=devices,
        variables=env.variables(),
        ops=tuple(
            OpReport(op, device, *fused.would_run(op, torch.device(device)))
            for op in fused.ops()
            for device in devices
        ),
    )


def _devices() -> dict[str, str]:
    devices = {"cpu": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"}
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        memory = found.total_memory / 2**30
        devices[f"cuda:{index}"] = (
            f"{found.name}, {memory:.0f} GiB, compute capability {found.major}.{found.minor}"
        )
    return devices


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows as lines of text, with aligned columns."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
