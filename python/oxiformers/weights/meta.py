"""Modules without memory: built on the meta device, given memory where nothing is loaded into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from oxiformers.errors import ConfigError

_FACTORIES: frozenset[Callable[..., Any]] = frozenset(
    {torch.empty, torch.empty_strided, torch.rand, torch.randn, torch.normal, torch.randint}
)


# Giving values to a meta tensor does nothing, but torch's way of doing nothing imports its compiler (0.6 s
# and more).
_VALUES_ONLY: frozenset[Callable[..., Any]] = frozenset(
    {
        Tensor.normal_,
        Tensor.uniform_,
        Tensor.zero_,
        Tensor.fill_,
        Tensor.copy_,
        Tensor.add_,
        Tensor.mul_,
        Tensor.clamp_,
        Tensor.erfinv_,
        nn.init.normal_,
        nn.init.uniform_,
        nn.init.constant_,
        nn.init.kaiming_normal_,
        nn.init.kaiming_uniform_,
    }
)


class SkippingMeta(TorchFunctionMode):
    """While active (in this thread), initialising a tensor on the meta device costs nothing."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _VALUES_ONLY:
            target = args[0] if args else (kwargs or {}).get("tensor")
            if isinstance(target, Tensor) and target.is_meta:
                return target
        return func(*args, **(kwargs or {}))


class WithoutMemory(SkippingMeta):
    """While active (in this thread), torch.empty and the random factories make tensors on the meta device.

    These are what parameters are made of. Tensors of known values (torch.arange, torch.ones, ...) stay real,
    so that buffers which no checkpoint holds are right at once.

    Raises:
        ConfigError: a tensor would have more bytes than can be counted.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _FACTORIES:
            try:
                return func(*args, **((kwargs or {}) | {"device": "meta"}))
            except RuntimeError as error:  # without memory nothing fails but the product of the sizes
                found = str(error).partition("\n")[0]
                raise ConfigError.mismatch(
                    "hidden_size", "tensors that some memory can hold", found
                ) from error
        return super().__torch_function__(func, types, args, kwargs)


def owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The submodule that holds the parameter or buffer of that dotted name, and its name there."""
    path, _, attribute = name.rpartition(".")
    return module.get_submodule(path), attribute


def find(module: nn.Module, name: str) -> Tensor:
    """The parameter or buffer of that dotted name. Raises KeyError where there is none."""
    holder, attribute = owner(module, name)
    parameter = holder._parameters.get(attribute)
    if parameter is not None:
        return parameter
    buffer = holder._buffers[attribute]
    if buffer is None:
        raise KeyError(name)
    return buffer


def put(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Makes the tensor the parameter or buffer of that dotted name, in place of the one that was there."""
    holder, attribute = owner(module, name)
    old = holder._parameters.get(attribute)
    if attribute in holder._parameters:
        trainable = old is None or old.requires_grad
        if not isinstance(tensor, nn.Parameter):
            tensor = nn.Parameter(tensor, requires_grad=trainable and tensor.is_floating_point())
        holder._parameters[attribute] = tensor
    else:
        holder._buffers[attribute] = tensor


def give_memory(module: nn.Module, names: Iterable[str], device: torch.device, dtype: torch.dtype) -> None:
    """Gives the named parameters and buffers memory on the device, zeros where they had none yet.

    Floating-point parameters get the dtype; buffers keep their own. A tensor of several names stays one.
    """
    made: dict[int, tuple[Tensor, Tensor]] = {}  # the old tensors too: an id is theirs only while they live
    for name in names:
        old = find(module, name)
        if id(old) not in made:
            parameter = isinstance(old, nn.Parameter)
            kind = dtype if parameter and old.is_floating_point() else old.dtype
            if old.is_meta:
                new: Tensor = torch.zeros(old.shape, dtype=kind, device=device)
            else:
                new = old.detach().to(device=device, dtype=kind)
            made[id(old)] = old, nn.Parameter(new, old.requires_grad) if parameter else new
        put(module, name, made[id(old)][1])


def size_in_bytes(module: nn.Module, dtype: torch.dtype | None = None) -> int:
    """What the module's parameters and buffers take, shared ones once, with floating-point ones in
    `dtype`."""
    total = 0
    for tensor in {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}.values():
        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        total += tensor.numel() * kind.itemsize
    return total
