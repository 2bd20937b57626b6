"""Activation functions under the names configs use."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers.errors import ConfigError

Activation = Callable[[Tensor], Tensor]


def gelu_tanh(hidden: Tensor) -> Tensor:
    """GELU by its tanh approximation (Hendrycks and Gimpel, arXiv:1606.08415)."""
    return F.gelu(hidden, approximate="tanh")


def quick_gelu(hidden: Tensor) -> Tensor:
    """``x * sigmoid(1.702 x)``, the approximation CLIP was trained with."""
    return hidden * torch.sigmoid(1.702 * hidden)


def gelu_10(hidden: Tensor) -> Tensor:
    """GELU clipped to [-10, 10], for quantised models."""
    return F.gelu(hidden).clamp(-10, 10)


def squared_relu(hidden: Tensor) -> Tensor:
    """``relu(x) ** 2`` (So et al., arXiv:2109.08668)."""
    return F.relu(hidden).square()


def laplace(hidden: Tensor, mu: float = 0.707107, sigma: float = 0.282095) -> Tensor:
    """The Laplace function of Ma et al., arXiv:2209.10655."""
    return 0.5 * (1.0 + torch.erf((hidden - mu) / (sigma * math.sqrt(2.0))))


ACTIVATIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_python": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_accurate": gelu_tanh,
    "gelu_python_tanh": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_10": gelu_10,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "relu2": squared_relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "laplace": laplace,
    "leaky_relu": F.leaky_relu,
    "linear": lambda hidden: hidden,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def activation(name: str, key: str = "hidden_act") -> Activation:
    """The function a config names.

    Raises:
        ConfigError: no activation has that name.
    """
    try:
        return ACTIVATIONS[name]
    except KeyError:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ConfigError(
            f"{key}: no activation is named {name!r}; there are {known}",
            key=key,
            expected=known,
            actual=repr(name),
        ) from None


def finite(hidden: Tensor) -> Tensor:
    """Float16 without infinities, which activations of models trained in bfloat16 or float32 may reach."""
    if hidden.dtype is not torch.float16:
        return hidden
    largest = torch.finfo(hidden.dtype).max
    bound = torch.where(hidden.isinf().any(), largest - 1000, largest)
    return hidden.clamp(min=-bound, max=bound)
