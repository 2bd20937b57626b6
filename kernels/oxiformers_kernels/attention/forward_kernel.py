"""Attention's forward in Triton: one program a tile of queries, an online softmax over the blocks of keys.

The algorithm is FlashAttention's (Dao, arXiv:2307.08691); tiles are those of packed sequences, longest first.
"""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.attention.scores_kernel import (
    LN2,
    LOG2E,
    UNSPECIALIZED,
    beginning,
    biased_scores,
    dropout_keeps,
    find_tile,
    keeps,
    masked_block,
    near_range,
    side,
    visible_range,
)


@triton.jit
def load_block(
    block, first, length, token, size,
    COLUMNS: tl.constexpr, ROWS: tl.constexpr, EXACT: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Rows first..first + ROWS of a sequence's `[length, size]` side; zeros outside.

    EXACT: `size` is COLUMNS. Not MASKED: all rows exist.
    """
    rows, columns = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    pointers = block + tl.cast(first, tl.int64) * token + rows * token + columns
    if MASKED:
        inside = first + rows < length
        if not EXACT:
            inside = inside & (columns < size)
        return tl.load(pointers, mask=inside, other=0.0)
    if EXACT:
        return tl.load(pointers)
    return tl.load(pointers, mask=columns < size, other=0.0)


@triton.jit
def _attend_block(
    values, peak, total, q, k, v, k_tiles, v_tiles, tile_row, k_column, v_column, start, far_bias,
    positions, queries, query_inside, key_length, k_token, v_token, head,
    scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right, seed,
    threshold, first_token,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
    MASKED: tl.constexpr, NEAR: tl.constexpr, TMA: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, DISTANCE: tl.constexpr, BIAS: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One block of keys into the running values `[M, Dv]`, peaks and sums `[M]` (in units of log 2)."""
    if TMA:
        # Rows beyond the sequence are its neighbour's; their products are masked below.
        keys = k_tiles.load([tile_row + start, k_column])
    else:
        keys = load_block(k, start, key_length, k_token, SIZE, COLUMNS, BLOCK, SIZE == COLUMNS, MASKED)
    if UPCAST:
        keys = keys.to(tl.float32)
    columns = start + tl.arange(0, BLOCK)
    distance = columns[None, :] - positions[:, None]
    visible = query_inside[:, None] & (columns < key_length)[None, :]
    offsets = queries.to(tl.int64)[:, None] * bias_query + columns[None, :] * bias_key
    bias_inside = visible & (queries < bias_queries)[:, None] & (columns < bias_keys)[None, :]
    if SOFTCAP:
        products = tl.dot(q, tl.trans(keys), input_precision=PRECISION)
        products, _ = biased_scores(
            products, distance, far_bias, scale, softcap, slope, table, reach, bias, offsets, bias_inside,
            SOFTCAP, ALIBI, DISTANCE, NEAR, BIAS,
        )  # fmt: skip
        factor = 1.0
    else:
        if ALIBI or DISTANCE or BIAS:
            products = beginning(
                distance, far_bias, 0.0, scale, slope, table, reach, bias, offsets, bias_inside,
                ALIBI, DISTANCE, NEAR, BIAS,
            )  # fmt: skip
            products = tl.dot(q, tl.trans(keys), products, input_precision=PRECISION)
        else:
            products = tl.dot(q, tl.trans(keys), input_precision=PRECISION)
        # The scale is positive, so it may follow the maximum, and joins the subtraction in one instruction.
        factor = scale * LOG2E
    if MASKED:
        products = tl.where(keeps(distance, left, right, LEFT, RIGHT, visible), products, float("-inf"))
    new_peak = tl.maximum(peak, tl.max(products, axis=1) * factor)
    # A row that has seen nothing has peak -inf; subtracting 0 there keeps exp(-inf) = 0 from being NaN.
    shift = tl.where(new_peak == float("-inf"), 0.0, new_peak)
    probabilities = tl.exp2(products * factor - shift[:, None])
    fade = tl.exp2(peak - shift)
    total = total * fade + tl.sum(probabilities, axis=1)
    values = values * fade[:, None]
    if DROPOUT:
        kept = dropout_keeps(seed, (first_token + queries)[:, None], columns[None, :], head, threshold)
        probabilities = tl.where(kept, probabilities, 0.0)
    if TMA:
        block = v_tiles.load([tile_row + start, v_column])
        if MASKED:
            block = tl.where((columns < key_length)[:, None], block, 0.0)
    else:
        block = load_block(
            v, start, key_length, v_token, V_SIZE, V_COLUMNS, BLOCK, V_SIZE == V_COLUMNS, MASKED
        )
    if UPCAST:
        block = block.to(tl.float32)
    values = tl.dot(probabilities.to(block.dtype), block, values, input_precision=PRECISION)
    return values, new_peak, total


@triton.jit(do_not_specialize=UNSPECIALIZED)
def attention_forward(
    q, k, v, out, lse, k_tiles, v_tiles, plan, table, bias, slopes, seeds,
    scale, softcap, keep_share, threshold, reach, left, right,
    heads, group, n_tokens, n_sequences, query_length, key_length,
    q_batch, q_token, q_head, k_batch, k_token, k_head, v_batch, v_token, v_head, out_token, out_head,
    bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, PACKED: tl.constexpr, TMA: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, DISTANCE: tl.constexpr,
    BIAS: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """out `[T, H, Dv]`, lse float32 `[H, T]` in natural units; a program does QUERIES rows of a head of a sequence."""
    _, sequence, head, first, q_start, query_length, k_start, key_length = find_tile(
        plan, heads, query_length, key_length, n_sequences, QUERIES, PACKED
    )
    # Where much is added to scores, registers are short: what could be computed before the loops is computed in them.
    BUSY: tl.constexpr = SOFTCAP or ALIBI or DISTANCE or BIAS or DROPOUT
    kv_head = head // group
    q = side(q, sequence, q_start, head, q_batch, q_token, q_head, PACKED)
    k = side(k, sequence, k_start, kv_head, k_batch, k_token, k_head, PACKED)
    v = side(v, sequence, k_start, kv_head, v_batch, v_token, v_head, PACKED)
    out = side(out, sequence, q_start, head, 0, out_token, out_head, True)
    lse += head.to(tl.int64) * n_tokens + q_start
    slope = 0.0
    seed = 0
    far_left = 0.0
    far_right = 0.0
    if ALIBI:
        slope = tl.load(slopes + head)
    if DROPOUT:
        seed = tl.load(seeds)
    if DISTANCE:
        table += head * (2 * reach + 1)
        far_left = tl.load(table).to(tl.float32)
        far_right = tl.load(table + 2 * reach).to(tl.float32)
    if BIAS:
        bias = side(bias, sequence, q_start, head, bias_batch, 0, bias_head, False)

    past = key_length - query_length
    queries = first + tl.arange(0, QUERIES)
    positions = queries + past
    query_inside = queries < query_length
    block = load_block(q, first, query_length, q_token, SIZE, COLUMNS, QUERIES, SIZE == COLUMNS, True)
    if UPCAST:
        block = block.to(tl.float32)
    peak = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    values = tl.zeros([QUERIES, V_COLUMNS], tl.float32)

    last = tl.minimum(first + QUERIES, query_length) - 1 + past
    low, full_low, full_high, high = visible_range(
        first + past, last, key_length, left, right, KEYS, LEFT, RIGHT
    )
    k_column, v_column = kv_head * SIZE, kv_head * V_SIZE
    near_low = full_low
    near_high = full_high
    if DISTANCE:
        # Blocks wholly beyond the table's reach on either side share one bias; they are done first.
        near_low, near_high = near_range(first + past, last, full_low, full_high, reach, KEYS)
        for far in tl.range(0, full_high - near_high + near_low - full_low, KEYS, disable_licm=BUSY):
            start = full_low + far
            before = start < near_low
            start = tl.where(before, start, start - near_low + near_high)
            values, peak, total = _attend_block(
                values, peak, total, block, k, v, k_tiles, v_tiles, k_start, k_column, v_column,
                start, tl.where(before, far_left, far_right),
                positions, queries, query_inside, key_length, k_token, v_token, head,
                scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right,
                seed, threshold, q_start,
                SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, False, False, TMA, LEFT, RIGHT,
                SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, PRECISION, UPCAST,
            )  # fmt: skip
    for start in tl.range(near_low, near_high, KEYS, disable_licm=BUSY):
        values, peak, total = _attend_block(
            values, peak, total, block, k, v, k_tiles, v_tiles, k_start, k_column, v_column, start, 0.0,
            positions, queries, query_inside, key_length, k_token, v_token, head,
            scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right,
            seed, threshold, q_start,
            SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, False, True, TMA, LEFT, RIGHT,
            SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    masked_blocks = (full_low - low) // KEYS + (tl.maximum(high - full_high, 0) + KEYS - 1) // KEYS
    # Loads ahead of these few blocks would take the registers that the others need.
    for index in tl.range(masked_blocks, num_stages=1, disable_licm=BUSY):
        values, peak, total = _attend_block(
            values, peak, total, block, k, v, k_tiles, v_tiles, k_start, k_column, v_column,
            masked_block(index, low, full_low, full_high, KEYS, LEFT), 0.0,
            positions, queries, query_inside, key_length, k_token, v_token, head,
            scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right,
            seed, threshold, q_start,
            SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, True, True, TMA, LEFT, RIGHT,
            SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip

    empty = total == 0.0
    share = 1.0 / tl.where(empty, 1.0, total)
    if DROPOUT:
        share = share / keep_share
    values = values * share[:, None]
    sums = tl.where(empty, float("-inf"), (peak + tl.log2(tl.where(empty, 1.0, total))) * LN2)
    tl.store(lse + queries, sums, mask=query_inside)
    columns = tl.arange(0, V_COLUMNS)
    pointers = out + queries.to(tl.int64)[:, None] * out_token + columns[None, :]
    tl.store(
        pointers, values.to(out.dtype.element_ty), mask=query_inside[:, None] & (columns < V_SIZE)[None, :]
    )
