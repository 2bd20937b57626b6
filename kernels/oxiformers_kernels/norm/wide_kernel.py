"""LayerNorm and RMSNorm of rows wider than a block, in Triton, and the sums over rows for weight and bias."""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.norm.rows_kernel import load_row, normal_of, scaled


@triton.jit
def norm_forward_wide(
    x, residual, weight, bias, out, total, mean, deviation, n_columns, x_row, residual_row, eps, offset,
    KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row a program, in blocks: each lane keeps the mean and squares of its own columns (Welford's update)."""
    row = tl.program_id(0).to(tl.int64)
    block = tl.arange(0, BLOCK)
    x += row * x_row
    out += row * n_columns
    if residual is not None:
        residual += row * residual_row
        total += row * n_columns
    count = tl.zeros([BLOCK], tl.float32)
    average = tl.zeros([BLOCK], tl.float32)
    squares = tl.zeros([BLOCK], tl.float32)
    for start in range(0, n_columns, BLOCK):
        columns = start + block
        inside = columns < n_columns
        values = load_row(x, residual, columns, columns, inside)
        if residual is not None:
            tl.store(total + columns, values, mask=inside)
        values = values.to(tl.float32)
        if KIND == 0:
            count += tl.where(inside, 1.0, 0.0)
            away = tl.where(inside, values - average, 0.0)
            average += away / tl.maximum(count, 1.0)
            squares += away * (values - average)
        else:
            squares += values * values
    center = 0.0
    if KIND == 0:
        center = tl.sum(average * count) / n_columns
        away = average - center
        squares += count * away * away
        if mean is not None:
            tl.store(mean + row, center)
    reciprocal = tl.rsqrt(tl.sum(squares) / n_columns + eps)
    if deviation is not None:
        tl.store(deviation + row, reciprocal)
    for start in range(0, n_columns, BLOCK):
        columns = start + block
        inside = columns < n_columns
        values = load_row(x, residual, columns, columns, inside).to(tl.float32)
        factor, addend = None, None
        if weight is not None:
            factor = tl.load(weight + columns, mask=inside, other=0.0, eviction_policy="evict_last")
        if bias is not None:
            addend = tl.load(bias + columns, mask=inside, other=0.0, eviction_policy="evict_last")
        normal = (values - center) * reciprocal
        result = scaled(normal, factor, addend, offset, x.dtype.element_ty, KIND)
        tl.store(out + columns, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def norm_backward_wide(
    grad, grad_total, x, weight, mean, deviation, grad_x, n_columns, grad_row, grad_total_row, x_row, offset,
    KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row a program, in blocks: the two means, then the gradient of x as in `norm_backward`."""
    row = tl.program_id(0).to(tl.int64)
    block = tl.arange(0, BLOCK)
    x += row * x_row
    grad += row * grad_row
    grad_x += row * n_columns
    if grad_total is not None:
        grad_total += row * grad_total_row
    reciprocal = tl.load(deviation + row)
    product_sum = tl.zeros([BLOCK], tl.float32)
    grad_sum = tl.zeros([BLOCK], tl.float32)
    for start in range(0, n_columns, BLOCK):
        columns = start + block
        inside = columns < n_columns
        h = normal_of(tl.load(x + columns, mask=inside, other=0.0), mean, reciprocal, row, True, KIND)
        g = tl.load(grad + columns, mask=inside, other=0.0).to(tl.float32)
        if weight is not None:
            g *= tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32) + offset
        product_sum += g * h
        grad_sum += g
    product_mean = tl.sum(product_sum) / n_columns
    grad_mean = tl.sum(grad_sum) / n_columns
    for start in range(0, n_columns, BLOCK):
        columns = start + block
        inside = columns < n_columns
        h = normal_of(tl.load(x + columns, mask=inside, other=0.0), mean, reciprocal, row, True, KIND)
        g = tl.load(grad + columns, mask=inside, other=0.0).to(tl.float32)
        if weight is not None:
            g *= tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32) + offset
        result = g - h * product_mean
        if KIND == 0:
            result -= grad_mean
        result *= reciprocal
        if grad_total is not None:
            result += tl.load(grad_total + columns, mask=inside, other=0.0).to(tl.float32)
        tl.store(grad_x + columns, result.to(grad_x.dtype.element_ty), mask=inside)


@triton.jit
def parameter_parts(
    grad, x, mean, deviation, weight_parts, bias_parts, n_rows, n_columns, grad_row, x_row,
    KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sums over a share of the rows, for BLOCK columns: what wide rows add to weight and bias."""
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    column_inside = columns < n_columns
    share, shares = tl.program_id(1), tl.num_programs(1)
    weight_sum = tl.zeros([ROWS, BLOCK], tl.float32)
    bias_sum = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(share * ROWS, n_rows, shares * ROWS):
        rows = (start + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        row_inside = rows < n_rows
        inside = row_inside & column_inside
        g = tl.load(grad + rows * grad_row + columns, mask=inside, other=0.0).to(tl.float32)
        bias_sum += g
        if weight_parts is not None:
            values = tl.load(x + rows * x_row + columns, mask=inside, other=0.0)
            reciprocal = tl.load(deviation + rows, mask=row_inside, other=0.0)
            weight_sum += g * normal_of(values, mean, reciprocal, rows, row_inside, KIND)
    part = share.to(tl.int64) * n_columns + columns
    if weight_parts is not None:
        tl.store(weight_parts + part, tl.sum(weight_sum, axis=0)[None, :], mask=column_inside)
    if bias_parts is not None:
        tl.store(bias_parts + part, tl.sum(bias_sum, axis=0)[None, :], mask=column_inside)


@triton.jit
def _sum_rows(parts, out, columns, n_parts, n_columns, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    inside = columns < n_columns
    result = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, n_parts, ROWS):
        rows = start + tl.arange(0, ROWS)[:, None]
        result += tl.load(
            parts + rows.to(tl.int64) * n_columns + columns, mask=(rows < n_parts) & inside, other=0.0
        )
    tl.store(out + columns, tl.sum(result, axis=0)[None, :].to(out.dtype.element_ty), mask=inside)


@triton.jit
def sum_parts(
    weight_parts, bias_parts, grad_weight, grad_bias, n_parts, n_columns, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Sums the parts of weight and bias, in the same order every time: the first and the last programs of axis 1."""
    # What is known when compiling is asked alone: the branch below it is then left out.
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    if weight_parts is not None:  # noqa: SIM102
        if tl.program_id(1) == 0:
            _sum_rows(weight_parts, grad_weight, columns, n_parts, n_columns, ROWS, BLOCK)
    if bias_parts is not None:  # noqa: SIM102
        if tl.program_id(1) == tl.num_programs(1) - 1:
            _sum_rows(bias_parts, grad_bias, columns, n_parts, n_columns, ROWS, BLOCK)
