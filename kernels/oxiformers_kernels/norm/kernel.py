"""LayerNorm and RMSNorm in Triton: the tiles, the launches, and the ops that torch sees."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from oxiformers_kernels.device import on, processors
from oxiformers_kernels.norm.rows_kernel import norm_backward, norm_forward
from oxiformers_kernels.norm.wide_kernel import (
    norm_backward_wide,
    norm_forward_wide,
    parameter_parts,
    sum_parts,
)

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

    Rows of 513 to 1,024 columns: twice as many, so that the columns beyond the row take registers and no warp's time.

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
    programs = max(1, 16 // warps)
    return Tile(
        rows, columns, warps // 2 if aligned and columns == 1024 else warps, stages=stages, programs=programs
    )


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
            norm_forward_wide[(n_rows,)](
                rows, residual, weight, bias, out, total, *kept, n_columns, rows.stride(0), residual_row,
                eps, offset, KIND=kind, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
        else:
            norm_forward[(triton.cdiv(n_rows, tile.rows),)](
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
            norm_backward_wide[(n_rows,)](
                grad, grad_total, x, weight, mean, deviation, grad_x, n_columns, grad.stride(0), grad_total_row,
                x.stride(0), offset, KIND=kind, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
            if need_weight or need_bias:
                parameter_parts[(column_blocks, parts)](
                    grad, x, mean, deviation, weight_parts, bias_parts, n_rows, n_columns, grad.stride(0), x.stride(0),
                    KIND=kind, ROWS=SUM_ROWS, BLOCK=SUM_COLUMNS, num_warps=4,
                )  # fmt: skip
        else:
            norm_backward[(parts,)](
                grad, grad_total, x, weight, mean, deviation, grad_x, weight_parts, bias_parts, n_rows, n_columns,
                grad.stride(0), grad_total_row, x.stride(0), offset,
                KIND=kind, ROWS=tile.rows, BLOCK=tile.columns, STAGES=tile.stages, num_warps=tile.warps,
            )  # fmt: skip
        if need_weight or need_bias:
            sum_parts[(triton.cdiv(n_columns, PART_COLUMNS), need_weight + need_bias)](
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
