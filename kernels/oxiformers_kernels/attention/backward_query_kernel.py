"""Attention's backward in Triton, from the side of the queries: their gradient, and those of the biases."""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.attention.backward_kernel import load_rows_state
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


@triton.jit
def _add_diagonals(
    table_grad, left_sum, right_sum, grads, first_distance, reach, left_side,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, NEAR: tl.constexpr, PRIVATE: tl.constexpr,
):  # fmt: skip
    """Adds the score gradients `[QUERIES, KEYS]` of a tile to those of their distances; QUERIES is at most KEYS.

    first_distance: of the tile's first query and first key. Each row is turned by its index, a distance then lies in
    one column (in two halves), and a column's sum is one addition to memory. Distances beyond the table go to two sums.
    """
    if not NEAR:
        everything = tl.sum(tl.sum(grads, axis=1), axis=0)
        left_sum += tl.where(left_side, everything, 0.0)
        right_sum += tl.where(left_side, 0.0, everything)
    else:
        rows, columns = tl.arange(0, QUERIES)[:, None], tl.arange(0, KEYS)[None, :]
        turned = tl.gather(grads, (rows + columns) & (KEYS - 1), axis=1)
        wrapped = rows + columns >= KEYS
        for half in tl.static_range(2):
            sums = tl.sum(tl.where(wrapped == (half == 1), turned, 0.0), axis=0)
            distance = first_distance + tl.arange(0, KEYS) - half * KEYS
            beyond_left = distance <= -reach
            beyond_right = (distance >= reach) & (distance > -reach)
            left_sum += tl.sum(tl.where(beyond_left, sums, 0.0), axis=0)
            right_sum += tl.sum(tl.where(beyond_right, sums, 0.0), axis=0)
            _add(table_grad + distance + reach, sums, (distance > -reach) & (distance < reach), PRIVATE)
    return left_sum, right_sum


@triton.jit
def _add(pointers, values, inside, PRIVATE: tl.constexpr):
    """Adds to float32 memory that all programs share, or that is this program's alone."""
    if PRIVATE:
        # Barriers keep the order of the program's threads, and so the sum.
        tl.debug_barrier()
        tl.store(pointers, tl.load(pointers, mask=inside, other=0.0) + values, mask=inside)
        tl.debug_barrier()
    else:
        tl.atomic_add(pointers, values, mask=inside, sem="relaxed")


@triton.jit
def _key_block(
    dq, left_sum, right_sum, q, grad, sums, means, k, v, k_tiles, v_tiles, tile_row, k_column, v_column, table_grad,
    bias_grad,
    start, far_bias, left_side, positions, queries, query_inside, key_length, k_token, v_token, head,
    scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, bias_grad_query,
    bias_grad_key, left, right,
    seed, keep_share, threshold, first_token,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr, KEYS: tl.constexpr,
    MASKED: tl.constexpr, NEAR: tl.constexpr, TMA: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    SOFTCAP: tl.constexpr,
    ALIBI: tl.constexpr, DISTANCE: tl.constexpr, BIAS: tl.constexpr, DROPOUT: tl.constexpr,
    QUERIES: tl.constexpr, TABLE_GRAD: tl.constexpr, BIAS_GRAD: tl.constexpr, PRIVATE: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One block of keys into the gradient `[M, D]` of a tile of queries, and into those of the biases."""
    if TMA and not MASKED:
        keys = k_tiles.load([tile_row + start, k_column])
        values = v_tiles.load([tile_row + start, v_column])
    else:
        keys = load_block(k, start, key_length, k_token, SIZE, COLUMNS, KEYS, SIZE == COLUMNS, MASKED)
        values = load_block(
            v, start, key_length, v_token, V_SIZE, V_COLUMNS, KEYS, V_SIZE == V_COLUMNS, MASKED
        )
    if UPCAST:
        keys, values = keys.to(tl.float32), values.to(tl.float32)
    columns = start + tl.arange(0, KEYS)
    distance = columns[None, :] - positions[:, None]
    visible = query_inside[:, None] & (columns < key_length)[None, :]
    offsets = queries.to(tl.int64)[:, None] * bias_query + columns[None, :] * bias_key
    bias_inside = visible & (queries < bias_queries)[:, None] & (columns < bias_keys)[None, :]
    if SOFTCAP:
        products = tl.dot(q, tl.trans(keys), input_precision=PRECISION)
        scores, bend = biased_scores(
            products, distance, far_bias, scale, softcap, slope, table, reach, bias, offsets, bias_inside,
            SOFTCAP, ALIBI, DISTANCE, NEAR, BIAS,
        )  # fmt: skip
        probabilities = tl.exp2(scores - (sums * LOG2E)[:, None])
    else:
        products = beginning(
            distance, far_bias, sums[:, None], scale, slope, table, reach, bias, offsets, bias_inside,
            ALIBI, DISTANCE, NEAR, BIAS,
        )  # fmt: skip
        products = tl.dot(q, tl.trans(keys), products, input_precision=PRECISION)
        probabilities = tl.exp2(products * (scale * LOG2E))
    if MASKED:
        probabilities = tl.where(keeps(distance, left, right, LEFT, RIGHT, visible), probabilities, 0.0)
    if DROPOUT:
        products = tl.dot(grad, tl.trans(values), input_precision=PRECISION)
        kept = dropout_keeps(seed, (first_token + queries)[:, None], columns[None, :], head, threshold)
        products = tl.where(kept, products / keep_share, 0.0) - means[:, None]
    else:
        products = tl.zeros_like(distance).to(tl.float32) - means[:, None]
        products = tl.dot(grad, tl.trans(values), products, input_precision=PRECISION)
    score_grads = probabilities * products
    if TABLE_GRAD:
        left_sum, right_sum = _add_diagonals(
            table_grad, left_sum, right_sum, score_grads, start - tl.min(positions, axis=0), reach, left_side,
            QUERIES, KEYS, NEAR, PRIVATE,
        )  # fmt: skip
    if BIAS_GRAD:
        grad_offsets = queries.to(tl.int64)[:, None] * bias_grad_query + columns[None, :] * bias_grad_key
        tl.atomic_add(bias_grad + grad_offsets, score_grads, mask=bias_inside, sem="relaxed")
    if SOFTCAP:
        score_grads *= bend
    return tl.dot(score_grads.to(keys.dtype), keys, dq, input_precision=PRECISION), left_sum, right_sum


@triton.jit(do_not_specialize=UNSPECIALIZED)
def attention_backward_queries(
    q, k, v, grad, lse, delta, dq, k_tiles, v_tiles, plan, table, table_grad, bias, bias_grad, slopes, seeds,
    scale, softcap, keep_share, threshold, reach, left, right,
    heads, group, n_tokens, n_slots, n_sequences, query_length, key_length,
    q_batch, q_token, q_head, k_batch, k_token, k_head, v_batch, v_token, v_head, grad_token, grad_head,
    dq_token, dq_head, bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys,
    bias_grad_batch, bias_grad_head, bias_grad_query, bias_grad_key,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, PACKED: tl.constexpr, TMA: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, DISTANCE: tl.constexpr,
    BIAS: tl.constexpr, DROPOUT: tl.constexpr, TABLE_GRAD: tl.constexpr, BIAS_GRAD: tl.constexpr,
    PRIVATE: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dq `[T, H, D]`; a program does QUERIES rows of a head of a sequence.

    table_grad float32 `[H, 2R + 1]`, or `[H, n_slots, 2R + 1]` where PRIVATE, zero before; bias_grad
    float32, of any strides.
    """
    slot, sequence, head, first, q_start, query_length, k_start, key_length = find_tile(
        plan, heads, query_length, key_length, n_sequences, QUERIES, PACKED
    )
    # Where much is added to scores, registers are short: what could be computed before the loops is computed in them.
    BUSY: tl.constexpr = SOFTCAP or ALIBI or DISTANCE or BIAS or DROPOUT
    kv_head = head // group
    q = side(q, sequence, q_start, head, q_batch, q_token, q_head, PACKED)
    k = side(k, sequence, k_start, kv_head, k_batch, k_token, k_head, PACKED)
    v = side(v, sequence, k_start, kv_head, v_batch, v_token, v_head, PACKED)
    grad = side(grad, sequence, q_start, head, 0, grad_token, grad_head, True)
    dq = side(dq, sequence, q_start, head, 0, dq_token, dq_head, True)
    lse += head.to(tl.int64) * n_tokens + q_start
    delta += head.to(tl.int64) * n_tokens + q_start
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
    if TABLE_GRAD:
        row = head.to(tl.int64) * n_slots + slot if PRIVATE else head.to(tl.int64)
        table_grad += row * (2 * reach + 1)
    if BIAS_GRAD:
        bias_grad = side(bias_grad, sequence, q_start, head, bias_grad_batch, 0, bias_grad_head, False)

    past = key_length - query_length
    queries = first + tl.arange(0, QUERIES)
    positions = queries + past
    query_inside = queries < query_length
    block = load_block(q, first, query_length, q_token, SIZE, COLUMNS, QUERIES, SIZE == COLUMNS, True)
    grads = load_block(
        grad, first, query_length, grad_token, V_SIZE, V_COLUMNS, QUERIES, V_SIZE == V_COLUMNS, True
    )
    if UPCAST:
        block, grads = block.to(tl.float32), grads.to(tl.float32)
    sums, means = load_rows_state(lse, delta, queries, query_length)
    query_grads = tl.zeros([QUERIES, COLUMNS], tl.float32)
    left_sum = 0.0
    right_sum = 0.0

    last = tl.minimum(first + QUERIES, query_length) - 1 + past
    low, full_low, full_high, high = visible_range(
        first + past, last, key_length, left, right, KEYS, LEFT, RIGHT
    )
    k_column, v_column = kv_head * SIZE, kv_head * V_SIZE
    near_low = full_low
    near_high = full_high
    if DISTANCE:
        near_low, near_high = near_range(first + past, last, full_low, full_high, reach, KEYS)
        for far in tl.range(0, full_high - near_high + near_low - full_low, KEYS, disable_licm=BUSY):
            start = full_low + far
            before = start < near_low
            start = tl.where(before, start, start - near_low + near_high)
            query_grads, left_sum, right_sum = _key_block(
                query_grads, left_sum, right_sum, block, grads, sums, means, k, v, k_tiles, v_tiles, k_start,
                k_column, v_column,
                table_grad, bias_grad, start, tl.where(before, far_left, far_right), before,
                positions, queries, query_inside, key_length, k_token, v_token, head,
                scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys,
                bias_grad_query, bias_grad_key,
                left, right, seed, keep_share, threshold, q_start,
                SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, False, False, TMA, LEFT, RIGHT,
                SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, QUERIES, TABLE_GRAD, BIAS_GRAD, PRIVATE, PRECISION, UPCAST,
            )  # fmt: skip
    for start in tl.range(near_low, near_high, KEYS, disable_licm=BUSY):
        query_grads, left_sum, right_sum = _key_block(
            query_grads, left_sum, right_sum, block, grads, sums, means, k, v, k_tiles, v_tiles, k_start, k_column,
            v_column,
            table_grad, bias_grad, start, 0.0, False,
            positions, queries, query_inside, key_length, k_token, v_token, head,
            scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, bias_grad_query,
            bias_grad_key,
            left, right, seed, keep_share, threshold, q_start,
            SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, False, True, TMA, LEFT, RIGHT,
            SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, QUERIES, TABLE_GRAD, BIAS_GRAD, PRIVATE, PRECISION, UPCAST,
        )  # fmt: skip
    masked_blocks = (full_low - low) // KEYS + (tl.maximum(high - full_high, 0) + KEYS - 1) // KEYS
    for index in tl.range(masked_blocks, num_stages=1, disable_licm=BUSY):
        query_grads, left_sum, right_sum = _key_block(
            query_grads, left_sum, right_sum, block, grads, sums, means, k, v, k_tiles, v_tiles, k_start, k_column,
            v_column,
            table_grad, bias_grad, masked_block(index, low, full_low, full_high, KEYS, LEFT), 0.0, False,
            positions, queries, query_inside, key_length, k_token, v_token, head,
            scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, bias_grad_query,
            bias_grad_key,
            left, right, seed, keep_share, threshold, q_start,
            SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, True, True, TMA, LEFT, RIGHT,
            SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, QUERIES, TABLE_GRAD, BIAS_GRAD, PRIVATE, PRECISION, UPCAST,
        )  # fmt: skip
    if TABLE_GRAD:
        ends = tl.arange(0, 2)
        _add(table_grad + ends * 2 * reach, tl.where(ends == 0, left_sum, right_sum), ends >= 0, PRIVATE)
    columns = tl.arange(0, COLUMNS)[None, :]
    tl.store(
        dq + queries.to(tl.int64)[:, None] * dq_token + columns,
        (query_grads * scale).to(dq.dtype.element_ty),
        mask=query_inside[:, None] & (columns < SIZE),
    )
