"""Feed-forward layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import Activation, activation, gelu_tanh
from oxiformers.layers.fused import may_fuse
from oxiformers.layers.linear import Linear
from oxiformers_kernels.activation import geglu, swiglu


class GatedMLP(nn.Module):
    """A feed-forward layer whose hidden values are gated (Shazeer, arXiv:2002.05202), under Llama's names.

    Reads hidden_size, intermediate_size, hidden_act and, where there is one, mlp_bias of the config.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        bias = getattr(config, "mlp_bias", False)
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=bias)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=bias)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=bias)
        self.act_fn = activation(config.hidden_act)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to the same."""
        output: Tensor = self.down_proj(gated(hidden, self.gate_proj, self.up_proj, self.act_fn))
        return output


def gated(hidden: Tensor, gate: Linear, up: Linear, activation: Activation) -> Tensor:
    """``activation(gate(hidden)) * up(hidden)``, ``[..., D]`` to ``[..., D_ff]``."""
    product = _PRODUCTS.get(activation) if may_fuse(hidden) else None
    if product is not None:
        return product(gate(hidden), up(hidden))
    scaled: Tensor = gate(hidden, activation) * up(hidden)
    return scaled


# The activations whose product with the other half has a kernel.
_PRODUCTS: dict[Activation, Callable[[Tensor, Tensor], Tensor]] = {
    F.silu: swiglu,
    F.gelu: partial(geglu, approximate="none"),
    gelu_tanh: partial(geglu, approximate="tanh"),
}
