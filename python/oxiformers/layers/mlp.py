"""Feed-forward layers."""

from __future__ import annotations

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.activations import activation
from oxiformers.layers.linear import Linear


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
        output: Tensor = self.down_proj(self.gate_proj(hidden, self.act_fn) * self.up_proj(hidden))
        return output
