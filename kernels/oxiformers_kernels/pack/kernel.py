"""Packing, unpacking and pooling in Triton: every row is read once, every row of a result written once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from oxiformers_kernels.device import on

TILE_ELEMENTS = 4096
COLUMNS = 1024
INVERT_BLOCK = 1024
WARPS = 4
# Pooling: columns and rows of a block, and the programs that keep a GPU busy.
POOL_COLUMNS, POOL_ROWS, POOL_PROGRAMS = 128, 32, 1024

HOW = {"mean": 0, "first": 1, "last": 2}


@triton.jit
def _gather(
    x, index, out, n_rows, n_columns, n_sources, x_row, x_column, index_stride,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[i] = x[index[i]], or 0 where that is no row of x; `out` contiguous."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)[None, :]
    source = tl.load(index + rows * index_stride, mask=rows < n_rows, other=-1)
    there = (source >= 0) & (source < n_sources)
    wide = columns < n_columns
    value = tl.load(x + source[:, None] * x_row + columns * x_column, mask=there[:, None] & wide, other=0)
    tl.store(out + rows[:, None] * n_columns + columns, value, mask=(rows < n_rows)[:, None] & wide)


@triton.jit
def _invert(index, inverse, n_rows, n_targets, index_stride, BLOCK: tl.constexpr):
    """inverse[index[i]] = i."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    target = tl.load(index + rows * index_stride, mask=rows < n_rows, other=-1)
    tl.store(inverse + target, rows, mask=(target >= 0) & (target < n_targets))


@triton.jit
def _bounds(cu_seqlens, stride, sequence, split, SPLITS: tl.constexpr):
    """First token, end and length of a sequence, and first token and end of one of its SPLITS parts."""
    start = tl.load(cu_seqlens + sequence * stride).to(tl.int64)
    end = tl.load(cu_seqlens + (sequence + 1) * stride).to(tl.int64)
    part = tl.cdiv(end - start, SPLITS)
    first = start + split * part
    return start, end, first, tl.minimum(first + part, end)


@triton.jit
def _pool(
    x, cu_seqlens, out, n_columns, n_sequences, x_row, x_column, cu_stride,
    HOW: tl.constexpr, SPLITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out [SPLITS, n_sequences, n_columns]: a share of the mean of a sequence, or one of its tokens.

    Blocks of columns of a sequence are programs side by side on axis 0, which then read whole rows together.
    """
    column_blocks = tl.cdiv(n_columns, BLOCK)
    sequence, split = (tl.program_id(0) // column_blocks).to(tl.int64), tl.program_id(1)
    columns = (tl.program_id(0) % column_blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)[None, :]
    wide = columns < n_columns
    start, end, first, last = _bounds(cu_seqlens, cu_stride, sequence, split, SPLITS)
    place = out + (split * n_sequences + sequence) * n_columns + columns
    if HOW == 0:
        total = tl.zeros([ROWS, BLOCK], tl.float32)
        for row in tl.range(first, last, ROWS, num_stages=3):
            rows = row + tl.arange(0, ROWS)[:, None]
            inside = (rows < last) & wide
            total += tl.load(x + rows * x_row + columns * x_column, mask=inside, other=0.0).to(tl.float32)
        mean = tl.sum(total, axis=0)[None, :] / tl.maximum(end - start, 1).to(tl.float32)
        tl.store(place, mean.to(out.dtype.element_ty), mask=wide)
    else:
        row = start if HOW == 1 else end - 1
        inside = wide & (start < end)
        tl.store(place, tl.load(x + row * x_row + columns * x_column, mask=inside, other=0.0), mask=wide)


@triton.jit
def _pool_backward(
    grad, cu_seqlens, grad_x, n_tokens, n_columns, n_sequences, grad_row, grad_column, cu_stride,
    HOW: tl.constexpr, SPLITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """grad_x [n_tokens, n_columns], contiguous; the last program along axis 0 writes 0 past the last sequence."""
    sequence, split = tl.program_id(0).to(tl.int64), tl.program_id(2)
    columns = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)[None, :]
    wide = columns < n_columns
    if sequence < n_sequences:
        start, end, first, last = _bounds(cu_seqlens, cu_stride, sequence, split, SPLITS)
        place = grad + sequence * grad_row + columns * grad_column
        slope = tl.load(place, mask=wide, other=0.0).to(tl.float32)
        if HOW == 0:
            slope = slope / tl.maximum(end - start, 1).to(tl.float32)
    else:
        start = tl.load(cu_seqlens + n_sequences * cu_stride).to(tl.int64)
        end = n_tokens + tl.zeros([], tl.int64)
        part = tl.cdiv(end - start, SPLITS)
        first = start + split * part
        last = tl.minimum(first + part, end)
        slope = tl.zeros([1, BLOCK], tl.float32)
    for row in range(first, last, ROWS):
        rows = row + tl.arange(0, ROWS)[:, None]
        value = tl.broadcast_to(slope, [ROWS, BLOCK])
        if HOW == 1:
            value = tl.where(rows == start, value, 0.0)
        if HOW == 2:
            value = tl.where(rows == end - 1, value, 0.0)
        tl.store(
            grad_x + rows * n_columns + columns, value.to(grad_x.dtype.element_ty), mask=(rows < last) & wide
        )


class Tile(NamedTuple):
    """The rows and columns of one program."""

    rows: int
    columns: int


def gather_tile(n_columns: int) -> Tile:
    """TILE_ELEMENTS a program: many narrow rows, or parts of wide ones."""
    columns = min(triton.next_power_of_2(n_columns), COLUMNS)
    return Tile(TILE_ELEMENTS // columns, columns)


def pool_splits(n_tokens: int, n_sequences: int, n_columns: int) -> int:
    """In how many parts a sequence is read: more than one where few long sequences would leave a GPU idle."""
    programs: int = max(1, n_sequences) * triton.cdiv(n_columns, POOL_COLUMNS)
    parts: int = triton.cdiv(triton.cdiv(n_tokens, max(1, n_sequences)), 2 * POOL_ROWS)
    return max(1, min(POOL_PROGRAMS // programs, parts))


def pack(padded: Tensor, index: Tensor) -> Tensor:
    """As `ref.pack`; an index out of range gives zeros."""
    rows: Tensor = pack_op(_matrix(padded), index)
    return rows.view(index.shape[0], *padded.shape[1:])


def unpack(packed: Tensor, index: Tensor, n_rows: int) -> Tensor:
    """As `ref.unpack`; an index out of range is left out."""
    rows: Tensor = unpack_op(_matrix(packed), index, n_rows)
    return rows.view(n_rows, *packed.shape[1:])


def pool(packed: Tensor, cu_seqlens: Tensor, how: str) -> Tensor:
    """As `ref.pool`, with sums in float32."""
    pooled: Tensor = pool_op(packed, cu_seqlens, HOW[how])
    return pooled


@torch.library.custom_op("oxiformers_kernels::pack", mutates_args=())
def pack_op(x: Tensor, index: Tensor) -> Tensor:
    """Rows of `[N, F]` at `index` `[T]`."""
    out = torch.empty(index.shape[0], x.shape[1], dtype=x.dtype, device=x.device)
    _launch_gather(x, index, out)
    return out


@torch.library.custom_op("oxiformers_kernels::unpack", mutates_args=())
def unpack_op(x: Tensor, index: Tensor, n_rows: int) -> Tensor:
    """Rows of `[T, F]` to `index` of `[n_rows, F]`, where every row is then read or set to 0."""
    out = torch.empty(n_rows, x.shape[1], dtype=x.dtype, device=x.device)
    inverse = torch.full((n_rows,), -1, dtype=torch.int64, device=x.device)
    if index.shape[0] > 0:
        with on(x.device):
            _invert[(triton.cdiv(index.shape[0], INVERT_BLOCK),)](
                index, inverse, index.shape[0], n_rows, index.stride(0), BLOCK=INVERT_BLOCK
            )
    _launch_gather(x, inverse, out)
    return out


@torch.library.custom_op("oxiformers_kernels::pool", mutates_args=())
def pool_op(x: Tensor, cu_seqlens: Tensor, how: int) -> Tensor:
    """`[T, D]` -> `[B, D]`; long sequences in parts, whose means are added up in float32."""
    n_sequences, (n_tokens, n_columns) = cu_seqlens.shape[0] - 1, x.shape
    splits = pool_splits(n_tokens, n_sequences, n_columns) if how == HOW["mean"] else 1
    dtype = x.dtype if splits == 1 else torch.float32
    out = torch.empty(splits, n_sequences, n_columns, dtype=dtype, device=x.device)
    if out.numel() > 0:
        with on(x.device):
            _pool[(n_sequences * triton.cdiv(n_columns, POOL_COLUMNS), splits)](
                x, cu_seqlens, out, n_columns, n_sequences, *x.stride(), cu_seqlens.stride(0),
                HOW=how, SPLITS=splits, ROWS=POOL_ROWS, BLOCK=POOL_COLUMNS, num_warps=WARPS,
            )  # fmt: skip
    return out[0] if splits == 1 else out.sum(dim=0).to(x.dtype)


@torch.library.custom_op("oxiformers_kernels::pool_backward", mutates_args=())
def pool_backward_op(grad: Tensor, cu_seqlens: Tensor, n_tokens: int, how: int) -> Tensor:
    """The gradient of the tokens `[n_tokens, D]` from that of the pooled sequences."""
    n_sequences, n_columns = grad.shape
    grad_x = torch.empty(n_tokens, n_columns, dtype=grad.dtype, device=grad.device)
    if grad_x.numel() > 0:
        splits = pool_splits(n_tokens, n_sequences, n_columns)
        with on(grad.device):
            _pool_backward[(n_sequences + 1, triton.cdiv(n_columns, POOL_COLUMNS), splits)](
                grad, cu_seqlens, grad_x, n_tokens, n_columns, n_sequences, *grad.stride(), cu_seqlens.stride(0),
                HOW=how, SPLITS=splits, ROWS=POOL_ROWS, BLOCK=POOL_COLUMNS, num_warps=WARPS,
            )  # fmt: skip
    return grad_x


@pack_op.register_fake
def _(x: Tensor, index: Tensor) -> Tensor:
    return x.new_empty(index.shape[0], x.shape[1])


@unpack_op.register_fake
def _(x: Tensor, index: Tensor, n_rows: int) -> Tensor:
    return x.new_empty(n_rows, x.shape[1])


@pool_op.register_fake
def _(x: Tensor, cu_seqlens: Tensor, how: int) -> Tensor:
    return x.new_empty(cu_seqlens.shape[0] - 1, x.shape[1])


@pool_backward_op.register_fake
def _(grad: Tensor, cu_seqlens: Tensor, n_tokens: int, how: int) -> Tensor:
    return grad.new_empty(n_tokens, grad.shape[1])


def _setup_pack(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    x, index = inputs
    ctx.n_rows = x.shape[0]
    ctx.save_for_backward(index)


def _pack_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (index,) = ctx.saved_tensors
    return unpack_op(grad, index, ctx.n_rows), None


def _setup_unpack(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _unpack_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (index,) = ctx.saved_tensors
    return pack_op(grad, index), None, None


def _setup_pool(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    x, cu_seqlens, ctx.how = inputs
    ctx.n_tokens = x.shape[0]
    ctx.save_for_backward(cu_seqlens)


def _pool_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (cu_seqlens,) = ctx.saved_tensors
    return pool_backward_op(grad, cu_seqlens, ctx.n_tokens, ctx.how), None, None


pack_op.register_autograd(_pack_backward, setup_context=_setup_pack)
unpack_op.register_autograd(_unpack_backward, setup_context=_setup_unpack)
pool_op.register_autograd(_pool_gradient, setup_context=_setup_pool)


def _matrix(x: Tensor) -> Tensor:
    """[N, ...] as [N, F]."""
    return x.flatten(1) if x.dim() > 1 else x.unsqueeze(1)


def _launch_gather(x: Tensor, index: Tensor, out: Tensor) -> None:
    if out.numel() == 0:
        return
    if x.dtype == torch.bool:
        x, out = x.view(torch.uint8), out.view(torch.uint8)
    n_rows, n_columns = out.shape
    tile = gather_tile(n_columns)
    with on(x.device):
        _gather[(triton.cdiv(n_rows, tile.rows), triton.cdiv(n_columns, tile.columns))](
            x, index, out, n_rows, n_columns, x.shape[0], *x.stride(), index.stride(0),
            ROWS=tile.rows, BLOCK=tile.columns, num_warps=WARPS,
        )  # fmt: skip
