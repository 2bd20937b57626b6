"""Attention of a few new tokens to a cache, in plain torch: what the kernels compute, and the CPU path."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Cache(NamedTuple):
    """Keys and values of every row of a batch; see `decode_attention`.

    Attributes:
        keys, values: `[slots, Hkv, capacity, D]`; with a `block_table`, `[pages, page size, Hkv, D]`.
        lengths: valid keys of a row, the new ones included, `[B]`.
        block_table: the pages of a row, in order, `[B, pages of a row]`.
        slots: the slot of a row, `[B]`; row b lies in slot b without.
    """

    keys: Tensor
    values: Tensor
    lengths: Tensor
    block_table: Tensor | None = None
    slots: Tensor | None = None

    @property
    def kv_heads(self) -> int:
        return self.keys.shape[1 if self.block_table is None else 2]

    @property
    def capacity(self) -> int:
        """The keys a row has room for."""
        if self.block_table is None:
            return self.keys.shape[2]
        return self.block_table.shape[1] * self.keys.shape[1]


class Prefix(NamedTuple):
    """What the rows of a sentence share: `[sentences, Hkv, P, D]`, and its valid keys, `[sentences]`."""

    keys: Tensor
    values: Tensor
    lengths: Tensor


class Biases(NamedTuple):
    """What is added to the scores, by distance; see `decode_attention`."""

    alibi_slopes: Tensor | None = None
    distance_bias: Tensor | None = None


class Options(NamedTuple):
    """How scores become probabilities.

    Attributes:
        scale: multiplies the products of queries and keys.
        softcap: 0 for none.
        left, right: how far before and after its own position a query sees; -1 is without limit.
    """

    scale: float
    softcap: float = 0.0
    left: int = -1
    right: int = -1


def decode_attention(
    q: Tensor, cache: Cache, prefix: Prefix | None, biases: Biases, options: Options
) -> Tensor:
    """`[B, Lq, H, Dv]`: every query attends to the keys of its row that it sees; one that sees none gives 0.

    The order of casts is that of the eager attention of Hugging Face's models: scores in the dtype of `q`, the
    softmax in float32 (float64 for float64), probabilities back in the dtype of `q`.
    """
    rows, query_length, heads = q.shape[:3]
    keys, values = (_rows(side, cache, rows) for side in (cache.keys, cache.values))
    lengths = cache.lengths.long().clamp(max=cache.capacity)
    places = torch.arange(cache.capacity, device=q.device).expand(rows, -1)
    valid, total = places < lengths[:, None], lengths
    if prefix is not None:
        beams, shared = rows // prefix.keys.shape[0], prefix.keys.shape[2]
        before = prefix.lengths.long().clamp(max=shared).repeat_interleave(beams)
        keys, values = (
            torch.cat([side.repeat_interleave(beams, dim=0), own], dim=2)
            for side, own in ((prefix.keys, keys), (prefix.values, values))
        )
        first = torch.arange(shared, device=q.device).expand(rows, -1)
        places = torch.cat([first, places + before[:, None]], dim=1)
        valid = torch.cat([first < before[:, None], valid], dim=1)
        total = lengths + before
    group = heads // keys.shape[1]
    # What lies behind the valid keys was never written: 0 times it need not be 0.
    keys, values = (
        side.masked_fill(~valid[:, None, :, None], 0.0).repeat_interleave(group, dim=1)
        for side in (keys, values)
    )
    scores = torch.matmul(q.transpose(1, 2), keys.transpose(-1, -2)) * options.scale
    if options.softcap:
        scores = options.softcap * torch.tanh(scores / options.softcap)
    positions = total[:, None] - query_length + torch.arange(query_length, device=q.device)
    # [B, 1, Lq, keys]: the position of a key minus that of a query.
    distance = (places[:, None, :] - positions[:, :, None]).unsqueeze(1)
    if biases.alibi_slopes is not None:
        slopes = biases.alibi_slopes.to(scores.dtype)
        scores = scores - slopes[:, None, None] * distance.abs().to(scores.dtype)
    if biases.distance_bias is not None:
        reach = (biases.distance_bias.shape[1] - 1) // 2
        index = distance.squeeze(1).clamp(-reach, reach) + reach
        scores = scores + biases.distance_bias[:, index].transpose(0, 1).to(scores.dtype)
    hidden = ~valid[:, None, None, :].expand_as(distance)
    if options.left >= 0:
        hidden = hidden | (distance < -options.left)
    if options.right >= 0:
        hidden = hidden | (distance > options.right)
    scores = scores.masked_fill(hidden, -math.inf).to(torch.promote_types(q.dtype, torch.float32))
    # A softmax over nothing is 0/0: such rows are filled before and zeroed after.
    empty = hidden.all(dim=-1, keepdim=True)
    probabilities = scores.masked_fill(empty, 0.0).softmax(dim=-1).masked_fill(empty, 0.0).to(q.dtype)
    return torch.matmul(probabilities, values).transpose(1, 2).contiguous()


def _rows(side: Tensor, cache: Cache, rows: int) -> Tensor:
    """Every row's keys or values, `[B, Hkv, capacity, D]`."""
    if cache.block_table is None:
        return side[:rows] if cache.slots is None else side[cache.slots.long()]
    # Entries behind a row's pages may hold anything.
    pages = side[cache.block_table.long().clamp(0, side.shape[0] - 1)]
    return pages.flatten(1, 2).transpose(1, 2)
