"""Attention's forward in Triton: one program a tile of queries, an online softmax over the blocks of keys.

The algorithm is FlashAttention's (Dao, arXiv:2307.08691); tiles are those of packed sequences, longest first.
"""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.attention.scores_kernel import (
    LN2,
    UNSPECIALIZED,
    dropout_keeps,
    factor_of,
    keeps,
    products_of,
    terms_of,
)
from oxiformers_kernels.attention.tiles_kernel import (
    Side,
    find_tile,
    head_of,
    load_block,
    load_tile,
    masked_block,
    near_range,
    visible_range,
)


@triton.jit
def _attend_block(
    values, peak, total, q, key_side, value_side, start, far_bias, queries, query_length, key_length, terms,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
    MASKED: tl.constexpr, NEAR: tl.constexpr, TMA: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """One block of keys into the running values `[M, Dv]`, peaks and sums `[M]` (in units of log 2)."""
    block = load_tile(key_side, start, key_length, SIZE, COLUMNS, BLOCK, MASKED, TMA)
    if KIND.upcast:
        block = block.to(tl.float32)
    rows, columns = queries[:, None], (start + tl.arange(0, BLOCK))[None, :]
    distance = columns - (rows + (key_length - query_length))
    visible = (rows < query_length) & (columns < key_length)
    products, _ = products_of(
        q, block, 0.0, distance, far_bias, rows, columns, visible, terms, KIND, NEAR, False
    )
    factor = factor_of(terms, KIND)
    if MASKED:
        seen = keeps(distance, terms.left, terms.right, KIND.left, KIND.right, visible)
        products = tl.where(seen, products, float("-inf"))
    new_peak = tl.maximum(peak, tl.max(products, axis=1) * factor)
    # A row that has seen nothing has peak -inf; subtracting 0 there keeps exp(-inf) = 0 from being NaN.
    shift = tl.where(new_peak == float("-inf"), 0.0, new_peak)
    probabilities = tl.exp2(products * factor - shift[:, None])
    fade = tl.exp2(peak - shift)
    total = total * fade + tl.sum(probabilities, axis=1)
    values = values * fade[:, None]
    if KIND.dropout:
        probabilities = tl.where(dropout_keeps(terms, rows, columns), probabilities, 0.0)
    block = load_tile(value_side, start, key_length, V_SIZE, V_COLUMNS, BLOCK, MASKED, TMA)
    if TMA and MASKED:
        # A neighbour's values may be NaN, which a probability of 0 keeps.
        block = tl.where(start + tl.arange(0, BLOCK)[:, None] < key_length, block, 0.0)
    if KIND.upcast:
        block = block.to(tl.float32)
    values = tl.dot(probabilities.to(block.dtype), block, values, input_precision=KIND.precision)
    return values, new_peak, total


@triton.jit(do_not_specialize=UNSPECIALIZED)
def attention_forward(
    q, k, v, out, lse, k_tiles, v_tiles, plan, table, bias, content, position, index, slopes, seeds,
    scale, softcap, keep_share, threshold, reach, index_reach, left, right,
    heads, group, n_tokens, n_sequences, query_length, key_length,
    q_batch, q_token, q_head, k_batch, k_token, k_head, v_batch, v_token, v_head, out_token, out_head,
    bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys,
    content_batch, content_token, content_head, position_batch, position_token, position_head,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, PACKED: tl.constexpr, TMA: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """out `[T, H, Dv]`, lse float32 `[H, T]` in natural units; a program does QUERIES rows of a head of a sequence."""
    _, sequence, head, first, q_start, query_length, k_start, key_length = find_tile(
        plan, heads, query_length, key_length, n_sequences, QUERIES, PACKED
    )
    kv_head = head // group
    q = head_of(q, sequence, q_start, head, q_batch, q_token, q_head, PACKED)
    k = head_of(k, sequence, k_start, kv_head, k_batch, k_token, k_head, PACKED)
    v = head_of(v, sequence, k_start, kv_head, v_batch, v_token, v_head, PACKED)
    out = head_of(out, sequence, q_start, head, 0, out_token, out_head, True)
    key_side = Side(k, k_token, k_tiles, k_start, kv_head * SIZE)
    value_side = Side(v, v_token, v_tiles, k_start, kv_head * V_SIZE)
    lse += head.to(tl.int64) * n_tokens + q_start
    content = head_of(content, sequence, q_start, head, content_batch, content_token, content_head, PACKED)
    position = head_of(
        position, sequence, k_start, head, position_batch, position_token, position_head, PACKED
    )
    terms = terms_of(
        sequence, head, q_start, slopes, table, bias, content, content_token, position, position_token, index, seeds,
        scale, softcap, keep_share, threshold, reach, index_reach, left, right,
        bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys, KIND,
    )  # fmt: skip

    past = key_length - query_length
    queries = first + tl.arange(0, QUERIES)
    query_inside = queries < query_length
    block = load_block(q, first, query_length, q_token, SIZE, COLUMNS, QUERIES, SIZE == COLUMNS, True)
    if KIND.upcast:
        block = block.to(tl.float32)
    peak = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    values = tl.zeros([QUERIES, V_COLUMNS], tl.float32)

    last = tl.minimum(first + QUERIES, query_length) - 1 + past
    low, full_low, full_high, high = visible_range(
        first + past, last, key_length, left, right, KEYS, KIND.left, KIND.right
    )
    near_low = full_low
    near_high = full_high
    if KIND.distance:
        # Blocks wholly beyond the table's reach on either side share one bias; they are done first.
        near_low, near_high = near_range(first + past, last, full_low, full_high, reach, KEYS)
        for far in tl.range(0, full_high - near_high + near_low - full_low, KEYS, disable_licm=KIND.busy):
            start = full_low + far
            before = start < near_low
            start = tl.where(before, start, start - near_low + near_high)
            values, peak, total = _attend_block(
                values, peak, total, block, key_side, value_side,
                start, tl.where(before, terms.far_left, terms.far_right), queries, query_length, key_length, terms,
                SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, False, False, TMA, KIND,
            )  # fmt: skip
    for start in tl.range(near_low, near_high, KEYS, disable_licm=KIND.busy):
        values, peak, total = _attend_block(
            values, peak, total, block, key_side, value_side,
            start, 0.0, queries, query_length, key_length, terms,
            SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, False, True, TMA, KIND,
        )  # fmt: skip
    masked_blocks = (full_low - low) // KEYS + (tl.maximum(high - full_high, 0) + KEYS - 1) // KEYS
    # Loads ahead of these few blocks would take the registers that the others need.
    for number in tl.range(masked_blocks, num_stages=1, disable_licm=KIND.busy):
        start = masked_block(number, low, full_low, full_high, KEYS, KIND.left)
        values, peak, total = _attend_block(
            values, peak, total, block, key_side, value_side,
            start, 0.0, queries, query_length, key_length, terms,
            SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, True, True, TMA, KIND,
        )  # fmt: skip

    empty = total == 0.0
    share = 1.0 / tl.where(empty, 1.0, total)
    if KIND.dropout:
        share = share / keep_share
    values = values * share[:, None]
    sums = tl.where(empty, float("-inf"), (peak + tl.log2(tl.where(empty, 1.0, total))) * LN2)
    tl.store(lse + queries, sums, mask=query_inside)
    columns = tl.arange(0, V_COLUMNS)
    pointers = out + queries.to(tl.int64)[:, None] * out_token + columns[None, :]
    tl.store(
        pointers, values.to(out.dtype.element_ty), mask=query_inside[:, None] & (columns < V_SIZE)[None, :]
    )
