"""Attention's backward in Triton, from the side of the keys: one program a tile of keys, over the queries that see it.

Scores are computed transposed, `[keys, queries]`, so that probabilities and their gradients enter the products with
queries and output gradients straight from registers. The gradient of the queries is backward_query_kernel's: two
products are computed twice, but no memory is added to by several programs, which took longer and gave other bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.attention.bias_grads_kernel import add_by_index
from oxiformers_kernels.attention.scores_kernel import (
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
def score_grads_of(
    left, right, v_left, v_right, sums, means, distance, far_bias, queries, keys, visible, terms,
    MASKED: tl.constexpr, NEAR: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """Probabilities (those dropped are 0), and the gradients of the biased scores and of those before the softcap.

    left, right: rows whose products are scores; v_left, v_right: those whose products are the gradients of
    probabilities. sums, means: log-sum-exp and delta of the queries, shaped to broadcast.
    """
    products, bend = products_of(
        left, right, sums, distance, far_bias, queries, keys, visible, terms, KIND, NEAR, True
    )
    probabilities = tl.exp2(products * factor_of(terms, KIND))
    if MASKED:
        seen = keeps(distance, terms.left, terms.right, KIND.left, KIND.right, visible)
        probabilities = tl.where(seen, probabilities, 0.0)
    weighted = probabilities
    if KIND.dropout:
        kept = dropout_keeps(terms, queries, keys)
        weighted = tl.where(kept, probabilities, 0.0)
        products = tl.dot(v_left, tl.trans(v_right), input_precision=KIND.precision)
        products = tl.where(kept, products / terms.keep_share, 0.0) - means
    else:
        products = tl.zeros_like(distance).to(tl.float32) - means
        products = tl.dot(v_left, tl.trans(v_right), products, input_precision=KIND.precision)
    grads = probabilities * products
    return weighted, grads, grads * bend


@triton.jit
def _query_block(
    dk, dv, k, v, query_side, grad_side, lse, delta, position_grad, start, far_bias,
    key_rows, query_length, key_length, terms,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr, QUERIES: tl.constexpr,
    MASKED: tl.constexpr, NEAR: tl.constexpr, TMA: tl.constexpr, KIND: tl.constexpr, PRIVATE: tl.constexpr,
):  # fmt: skip
    """One block of queries into the gradients of a tile of keys and values, `[KEYS, D]`."""
    queries = load_tile(query_side, start, query_length, SIZE, COLUMNS, QUERIES, MASKED, TMA and not MASKED)
    grads = load_tile(grad_side, start, query_length, V_SIZE, V_COLUMNS, QUERIES, MASKED, TMA and not MASKED)
    if KIND.upcast:
        queries, grads = queries.to(tl.float32), grads.to(tl.float32)
    rows = start + tl.arange(0, QUERIES)
    sums, means = load_rows_state(lse, delta, rows, query_length)
    rows, columns = key_rows[:, None], rows[None, :]
    distance = rows - (columns + (key_length - query_length))
    visible = (rows < key_length) & (columns < query_length)
    weighted, _, score_grads = score_grads_of(
        k, queries, v, grads, sums[None, :], means[None, :], distance, far_bias, columns, rows, visible, terms,
        MASKED, NEAR, KIND,
    )  # fmt: skip
    if position_grad is not None:
        # Products are scaled; so are their gradients.
        add_by_index(
            position_grad, terms.position_row, score_grads * terms.scale, distance, rows, visible, terms, -1, PRIVATE
        )  # fmt: skip
    dv = tl.dot(weighted.to(grads.dtype), grads, dv, input_precision=KIND.precision)
    dk = tl.dot(score_grads.to(queries.dtype), queries, dk, input_precision=KIND.precision)
    return dk, dv


@triton.jit(do_not_specialize=UNSPECIALIZED)
def attention_backward_keys(
    q, k, v, grad, lse, delta, dk, dv, q_tiles, grad_tiles, plan,
    table, bias, content, position, position_grad, index, slopes, seeds,
    scale, softcap, keep_share, threshold, reach, index_reach, left, right,
    kv_heads, group, n_tokens, n_sequences, query_length, key_length,
    q_batch, q_token, q_head, k_batch, k_token, k_head, v_batch, v_token, v_head, grad_token, grad_head,
    dk_token, dk_head, dv_token, dv_head, bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys,
    content_batch, content_token, content_head, position_batch, position_token, position_head,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, PACKED: tl.constexpr, TMA: tl.constexpr, KIND: tl.constexpr,
    PRIVATE: tl.constexpr,
):  # fmt: skip
    """dk `[Tk, Hkv, D]`, dv `[Tk, Hkv, Dv]`; a program does KEYS rows of a key head, over all its query heads.

    position_grad: float32, laid out as position, zero before, or None; added to in one order where PRIVATE.
    """
    _, sequence, kv_head, first, k_start, key_length, q_start, query_length = find_tile(
        plan, kv_heads, key_length, query_length, n_sequences, KEYS, PACKED
    )
    k = head_of(k, sequence, k_start, kv_head, k_batch, k_token, k_head, PACKED)
    v = head_of(v, sequence, k_start, kv_head, v_batch, v_token, v_head, PACKED)

    past = key_length - query_length
    key_rows = first + tl.arange(0, KEYS)
    key_inside = key_rows < key_length
    keys = load_block(k, first, key_length, k_token, SIZE, COLUMNS, KEYS, SIZE == COLUMNS, True)
    values = load_block(v, first, key_length, v_token, V_SIZE, V_COLUMNS, KEYS, V_SIZE == V_COLUMNS, True)
    if KIND.upcast:
        keys, values = keys.to(tl.float32), values.to(tl.float32)
    key_grads = tl.zeros([KEYS, COLUMNS], tl.float32)
    value_grads = tl.zeros([KEYS, V_COLUMNS], tl.float32)

    last = tl.minimum(first + KEYS, key_length) - 1 - past
    low, full_low, full_high, high = visible_range(
        first - past, last, query_length, right, left, QUERIES, KIND.right, KIND.left
    )
    if first + KEYS > key_length:
        # Keys that do not exist must be masked in every block.
        full_low = low
        full_high = low
    near_low = full_low
    near_high = full_high
    if KIND.distance:
        # Seen from a key, queries far after it are to its left, those far before it to its right.
        near_low, near_high = near_range(first - past, last, full_low, full_high, reach, QUERIES)

    for member in range(group):
        head = kv_head * group + member
        query_side = Side(
            head_of(q, sequence, q_start, head, q_batch, q_token, q_head, PACKED),
            q_token, q_tiles, q_start, head * SIZE,
        )  # fmt: skip
        grad_side = Side(
            head_of(grad, sequence, q_start, head, 0, grad_token, grad_head, True),
            grad_token, grad_tiles, q_start, head * V_SIZE,
        )  # fmt: skip
        lse_rows = lse + head.to(tl.int64) * n_tokens + q_start
        delta_rows = delta + head.to(tl.int64) * n_tokens + q_start
        content_rows = head_of(
            content, sequence, q_start, head, content_batch, content_token, content_head, PACKED
        )
        position_rows = head_of(
            position, sequence, k_start, head, position_batch, position_token, position_head, PACKED
        )
        position_grad_rows = position_grad
        if position_grad is not None:
            position_grad_rows = head_of(
                position_grad, sequence, k_start, head, position_batch, position_token, position_head, PACKED
            )  # fmt: skip
        terms = terms_of(
            sequence, head, q_start, slopes, table, bias, content_rows, content_token, position_rows, position_token,
            index, seeds, scale, softcap, keep_share, threshold, reach, index_reach, left, right,
            bias_batch, bias_head, bias_query, bias_key, bias_queries, bias_keys, KIND,
        )  # fmt: skip
        if KIND.distance:
            for far in tl.range(0, full_high - near_high + near_low - full_low, QUERIES, disable_licm=True):
                start = full_low + far
                before = start < near_low
                start = tl.where(before, start, start - near_low + near_high)
                key_grads, value_grads = _query_block(
                    key_grads, value_grads, keys, values, query_side, grad_side, lse_rows, delta_rows,
                    position_grad_rows,
                    start, tl.where(before, terms.far_right, terms.far_left), key_rows, query_length, key_length, terms,
                    SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, False, False, TMA, KIND, PRIVATE,
                )  # fmt: skip
        # Both gradients fill most registers: what could be computed before the loops is computed in them.
        for start in tl.range(near_low, near_high, QUERIES, disable_licm=True):
            key_grads, value_grads = _query_block(
                key_grads, value_grads, keys, values, query_side, grad_side, lse_rows, delta_rows,
                position_grad_rows,
                start, 0.0, key_rows, query_length, key_length, terms,
                SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, False, True, TMA, KIND, PRIVATE,
            )  # fmt: skip
        masked_blocks = (full_low - low) // QUERIES + (
            tl.maximum(high - full_high, 0) + QUERIES - 1
        ) // QUERIES
        for number in tl.range(masked_blocks, num_stages=1, disable_licm=True):
            start = masked_block(number, low, full_low, full_high, QUERIES, KIND.right)
            key_grads, value_grads = _query_block(
                key_grads, value_grads, keys, values, query_side, grad_side, lse_rows, delta_rows,
                position_grad_rows,
                start, 0.0, key_rows, query_length, key_length, terms,
                SIZE, V_SIZE, COLUMNS, V_COLUMNS, QUERIES, True, True, TMA, KIND, PRIVATE,
            )  # fmt: skip

    if KIND.dropout:
        value_grads /= keep_share
    dk = head_of(dk, sequence, k_start, kv_head, 0, dk_token, dk_head, True)
    dv = head_of(dv, sequence, k_start, kv_head, 0, dv_token, dv_head, True)
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
