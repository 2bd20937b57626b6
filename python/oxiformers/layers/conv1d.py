"""The linear layer of the first GPT models, whose weight lies as their checkpoints have it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.layers.activations import Activation
from oxiformers.layers.linear import may_use_onednn, onednn_linear

# oneDNN wants the weight transposed. From so many rows on, transposing it at each call costs less than it gains in
# float32 (measured from 8 to 1,024; in bfloat16 it gains nothing, as F.linear is oneDNN there).
_FEWEST_ROWS = 96


class Conv1D(nn.Module):
    """A linear layer with a weight ``[D_in, D_out]`` (a convolution of width 1), the transpose of nn.Linear's.

    Args:
        in_features: D_in.
        out_features: D_out.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, input: Tensor, activation: Activation | None = None) -> Tensor:
        """``[..., D_in]`` to ``[..., D_out]``."""
        if input.dtype is torch.float32 and may_use_onednn(input, self.weight, _FEWEST_ROWS):
            return onednn_linear(input, self.weight.t().contiguous(), self.bias, activation)
        output = F.linear(input, self.weight.t(), self.bias)
        return output if activation is None else activation(output)

    def extra_repr(self) -> str:
        """The sizes, for print(model)."""
        return f"in_features={self.in_features}, out_features={self.out_features}"
