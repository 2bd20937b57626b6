"""What turns products of queries and keys into scores in Triton, for forward, backward and decoding."""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

#: Arguments that differ from call to call: a kernel is not compiled again for those that are 1 or multiples of 16.
UNSPECIALIZED = [
    *("scale", "softcap", "keep_share", "threshold", "reach", "left", "right", "heads", "kv_heads", "group"),
    *("n_tokens", "n_slots", "n_sequences", "query_length", "key_length", "bias_queries", "bias_keys"),
    "index_reach",
]

LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)
LN2: tl.constexpr = tl.constexpr(0.6931471805599453)


class Kind(NamedTuple):
    """What a call has; kernels are compiled for each.

    Attributes:
        left, right: whether a query sees no further than so many keys on that side.
        softcap, alibi, distance, bias, content, position, dropout: whether there is one; see `attention`.
        precision: of products of float32.
        upcast: whether products are of float32 whatever the inputs are.
    """

    left: bool = False
    right: bool = False
    softcap: bool = False
    alibi: bool = False
    distance: bool = False
    bias: bool = False
    content: bool = False
    position: bool = False
    dropout: bool = False
    precision: str = "ieee"
    upcast: bool = False

    @property
    def added(self) -> bool:
        """Whether anything is added to scores."""
        return self.alibi or self.distance or self.bias or self.content or self.position

    @property
    def busy(self) -> bool:
        """Whether registers are short: what could be computed before a loop is then computed in it."""
        return self.added or self.softcap or self.dropout


class Terms(NamedTuple):
    """What scores of one head of one sequence are made with; pointers are to the head's part.

    Attributes:
        slope, far_left, far_right: of ALiBi, and the ends of the table of biases by distance.
        bias_query, bias_key, bias_queries, bias_keys: strides and sizes of the dense bias.
        content, content_row, position, position_row: rows of products with positions, by query and by key, and how far
            apart they lie.
        index, index_reach: int32 `[2 * index_reach + 1]`, the position of a distance.
        seed, threshold, first_token: of dropout; the sequence's first query among all.
    """

    scale: tl.tensor
    softcap: tl.tensor
    left: tl.tensor
    right: tl.tensor
    slope: tl.tensor
    table: tl.tensor
    reach: tl.tensor
    far_left: tl.tensor
    far_right: tl.tensor
    bias: tl.tensor
    bias_query: tl.tensor
    bias_key: tl.tensor
    bias_queries: tl.tensor
    bias_keys: tl.tensor
    content: tl.tensor
    content_row: tl.tensor
    position: tl.tensor
    position_row: tl.tensor
    index: tl.tensor
    index_reach: tl.tensor
    seed: tl.tensor
    keep_share: tl.tensor
    threshold: tl.tensor
    head: tl.tensor
    first_token: tl.tensor


@triton.jit
def terms_of(
    sequence, head, q_start, slopes, table, bias, content, content_row, position, position_row, index, seeds,
    scale, softcap, keep_share, threshold, reach, index_reach, left, right,
    bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys,
    KIND: tl.constexpr,
):  # fmt: skip
    """The terms of a head of a sequence, from a kernel's arguments; content and position are the head's own."""
    slope = 0.0
    seed = 0
    far_left = 0.0
    far_right = 0.0
    if KIND.alibi:
        slope = tl.load(slopes + head)
    if KIND.dropout:
        seed = tl.load(seeds)
    if KIND.distance:
        table += head * (2 * reach + 1)
        far_left = tl.load(table).to(tl.float32)
        far_right = tl.load(table + 2 * reach).to(tl.float32)
    if KIND.bias:
        bias += sequence.to(tl.int64) * bias_batch + head.to(tl.int64) * bias_head
    return Terms(
        scale, softcap, left, right, slope, table, reach, far_left, far_right,
        bias, bias_query, bias_key, bias_queries, bias_keys,
        content, content_row, position, position_row, index, index_reach,
        seed, keep_share, threshold, head, q_start,
    )  # fmt: skip


@triton.jit
def keeps(distance, left, right, LEFT: tl.constexpr, RIGHT: tl.constexpr, inside):
    """Where a query sees a key at `distance` (key minus query), and both exist."""
    if LEFT:
        inside = inside & (distance >= -left)
    if RIGHT:
        inside = inside & (distance <= right)
    return inside


@triton.jit
def capped(products, scale, softcap, SOFTCAP: tl.constexpr):
    """Scores in units of log 2, from the products of queries and keys, and the slope of the softcap."""
    bend = 1.0
    if SOFTCAP:
        # tanh through one exponential; exact at both ends, where it overflows or vanishes.
        bent = 1.0 - 2.0 / (tl.exp2(products * (scale / softcap) * 2.0 * LOG2E) + 1.0)
        scores = bent * (softcap * LOG2E)
        bend = 1.0 - bent * bent
    else:
        scores = products * (scale * LOG2E)
    return scores, bend


@triton.jit
def add_by_distance(
    scores, distance, slope, table, reach, UNIT: tl.constexpr, ALIBI: tl.constexpr, DISTANCE: tl.constexpr
):
    """Adds the biases that depend on the distance alone, times UNIT; table: a head's `[2 * reach + 1]`."""
    if ALIBI:
        scores -= (slope * UNIT) * tl.abs(distance).to(tl.float32)
    if DISTANCE:
        scores += tl.load(table + clamped(distance, reach)).to(tl.float32) * UNIT
    return scores


@triton.jit
def clamped(distance, reach):
    """Where the entry of a distance lies in a table of `2 * reach + 1`."""
    return tl.minimum(tl.maximum(distance, -reach), reach) + reach


@triton.jit
def add_biases(
    scores, distance, far_bias, queries, keys, visible, terms,
    UNIT: tl.constexpr, KIND: tl.constexpr, NEAR: tl.constexpr,
):  # fmt: skip
    """Adds every bias of a tile to its scores, times UNIT.

    queries, keys: their places in the sequence, shaped so that they broadcast to `distance`. Where not NEAR, all
    distances of the tile lie beyond the table's reach and share `far_bias`.
    """
    scores = add_by_distance(
        scores, distance, terms.slope, terms.table, terms.reach, UNIT, KIND.alibi, KIND.distance and NEAR
    )
    if KIND.distance and not NEAR:
        scores += far_bias * UNIT
    if KIND.bias:
        offsets = queries.to(tl.int64) * terms.bias_query + keys * terms.bias_key
        inside = visible & (queries < terms.bias_queries) & (keys < terms.bias_keys)
        scores += tl.load(terms.bias + offsets, mask=inside, other=0.0).to(tl.float32) * UNIT
    return scores


@triton.jit
def add_positions(products, distance, queries, keys, visible, terms, KIND: tl.constexpr):
    """Adds products with positions to those of queries and keys (DeBERTa, arXiv:2006.03654)."""
    if KIND.content or KIND.position:
        index = tl.load(terms.index + clamped(distance, terms.index_reach))
        if KIND.content:
            offsets = queries.to(tl.int64) * terms.content_row + index
            products += tl.load(terms.content + offsets, mask=visible, other=0.0).to(tl.float32)
        if KIND.position:
            offsets = keys.to(tl.int64) * terms.position_row + index
            products += tl.load(terms.position + offsets, mask=visible, other=0.0).to(tl.float32)
    return products


@triton.jit
def products_of(
    left, right, less, distance, far_bias, queries, keys, visible, terms,
    KIND: tl.constexpr, NEAR: tl.constexpr, LESS: tl.constexpr,
):  # fmt: skip
    """Products of the rows of `left` and `right` that give biased scores by `factor_of` alone; the softcap's slope.

    less: in natural units, subtracted from the scores where LESS. What is added to a sum before its products needs no
    registers beside them, and no instruction after.
    """
    bend = 1.0
    if KIND.softcap:
        products = tl.zeros_like(distance).to(tl.float32)
        products = add_positions(products, distance, queries, keys, visible, terms, KIND)
        products = tl.dot(left, tl.trans(right), products, input_precision=KIND.precision)
        products, bend = capped(products, terms.scale, terms.softcap, True)
        products = add_biases(products, distance, far_bias, queries, keys, visible, terms, LOG2E, KIND, NEAR)
        if LESS:
            products -= less * LOG2E
    elif KIND.added or LESS:
        products = tl.zeros_like(distance).to(tl.float32)
        if LESS:
            products -= less
        products = add_biases(products, distance, far_bias, queries, keys, visible, terms, 1.0, KIND, NEAR)
        products *= 1.0 / terms.scale
        products = add_positions(products, distance, queries, keys, visible, terms, KIND)
        products = tl.dot(left, tl.trans(right), products, input_precision=KIND.precision)
    else:
        products = tl.dot(left, tl.trans(right), input_precision=KIND.precision)
    return products, bend


@triton.jit
def factor_of(terms, KIND: tl.constexpr):
    """Turns `products_of` into scores in units of log 2; positive, so it may follow a maximum."""
    factor = 1.0
    if not KIND.softcap:
        factor = terms.scale * LOG2E
    return factor


@triton.jit
def dropout_keeps(terms, queries, keys):
    """Which probabilities stay; the bits are a function of (query's token, key's position, head)."""
    zero = (queries + keys) * 0
    tokens = terms.first_token + queries
    counters = (tokens + zero).to(tl.uint32), (keys + zero).to(tl.uint32), (terms.head + zero).to(tl.uint32)
    bits, _, _, _ = tl.philox(terms.seed, counters[0], counters[1], counters[2], zero.to(tl.uint32))
    return bits >= terms.threshold
