"""Softmax over the tokens of packed sequences in Triton: a program has some columns of one sequence."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from oxiformers_kernels.device import on

# Elements of a step, and the most columns of it.
STEP_ELEMENTS, STEP_COLUMNS = 4096, 64


@triton.jit
def _step(start, end, columns, n_columns, TOKENS: tl.constexpr):
    """The tokens of a step, and which of its elements there are."""
    tokens = start + tl.arange(0, TOKENS).to(tl.int64)[:, None]
    return tokens, (tokens < end) & (columns < n_columns)


@triton.jit
def _forward(
    x, cu_seqlens, out, lse, n_columns, x_token, x_column, TOKENS: tl.constexpr, COLUMNS: tl.constexpr
):
    """out [T, n_columns] and lse [B, n_columns], contiguous."""
    begin = tl.load(cu_seqlens + tl.program_id(0)).to(tl.int64)
    end = tl.load(cu_seqlens + tl.program_id(0) + 1).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    x += columns.to(tl.int64) * x_column
    peak = tl.full([1, COLUMNS], float("-inf"), tl.float32)
    total = tl.zeros([1, COLUMNS], tl.float32)
    for start in range(begin, end, TOKENS):
        tokens, inside = _step(start, end, columns, n_columns, TOKENS)
        values = tl.load(x + tokens * x_token, mask=inside, other=float("-inf")).to(tl.float32)
        new_peak = tl.maximum(peak, tl.max(values, axis=0)[None, :])
        # Where all is -inf so far, subtracting 0 keeps exp(-inf) = 0 from being NaN.
        shift = tl.where(new_peak == float("-inf"), 0.0, new_peak)
        total = total * tl.exp(peak - shift) + tl.sum(tl.exp(values - shift), axis=0)[None, :]
        peak = new_peak
    shift = tl.where(peak == float("-inf"), 0.0, peak)
    total = tl.where(total == 0.0, 1.0, total)
    factor = 1.0 / total
    place = tl.program_id(0).to(tl.int64) * n_columns + columns
    tl.store(lse + place, shift + tl.log(total), mask=columns < n_columns)
    for start in range(begin, end, TOKENS):
        tokens, inside = _step(start, end, columns, n_columns, TOKENS)
        values = tl.load(x + tokens * x_token, mask=inside, other=float("-inf")).to(tl.float32)
        result = tl.exp(values - shift) * factor
        tl.store(out + tokens * n_columns + columns, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    grad, x, cu_seqlens, lse, grad_x, n_columns, grad_token, grad_column, x_token, x_column,
    TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """grad_x = p * (grad - sum(p * grad)), contiguous [T, n_columns], with p = exp(x - lse) in float32."""
    begin = tl.load(cu_seqlens + tl.program_id(0)).to(tl.int64)
    end = tl.load(cu_seqlens + tl.program_id(0) + 1).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    grad += columns.to(tl.int64) * grad_column
    x += columns.to(tl.int64) * x_column
    place = tl.program_id(0).to(tl.int64) * n_columns + columns
    normaliser = tl.load(lse + place, mask=columns < n_columns, other=0.0)
    lanes = tl.zeros([TOKENS, COLUMNS], tl.float32)
    for start in range(begin, end, TOKENS):
        tokens, inside = _step(start, end, columns, n_columns, TOKENS)
        values = tl.load(x + tokens * x_token, mask=inside, other=float("-inf")).to(tl.float32)
        g = tl.load(grad + tokens * grad_token, mask=inside, other=0.0).to(tl.float32)
        lanes += tl.exp(values - normaliser) * g
    total = tl.sum(lanes, axis=0)[None, :]
    for start in range(begin, end, TOKENS):
        tokens, inside = _step(start, end, columns, n_columns, TOKENS)
        values = tl.load(x + tokens * x_token, mask=inside, other=float("-inf")).to(tl.float32)
        g = tl.load(grad + tokens * grad_token, mask=inside, other=0.0).to(tl.float32)
        result = tl.exp(values - normaliser) * (g - total)
        tl.store(grad_x + tokens * n_columns + columns, result.to(grad_x.dtype.element_ty), mask=inside)


class Tile(NamedTuple):
    """The shape of one step, and the warps that take it."""

    tokens: int
    columns: int
    warps: int


def tile_for(n_columns: int, mean_length: int) -> Tile:
    """A step as long as sequences are on average, within 256 and STEP_ELEMENTS elements; 16 a thread."""
    columns = min(triton.next_power_of_2(n_columns), STEP_COLUMNS)
    tokens = min(triton.next_power_of_2(mean_length), STEP_ELEMENTS // columns)
    tokens = max(tokens, 256 // columns)
    return Tile(tokens, columns, max(1, min(8, tokens * columns // 512)))


def packed_softmax(x: Tensor, cu_seqlens: Tensor) -> Tensor:
    """As `ref.packed_softmax`, for float16, bfloat16 and float32."""
    result: Tensor = packed_softmax_op(x, cu_seqlens)[0]
    return result


@torch.library.custom_op("oxiformers_kernels::packed_softmax", mutates_args=())
def packed_softmax_op(x: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """The forward launch: the result, and the log-sum-exp of each sequence [B, ...], 0 where all is -inf."""
    out, lse = _outputs(x, cu_seqlens)
    if out.numel() == 0 or lse.numel() == 0:
        return out, lse
    columns = x.reshape(x.shape[0], -1)
    tile = tile_for(columns.shape[1], triton.cdiv(x.shape[0], lse.shape[0]))
    with on(x.device):
        _forward[(lse.shape[0], triton.cdiv(columns.shape[1], tile.columns))](
            columns, cu_seqlens.contiguous(), out, lse, columns.shape[1], *columns.stride(),
            TOKENS=tile.tokens, COLUMNS=tile.columns, num_warps=tile.warps,
        )  # fmt: skip
    return out, lse


@torch.library.custom_op("oxiformers_kernels::packed_softmax_backward", mutates_args=())
def packed_softmax_backward_op(grad: Tensor, x: Tensor, cu_seqlens: Tensor, lse: Tensor) -> Tensor:
    """The backward launch: the gradient of x, whose probabilities are computed again, unrounded."""
    grad_x = _gradient(grad, x, cu_seqlens, lse)
    if x.numel() == 0 or lse.numel() == 0:
        return grad_x
    grads, columns = grad.reshape(x.shape[0], -1), x.reshape(x.shape[0], -1)
    tile = tile_for(columns.shape[1], triton.cdiv(x.shape[0], lse.shape[0]))
    with on(x.device):
        _backward[(lse.shape[0], triton.cdiv(columns.shape[1], tile.columns))](
            grads, columns, cu_seqlens.contiguous(), lse, grad_x, columns.shape[1], *grads.stride(), *columns.stride(),
            TOKENS=tile.tokens, COLUMNS=tile.columns, num_warps=tile.warps,
        )  # fmt: skip
    return grad_x


def _outputs(x: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty((cu_seqlens.shape[0] - 1, *x.shape[1:]), dtype=torch.float32)


def _gradient(grad: Tensor, x: Tensor, cu_seqlens: Tensor, lse: Tensor) -> Tensor:
    return x.new_empty(x.shape)


packed_softmax_op.register_fake(_outputs)
packed_softmax_backward_op.register_fake(_gradient)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs, output[1])


def _packed_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:
    return packed_softmax_backward_op(grad, *ctx.saved_tensors), None


packed_softmax_op.register_autograd(_packed_backward, setup_context=_setup_context)
