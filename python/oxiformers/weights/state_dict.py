"""Tensors in memory as a source of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from oxiformers.errors import InputTypeError, UnsupportedError


class StateDict:
    """Tensors by name; those of a dictionary that a caller passed, or of a file that torch.save wrote.

    Such tensors may share memory. Of names that stand for the same tensor, one is the stored name and the others are
    aliases of it. A tensor that is not contiguous or aligned, or overlaps another one, is copied when it is asked for:
    as a parameter it must not change with another one.

    Attributes:
        aliases: names that stand for a stored tensor: alias -> stored name.

    Raises:
        InputTypeError: a value is no tensor; the key is its name.
        UnsupportedError: a tensor is sparse, quantized or without values.
    """

    def __init__(self, tensors: Mapping[str, Tensor], path: Path | None = None) -> None:
        self.aliases: dict[str, str] = {}
        self._tensors: dict[str, Tensor] = {}
        same: dict[tuple[object, ...], str] = {}
        for name, tensor in tensors.items():
            _check(name, tensor, path)
            memory = tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
            if tensor.numel() and same.setdefault(memory, name) != name:
                self.aliases[name] = same[memory]
            else:
                self._tensors[name] = tensor.detach()
        self._copied = _not_alone(self._tensors)

    def names(self) -> Sequence[str]:
        """The tensors' names, without aliases."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        """A tensor's dtype."""
        return self._tensors[name].dtype

    def tensor(self, name: str) -> Tensor:
        """The tensor itself, or a copy where it shares memory with another one or is not contiguous."""
        tensor = self._tensors[name]
        return tensor.clone(memory_format=torch.contiguous_format) if name in self._copied else tensor


def _check(name: str, tensor: object, path: Path | None) -> None:
    if not isinstance(tensor, Tensor):
        raise InputTypeError.mismatch(name, "a tensor", type(tensor).__name__, path=path)
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "quantized" if tensor.is_quantized else f"of layout {tensor.layout}"
        found = "one without values, on the meta device" if tensor.is_meta else f"one that is {kind}"
        raise UnsupportedError.mismatch(name, "a dense tensor", found, path=path)


def _not_alone(tensors: Mapping[str, Tensor]) -> set[str]:
    """Those that cannot be a parameter as they are: not contiguous, not aligned, or with bytes of an earlier one."""
    found = {
        name
        for name, tensor in tensors.items()
        if not tensor.is_contiguous() or tensor.data_ptr() % tensor.itemsize
    }
    end: dict[torch.device, int] = {}
    for name in sorted(tensors.keys() - found, key=lambda name: tensors[name].data_ptr()):
        tensor = tensors[name]
        if tensor.data_ptr() < end.get(tensor.device, 0):
            found.add(name)
        end[tensor.device] = max(end.get(tensor.device, 0), tensor.data_ptr() + tensor.nbytes)
    return found
