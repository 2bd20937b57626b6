"""Embeddings of text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oxiformers.errors import ArgumentError
from oxiformers.layers.inputs import Embedding
from oxiformers.layers.layout import Layout
from oxiformers.layers.norm import LayerNorm


class TextEmbeddings(nn.Module):
    """Words, positions and token types, added up and normalised, under BERT's names.

    Args:
        vocabulary: number of word ids.
        size: D.
        positions: number of positions, the longest sequence.
        token_types: number of token types; 0 for a model that has none.
        eps: of the LayerNorm.
        dropout: probability of dropping an element of the sum.
        padding_id: the word whose embedding is not trained; or None.
    """

    def __init__(
        self,
        vocabulary: int,
        size: int,
        positions: int,
        token_types: int,
        *,
        eps: float,
        dropout: float,
        padding_id: int | None,
    ) -> None:
        super().__init__()
        self.word_embeddings = Embedding(vocabulary, size, padding_id)
        self.position_embeddings = Embedding(positions, size, key="position_ids")
        if token_types:
            self.token_type_embeddings = Embedding(token_types, size, key="token_type_ids")
        self.has_token_types = token_types > 0
        self.LayerNorm = LayerNorm(size, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        layout: Layout,
    ) -> Tensor:
        """Ids ``[...]`` (or words ``[..., D]``) to ``[..., D]``; a token's position is its column."""
        if inputs_embeds is None:
            inputs_embeds = self.word_embeddings(input_ids)
        assert inputs_embeds is not None
        if position_ids is None:
            check_length(layout, self.position_embeddings.num_embeddings)
            position_ids = layout.positions(inputs_embeds.device)
        embedded = inputs_embeds
        if self.has_token_types:
            types = self.token_type_embeddings
            embedded = embedded + (types.weight[0] if token_type_ids is None else types(token_type_ids))
        embedded = embedded + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embedded))  # type: ignore[no-any-return]


def interleaved_sinusoids(positions: int, size: int) -> Tensor:
    """Sines and cosines of positions, alternating: ``[positions, size]`` (arXiv:1706.03762, 3.5)."""
    pairs = torch.arange(0, size, 2, dtype=torch.float64)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] / 10000.0 ** (pairs / size)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :size]


def check_length(layout: Layout, positions: int, longest: int | None = None) -> None:
    """Raises ArgumentError where a sequence is longer than a table of ``positions``.

    ``longest`` says how long they are where the layout's tokens continue others.
    """
    if longest is None:
        longest = _longest(layout)
    if longest is not None and longest > positions:
        raise ArgumentError(
            f"input_ids: a sequence of {longest} tokens is longer than max_position_embeddings, {positions}; "
            "truncate it",
            key="max_position_embeddings",
            expected=f"at most {positions} tokens",
            actual=f"{longest} tokens",
        )


def _longest(layout: Layout) -> int | None:
    if layout.shape is not None:
        return layout.shape[1]
    if layout.query is None or layout.query.lengths.numel() == 0 or torch.compiler.is_compiling():
        # The values of lengths are not known to a traced graph; the look-up itself checks them there.
        return None
    return int(layout.query.lengths.max())
