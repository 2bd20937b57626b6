"""Softmax and log-softmax of rows that fit one block: a program holds several narrow rows, or one wide one."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def row_offsets(rows, heads, queries, stride_batch, stride_head, stride_query, FLAT: tl.constexpr):
    """Offsets of rows numbered over [batch, heads, queries]; FLAT: one stride leads from each to the next."""
    if FLAT:
        return rows.to(tl.int64) * stride_query
    head = (rows // queries) % heads
    batch = rows // (queries * heads)
    return (
        batch.to(tl.int64) * stride_batch
        + head.to(tl.int64) * stride_head
        + (rows % queries).to(tl.int64) * stride_query
    )


@triton.jit
def load_logits(
    x, mask, bias, columns, inside, x_stride, mask_stride, bias_stride, scale, lowest, MASK: tl.constexpr
):
    """x * scale + bias + mask in float32, -inf outside of the row and where removed. `x`, `mask`, `bias`: row pointers.

    MASK: 0 where there is none, 1 for a boolean one, 2 for an additive one, of which `lowest` and less remove.
    """
    logits = tl.load(x + columns * x_stride, mask=inside, other=0.0).to(tl.float32) * scale
    if bias is not None:
        logits += tl.load(bias + columns * bias_stride, mask=inside, other=0.0).to(tl.float32)
    keep = inside
    if MASK == 1:
        keep = inside & (tl.load(mask + columns * mask_stride, mask=inside, other=0) != 0)
    if MASK == 2:
        added = tl.load(mask + columns * mask_stride, mask=inside, other=0.0).to(tl.float32)
        keep = inside & ((added > lowest) | (added != added))
        logits += added
    return tl.where(keep, logits, float("-inf"))


@triton.jit
def kept(seed, rows, first, threshold, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Which elements of [ROWS, COLUMNS] survive dropout; the four words of a counter go to four adjacent columns.

    `rows`: [ROWS, 1]; `first`: the first column of each, a multiple of 4.
    """
    quarters = first // 4 + tl.arange(0, COLUMNS // 4)[None, :]
    zero = quarters * 0
    w0, w1, w2, w3 = tl.philox(seed, quarters + rows * 0, rows + zero, zero + rows * 0, zero + rows * 0)
    words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), [ROWS, COLUMNS])
    return words >= threshold.to(tl.uint32)


@triton.jit(do_not_specialize=["threshold"])
def forward(
    x, mask, bias, seed, out, probabilities, n_rows, n_columns, heads, queries, scale, lowest, threshold, survivor,
    x_batch, x_head, x_query, x_column, mask_batch, mask_head, mask_query, mask_column,
    bias_batch, bias_head, bias_query, bias_column,
    MASK: tl.constexpr, LOG: tl.constexpr, FLAT: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ROWS rows a program. `out` and, with dropout where a backward follows, `probabilities` before it: contiguous."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    inside = (rows < n_rows) & (columns < n_columns)
    x += row_offsets(rows, heads, queries, x_batch, x_head, x_query, FLAT)
    if MASK != 0:
        mask += row_offsets(rows, heads, queries, mask_batch, mask_head, mask_query, FLAT)
    if bias is not None:
        bias += row_offsets(rows, heads, queries, bias_batch, bias_head, bias_query, FLAT)
    logits = load_logits(
        x, mask, bias, columns, inside, x_column, mask_column, bias_column, scale, lowest, MASK
    )
    peak = tl.max(logits, axis=1)[:, None]
    # A row with nothing kept has peak -inf; subtracting 0 there keeps exp(-inf) = 0 from being NaN.
    shifted = logits - tl.where(peak == float("-inf"), 0.0, peak)
    exponentials = tl.exp(shifted)
    total = tl.sum(exponentials, axis=1)[:, None]
    total = tl.where(total == 0.0, 1.0, total)
    result = shifted - tl.log(total) if LOG else exponentials * (1.0 / total)
    result = result.to(out.dtype.element_ty)
    places = rows.to(tl.int64) * n_columns + columns
    if seed is not None:
        if probabilities is not None:
            tl.store(probabilities + places, result, mask=inside)
        keep = kept(tl.load(seed), rows, 0, threshold, ROWS, BLOCK)
        result = tl.where(keep, result.to(tl.float32) * survivor, 0.0).to(out.dtype.element_ty)
    tl.store(out + places, result, mask=inside)


@triton.jit(do_not_specialize=["threshold"])
def backward(
    grad, saved, seed, grad_x, n_rows, n_columns, scale, threshold, survivor, grad_row, grad_column,
    LOG: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of x from what `forward` kept: `saved` and `grad_x` are contiguous [n_rows, n_columns].

    Softmax: scale * p * (grad - sum(p * grad)). Log-softmax: scale * (grad - p * sum(grad)) over what was kept.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    inside = (rows < n_rows) & (columns < n_columns)
    places = rows.to(tl.int64) * n_columns + columns
    p = tl.load(saved + places, mask=inside, other=float("-inf") if LOG else 0.0).to(tl.float32)
    offsets = rows.to(tl.int64) * grad_row + columns.to(tl.int64) * grad_column
    g = tl.load(grad + offsets, mask=inside, other=0.0).to(tl.float32)
    if seed is not None:
        g = tl.where(kept(tl.load(seed), rows, 0, threshold, ROWS, BLOCK), g * survivor, 0.0)
    if LOG:
        g = tl.where(p == float("-inf"), 0.0, g)
        result = g - tl.exp(p) * tl.sum(g, axis=1)[:, None]
    else:
        result = p * (g - tl.sum(p * g, axis=1)[:, None])
    tl.store(grad_x + places, (scale * result).to(grad_x.dtype.element_ty), mask=inside)
