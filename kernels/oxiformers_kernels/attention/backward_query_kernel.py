"""Attention's backward in Triton, from the side of the queries: their gradient without atomics, always the same bits."""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.attention.backward_kernel import load_rows_state
from oxiformers_kernels.attention.forward_kernel import load_block
from oxiformers_kernels.attention.scores_kernel import (
    UNSPECIALIZED,
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
def _key_block(
    dq, q, grad, sums, means, k, v, start, far_bias, positions, queries, query_inside, key_length, k_token, v_token, head,
    scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right, seed, keep_share, threshold, first_token,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr, KEYS: tl.constexpr,
    MASKED: tl.constexpr, NEAR: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr,
    ALIBI: tl.constexpr, DISTANCE: tl.constexpr, BIAS: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One block of keys into the gradient `[M, D]` of a tile of queries."""
    keys = load_block(k, start, key_length, k_token, SIZE, COLUMNS, KEYS, SIZE == COLUMNS, MASKED)
    values = load_block(v, start, key_length, v_token, V_SIZE, V_COLUMNS, KEYS, V_SIZE == V_COLUMNS, MASKED)
    if UPCAST:
        keys, values = keys.to(tl.float32), values.to(tl.float32)
    products = tl.dot(q, tl.trans(keys), input_precision=PRECISION)
    columns = start + tl.arange(0, KEYS)
    distance = columns[None, :] - positions[:, None]
    visible = query_inside[:, None] & (columns < key_length)[None, :]
    offsets = queries.to(tl.int64)[:, None] * bias_query + columns[None, :] * bias_key
    scores, bend = biased_scores(
        products, distance, far_bias, scale, softcap, slope, table, reach, bias, offsets,
            visible & (queries < bias_queries)[:, None] & (columns < bias_keys)[None, :],
        SOFTCAP, ALIBI, DISTANCE, NEAR, BIAS,
    )  # fmt: skip
    probabilities = tl.exp2(scores - sums[:, None])
    if MASKED:
        probabilities = tl.where(keeps(distance, left, right, LEFT, RIGHT, visible), probabilities, 0.0)
    products = tl.dot(grad, tl.trans(values), input_precision=PRECISION)
    if DROPOUT:
        kept = dropout_keeps(seed, (first_token + queries)[:, None], columns[None, :], head, threshold)
        products = tl.where(kept, products / keep_share, 0.0)
    score_grads = probabilities * (products - means[:, None])
    if SOFTCAP:
        score_grads *= bend
    return tl.dot(score_grads.to(keys.dtype), keys, dq, input_precision=PRECISION)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def attention_backward_queries(
    q, k, v, grad, lse, delta, dq, plan, table, bias, slopes, seeds,
    scale, softcap, keep_share, threshold, reach, left, right,
    heads, group, n_tokens, n_sequences, query_length, key_length,
    q_batch, q_token, q_head, k_batch, k_token, k_head, v_batch, v_token, v_head, grad_token, grad_head,
    dq_token, dq_head, bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, PACKED: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, DISTANCE: tl.constexpr,
    BIAS: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dq `[T, H, D]`; a program does QUERIES rows of a head of a sequence."""
    _, sequence, head, first, q_start, query_length, k_start, key_length = find_tile(
        plan, heads, query_length, key_length, n_sequences, QUERIES, PACKED
    )
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

    last = tl.minimum(first + QUERIES, query_length) - 1 + past
    low, full_low, full_high, high = visible_range(
        first + past, last, key_length, left, right, KEYS, LEFT, RIGHT
    )
    near_low = full_low
    near_high = full_high
    if DISTANCE:
        near_low, near_high = near_range(first + past, last, full_low, full_high, reach, KEYS)
        for far in range(0, full_high - near_high + near_low - full_low, KEYS):
            start = full_low + far
            before = start < near_low
            start = tl.where(before, start, start - near_low + near_high)
            query_grads = _key_block(
                query_grads, block, grads, sums, means, k, v, start, tl.where(before, far_left, far_right),
                positions, queries, query_inside, key_length, k_token, v_token, head,
                scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right,
                seed, keep_share, threshold, q_start,
                SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, False, False, LEFT, RIGHT,
                SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, PRECISION, UPCAST,
            )  # fmt: skip
    for start in range(near_low, near_high, KEYS):
        query_grads = _key_block(
            query_grads, block, grads, sums, means, k, v, start, 0.0,
            positions, queries, query_inside, key_length, k_token, v_token, head,
            scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right,
            seed, keep_share, threshold, q_start,
            SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, False, True, LEFT, RIGHT,
            SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    masked_blocks = (full_low - low) // KEYS + (tl.maximum(high - full_high, 0) + KEYS - 1) // KEYS
    for index in range(0, masked_blocks):
        query_grads = _key_block(
            query_grads, block, grads, sums, means, k, v,
            masked_block(index, low, full_low, full_high, KEYS, LEFT), 0.0,
            positions, queries, query_inside, key_length, k_token, v_token, head,
            scale, softcap, slope, table, reach, bias, bias_query, bias_key, bias_queries, bias_keys, left, right,
            seed, keep_share, threshold, q_start,
            SIZE, V_SIZE, COLUMNS, V_COLUMNS, KEYS, True, True, LEFT, RIGHT,
            SOFTCAP, ALIBI, DISTANCE, BIAS, DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    columns = tl.arange(0, COLUMNS)[None, :]
    tl.store(
        dq + queries.to(tl.int64)[:, None] * dq_token + columns,
        (query_grads * scale).to(dq.dtype.element_ty),
        mask=query_inside[:, None] & (columns < SIZE),
    )
