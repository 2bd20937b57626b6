"""Row softmax in Triton: tiles of whole rows where a row fits one block, two online passes elsewhere."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

# Columns up to which a row is held in registers; wider rows are read twice.
ONE_BLOCK_COLUMNS = 16384
WIDE_BLOCK_COLUMNS = 4096
TILE_ELEMENTS = 1024

NO_MASK, BOOLEAN_MASK, ADDITIVE_MASK = 0, 1, 2


@triton.jit
def _row_offsets(rows, heads, queries, stride_batch, stride_head, stride_query):
    """Offsets in elements of rows numbered over [batch, heads, queries]."""
    head = (rows // queries) % heads
    batch = rows // (queries * heads)
    return batch * stride_batch + head * stride_head + (rows % queries) * stride_query


@triton.jit
def _load_logits(x, mask, columns, inside, x_stride, mask_stride, scale, lowest, MASK: tl.constexpr):
    """x * scale + mask in float32, -inf outside of the row and where removed. `x`, `mask`: row pointers."""
    logits = tl.load(x + columns * x_stride, mask=inside, other=0.0).to(tl.float32) * scale
    keep = inside
    if MASK == 1:
        keep = inside & (tl.load(mask + columns * mask_stride, mask=inside, other=0) != 0)
    if MASK == 2:
        bias = tl.load(mask + columns * mask_stride, mask=inside, other=0.0).to(tl.float32)
        keep = inside & ((bias > lowest) | (bias != bias))
        logits += bias
    return tl.where(keep, logits, float("-inf"))


@triton.jit
def _forward(
    x, mask, out, n_rows, n_columns, heads, queries, scale, lowest,
    x_batch, x_head, x_query, x_column, mask_batch, mask_head, mask_query, mask_column,
    MASK: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ONE_BLOCK: tl.constexpr,
):  # fmt: skip
    """out [n_rows, n_columns] contiguous; ROWS rows a program, in blocks of BLOCK columns."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    rows_inside = (rows < n_rows)[:, None]
    x += _row_offsets(rows, heads, queries, x_batch, x_head, x_query)[:, None]
    if MASK != 0:
        mask += _row_offsets(rows, heads, queries, mask_batch, mask_head, mask_query)[:, None]
    out += (rows * n_columns)[:, None]
    block = tl.arange(0, BLOCK).to(tl.int64)[None, :]
    if ONE_BLOCK:
        inside = rows_inside & (block < n_columns)
        logits = _load_logits(x, mask, block, inside, x_column, mask_column, scale, lowest, MASK)
        peak = tl.max(logits, axis=1)[:, None]
        # A row with nothing kept has peak -inf; subtracting 0 there keeps exp(-inf) = 0 from being NaN.
        exponentials = tl.exp(logits - tl.where(peak == float("-inf"), 0.0, peak))
        total = tl.sum(exponentials, axis=1)[:, None]
        result = exponentials / tl.where(total == 0.0, 1.0, total)
        tl.store(out + block, result.to(out.dtype.element_ty), mask=inside)
    else:
        peak = tl.full([ROWS, 1], float("-inf"), tl.float32)
        total = tl.zeros([ROWS, 1], tl.float32)
        for start in range(0, n_columns, BLOCK):
            columns = start + block
            inside = rows_inside & (columns < n_columns)
            logits = _load_logits(x, mask, columns, inside, x_column, mask_column, scale, lowest, MASK)
            new_peak = tl.maximum(peak, tl.max(logits, axis=1)[:, None])
            shift = tl.where(new_peak == float("-inf"), 0.0, new_peak)
            total = total * tl.exp(peak - shift) + tl.sum(tl.exp(logits - shift), axis=1)[:, None]
            peak = new_peak
        shift = tl.where(peak == float("-inf"), 0.0, peak)
        total = tl.where(total == 0.0, 1.0, total)
        for start in range(0, n_columns, BLOCK):
            columns = start + block
            inside = rows_inside & (columns < n_columns)
            logits = _load_logits(x, mask, columns, inside, x_column, mask_column, scale, lowest, MASK)
            tl.store(out + columns, (tl.exp(logits - shift) / total).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    grad, out, grad_x, n_rows, n_columns, heads, queries, scale,
    grad_batch, grad_head, grad_query, grad_column,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, ONE_BLOCK: tl.constexpr,
):  # fmt: skip
    """grad_x = scale * out * (grad - sum(out * grad)); `out`, `grad_x` contiguous [n_rows, n_columns]."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    rows_inside = (rows < n_rows)[:, None]
    grad += _row_offsets(rows, heads, queries, grad_batch, grad_head, grad_query)[:, None]
    out += (rows * n_columns)[:, None]
    grad_x += (rows * n_columns)[:, None]
    block = tl.arange(0, BLOCK).to(tl.int64)[None, :]
    if ONE_BLOCK:
        inside = rows_inside & (block < n_columns)
        p = tl.load(out + block, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(grad + block * grad_column, mask=inside, other=0.0).to(tl.float32)
        dot = tl.sum(p * g, axis=1)[:, None]
        tl.store(grad_x + block, (scale * p * (g - dot)).to(grad_x.dtype.element_ty), mask=inside)
    else:
        dot = tl.zeros([ROWS, 1], tl.float32)
        for start in range(0, n_columns, BLOCK):
            columns = start + block
            inside = rows_inside & (columns < n_columns)
            p = tl.load(out + columns, mask=inside, other=0.0).to(tl.float32)
            g = tl.load(grad + columns * grad_column, mask=inside, other=0.0).to(tl.float32)
            dot += tl.sum(p * g, axis=1)[:, None]
        for start in range(0, n_columns, BLOCK):
            columns = start + block
            inside = rows_inside & (columns < n_columns)
            p = tl.load(out + columns, mask=inside, other=0.0).to(tl.float32)
            g = tl.load(grad + columns * grad_column, mask=inside, other=0.0).to(tl.float32)
            tl.store(grad_x + columns, (scale * p * (g - dot)).to(grad_x.dtype.element_ty), mask=inside)


class Tile(NamedTuple):
    """The shape of one program's work, and the warps that do it."""

    rows: int
    columns: int
    one_block: bool
    warps: int


def tile_for(n_columns: int) -> Tile:
    """Several narrow rows a program, one wide row a program, or one row in blocks."""
    if n_columns > ONE_BLOCK_COLUMNS:
        return Tile(1, WIDE_BLOCK_COLUMNS, False, 8)
    columns = triton.next_power_of_2(n_columns)
    rows = max(1, TILE_ELEMENTS // columns)
    return Tile(rows, columns, True, min(16, max(4, rows * columns // 1024)))


def softmax(x: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """As `ref.softmax`, for float16, bfloat16 and float32, with float32 arithmetic throughout."""
    result: Tensor = softmax_op(x, mask, scale)
    return result


@torch.library.custom_op("oxiformers_kernels::softmax", mutates_args=())
def softmax_op(x: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """The forward launch; registered with torch so that torch.compile and export see one op."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if out.numel() == 0:
        return out
    rows = _four_dimensions(x)
    kind, lowest, masks = NO_MASK, 0.0, rows
    if mask is not None and mask.dtype == torch.bool:
        kind, masks = BOOLEAN_MASK, _four_dimensions(mask.view(torch.uint8).expand(x.shape))
    elif mask is not None:
        bias = mask.float() if mask.dtype == torch.float64 else mask
        kind, lowest, masks = (
            ADDITIVE_MASK,
            torch.finfo(bias.dtype).min,
            _four_dimensions(bias.expand(x.shape)),
        )
    n_columns, tile = x.shape[-1], tile_for(x.shape[-1])
    n_rows = x.numel() // n_columns
    with _on(x.device):
        _forward[(triton.cdiv(n_rows, tile.rows),)](
            rows, masks, out, n_rows, n_columns, rows.shape[1], rows.shape[2], scale, lowest,
            *rows.stride(), *masks.stride(),
            MASK=kind, ROWS=tile.rows, BLOCK=tile.columns, ONE_BLOCK=tile.one_block, num_warps=tile.warps,
        )  # fmt: skip
    return out


@torch.library.custom_op("oxiformers_kernels::softmax_backward", mutates_args=())
def softmax_backward_op(grad: Tensor, out: Tensor, scale: float) -> Tensor:
    """The backward launch: the gradient of x from that of `out`, and `out` itself."""
    grad_x = torch.empty(out.shape, dtype=out.dtype, device=out.device)
    if out.numel() == 0:
        return grad_x
    grads, out = _four_dimensions(grad), out.contiguous()
    n_columns, tile = out.shape[-1], tile_for(out.shape[-1])
    n_rows = out.numel() // n_columns
    with _on(out.device):
        _backward[(triton.cdiv(n_rows, tile.rows),)](
            grads, out, grad_x, n_rows, n_columns, grads.shape[1], grads.shape[2], scale, *grads.stride(),
            ROWS=tile.rows, BLOCK=tile.columns, ONE_BLOCK=tile.one_block, num_warps=tile.warps,
        )  # fmt: skip
    return grad_x


@softmax_op.register_fake
def _(x: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    return x.new_empty(x.shape)


@softmax_backward_op.register_fake
def _(grad: Tensor, out: Tensor, scale: float) -> Tensor:
    return out.new_empty(out.shape)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor | None, float], output: Tensor) -> None:
    _, mask, ctx.scale = inputs
    ctx.mask_shape, ctx.mask_dtype = (None, None) if mask is None else (mask.shape, mask.dtype)
    ctx.save_for_backward(output)


def _softmax_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    (out,) = ctx.saved_tensors
    need_x, need_mask, _ = ctx.needs_input_grad
    grad_x = softmax_backward_op(grad, out, ctx.scale) if need_x else None
    if not need_mask:
        return grad_x, None, None
    grad_logits: Tensor = softmax_backward_op(grad, out, 1.0)
    return grad_x, grad_logits.sum_to_size(ctx.mask_shape).to(ctx.mask_dtype), None


softmax_op.register_autograd(_softmax_backward, setup_context=_setup_context)


def _four_dimensions(tensor: Tensor) -> Tensor:
    """[..., N] as [batch, heads, queries, N]: a view, unless leading dimensions do not merge."""
    while tensor.dim() < 4:
        tensor = tensor.unsqueeze(0)
    return tensor.flatten(0, tensor.dim() - 4)


def _on(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Triton launches on the current CUDA device, which need not be the tensors' own."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
