"""The linear layer every architecture uses."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.layers.activations import Activation


class Linear(nn.Linear):
    """An nn.Linear that may be told the activation that follows it.

    Telling it lets a fused kernel apply the activation while the product is still in the cache.
    """

    def forward(self, input: Tensor, activation: Activation | None = None) -> Tensor:
        """``[..., D_in]`` to ``[..., D_out]``."""
        output = F.linear(input, self.weight, self.bias)
        return output if activation is None else activation(output)
