"""LayerNorm and RMSNorm of rows that fit one block, in Triton: a row is read once, forward and backward."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_row(x, residual, offsets, residual_offsets, inside):
    """x + residual, rounded to their dtype."""
    values = tl.load(x + offsets, mask=inside, other=0.0)
    if residual is not None:
        added = tl.load(residual + residual_offsets, mask=inside, other=0.0)
        values = (values.to(tl.float32) + added.to(tl.float32)).to(x.dtype.element_ty)
    return values


@triton.jit
def scaled(normal, factor, addend, offset, dtype: tl.constexpr, KIND: tl.constexpr):
    """The normalised row times weight (+ offset) plus bias, None where there is none; `dtype` is that of x."""
    if KIND == 1:
        normal = normal.to(dtype).to(tl.float32)
    if factor is not None:
        normal *= factor.to(tl.float32) + offset
    if addend is not None:
        normal += addend.to(tl.float32)
    return normal


@triton.jit
def norm_forward(
    x, residual, weight, bias, out, total, mean, deviation, n_rows, n_columns: tl.constexpr, x_row, residual_row, eps,
    offset, KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ROWS whole rows a program; compiled for their width, so that no instruction is for columns beyond it.

    `out` and `total` are contiguous, `deviation` is 1 / standard deviation; `mean` and `deviation` are None where no
    backward needs them.
    """
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    row_inside, column_inside = rows < n_rows, columns < n_columns
    inside = row_inside & column_inside
    # Loaded before anything is stored: no load moves up past a store, which might be to the same place.
    factor, addend = None, None
    if weight is not None:
        factor = tl.load(weight + columns, mask=column_inside, other=0.0, eviction_policy="evict_last")
    if bias is not None:
        addend = tl.load(bias + columns, mask=column_inside, other=0.0, eviction_policy="evict_last")
    values = load_row(x, residual, rows * x_row + columns, rows * residual_row + columns, inside)
    if residual is not None:
        tl.store(total + rows * n_columns + columns, values, mask=inside)
    values = values.to(tl.float32)
    if KIND == 0:
        average = tl.sum(values, axis=1)[:, None] / n_columns
        if mean is not None:
            tl.store(mean + rows, average, mask=row_inside)
        values = tl.where(inside, values - average, 0.0)
    reciprocal = tl.rsqrt(tl.sum(values * values, axis=1)[:, None] / n_columns + eps)
    if deviation is not None:
        tl.store(deviation + rows, reciprocal, mask=row_inside)
    result = scaled(values * reciprocal, factor, addend, offset, x.dtype.element_ty, KIND)
    tl.store(out + rows * n_columns + columns, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def normal_of(x, mean, reciprocal, rows, row_inside, KIND: tl.constexpr):
    """x normalised again, from the statistics the forward kept."""
    values = x.to(tl.float32)
    if KIND == 0:
        values -= tl.load(mean + rows, mask=row_inside, other=0.0)
    return values * reciprocal


@triton.jit
def norm_backward(
    grad, grad_total, x, weight, mean, deviation, grad_x, weight_parts, bias_parts, n_rows, n_columns: tl.constexpr,
    grad_row, grad_total_row, x_row, offset,
    KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Programs that stay: each takes every n-th group of ROWS rows and sums what they add to weight and bias.

    With h the normalised row and g = grad * weight, grad_x = (g - h * mean(g * h) - mean(g)) / deviation, the last
    mean for LayerNorm only. `weight_parts`, `bias_parts`: one row a program.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    columns = tl.arange(0, BLOCK)[None, :]
    column_inside = columns < n_columns
    if weight is not None:
        factor = tl.load(weight + columns, mask=column_inside, other=0.0).to(tl.float32) + offset
    if weight_parts is not None:
        weight_sum = tl.zeros([ROWS, BLOCK], tl.float32)
    if bias_parts is not None:
        bias_sum = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in tl.range(program * ROWS, n_rows, programs * ROWS, num_stages=STAGES):
        rows = (start + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        row_inside = rows < n_rows
        inside = row_inside & column_inside
        values = tl.load(x + rows * x_row + columns, mask=inside, other=0.0)
        g = tl.load(grad + rows * grad_row + columns, mask=inside, other=0.0).to(tl.float32)
        reciprocal = tl.load(deviation + rows, mask=row_inside, other=0.0)
        h = normal_of(values, mean, reciprocal, rows, row_inside, KIND)
        if weight_parts is not None:
            weight_sum += g * h
        if bias_parts is not None:
            bias_sum += g
        if weight is not None:
            g *= factor
        if KIND == 0:
            # Both sums by one exchange between warps.
            product_sum, grad_sum = tl.split(tl.sum(tl.join(g * h, g), axis=1))
            result = g - h * (product_sum[:, None] / n_columns) - grad_sum[:, None] / n_columns
        else:
            result = g - h * (tl.sum(g * h, axis=1)[:, None] / n_columns)
        result *= reciprocal
        if grad_total is not None:
            passed = tl.load(grad_total + rows * grad_total_row + columns, mask=inside, other=0.0)
            result += passed.to(tl.float32)
        tl.store(grad_x + rows * n_columns + columns, result.to(grad_x.dtype.element_ty), mask=inside)
    part = program.to(tl.int64) * n_columns + columns
    if weight_parts is not None:
        tl.store(weight_parts + part, tl.sum(weight_sum, axis=0)[None, :], mask=column_inside)
    if bias_parts is not None:
        tl.store(bias_parts + part, tl.sum(bias_sum, axis=0)[None, :], mask=column_inside)
