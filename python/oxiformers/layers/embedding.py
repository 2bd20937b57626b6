"""Embeddings of tokens, positions and token types."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor, nn

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.layers.layout import Layout
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.tokens import require_tensor


class Embedding(nn.Embedding):
    """A table of vectors that names what it was asked for and does not have.

    Args:
        count: number of ids.
        size: D.
        padding_id: the id whose vector is not trained; or None.
        key: the argument that the ids come from.
    """

    def __init__(self, count: int, size: int, padding_id: int | None = None, key: str = "input_ids") -> None:
        super().__init__(count, size, padding_idx=padding_id)
        self.key = key

    def forward(self, input: Tensor) -> Tensor:
        """Ids ``[...]`` to ``[..., D]``."""
        if torch.compiler.is_compiling():
            return super().forward(input)
        try:
            return super().forward(input)
        except torch.OutOfMemoryError:
            raise
        except (IndexError, RuntimeError, TypeError) as error:
            self._explain(input, error)

    def _explain(self, ids: Tensor, error: Exception) -> NoReturn:
        require_tensor(ids, self.key)
        if ids.dtype not in (torch.int64, torch.int32):
            raise InputTypeError.mismatch(self.key, "int64 or int32", ids.dtype) from error
        outside = ids[(ids < 0) | (ids >= self.num_embeddings)] if isinstance(error, IndexError) else ids[:0]
        if outside.numel() == 0:
            raise error
        raise ArgumentError(
            f"{self.key}: {int(outside[0])} is outside of 0 to {self.num_embeddings - 1}",
            key=self.key,
            expected=f"0 to {self.num_embeddings - 1}",
            actual=str(int(outside[0])),
        ) from error


class TextEmbeddings(nn.Module):
    """Embeddings of tokens, positions and token types, added up and normalised, under BERT's names.

    Args:
        vocabulary: number of token ids.
        size: D.
        positions: number of positions, the longest sequence.
        token_types: number of token types; 0 for a model that has none.
        eps: of the LayerNorm.
        dropout: probability of dropping an element of the sum.
        padding_id: the token whose embedding is not trained; or None.
        counts_tokens: positions are those of counted_positions, and that of padding is not trained.
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
        counts_tokens: bool = False,
    ) -> None:
        super().__init__()
        self.word_embeddings = Embedding(vocabulary, size, padding_id)
        self.position_embeddings = Embedding(
            positions, size, padding_id if counts_tokens else None, key="position_ids"
        )
        if token_types:
            self.token_type_embeddings = Embedding(token_types, size, key="token_type_ids")
        self.has_token_types = token_types > 0
        self.LayerNorm = LayerNorm(size, eps=eps)
        self.dropout = nn.Dropout(dropout)

    @property
    def uncounted_id(self) -> int | None:
        """The id of padding where positions count tokens, else None."""
        return self.position_embeddings.padding_idx

    @property
    def position_limit(self) -> int:
        """How many tokens a sequence may have."""
        before = 0 if self.uncounted_id is None else self.uncounted_id + 1
        return self.position_embeddings.num_embeddings - before

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values_length: int = 0,
    ) -> Tensor:
        """Ids ``[...]`` (or their embeddings ``[..., D]``) to ``[..., D]``.

        A model names the positions; without, they count the columns of ``[B, S]``, or its tokens, after
        past_key_values_length.
        """
        embedded = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        assert embedded is not None
        if position_ids is None and self.uncounted_id is not None:
            tokens = embedded if input_ids is None else input_ids
            position_ids = counted_positions(tokens, self.uncounted_id, past=past_key_values_length)
        elif position_ids is None:
            columns = torch.arange(embedded.shape[-2], device=embedded.device)
            position_ids = (columns + past_key_values_length).unsqueeze(0)
        if self.has_token_types:
            types = self.token_type_embeddings
            embedded = embedded + (types.weight[0] if token_type_ids is None else types(token_type_ids))
        embedded = embedded + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embedded))  # type: ignore[no-any-return]


def counted_positions(
    tokens: Tensor, padding_id: int, layout: Layout | None = None, past: int | Tensor = 0
) -> Tensor:
    """Positions that count the tokens which are no padding, from ``padding_id + 1`` on; padding is at padding_id.

    Args:
        tokens: ids ``[B, S]``, or embeddings ``[B, S, D]``, of which every one counts.
        padding_id: of the padding token.
        layout: of a batch that came in packed, whose ids are ``[T]`` and embeddings ``[T, D]``.
        past: how many tokens came before, of all sequences or for each token.

    Returns:
        int64, as ids lie.
    """
    if tokens.is_floating_point():
        real = torch.ones(tokens.shape[:-1], dtype=torch.int64, device=tokens.device)
    else:
        real = (tokens != padding_id).long()
    counted = real.cumsum(-1)
    if layout is not None:
        # One row holds all sequences: what was counted before a sequence's first token is not its own.
        first = torch.arange(len(tokens), device=tokens.device) - layout.positions(tokens.device)
        counted = counted - (counted - real)[first]
    return (counted + past) * real + padding_id


def interleaved_sinusoids(positions: int, size: int) -> Tensor:
    """Sines and cosines of positions, alternating: ``[positions, size]`` (arXiv:1706.03762, 3.5)."""
    pairs = torch.arange(0, size, 2, dtype=torch.float64)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] / 10000.0 ** (pairs / size)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :size]


def check_length(longest: int | None, positions: int) -> None:
    """Raises ArgumentError where the longest sequence has more tokens than there are ``positions``."""
    if longest is not None and longest > positions:
        raise ArgumentError(
            f"input_ids: a sequence of {longest} tokens is longer than the {positions} that "
            "max_position_embeddings allows; truncate it",
            key="max_position_embeddings", expected=f"at most {positions} tokens", actual=f"{longest} tokens",
        )  # fmt: skip


def longest_of(layout: Layout) -> int | None:
    """The columns of a batch, or of its longest packed sequence; None where a graph is traced."""
    if layout.shape is not None:
        return layout.shape[1]
    if layout.query is None or layout.query.lengths.numel() == 0 or torch.compiler.is_compiling():
        # The values of lengths are not known to a traced graph; the look-up itself checks them there.
        return None
    return int(layout.query.lengths.max())
