"""How the scores of queries and keys become probabilities: scale, bias, and which keys a query sees.

The fields of `Scoring` are the one list of what there is: the operators' arguments are derived from it.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, get_type_hints

import torch
from torch import Tensor

#: A term that has a gradient.
Learned = Annotated[Tensor | None, "learned"]


class Scoring(NamedTuple):
    """What attention does to its scores: products with positions, scale, softcap, biases, what is hidden, softmax,
    dropout, in this order.

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
            the positions in a sequence, and ``Lq``, ``Lk`` are the longest (see Layout.pack_pairs).
        content_to_position, position_to_content: ``[..., H, P]``, ``...`` being the queries' and the keys': their
            products with P relative positions. Those at the index of a pair's distance are added to the pair's own
            product (DeBERTa, arXiv:2006.03654; oxiformers_kernels.attention.disentangled_products makes them). Either
            may be None. Of an encoder: keys that a cache keeps have none.
        position_index: int32 or int64 ``[2 * R + 1]``, the relative position of the distances -R..R, below P; farther
            ones take the ends. Goes with the products.
        dropout: probability of dropping a probability; 0 outside of training.
    """

    causal: bool = False
    scale: float | None = None
    window: tuple[int, int] | None = None
    softcap: float = 0.0
    alibi_slopes: Tensor | None = None
    distance_bias: Learned = None
    bias: Learned = None
    content_to_position: Learned = None
    position_to_content: Learned = None
    position_index: Tensor | None = None
    dropout: float = 0.0

    def present(self) -> dict[str, object]:
        """The terms that are not left at their defaults."""
        terms = zip(self._fields, self, PLAIN, strict=True)
        return {name: term for name, term, default in terms if isinstance(term, Tensor) or term != default}

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
        return any(isinstance(term, Tensor) for term in self)

    def is_plain(self) -> bool:
        """Whether scores take no more than a scale and a causal mask, which torch has a fused call for."""
        return self.present().keys() <= {"causal", "scale"}

    def flat(self) -> Scoring:
        """This one for a batch whose ``[B, L, ...]`` are taken as ``[B * L, ...]``."""
        if self.position_index is None:
            return self
        content, position = (
            product.flatten(0, 1) if product is not None and product.dim() == 4 else product
            for product in (self.content_to_position, self.position_to_content)
        )
        return self._replace(content_to_position=content, position_to_content=position)

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

    def positional(self, query_length: int, key_length: int) -> Tensor | None:
        """What is added to the products of equally long sequences, before the scale, ``[B, H, Lq, Lk]``; or None."""
        if self.position_index is None:
            return None
        index = self.positions(query_length, key_length)
        total = None
        if self.content_to_position is not None:
            by_query = self.content_to_position.transpose(1, 2)
            total = by_query.gather(-1, index.expand(*by_query.shape[:2], -1, -1))
        if self.position_to_content is not None:
            by_key = self.position_to_content.transpose(1, 2)
            part = by_key.gather(-1, index.t().expand(*by_key.shape[:2], -1, -1)).transpose(-1, -2)
            total = part if total is None else total + part
        return total

    def positions(self, query_length: int, key_length: int) -> Tensor:
        """The relative position of every pair, int64 ``[Lq, Lk]``."""
        assert self.position_index is not None
        distance = distances(query_length, key_length, self.position_index.device)
        return self.position_index.long()[clamped(distance, self.position_index.shape[0])]

    def by_distance(self) -> tuple[Tensor | None, Tensor | None]:
        """The biases that depend on the distance alone."""
        return self.distance_bias, self.alibi_slopes

    def added(self, query_length: int, key_length: int, dtype: torch.dtype) -> Tensor | None:
        """The biases of equally long sequences, ``[B or 1, H or 1, Lq, Lk]``, or None."""
        total = None
        if self.distance_bias is not None:
            total = distance_bias_matrix(self.distance_bias, query_length, key_length).to(dtype)
        if self.alibi_slopes is not None:
            by_slope = self._alibi(distances(query_length, key_length, self.alibi_slopes.device)).to(dtype)
            total = by_slope if total is None else total + by_slope
        total = None if total is None else total.unsqueeze(0)
        if self.bias is not None:
            total = self.bias.to(dtype) if total is None else total + self.bias.to(dtype)
        return total

    def visible_at(self, distance: Tensor) -> Tensor | None:
        """As ``visible``, for distances ``[..., Lq, Lk]``."""
        left, right = self.reach()
        pairs = distance <= right if right >= 0 else None
        if left >= 0:
            pairs = distance >= -left if pairs is None else pairs & (distance >= -left)
        return pairs

    def added_at(self, distance: Tensor) -> Tensor | None:
        """The biases by distance, for distances ``[rows, Lq, Lk]``: ``[rows, H, Lq, Lk]``, or None."""
        total = None
        if self.distance_bias is not None:
            total = self.distance_bias[:, clamped(distance, self.distance_bias.shape[1])].transpose(0, 1)
        if self.alibi_slopes is not None:
            by_slope = self._alibi(distance.unsqueeze(1))
            total = by_slope if total is None else total + by_slope
        return total

    def mask(self, query_length: int, key_length: int, like: Tensor) -> Tensor | None:
        """What is added to the scores of equally long sequences, in the dtype of ``like``; -inf where hidden.

        Returns:
            ``[B or 1, H or 1, Lq, Lk]``, or None where nothing is.
        """
        if not self.causal and self.window is None and not self.is_biased():
            return None
        return self._hide(self.added(query_length, key_length, like.dtype), query_length, key_length, like)

    def attn_mask(self, query_length: int, key_length: int, like: Tensor) -> Tensor | None:
        """What torch's fused call takes by that name: ``mask``, and the scaled products with positions.

        Args:
            like: the queries or keys, ``[..., D]``. The call bounds no scores.
        """
        positional = self.positional(query_length, key_length)
        if positional is None:
            return self.mask(query_length, key_length, like)
        total = positional.to(like.dtype) * self.factor(like.shape[-1])
        added = self.added(query_length, key_length, like.dtype)
        total = total if added is None else total + added
        return self._hide(total, query_length, key_length, like)

    def _hide(self, total: Tensor | None, query_length: int, key_length: int, like: Tensor) -> Tensor | None:
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

#: The type of every term, by its name.
TERMS = get_type_hints(Scoring, include_extras=True)

#: The terms that have a gradient.
LEARNED = tuple(name for name, kind in TERMS.items() if kind == Learned)


def distances(query_length: int, key_length: int, device: torch.device) -> Tensor:
    """The distance of every pair, int64 ``[Lq, Lk]``."""
    position = torch.arange(key_length - query_length, key_length, device=device)
    return torch.arange(key_length, device=device) - position.unsqueeze(1)


def clamped(distance: Tensor, size: int) -> Tensor:
    """The index of distances in a table of ``size`` = 2 * R + 1 entries for -R..R; farther ones take the ends."""
    reach = (size - 1) // 2
    return distance.clamp(-reach, reach) + reach


def distance_bias_matrix(table: Tensor, query_length: int, key_length: int) -> Tensor:
    """A bias that depends on the distance alone, spread over ``[H, query_length, key_length]``.

    Args:
        table: ``[H, 2 * R + 1]``, the bias of the distances -R..R (key minus query); farther ones take the ends.
        query_length, key_length: the queries are the last ``query_length`` of the keys' positions.
    """
    # Row i of a Toeplitz matrix is a window of the bias by distance, one step earlier than row i - 1's.
    farthest = key_length - 1
    distance = torch.arange(-farthest, query_length, device=table.device)
    by_distance = table.index_select(1, clamped(distance, table.shape[1]))
    return by_distance.unfold(1, key_length, 1).flip(1)
