"""Attention's backward in Triton, from the side of the queries: their gradient, and those of most biases."""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.attention.backward_kernel import load_rows_state, score_grads_of
from oxiformers_kernels.attention.bias_grads_kernel import add_by_index, add_diagonals, add_to
from oxiformers_kernels.attention.scores_kernel import UNSPECIALIZED, terms_of
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
def _key_block(
    dq, left_sum, right_sum, q, grad, sums, means, key_side, value_side, table_grad, bias_grad, bias_grad_query,
    bias_grad_key, content_grad, start, far_bias, left_side, queries, query_length, key_length, terms,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, MASKED: tl.constexpr, NEAR: tl.constexpr, TMA: tl.constexpr,
    KIND: tl.constexpr, PRIVATE: tl.constexpr,
):  # fmt: skip
    """One block of keys into the gradient `[M, D]` of a tile of queries, and into those of the biases."""
    keys = load_tile(key_side, start, key_length, SIZE, COLUMNS, KEYS, MASKED, TMA and not MASKED)
    values = load_tile(value_side, start, key_length, V_SIZE, V_COLUMNS, KEYS, MASKED, TMA and not MASKED)
    if KIND.upcast:
        keys, values = keys.to(tl.float32), values.to(tl.float32)
    past = key_length - query_length
    rows, columns = queries[:, None], (start + tl.arange(0, KEYS))[None, :]
    distance = columns - (rows + past)
    visible = (rows < query_length) & (columns < key_length)
    _, biased_grads, score_grads = score_grads_of(
        q, keys, grad, values, sums[:, None], means[:, None], distance, far_bias, rows, columns, visible, terms,
        MASKED, NEAR, KIND,
    )  # fmt: skip
    if table_grad is not None:
        left_sum, right_sum = add_diagonals(
            table_grad, left_sum, right_sum, biased_grads, start - past - tl.min(queries, axis=0), terms.reach,
            left_side, QUERIES, KEYS, NEAR, PRIVATE,
        )  # fmt: skip
    if bias_grad is not None:
        offsets = rows.to(tl.int64) * bias_grad_query + columns * bias_grad_key
        inside = visible & (rows < terms.bias_queries) & (columns < terms.bias_keys)
        tl.atomic_add(bias_grad + offsets, biased_grads, mask=inside, sem="relaxed")
    if content_grad is not None:
        # Products are scaled; so are their gradients.
        add_by_index(
            content_grad, terms.content_row, score_grads * terms.scale, distance, rows, visible, terms, 1, PRIVATE
        )  # fmt: skip
    dq = tl.dot(score_grads.to(keys.dtype), keys, dq, input_precision=KIND.precision)
    return dq, left_sum, right_sum


@triton.jit(do_not_specialize=UNSPECIALIZED)
def attention_backward_queries(
    q, k, v, grad, lse, delta, dq, k_tiles, v_tiles, plan,
    table, table_grad, bias, bias_grad, content, content_grad, position, index, slopes, seeds,
    scale, softcap, keep_share, threshold, reach, index_reach, left, right,
    heads, group, n_tokens, n_slots, n_sequences, query_length, key_length,
    q_batch, q_token, q_head, k_batch, k_token, k_head, v_batch, v_token, v_head, grad_token, grad_head,
    dq_token, dq_head, bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys,
    bias_grad_batch, bias_grad_head, bias_grad_query, bias_grad_key,
    content_batch, content_token, content_head, position_batch, position_token, position_head,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, PACKED: tl.constexpr, TMA: tl.constexpr, KIND: tl.constexpr,
    PRIVATE: tl.constexpr,
):  # fmt: skip
    """dq `[T, H, D]`; a program does QUERIES rows of a head of a sequence.

    Gradients that are None are not wanted, the others float32 and zero before: table_grad `[H, 2R + 1]`, or
    `[H, n_slots, 2R + 1]` where PRIVATE; content_grad laid out as content, added to in one order where PRIVATE;
    bias_grad of any strides.
    """
    slot, sequence, head, first, q_start, query_length, k_start, key_length = find_tile(
        plan, heads, query_length, key_length, n_sequences, QUERIES, PACKED
    )
    kv_head = head // group
    q = head_of(q, sequence, q_start, head, q_batch, q_token, q_head, PACKED)
    k = head_of(k, sequence, k_start, kv_head, k_batch, k_token, k_head, PACKED)
    v = head_of(v, sequence, k_start, kv_head, v_batch, v_token, v_head, PACKED)
    key_side = Side(k, k_token, k_tiles, k_start, kv_head * SIZE)
    value_side = Side(v, v_token, v_tiles, k_start, kv_head * V_SIZE)
    grad = head_of(grad, sequence, q_start, head, 0, grad_token, grad_head, True)
    dq = head_of(dq, sequence, q_start, head, 0, dq_token, dq_head, True)
    lse += head.to(tl.int64) * n_tokens + q_start
    delta += head.to(tl.int64) * n_tokens + q_start
    content = head_of(content, sequence, q_start, head, content_batch, content_token, content_head, PACKED)
    position = head_of(
        position, sequence, k_start, head, position_batch, position_token, position_head, PACKED
    )
    terms = terms_of(
        sequence, head, q_start, slopes, table, bias, content, content_token, position, position_token, index, seeds,
        scale, softcap, keep_share, threshold, reach, index_reach, left, right,
        bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys, KIND,
    )  # fmt: skip
    if table_grad is not None:
        row = head.to(tl.int64) * n_slots + slot if PRIVATE else head.to(tl.int64)
        table_grad += row * (2 * reach + 1)
    if bias_grad is not None:
        bias_grad += sequence.to(tl.int64) * bias_grad_batch + head.to(tl.int64) * bias_grad_head
    if content_grad is not None:
        content_grad = head_of(
            content_grad, sequence, q_start, head, content_batch, content_token, content_head, PACKED
        )

    past = key_length - query_length
    queries = first + tl.arange(0, QUERIES)
    query_inside = queries < query_length
    block = load_block(q, first, query_length, q_token, SIZE, COLUMNS, QUERIES, SIZE == COLUMNS, True)
    grads = load_block(
        grad, first, query_length, grad_token, V_SIZE, V_COLUMNS, QUERIES, V_SIZE == V_COLUMNS, True
    )
    if KIND.upcast:
        block, grads = block.to(tl.float32), grads.to(tl.float32)
    sums, means = load_rows_state(lse, delta, queries, query_length)
    query_grads = tl.zeros([QUERIES, COLUMNS], tl.float32)
    left_sum = 0.0
    right_sum = 0.0

    last = tl.minimum(first + QUERIES, query_length) - 1 + past
    low, full_low, full_high, high = visible_range(
        first + past, last, key_length, left, right, KEYS, KIND.left, KIND.right
    )
    near_low = full_low
    near_high = full_high
    if KIND.distance:
        near_low, near_high = near_range(first + past, last, full_low, full_high, reach, KEYS)
        for far in tl.range(0, full_high - near_high + near_low - full_low, KEYS, disable_licm=KIND.busy):
            start = full_low + far
            before = start < near_low
            start = tl.where(before, start, start - near_low + near_high)
            query_grads, left_sum, right_sum = _key_block(
                query_grads, left_sum, right_sum, block, grads, sums, means, key_side, value_side, table_grad,
                bias_grad, bias_grad_query, bias_grad_key, content_grad,
                start, tl.where(before, terms.far_left, terms.far_right), before, queries, query_length, key_length,
                terms, SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, KEYS, False, False, TMA, KIND, PRIVATE,
            )  # fmt: skip
    for start in tl.range(near_low, near_high, KEYS, disable_licm=KIND.busy):
        query_grads, left_sum, right_sum = _key_block(
            query_grads, left_sum, right_sum, block, grads, sums, means, key_side, value_side, table_grad,
            bias_grad, bias_grad_query, bias_grad_key, content_grad,
            start, 0.0, False, queries, query_length, key_length,
            terms, SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, KEYS, False, True, TMA, KIND, PRIVATE,
        )  # fmt: skip
    masked_blocks = (full_low - low) // KEYS + (tl.maximum(high - full_high, 0) + KEYS - 1) // KEYS
    for number in tl.range(masked_blocks, num_stages=1, disable_licm=KIND.busy):
        start = masked_block(number, low, full_low, full_high, KEYS, KIND.left)
        query_grads, left_sum, right_sum = _key_block(
            query_grads, left_sum, right_sum, block, grads, sums, means, key_side, value_side, table_grad,
            bias_grad, bias_grad_query, bias_grad_key, content_grad,
            start, 0.0, False, queries, query_length, key_length,
            terms, SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, KEYS, True, True, TMA, KIND, PRIVATE,
        )  # fmt: skip
    if table_grad is not None:
        ends = tl.arange(0, 2)
        add_to(table_grad + ends * 2 * reach, tl.where(ends == 0, left_sum, right_sum), ends >= 0, PRIVATE)
    columns = tl.arange(0, COLUMNS)[None, :]
    tl.store(
        dq + queries.to(tl.int64)[:, None] * dq_token + columns,
        (query_grads * scale).to(dq.dtype.element_ty),
        mask=query_inside[:, None] & (columns < SIZE),
    )
