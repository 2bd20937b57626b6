"""Where a pipeline's model runs, and what is moved there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import UserDict
from typing import Any

import torch
from torch import Tensor

from oxiformers.errors import ArgumentError
from oxiformers.logging import get_logger

logger = get_logger(__name__)


def place_model(model: Any, device: int | str | torch.device | None) -> torch.device:
    """Moves the model to the device asked for, and returns it; a model spread by a device map stays.

    Raises ArgumentError where such a model is to be moved.
    """
    device_map = getattr(model, "hf_device_map", None)
    if device_map is not None:
        if device is not None:
            raise ArgumentError.mismatch(
                "device", None, repr(device), "a model that was loaded with device_map= is not moved"
            )
        return find_device(next(iter(device_map.values())))
    target = find_device("cpu" if device == -1 else device)
    if next((tensor.device for tensor in model.parameters()), target) != target:
        model.to(target)
    return target


def find_device(device: int | str | torch.device | None) -> torch.device:
    """A device by its name, or by the number of the accelerator; the first accelerator for None.

    The CPU where there is no accelerator.
    """
    if isinstance(device, (str, torch.device)):
        return torch.device(device)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        if device is not None:
            logger.warning("device=%d: there is no accelerator; the CPU is used", device)
        return torch.device("cpu")
    return torch.device(accelerator.type, device or 0)


def on_device(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Makes the device the current one, where there are several: kernels are launched on the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def move(value: Any, device: torch.device) -> Any:
    """The value with every tensor in it on the device: in dicts, lists, tuples and model outputs."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, (dict, UserDict)):
        moved = {name: move(item, device) for name, item in value.items()}
        if dataclasses.is_dataclass(value):
            return type(value)(**moved)
        return UserDict(moved) if isinstance(value, UserDict) else moved
    if isinstance(value, (list, tuple)):
        items = [move(item, device) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value
