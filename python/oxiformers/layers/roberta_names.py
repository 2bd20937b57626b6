"""The heads under RoBERTa's parameter names, which many encoders took over."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.layers.linear import Linear
from oxiformers.layers.norm import LayerNorm


class RobertaNamesLMHead(nn.Module):
    """A dense layer, and one to the vocabulary, whose bias has two names."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias

    def forward(self, features: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., vocabulary]``."""
        return self.decoder(self.layer_norm(self.dense(features, F.gelu)))  # type: ignore[no-any-return]


class RobertaNamesClassificationHead(nn.Module):
    """Two dense layers over one token of a sequence.

    Args:
        size: D.
        labels: how many there are.
        dropout: probability of dropping an element before either layer.
    """

    def __init__(self, size: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.dense = Linear(size, size)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = Linear(size, labels)

    def forward(self, features: Tensor) -> Tensor:
        """The tokens ``[B, D]``, or of ``[B, S, D]`` the first ones, to logits ``[B, labels]``."""
        first = features[:, 0] if features.dim() == 3 else features
        hidden = self.dropout(self.dense(self.dropout(first), torch.tanh))
        return self.out_proj(hidden)  # type: ignore[no-any-return]
