"""Attention's backward in Triton, from the side of the keys: one program a tile of keys, over the queries that see it.

Scores are computed transposed, `[keys, queries]`, so that probabilities and their gradients enter the products with
queries and output gradients straight from registers. The gradient of the queries is backward_query_kernel's: two
products are computed twice, but no memory is added to by several programs, which took longer and gave other bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.attention.forward_kernel import load_block
from oxiformers_kernels.attention.scores_kernel import (
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


@triton.jit(do_not_specialize=["n_tokens", "heads"])
def attention_delta(
    out, grad, lse_grad, delta, n_tokens, heads, size, out_token, out_head, grad_token, grad_head,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, LSE_GRAD: tl.constexpr,
):  # fmt: skip
    """delta `[H, T]`: the sum of out * grad over the values, less the gradient of the log-sum-exp."""
    program = tl.program_id(0)
    head = (program % heads).to(tl.int64)
    rows = (program // heads).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    inside = (rows < n_tokens)[:, None] & (columns < size)[None, :]
    values = tl.load(out + head * out_head + rows[:, None] * out_token + columns, mask=inside, other=0.0)
    grads = tl.load(grad + head * grad_head + rows[:, None] * grad_token + columns, mask=inside, other=0.0)
    sums = tl.sum(values.to(tl.float32) * grads.to(tl.float32), axis=1)
    if LSE_GRAD:
        sums -= tl.load(lse_grad + head * n_tokens + rows, mask=rows < n_tokens, other=0.0)
    tl.store(delta + head * n_tokens + rows, sums, mask=rows < n_tokens)


@triton.jit
def load_rows_state(lse, delta, rows, length):
    """The log-sum-exp and delta of query rows; the former +inf, so no probability, where nothing was seen."""
    inside = rows < length
    sums = tl.load(lse + rows, mask=inside, other=float("inf"))
    sums = tl.where(sums == float("-inf"), float("inf"), sums)
    return sums, tl.load(delta + rows, mask=inside, other=0.0)


@triton.jit
def _query_block(
    dk, dv, k, v, q, grad, lse, delta, start, far_bias,
    q_tiles, grad_tiles, tile_row,
    key_rows, key_inside, past, query_length, q_token, grad_token, head,
    scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right, seed,
    keep_share, threshold, first_token,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, MASKED: tl.constexpr, NEAR: tl.constexpr, TMA: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, DISTANCE: tl.constexpr,
    BIAS: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One block of queries into the gradients of a tile of keys and values, `[KEYS, D]`."""
    if TMA and not MASKED:
        queries = q_tiles.load([tile_row + start, head * SIZE])
        grads = grad_tiles.load([tile_row + start, head * V_SIZE])
    else:
        queries = load_block(q, start, query_length, q_token, SIZE, COLUMNS, QUERIES, SIZE == COLUMNS, MASKED)
        grads = load_block(
            grad, start, query_length, grad_token, V_SIZE, V_COLUMNS, QUERIES, V_SIZE == V_COLUMNS, MASKED
        )
    if UPCAST:
        queries, grads = queries.to(tl.float32), grads.to(tl.float32)
    rows = start + tl.arange(0, QUERIES)
    sums, means = load_rows_state(lse, delta, rows, query_length)
    distance = key_rows[:, None] - (rows + past)[None, :]
    visible = key_inside[:, None] & (rows < query_length)[None, :]
    offsets = rows.to(tl.int64)[None, :] * bias_query + key_rows[:, None] * bias_key
    bias_inside = visible & (rows < bias_queries)[None, :] & (key_rows < bias_keys)[:, None]
    if SOFTCAP:
        products = tl.dot(k, tl.trans(queries), input_precision=PRECISION)
        scores, bend = biased_scores(
            products, distance, far_bias, scale, softcap, slope, table, reach, bias, offsets, bias_inside,
            SOFTCAP, ALIBI, DISTANCE, NEAR, BIAS,
        )  # fmt: skip
        probabilities = tl.exp2(scores - (sums * LOG2E)[None, :])
    else:
        products = beginning(
            distance, far_bias, sums[None, :], scale, slope, table, reach, bias, offsets, bias_inside,
            ALIBI, DISTANCE, NEAR, BIAS,
        )  # fmt: skip
        products = tl.dot(k, tl.trans(queries), products, input_precision=PRECISION)
        probabilities = tl.exp2(products * (scale * LOG2E))
    if MASKED:
        probabilities = tl.where(keeps(distance, left, right, LEFT, RIGHT, visible), probabilities, 0.0)
    weighted = probabilities
    if DROPOUT:
        kept = dropout_keeps(seed, (first_token + rows)[None, :], key_rows[:, None], head, threshold)
        weighted = tl.where(kept, probabilities, 0.0)
        products = tl.dot(v, tl.trans(grads), input_precision=PRECISION)
        products = tl.where(kept, products / keep_share, 0.0) - means[None, :]
    else:
        products = tl.zeros_like(distance).to(tl.float32) - means[None, :]
        products = tl.dot(v, tl.trans(grads), products, input_precision=PRECISION)
    dv = tl.dot(weighted.to(grads.dtype), grads, dv, input_precision=PRECISION)
    score_grads = probabilities * products
    if SOFTCAP:
        score_grads *= bend
    narrow = score_grads.to(queries.dtype)
    dk = tl.dot(narrow, queries, dk, input_precision=PRECISION)
    return dk, dv


@triton.jit(do_not_specialize=UNSPECIALIZED)
def attention_backward_keys(
    q, k, v, grad, lse, delta, dk, dv, q_tiles, grad_tiles, plan, table, bias, slopes, seeds,
    scale, softcap, keep_share, threshold, reach, left, right,
    kv_heads, group, n_tokens, n_sequences, query_length, key_length,
    q_batch, q_token, q_head, k_batch, k_token, k_head, v_batch, v_token, v_head, grad_token, grad_head,
    dk_token, dk_head, dv_token, dv_head, bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, PACKED: tl.constexpr, TMA: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, DISTANCE: tl.constexpr,
    BIAS: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dk `[Tk, Hkv, D]`, dv `[Tk, Hkv, Dv]`; a program does KEYS rows of a key head, over all its query heads."""
    _, sequence, kv_head, first, k_start, key_length, q_start, query_length = find_tile(
        plan, kv_heads, key_length, query_length, n_sequences, KEYS, PACKED
    )
    k = side(k, sequence, k_start, kv_head, k_batch, k_token, k_head, PACKED)
    v = side(v, sequence, k_start, kv_head, v_batch, v_token, v_head, PACKED)
    seed = 0
    if DROPOUT:
        seed = tl.load(seeds)

    past = key_length - query_length
    key_rows = first + tl.arange(0, KEYS)
    key_inside = key_rows < key_length
    keys = load_block(k, first, key_length, k_token, SIZE, COLUMNS, KEYS, SIZE == COLUMNS, True)
    values = load_block(v, first, key_length, v_token, V_SIZE, V_COLUMNS, KEYS, V_SIZE == V_COLUMNS, True)
    if UPCAST:
        keys, values = keys.to(tl.float32), values.to(tl.float32)
    key_grads = tl.zeros([KEYS, COLUMNS], tl.float32)
    value_grads = tl.zeros([KEYS, V_COLUMNS], tl.float32)

    last = tl.minimum(first + KEYS, key_length) - 1 - past
    low, full_low, full_high, high = visible_range(
        first - past, last, query_length, right, left, QUERIES, RIGHT, LEFT
    )
    if first + KEYS > key_length:
        # Keys that do not exist must be masked in every block.
        full_low = low
        full_high = low
    near_low = full_low
    near_high = full_high
    if DISTANCE:
        # Seen from a key, queries far after it are to its left, those far before it to its right.
        near_low, near_high = near_range(first - past, last, full_low, full_high, reach, QUERIES)

    for member in range(group):
        head = kv_head * group + member
        head64 = head.to(tl.int64)
        q_rows = side(q, sequence, q_start, head, q_batch, q_token, q_head, PACKED)
        grad_rows = side(grad, sequence, q_start, head, 0, grad_token, grad_head, True)
        lse_rows = lse + head64 * n_tokens + q_start
        delta_rows = delta + head64 * n_tokens + q_start
        slope = 0.0
        far_left = 0.0
        far_right = 0.0
        table_row = table
        bias_rows = bias
        if ALIBI:
            slope = tl.load(slopes + head)
        if DISTANCE:
            table_row = table + head * (2 * reach + 1)
            far_left = tl.load(table_row).to(tl.float32)
            far_right = tl.load(table_row + 2 * reach).to(tl.float32)
        if BIAS:
            bias_rows = side(bias, sequence, q_start, head, bias_batch, 0, bias_head, False)
        if DISTANCE:
            for far in tl.range(0, full_high - near_high + near_low - full_low, QUERIES, disable_licm=True):
                start = full_low + far
                before = start < near_low
                start = tl.where(before, start, start - near_low + near_high)
                key_grads, value_grads = _query_block(
                    key_grads, value_grads, keys, values, q_rows, grad_rows, lse_rows, delta_rows,
                    start, tl.where(before, far_right, far_left),
                    q_tiles, grad_tiles, q_start,
                key_rows, key_inside, past, query_length, q_token, grad_token, head,
                    scale, softcap, slope, table_row, reach, bias_rows, bias_query, bias_key, bias_queries, bias_keys,
                    left, right,
                    seed, keep_share, threshold, q_start,
                    SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, KEYS, False, False, TMA, LEFT, RIGHT,
                    SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT,
                    PRECISION, UPCAST,
                )  # fmt: skip
        # Both gradients fill most registers: what could be computed before the loops is computed in them.
        for start in tl.range(near_low, near_high, QUERIES, disable_licm=True):
            key_grads, value_grads = _query_block(
                key_grads, value_grads, keys, values, q_rows, grad_rows, lse_rows, delta_rows,
                start, 0.0,
                q_tiles, grad_tiles, q_start,
                key_rows, key_inside, past, query_length, q_token, grad_token, head,
                scale, softcap, slope, table_row, reach, bias_rows, bias_query, bias_key, bias_queries, bias_keys,
                left, right,
                seed, keep_share, threshold, q_start,
                SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, KEYS, False, True, TMA, LEFT, RIGHT,
                SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT,
                PRECISION, UPCAST,
            )  # fmt: skip
        masked_blocks = (full_low - low) // QUERIES + (
            tl.maximum(high - full_high, 0) + QUERIES - 1
        ) // QUERIES
        for index in tl.range(masked_blocks, num_stages=1, disable_licm=True):
            key_grads, value_grads = _query_block(
                key_grads, value_grads, keys, values, q_rows, grad_rows, lse_rows, delta_rows,
                masked_block(index, low, full_low, full_high, QUERIES, RIGHT), 0.0,
                q_tiles, grad_tiles, q_start,
                key_rows, key_inside, past, query_length, q_token, grad_token, head,
                scale, softcap, slope, table_row, reach, bias_rows, bias_query, bias_key, bias_queries, bias_keys,
                left, right,
                seed, keep_share, threshold, q_start,
                SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, KEYS, True, True, TMA, LEFT, RIGHT,
                SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT,
                PRECISION, UPCAST,
            )  # fmt: skip

    if DROPOUT:
        value_grads /= keep_share
    dk = side(dk, sequence, k_start, kv_head, 0, dk_token, dk_head, True)
    dv = side(dv, sequence, k_start, kv_head, 0, dv_token, dv_head, True)
    columns, v_columns = tl.arange(0, COLUMNS)[None, :], tl.arange(0, V_COLUMNS)[None, :]
    offsets = key_rows.to(tl.int64)[:, None]
    inside = key_inside[:, None]
    tl.store(
        dk + offsets * dk_token + columns,
        (key_grads * scale).to(dk.dtype.element_ty),
        mask=inside & (columns < SIZE),
    )
    tl.store(
        dv + offsets * dv_token + v_columns,
        value_grads.to(dv.dtype.element_ty),
        mask=inside & (v_columns < V_SIZE),
    )
