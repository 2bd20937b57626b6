"""Attention of packed queries to slots of a cache: which rows one call serves, and what each call hides and adds."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers.layers.scoring import Scoring
from oxiformers_kernels.softmax import softmax

# On CPU one masked call is faster than a call a row where more than this share is no padding (measured).
_MASKED_FROM = 0.7


class _Group(NamedTuple):
    """Neighbouring sequences that one attention call serves."""

    first: int
    last: int
    query_start: int
    query_length: int
    key_length: int
    #: The slots: a slice where they lie side by side, else their indices.
    slots: slice | Tensor


#: A group's number, how far its queries see, and how many query heads share a key head: all that a mask depends on.
_MaskKey = tuple[int, tuple[int, int], int]


class SlotAttention:
    """One call's attention to slots; what the layers have in common is found once.

    Args:
        queries: how many queries each sequence has, int64 ``[B]`` on the host.
        totals: how many keys each sequence sees at most, its new ones too, alike.
        slots: the slot of each sequence, alike.
        device: where the tokens lie.
        hidden: bool ``[B, n]`` on the device, which of the first ``n`` keys no query sees; None for none.
        joined: new keys come beside those of the slots (see attend), so sequences of a group have equal lengths.
    """

    def __init__(
        self,
        queries: Tensor,
        totals: Tensor,
        slots: Tensor,
        device: torch.device,
        hidden: Tensor | None,
        *,
        joined: bool,
    ) -> None:
        self.queries, self.totals, self.slots = queries, totals, slots
        self.device, self.hidden, self.joined = device, hidden, joined
        self._groups: list[_Group] | None = None
        self._masks: dict[_MaskKey, Tensor | None] = {}
        self._biases: tuple[tuple[Tensor | None, ...], dict[_MaskKey, Tensor]] = ((), {})

    def attend(
        self,
        query: Tensor,
        slots: tuple[Tensor, Tensor],
        new: tuple[Tensor, Tensor] | None,
        scoring: Scoring,
    ) -> Tensor:
        """The attended values ``[T, H, Dv]``.

        Args:
            query: ``[T, H, D]``, of all sequences one after another.
            slots: keys and values, ``[slots, Hkv, capacity, D]`` each.
            new: keys and values of the queries' own tokens, ``[T, Hkv, D]``, which are taken in place of the copies in
                the slots where they are to have a gradient.
            scoring: how scores become probabilities.
        """
        outputs = [
            self._attend_group(index, group, query, slots, new, scoring)
            for index, group in enumerate(self._grouped())
        ]
        if not outputs:
            return query[..., : slots[1].shape[-1]]
        return torch.cat(outputs) if len(outputs) > 1 else outputs[0]

    def _attend_group(
        self,
        index: int,
        group: _Group,
        query: Tensor,
        slots: tuple[Tensor, Tensor],
        new: tuple[Tensor, Tensor] | None,
        scoring: Scoring,
    ) -> Tensor:
        rows, length = group.last - group.first, group.query_length
        tokens = slice(group.query_start, group.query_start + rows * length)
        heads, kv_heads = query.shape[1], slots[0].shape[1]
        if group.key_length == 0:
            return query.new_zeros(rows * length, heads, slots[1].shape[-1])
        if new is None:
            key, value = (side[group.slots][:, :, : group.key_length] for side in slots)
        else:
            before = group.key_length - length
            key, value = (
                torch.cat(
                    (
                        side[group.slots][:, :, :before],
                        fresh[tokens].unflatten(0, (rows, length)).transpose(1, 2),
                    ),
                    2,
                )
                for side, fresh in zip(slots, new, strict=True)
            )
        # Query heads that share a key head stand beside one another as if they were more queries.
        q = query[tokens].unflatten(0, (rows, length)).transpose(1, 2)
        q = q.unflatten(1, (kv_heads, -1)).flatten(2, 3)
        known = (index, scoring.reach(), heads // kv_heads)
        mask = self._mask_of(known, group, scoring)
        if any(term is not None for term in scoring.by_distance()):
            mask = self._biased(known, group, scoring, mask).to(query.dtype)
        if scoring.bias is not None:
            mask = _densely_biased(group, scoring.bias, mask, heads, kv_heads).to(query.dtype)
        output = _attend_slots(q, key, value, mask, scoring)
        unfolded: Tensor = output.unflatten(2, (-1, length)).flatten(1, 2).transpose(1, 2)
        return unfolded.flatten(0, 1)

    def _grouped(self) -> list[_Group]:
        """The attention calls that serve all sequences, in packing order."""
        if self._groups is not None:
            return self._groups
        added, totals, slots = self.queries.tolist(), self.totals.tolist(), self.slots.tolist()
        busy = [row for row, count in enumerate(added) if count]
        on_cpu = self.device.type == "cpu"
        filled = sum(totals[row] for row in busy)
        longest = max((totals[row] for row in busy), default=0)
        masked = not self.joined and (not on_cpu or filled >= _MASKED_FROM * len(busy) * longest)
        self._groups, start = [], 0
        while busy:
            first, count = busy[0], 1
            while count < len(busy):
                row = busy[count]
                side_by_side = row == first + count and (not on_cpu or slots[row] == slots[first] + count)
                alike = added[row] == added[first] and (masked or totals[row] == totals[first])
                if not (side_by_side and alike):
                    break
                count += 1
            last = first + count
            here: slice | Tensor = slice(slots[first], slots[first] + count)
            if slots[first:last] != list(range(slots[first], slots[first] + count)):
                here = self.slots[first:last].to(self.device)
            longest_here = max(totals[first:last])
            self._groups.append(_Group(first, last, start, added[first], longest_here, here))
            start += count * added[first]
            busy = busy[count:]
        return self._groups

    def _distance(self, group: _Group) -> tuple[Tensor, Tensor]:
        """How many tokens each row of a group has ``[rows or 1]``, and the distances of its pairs
        ``[rows or 1, query_length, key_length]``."""
        totals = self.totals[group.first : group.last]
        ends = (totals[:1] if bool((totals == totals[0]).all()) else totals).to(self.device)
        position = ends[:, None] + torch.arange(-group.query_length, 0, device=self.device)
        return ends, torch.arange(group.key_length, device=self.device) - position[:, :, None]

    def _mask_of(self, known: _MaskKey, group: _Group, scoring: Scoring) -> Tensor | None:
        """What a group's queries see: bool ``[rows or 1, 1, fold * query_length, key_length]``, or None."""
        if known in self._masks:
            return self._masks[known]
        totals = self.totals[group.first : group.last]
        equal = bool((totals == totals[0]).all())
        hidden = self._hidden_from(group)
        _, (left, right), fold = known
        bounded = 0 <= right < group.query_length - 1 or 0 <= left < group.key_length - 1
        mask = None
        if not equal or hidden is not None or bounded:
            ends, distance = self._distance(group)
            mask = (torch.arange(group.key_length, device=self.device) < ends[:, None])[:, None]
            visible = scoring.visible_at(distance)
            mask = mask.expand(-1, group.query_length, -1) if visible is None else mask & visible
            if hidden is not None:
                mask = mask & ~hidden[:, None]
            mask = mask[:, None, None].expand(-1, 1, fold, -1, -1).flatten(2, 3)
        self._masks[known] = mask
        return mask

    def _hidden_from(self, group: _Group) -> Tensor | None:
        if self.hidden is None:
            return None
        hidden = self.hidden[group.first : group.last, : group.key_length]
        return F.pad(hidden, (0, group.key_length - hidden.shape[1]))

    def _biased(self, known: _MaskKey, group: _Group, scoring: Scoring, mask: Tensor | None) -> Tensor:
        """A group's biases by distance, -inf where the mask hides; built once for layers that share them."""
        tables = scoring.by_distance()
        if len(self._biases[0]) != len(tables) or any(
            ours is not theirs for ours, theirs in zip(self._biases[0], tables, strict=True)
        ):
            self._biases = (tables, {})
        biases = self._biases[1]
        if known not in biases:
            bias = scoring.added_at(self._distance(group)[1])
            assert bias is not None
            bias = bias.unflatten(1, (-1, known[2])).flatten(2, 3)
            biases[known] = bias if mask is None else bias.masked_fill(~mask, -math.inf)
        return biases[known]


def _densely_biased(group: _Group, bias: Tensor, mask: Tensor | None, heads: int, kv_heads: int) -> Tensor:
    """A group's part of a dense bias, with what the mask adds or hides."""
    rows = bias if bias.shape[0] == 1 else bias[group.first : group.last]
    pairs = rows[:, :, : group.query_length, : group.key_length]
    part: Tensor = pairs.expand(-1, heads, group.query_length, -1).unflatten(1, (kv_heads, -1)).flatten(2, 3)
    if mask is None:
        return part
    return part.masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else part + mask


def _attend_slots(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring) -> Tensor:
    """Queries ``[rows, Hkv, fold * Lq, D]`` over slots; the mask is bool or added."""
    if scoring.softcap:
        # torch has no fused call that bounds its scores.
        scores = scoring.cap(torch.matmul(query, key.transpose(-1, -2)) * scoring.factor(query.shape[-1]))
        output: Tensor = torch.matmul(F.dropout(softmax(scores, mask), scoring.dropout), value)
    else:
        output = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=scoring.dropout, scale=scoring.scale
        )
    return output
