"""How the scores of queries and keys become probabilities: scale, bias, and which keys a query sees."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Scoring(NamedTuple):
    """What attention does to its scores, in this order: scale, softcap, biases, what is hidden, softmax, dropout.

    The queries are the last of the keys' positions: query i of ``Lq`` stands at ``i + Lk - Lq``. The distance of a pair
    is the key's position minus the query's.

    Attributes:
        causal: a query sees its own position and those before it.
        scale: of the scores; 1 / sqrt(D) by default (Vaswani et al., arXiv:1706.03762).
        window: how far a query sees to the left and to the right of its position, -1 for any distance (Beltagy et al.,
            arXiv:2004.05150); None hides nothing.
        softcap: bounds scaled scores s to ``softcap * tanh(s / softcap)`` (Gemma 2, arXiv:2408.00118); 0 for none.
        alibi_slopes: float32 ``[H]``, ``-slope * |distance|`` is added (Press et al., arXiv:2108.12409); without a
            gradient.
        distance_bias: ``[H, 2 * R + 1]``, added by distance, see distance_bias_matrix.
        bias: ``[B or 1, H or 1, Lq, Lk]``, added. Of a packed batch the sequences are in packing order, pairs go by
            the places in a sequence, and ``Lq``, ``Lk`` are the longest (see Layout.pack_pairs).
        dropout: probability of dropping a probability; 0 outside of training.
    """

    causal: bool = False
    scale: float | None = None
    window: tuple[int, int] | None = None
    softcap: float = 0.0
    alibi_slopes: Tensor | None = None
    distance_bias: Tensor | None = None
    bias: Tensor | None = None
    dropout: float = 0.0

    def factor(self, size: int) -> float:
        """The scale, for heads of ``size``."""
        return 1.0 / math.sqrt(size) if self.scale is None else self.scale

    def reach(self) -> tuple[int, int]:
        """How far a query sees to the left and to the right, -1 for any distance."""
        left, right = (-1, -1) if self.window is None else self.window
        return left, (0 if self.causal else right)

    def showing_all(self) -> Scoring:
        """This one where a mask of the caller's names the pairs that attend."""
        return self._replace(causal=False, window=None)

    def is_biased(self) -> bool:
        """Whether anything is added to the scores."""
        return self.distance_bias is not None or self.bias is not None or self.alibi_slopes is not None

    def is_plain(self) -> bool:
        """Whether scores take no more than a scale and a causal mask, which torch has a fused call for."""
        return not (self.is_biased() or self.softcap or self.dropout or self.window is not None)

    def is_causal_square(self, query_length: int, key_length: int) -> bool:
        """Whether all that is done to pairs is the causal mask of a square."""
        return (
            self.causal
            and query_length == key_length
            and not self.is_biased()
            and (self.window is None or not 0 <= self.window[0] < key_length - 1)
        )

    def visible(self, query_length: int, key_length: int, device: torch.device) -> Tensor | None:
        """The pairs that attend, bool ``[Lq, Lk]``; None where all do."""
        left, right = self.reach()
        offset = key_length - query_length
        # The largest distance is Lq - 1, the smallest 1 - Lk.
        bounded_right, bounded_left = 0 <= right < query_length - 1, 0 <= left < key_length - 1
        if not bounded_right and not bounded_left:
            return None
        pairs = torch.ones(query_length, key_length, dtype=torch.bool, device=device)
        if bounded_right:
            pairs = pairs.tril(offset + right)
        return pairs.triu(offset - left) if bounded_left else pairs

    def added(self, query_length: int, key_length: int, dtype: torch.dtype) -> Tensor | None:
        """The biases by distance, ``[H, Lq, Lk]``, or None."""
        total = None
        if self.distance_bias is not None:
            total = distance_bias_matrix(self.distance_bias, query_length, key_length).to(dtype)
        if self.alibi_slopes is not None:
            by_slope = self._alibi(distances(query_length, key_length, self.alibi_slopes.device)).to(dtype)
            total = by_slope if total is None else total + by_slope
        return total

    def visible_at(self, distance: Tensor) -> Tensor | None:
        """As ``visible``, for distances ``[..., Lq, Lk]``."""
        left, right = self.reach()
        pairs = distance <= right if right >= 0 else None
        if left >= 0:
            pairs = distance >= -left if pairs is None else pairs & (distance >= -left)
        return pairs

    def added_at(self, distance: Tensor) -> Tensor | None:
        """As ``added``, for distances ``[rows, Lq, Lk]``: ``[rows, H, Lq, Lk]``."""
        total = None
        if self.distance_bias is not None:
            reach = (self.distance_bias.shape[1] - 1) // 2
            total = self.distance_bias[:, distance.clamp(-reach, reach) + reach].transpose(0, 1)
        if self.alibi_slopes is not None:
            by_slope = self._alibi(distance.unsqueeze(1))
            total = by_slope if total is None else total + by_slope
        return total

    def mask(self, query_length: int, key_length: int, like: Tensor, bias: Tensor | None) -> Tensor | None:
        """What is added to the scores of sequences of equal lengths, in the dtype of ``like``; -inf where hidden.

        Args:
            bias: these sequences' part of the dense bias.

        Returns:
            ``[rows or 1, H or 1, Lq, Lk]``, or None where nothing is.
        """
        if not self.causal and self.window is None and not self.is_biased():
            return None
        total = self.added(query_length, key_length, like.dtype)
        total = None if total is None else total.unsqueeze(0)
        if bias is not None:
            total = bias.to(like.dtype) if total is None else total + bias.to(like.dtype)
        visible = self.visible(query_length, key_length, like.device)
        if visible is None:
            return total
        if total is None:
            total = like.new_zeros(1, 1, query_length, key_length)
        return total.masked_fill(~visible, -math.inf)

    def cap(self, scores: Tensor) -> Tensor:
        """Scaled scores within the softcap."""
        return scores if self.softcap == 0.0 else self.softcap * torch.tanh(scores / self.softcap)

    def _alibi(self, distance: Tensor) -> Tensor:
        assert self.alibi_slopes is not None
        return -self.alibi_slopes.view(-1, 1, 1) * distance.abs()


#: Scores divided by sqrt(D), every pair attends.
PLAIN = Scoring()


def distances(query_length: int, key_length: int, device: torch.device) -> Tensor:
    """The distance of every pair, int64 ``[Lq, Lk]``."""
    position = torch.arange(key_length - query_length, key_length, device=device)
    return torch.arange(key_length, device=device) - position.unsqueeze(1)


def distance_bias_matrix(table: Tensor, query_length: int, key_length: int) -> Tensor:
    """A bias that depends on the distance alone, spread over ``[H, query_length, key_length]``.

    Args:
        table: ``[H, 2 * R + 1]``, the bias of the distances -R..R (key minus query); farther ones take the ends.
        query_length, key_length: the queries are the last ``query_length`` of the keys' positions.
    """
    reach = (table.shape[1] - 1) // 2
    # Row i of a Toeplitz matrix is a window of the bias by distance, one step earlier than row i - 1's.
    farthest = key_length - 1
    by_row = torch.arange(-farthest, query_length, device=table.device).clamp(-reach, reach) + reach
    by_distance = table.index_select(1, by_row)
    return by_distance.unfold(1, key_length, 1).flip(1)
