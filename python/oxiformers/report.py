"""What a report of a problem should say of its surroundings, and which implementation of each op would run."""

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
    """What runs an op on a device, where the arguments are such that its kernel takes them.

    Attributes:
        op: its name.
        device: "cpu", "cuda:0".
        backend: "triton" or "torch"; None where a call would fail.
        reason: why.
    """

    op: str
    device: str
    backend: str | None
    reason: str


@dataclass(frozen=True)
class EnvReport:
    """The surroundings of this process; `print` shows it as text.

    Attributes:
        versions: of each package, None where it is not installed.
        platform: operating system, machine.
        devices: what tensors may lie on, described.
        variables: environment variables that are read and set, and their values.
        ops: what runs each op on each device.
    """

    versions: dict[str, str | None]
    platform: str
    devices: dict[str, str]
    variables: dict[str, str]
    ops: tuple[OpReport, ...]

    def __str__(self) -> str:
        versions = [(name, version or "not installed") for name, version in self.versions.items()]
        devices = list(self.devices.items())
        variables = list(self.variables.items()) or [("(none is set)", "")]
        ops = [(one.op, one.device, one.backend or "error", one.reason) for one in self.ops]
        return "\n".join([
            *_table([*versions, ("platform", self.platform)]), "",
            "devices", *_table(devices), "",
            "environment variables", *_table(variables), "",
            "ops", *_table(ops),
        ])  # fmt: skip


def env_report() -> EnvReport:
    """Versions, devices, environment variables, and for each op which implementation would run, and why.

    Imports torch, not triton.
    """
    versions: dict[str, str | None] = {"oxiformers": __version__}
    versions |= {name: _version(name) for name in _PACKAGES}
    versions |= {"python": platform.python_version(), "cuda": torch.version.cuda}
    devices = _devices()
    return EnvReport(
        versions=versions,
        platform=platform.platform(),
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
    """Rows as lines of text, columns under one another."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
