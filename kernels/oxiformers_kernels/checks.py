"""The errors of arguments that do not fit, in the same words for every op.

Ops check inline and come here only to fail: a call of a function for each check took as long as the checks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def wrong_dtype(op: str, name: str, tensor: Tensor, expected: object = "a floating dtype") -> TypeError:
    """The error of an argument whose dtype is another one than expected (in words, or the dtype)."""
    return TypeError(f"{op}: {name} has dtype {tensor.dtype}, expected {expected}")


def wrong_shape(op: str, name: str, tensor: Tensor, expected: str | Sequence[int]) -> ValueError:
    """The error of an argument whose shape is another one than expected (as "[T, D]", or sizes)."""
    shape = expected if isinstance(expected, str) else tuple(expected)
    return ValueError(f"{op}: {name} has shape {tuple(tensor.shape)}, expected {shape}")


def wrong_device(op: str, name: str, tensor: Tensor, expected: torch.device) -> ValueError:
    """The error of an argument that is on another device than the first one."""
    return ValueError(f"{op}: {name} is on {tensor.device}, expected {expected}")


def require_ends(op: str, name: str, ends: Tensor, device: torch.device) -> None:
    """Raises TypeError or ValueError unless `ends` are cumulative lengths ``[B + 1]`` on the device."""
    if ends.dtype not in (torch.int32, torch.int64):
        raise wrong_dtype(op, name, ends, "int32 or int64")
    if ends.dim() != 1 or ends.shape[0] == 0:
        raise wrong_shape(op, name, ends, "[B + 1]")
    if ends.device != device:
        raise wrong_device(op, name, ends, device)
