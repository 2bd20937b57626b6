"""Which dtype a model's weights get, and which device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from oxiformers.config import Config, dtype_name
from oxiformers.errors import ArgumentError, ConfigError, UnsupportedError
from oxiformers.weights.load import Weights

Device = torch.device | str | int | Mapping[str, Any] | None


def as_dtype(value: torch.dtype | str | None) -> torch.dtype:
    """A floating-point dtype from itself or its name; torch's default dtype for None. Raises
    ArgumentError."""
    if value is None:
        return torch.get_default_dtype()
    kind = value
    if isinstance(value, str):
        name = dtype_name(value)
        kind = value if name is None else getattr(torch, name)
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise ArgumentError(
            f"dtype={value!r} is not the dtype of weights",
            key="dtype",
            expected="'auto', a floating-point torch.dtype or its name",
            actual=repr(value),
        )
    return kind


def choose_dtype(wanted: torch.dtype | str, config: Config, weights: Weights) -> torch.dtype:
    """The wanted dtype; for "auto" the config's, else that of the checkpoint's first floating-point
    tensor."""
    if wanted != "auto":
        return as_dtype(wanted)
    if config.dtype is not None:
        return config.dtype
    kinds = (weights.dtype(name) for name in weights.names())
    return next((kind for kind in kinds if kind.is_floating_point), torch.get_default_dtype())


def as_device(device: Device, device_map: Device = None) -> torch.device:
    """One device from the arguments `device` and `device_map`; the CPU where neither is given.

    Raises:
        ArgumentError: both are given and differ, or there is no such device.
        UnsupportedError: a map that spreads the model over several devices.
    """
    found = [_one_device(value) for value in (device, device_map) if value is not None]
    if len(found) == 2 and found[0] != found[1]:
        raise ArgumentError(f"device={device!r} and device_map={device_map!r} differ", key="device_map")
    return found[0] if found else torch.device("cpu")


def _one_device(value: Any) -> torch.device:
    if isinstance(value, Mapping):
        places = list(value.values())
        if not places or any(place != places[0] for place in places):
            raise UnsupportedError(
                f"device_map={dict(value)!r}: a model lies on one device, as in {{'': 'cuda:0'}}",
                key="device_map",
            )
        value = places[0]
    if value in ("auto", "balanced", "balanced_low_0", "sequential"):
        value = "cuda" if torch.cuda.is_available() else "cpu"
    if isinstance(value, int) and not isinstance(value, bool):
        value = "cpu" if value < 0 else f"cuda:{value}"
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(
            f"device={value!r} is no device: {str(error).splitlines()[0]}",
            key="device",
            expected="'cpu', 'cuda', 'cuda:1', an index or 'auto'",
            actual=repr(value),
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArgumentError(
            f"device={value!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices",
            key="device",
            expected=f"an index below {torch.cuda.device_count()}, or 'cpu'",
            actual=repr(value),
        )
    return device


def check_fits(size: int, device: torch.device, config: Config) -> None:
    """Refuses a model whose weights are larger than the device's whole memory. Raises ConfigError."""
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    elif device.type == "cpu" and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        return
    if size > memory:
        raise ConfigError(
            f"{config._source or type(config).__name__}: the sizes ask for {size / 1e9:,.0f} GB of weights, "
            f"and {device} has {memory / 1e9:,.0f} GB",
            path=config._source,
            key="hidden_size",
            expected=f"at most {memory / 1e9:,.0f} GB of weights",
            actual=f"{size / 1e9:,.0f} GB",
        )
