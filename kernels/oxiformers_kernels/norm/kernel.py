"""LayerNorm and RMSNorm in Triton: a row is read once while it fits one block, in blocks elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from oxiformers_kernels.device import on, processors

# Columns up to which the forward keeps a row in registers; wider rows are read again, from the L2 cache.
FORWARD_COLUMNS = 16384
# The backward keeps x, the gradient and two sums of every column: half of that.
BACKWARD_COLUMNS = 8192
WIDE_BLOCK_COLUMNS = 4096
# Rows and columns of one step of the kernels that sum over rows, and over the parts that gave.
SUM_ROWS, SUM_COLUMNS = 16, 128
PART_ROWS, PART_COLUMNS = 512, 16

# LayerNorm; RMSNorm rounded before the weight; RMSNorm rounded after it.
LAYER, LLAMA, GEMMA = 0, 1, 2


@triton.jit
def _load_row(x, residual, offsets, residual_offsets, inside):
    """x + residual, rounded to their dtype."""
    values = tl.load(x + offsets, mask=inside, other=0.0)
    if residual is not None:
        added = tl.load(residual + residual_offsets, mask=inside, other=0.0)
        values = (values.to(tl.float32) + added.to(tl.float32)).to(x.dtype.element_ty)
    return values


@triton.jit
def _scaled(normal, factor, addend, offset, dtype: tl.constexpr, KIND: tl.constexpr):
    """The normalised row times weight (+ offset) plus bias, None where there is none; `dtype` is that of x."""
    if KIND == 1:
        normal = normal.to(dtype).to(tl.float32)
    if factor is not None:
        normal *= factor.to(tl.float32) + offset
    if addend is not None:
        normal += addend.to(tl.float32)
    return normal


@triton.jit
def _forward(
    x, residual, weight, bias, out, total, mean, deviation, n_rows, n_columns, x_row, residual_row, eps, offset,
    KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ROWS whole rows a program.

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
    values = _load_row(x, residual, rows * x_row + columns, rows * residual_row + columns, inside)
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
    result = _scaled(values * reciprocal, factor, addend, offset, x.dtype.element_ty, KIND)
    tl.store(out + rows * n_columns + columns, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _forward_wide(
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
        values = _load_row(x, residual, columns, columns, inside)
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
        values = _load_row(x, residual, columns, columns, inside).to(tl.float32)
        factor, addend = None, None
        if weight is not None:
            factor = tl.load(weight + columns, mask=inside, other=0.0, eviction_policy="evict_last")
        if bias is not None:
            addend = tl.load(bias + columns, mask=inside, other=0.0, eviction_policy="evict_last")
        normal = (values - center) * reciprocal
        result = _scaled(normal, factor, addend, offset, x.dtype.element_ty, KIND)
        tl.store(out + columns, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _normal(x, mean, reciprocal, rows, row_inside, KIND: tl.constexpr):
    """x normalised again, from the statistics the forward kept."""
    values = x.to(tl.float32)
    if KIND == 0:
        values -= tl.load(mean + rows, mask=row_inside, other=0.0)
    return values * reciprocal


@triton.jit
def _backward(
    grad, grad_total, x, weight, mean, deviation, grad_x, weight_parts, bias_parts, n_rows, n_columns,
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
        h = _normal(values, mean, reciprocal, rows, row_inside, KIND)
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


@triton.jit
def _backward_wide(
    grad, grad_total, x, weight, mean, deviation, grad_x, n_columns, grad_row, grad_total_row, x_row, offset,
    KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row a program, in blocks: the two means, then the gradient of x as in `_backward`."""
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
        h = _normal(tl.load(x + columns, mask=inside, other=0.0), mean, reciprocal, row, True, KIND)
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
        h = _normal(tl.load(x + columns, mask=inside, other=0.0), mean, reciprocal, row, True, KIND)
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
def _parameter_parts(
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
            weight_sum += g * _normal(values, mean, reciprocal, rows, row_inside, KIND)
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
def _sum_parts(
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


class Tile(NamedTuple):
    """The shape of one program's step, whether its rows are whole, the warps that do it.

    In the backward of whole rows, `programs` stay on each processor and take one step after another, with the loads of
    `stages` in flight.
    """

    rows: int
    columns: int
    warps: int
    whole: bool = True
    stages: int = 1
    programs: int = 0


def forward_tile(n_columns: int) -> Tile:
    """1,024 elements a warp: a row of up to as many columns is reduced without a barrier.

    Where that is one row or two, a warp takes twice the rows, which load while others are reduced. Rows of 4,096
    columns and more, reduced across warps, have at least 8: while one waits for a barrier, others of its program work.
    Rows that are no multiple of 16 are read element by element, with an address each in registers: half of everything.
    """
    aligned = n_columns % 16 == 0
    if n_columns > (FORWARD_COLUMNS if aligned else FORWARD_COLUMNS // 2):
        return Tile(1, WIDE_BLOCK_COLUMNS, 8, whole=False)
    share = 1024 if aligned else 512
    columns = triton.next_power_of_2(n_columns)
    rows = max(1, share // columns)
    warps = rows * columns // share
    if aligned and 512 <= columns <= 1024:
        rows *= 2
    return Tile(rows, columns, max(warps, 8) if columns >= 4096 else warps)


def backward_tile(n_columns: int, kept: int) -> Tile:
    """512 elements a warp, of which a thread keeps x, the gradient and the sums for weight and bias.

    Args:
        kept: bytes of a column's x and gradient, which the next rows' loads put in shared memory while these compute.
    """
    aligned = n_columns % 16 == 0
    if n_columns > (BACKWARD_COLUMNS if aligned else BACKWARD_COLUMNS // 2):
        return Tile(1, WIDE_BLOCK_COLUMNS, 8, whole=False)
    columns = triton.next_power_of_2(n_columns)
    # The addresses of many narrow rows take registers too.
    share = 512 if aligned and columns > 512 else 256
    rows = max(1, 4 * share // columns)
    warps, stages = rows * columns // share, 3 if rows * columns * kept <= 16384 else 2
    # 512 threads a processor: its registers hold what these keep.
    return Tile(rows, columns, warps, stages=stages, programs=max(1, 16 // warps))


def layer_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """As `ref.layer_norm`, for float16, bfloat16 and float32."""
    statistics = _differentiable(x, residual, weight, bias)
    out, total, _, _ = norm_op(x, residual, weight, bias, eps, 0.0, LAYER, statistics)
    return out, total


def rms_norm(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, eps: float, casting: str, offset: float
) -> tuple[Tensor, Tensor]:
    """As `ref.rms_norm`, for float16, bfloat16 and float32."""
    statistics = _differentiable(x, residual, weight)
    kind = LLAMA if casting == "llama" else GEMMA
    out, total, _, _ = norm_op(x, residual, weight, None, eps, offset, kind, statistics)
    return out, total


@torch.library.custom_op("oxiformers_kernels::norm", mutates_args=())
def norm_op(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    offset: float,
    kind: int,
    statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The forward launch: the result, x + residual, mean and 1 / standard deviation of each row (float32).

    The sum is empty without a residual, the mean is for RMSNorm, and both statistics are without `statistics`, which
    the backward needs.
    """
    out, total, mean, deviation = _outputs(x, residual, weight, bias, eps, offset, kind, statistics)
    if out.numel() == 0:
        return out, total, mean, deviation
    rows = _rows(x)
    residual = None if residual is None else _rows(residual)
    weight, bias = _contiguous(weight), _contiguous(bias)
    n_rows, n_columns = rows.shape
    tile = forward_tile(n_columns)
    residual_row = 0 if residual is None else residual.stride(0)
    kept = (mean if mean.numel() else None, deviation if statistics else None)
    with on(x.device):
        if not tile.whole:
            _forward_wide[(n_rows,)](
                rows, residual, weight, bias, out, total, *kept, n_columns, rows.stride(0), residual_row,
                eps, offset, KIND=kind, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
        else:
            _forward[(triton.cdiv(n_rows, tile.rows),)](
                rows, residual, weight, bias, out, total, *kept, n_rows, n_columns, rows.stride(0), residual_row,
                eps, offset, KIND=kind, ROWS=tile.rows, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
    return out, total, mean, deviation


@torch.library.custom_op("oxiformers_kernels::norm_backward", mutates_args=())
def norm_backward_op(
    grad: Tensor, grad_total: Tensor | None, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor,
    deviation: Tensor, offset: float, kind: int, need_weight: bool, need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The backward launches: the gradients of x (and of the residual), weight and bias; empty where not needed.

    `x` is what was normalised, the sum with the residual where there was one.
    """
    grad_x, grad_weight, grad_bias = _gradients(
        grad, grad_total, x, weight, bias, mean, deviation, offset, kind, need_weight, need_bias
    )
    if x.numel() == 0:
        return grad_x, grad_weight.zero_(), grad_bias.zero_()
    grad, x, weight = _rows(grad), _rows(x), _contiguous(weight)
    grad_total = None if grad_total is None else _rows(grad_total)
    grad_total_row = 0 if grad_total is None else grad_total.stride(0)
    n_rows, n_columns = x.shape
    tile = backward_tile(n_columns, x.element_size() + grad.element_size())
    if not tile.whole:
        column_blocks = triton.cdiv(n_columns, SUM_COLUMNS)
        parts = min(triton.cdiv(n_rows, SUM_ROWS), max(1, 4 * processors(x.device) // column_blocks))
    else:
        parts = min(triton.cdiv(n_rows, tile.rows), tile.programs * processors(x.device))
    weight_parts, bias_parts = (
        torch.empty((parts, n_columns), dtype=torch.float32, device=x.device) if needed else None
        for needed in (need_weight, need_bias)
    )
    with on(x.device):
        if not tile.whole:
            _backward_wide[(n_rows,)](
                grad, grad_total, x, weight, mean, deviation, grad_x, n_columns, grad.stride(0), grad_total_row,
                x.stride(0), offset, KIND=kind, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
            if need_weight or need_bias:
                _parameter_parts[(column_blocks, parts)](
                    grad, x, mean, deviation, weight_parts, bias_parts, n_rows, n_columns, grad.stride(0), x.stride(0),
                    KIND=kind, ROWS=SUM_ROWS, BLOCK=SUM_COLUMNS, num_warps=4,
                )  # fmt: skip
        else:
            _backward[(parts,)](
                grad, grad_total, x, weight, mean, deviation, grad_x, weight_parts, bias_parts, n_rows, n_columns,
                grad.stride(0), grad_total_row, x.stride(0), offset,
                KIND=kind, ROWS=tile.rows, BLOCK=tile.columns, STAGES=tile.stages, num_warps=tile.warps,
            )  # fmt: skip
        if need_weight or need_bias:
            _sum_parts[(triton.cdiv(n_columns, PART_COLUMNS), need_weight + need_bias)](
                weight_parts, bias_parts, grad_weight, grad_bias, parts, n_columns, ROWS=PART_ROWS, BLOCK=PART_COLUMNS,
                num_warps=8,
            )  # fmt: skip
    return grad_x, grad_weight, grad_bias


def _outputs(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    offset: float,
    kind: int,
    statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = x.dtype if weight is None or kind != LLAMA else torch.promote_types(x.dtype, weight.dtype)
    rows = x.shape[:-1]
    return (
        x.new_empty(x.shape, dtype=dtype),
        x.new_empty(0 if residual is None else x.shape),
        x.new_empty(rows if statistics and kind == LAYER else 0, dtype=torch.float32),
        x.new_empty(rows if statistics else 0, dtype=torch.float32),
    )


def _gradients(
    grad: Tensor, grad_total: Tensor | None, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor,
    deviation: Tensor, offset: float, kind: int, need_weight: bool, need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return (
        x.new_empty(x.shape),
        weight.new_empty(weight.shape) if weight is not None and need_weight else x.new_empty(0),
        bias.new_empty(bias.shape) if bias is not None and need_bias else x.new_empty(0),
    )


norm_op.register_fake(_outputs)
norm_backward_op.register_fake(_gradients)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, residual, weight, bias, _, ctx.offset, ctx.kind, ctx.statistics = inputs
    _, total, mean, deviation = output
    ctx.has_residual = residual is not None
    ctx.mark_non_differentiable(mean, deviation)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(total if ctx.has_residual else x, weight, bias, mean, deviation)


def _norm_backward(
    ctx: Any, grad: Tensor | None, grad_total: Tensor | None, *_: None
) -> tuple[Tensor | None, ...]:
    x, weight, bias, mean, deviation = ctx.saved_tensors
    need_x, need_residual, need_weight, need_bias = ctx.needs_input_grad[:4]
    if not ctx.has_residual:
        grad_total = None
    if grad is None:
        # Only the sum was used.
        return grad_total, grad_total, None, None, None, None, None, None
    if not ctx.statistics:
        # A graph exported without gradients, and run with them.
        raise RuntimeError("norm: the forward kept no statistics for a backward")
    grad_x, grad_weight, grad_bias = norm_backward_op(
        grad, grad_total, x, weight, bias, mean, deviation, ctx.offset, ctx.kind, need_weight, need_bias
    )
    return (
        grad_x if need_x else None,
        grad_x if need_residual else None,
        grad_weight if need_weight else None,
        grad_bias if need_bias else None,
        None,
        None,
        None,
        None,
    )


norm_op.register_autograd(_norm_backward, setup_context=_setup_context)


def _differentiable(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _rows(x: Tensor) -> Tensor:
    """[..., D] as [rows, D] with adjacent columns: a view where there is one."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(-1) == 1 else rows.contiguous()


def _contiguous(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.contiguous()
