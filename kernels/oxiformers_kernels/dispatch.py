"""Which implementation of an op runs, and why: `auto`, `triton` or `torch`."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal, NamedTuple, get_args

import torch

Backend = Literal["auto", "triton", "torch"]

_BACKENDS = get_args(Backend)

logger = logging.getLogger("oxiformers_kernels")

MINIMUM_CAPABILITY = (8, 0)


class BackendError(RuntimeError):
    """The backend asked for by name cannot run this call; the message says why."""


class Choice(NamedTuple):
    """The implementation that runs (`triton` or `torch`) and the reason, in words."""

    backend: Literal["triton", "torch"]
    reason: str


class Decision(NamedTuple):
    """What was chosen for one call of an op."""

    op: str
    backend: Literal["triton", "torch"]
    reason: str


_recorded: ContextVar[list[Decision] | None] = ContextVar("oxiformers_kernels_recorded", default=None)


def choose(
    op: str,
    backend: Backend | None,
    device: torch.device,
    unsupported: str | None = None,
    slower: str | None = None,
) -> Choice:
    """Decides which implementation of `op` runs for tensors on `device`.

    Args:
        op: the op's name, for messages.
        backend: the caller's choice; None reads the environment variable OXIFORMERS_KERNELS (default `auto`).
        unsupported: why the Triton kernel cannot take these arguments, or None where it can.
        slower: why plain torch is the faster one for these arguments, by measurement; `auto` then takes it.

    Raises:
        ValueError: the backend's name is unknown.
        BackendError: `triton` was asked for by name and cannot run.
    """
    choice, obstacle = _choose(op, backend, device, unsupported, slower)
    if obstacle is not None:
        _say_once(op, obstacle, logging.WARNING if device.type == "cuda" else logging.INFO)
    if (recorded := _recorded.get()) is not None:
        recorded.append(Decision(op, *choice))
    return choice


def _choose(
    op: str, backend: Backend | None, device: torch.device, unsupported: str | None, slower: str | None
) -> tuple[Choice, str | None]:
    """The choice, and what keeps `auto` from Triton."""
    source = "backend" if backend is not None else "OXIFORMERS_KERNELS"
    wanted = backend if backend is not None else os.environ.get("OXIFORMERS_KERNELS") or "auto"
    if wanted not in _BACKENDS:
        raise ValueError(f"{source}={wanted!r}: expected one of {', '.join(_BACKENDS)}")
    if wanted == "torch":
        return Choice("torch", f"{source}=torch"), None
    obstacle = triton_obstacle(device) or unsupported
    if obstacle is None and wanted == "auto" and slower is not None:
        return Choice("torch", f"measured slower: {slower}"), None
    if obstacle is None:
        reason = "Triton can run this call" if wanted == "auto" else f"{source}=triton"
        return Choice("triton", reason), None
    if wanted == "triton":
        raise BackendError(f"{op}: {source}=triton, but {obstacle}")
    return Choice("torch", obstacle), obstacle


# torch.compile asks once, while tracing: the choice is no part of the graph. This is all that
# torch.compiler.assume_constant_result does, after importing the compiler, which takes longer than torch itself.
choose._dynamo_marked_constant = True  # type: ignore[attr-defined]


def ops() -> tuple[str, ...]:
    """The names of all ops: the subpackages."""
    folder = [os.path.dirname(__file__)]
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folder) if module.ispkg))


def preview(op: str, device: torch.device) -> Choice:
    """As `choose` for arguments that the kernel takes and the caller leaves the backend to it; logs nothing.

    Raises:
        ValueError, BackendError: as `choose`.
    """
    return _choose(op, None, device, None, None)[0]


@contextlib.contextmanager
def recorded() -> Iterator[list[Decision]]:
    """The decisions made inside of a `with` block, in order: which implementation ran, and why.

    What torch.compile has traced decides no more.
    """
    decisions: list[Decision] = []
    token = _recorded.set(decisions)
    try:
        yield decisions
    finally:
        _recorded.reset(token)


def triton_obstacle(device: torch.device) -> str | None:
    """Why no Triton kernel can run on `device`, or None."""
    if not _triton_installed():
        return f"triton is not installed (platform {sys.platform})"
    if interpreting():
        return (
            None
            if device.type == "cpu"
            else f"TRITON_INTERPRET=1 runs on the CPU, the tensors are on {device}"
        )
    if device.type != "cuda":
        return f"the tensors are on {device.type}, Triton needs cuda"
    return _capability_obstacle(device.index if device.index is not None else torch.cuda.current_device())


def interpreting() -> bool:
    """Whether Triton's interpreter runs the kernels, on the CPU; read when the kernels are defined."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def _triton_installed() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _capability_obstacle(index: int) -> str | None:
    capability = torch.cuda.get_device_capability(index)
    if torch.version.hip is None and capability < MINIMUM_CAPABILITY:
        have, need = (".".join(map(str, version)) for version in (capability, MINIMUM_CAPABILITY))
        return f"cuda:{index} has compute capability {have}, the kernels need {need}"
    return None


@functools.cache
def _say_once(op: str, obstacle: str, level: int) -> None:
    logger.log(level, "%s runs in plain torch: %s", op, obstacle)
