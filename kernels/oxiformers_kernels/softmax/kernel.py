"""Row softmax in Triton: the tiles, the launches, and the ops that torch sees."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from oxiformers_kernels.device import on, processors
from oxiformers_kernels.philox import dropout_threshold
from oxiformers_kernels.softmax import rows_kernel, wide_kernel

# Columns up to which a row is held in registers; wider rows are read twice, the second time from the L2 cache.
ONE_BLOCK_COLUMNS = 16384
# Columns of one step of a wide row: lanes with 16-byte loads, each of which takes several columns.
WIDE_LANES, WIDE_STEPS = 4096, 4

NO_MASK, BOOLEAN_MASK, ADDITIVE_MASK = 0, 1, 2


class Tile(NamedTuple):
    """The shape of one program's work, whether it holds whole rows, and the warps that do it."""

    rows: int
    columns: int
    whole: bool
    warps: int


def tile_for(n_columns: int) -> Tile:
    """1,024 elements a warp: several narrow rows a program, one wide row a program, or a share of a row.

    Rows that are no multiple of 16 are read element by element, with an address each in registers: half of everything.
    """
    aligned = n_columns % 16 == 0
    if n_columns > (ONE_BLOCK_COLUMNS if aligned else ONE_BLOCK_COLUMNS // 2):
        return Tile(1, WIDE_LANES * (WIDE_STEPS if aligned else WIDE_STEPS // 2), False, 16)
    share = 1024 if aligned else 512
    # The words of a counter of dropout go to four columns.
    columns = max(4, triton.next_power_of_2(n_columns))
    rows = max(1, share // columns)
    return Tile(rows, columns, True, rows * columns // share)


class Shares(NamedTuple):
    """Wide rows cut for several programs each, where there are fewer rows than processors."""

    columns: int
    number: int

    @property
    def padded(self) -> int:
        return int(triton.next_power_of_2(self.number))


def shares_for(n_rows: int, n_columns: int, block: int, programs: int) -> Shares:
    """Whole rows once they are as many as `programs`; otherwise shares of whole blocks."""
    blocks = triton.cdiv(n_columns, block)
    wanted = 1 if n_rows >= programs else min(blocks, triton.cdiv(2 * programs, n_rows))
    columns = triton.cdiv(blocks, wanted) * block
    return Shares(columns, triton.cdiv(n_columns, columns))


def softmax(
    x: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    inplace: bool = False,
) -> Tensor:
    """As `ref.softmax`, for float16, bfloat16 and float32, with float32 arithmetic throughout."""
    if inplace:
        softmax_inplace_op(x, mask, bias, seed, scale, dropout)
        return x
    differentiable = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, mask, bias)
    )
    result: Tensor = softmax_op(x, mask, bias, seed, scale, dropout, False, differentiable)[0]
    return result


def log_softmax(x: Tensor, mask: Tensor | None, bias: Tensor | None, scale: float) -> Tensor:
    """As `ref.log_softmax`, likewise."""
    result: Tensor = softmax_op(x, mask, bias, None, scale, 0.0, True, False)[0]
    return result


@torch.library.custom_op("oxiformers_kernels::softmax", mutates_args=())
def softmax_op(
    x: Tensor, mask: Tensor | None, bias: Tensor | None, seed: Tensor | None, scale: float, dropout: float, log: bool,
    differentiable: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The forward launch: the result, and the probabilities before dropout (empty where no backward needs them)."""
    out, probabilities = _outputs(x, mask, bias, seed, scale, dropout, log, differentiable)
    _launch_forward(x, mask, bias, seed, out, probabilities, scale, dropout, log)
    return out, probabilities


@torch.library.custom_op("oxiformers_kernels::softmax_inplace", mutates_args=("x",))
def softmax_inplace_op(
    x: Tensor, mask: Tensor | None, bias: Tensor | None, seed: Tensor | None, scale: float, dropout: float
) -> None:
    """The forward launch over the memory of `x`, which is contiguous."""
    _launch_forward(x, mask, bias, seed, x, x.new_empty(0), scale, dropout, False)


@torch.library.custom_op("oxiformers_kernels::softmax_backward", mutates_args=())
def softmax_backward_op(
    grad: Tensor, saved: Tensor, seed: Tensor | None, scale: float, dropout: float, log: bool
) -> Tensor:
    """The backward launch: the gradient of x from that of the result, and the probabilities or their logarithms."""
    grad_x = _gradient(grad, saved, seed, scale, dropout, log)
    if saved.numel() == 0:
        return grad_x
    n_columns = saved.shape[-1]
    grad, saved = grad.reshape(-1, n_columns), saved.contiguous()
    n_rows, tile = grad.shape[0], tile_for(n_columns)
    numbers = (scale, *_dropout_numbers(dropout), grad.stride(0), grad.stride(1))
    seed = seed if dropout else None
    with on(saved.device):
        if tile.whole:
            rows_kernel.backward[(triton.cdiv(n_rows, tile.rows),)](
                grad, saved, seed, grad_x, n_rows, n_columns, *numbers,
                LOG=log, ROWS=tile.rows, BLOCK=tile.columns, num_warps=tile.warps,
            )  # fmt: skip
            return grad_x
        shares = shares_for(n_rows, n_columns, tile.columns, processors(saved.device))
        sums = grad_x.new_empty((n_rows, shares.number), dtype=torch.float32)
        for phase in (0,) if shares.number == 1 else (1, 2):
            wide_kernel.backward[(n_rows, shares.number)](
                grad, saved, seed, grad_x, sums, n_columns, shares.columns, shares.number, *numbers,
                LOG=log, PHASE=phase, BLOCK=tile.columns // 2, SHARES=shares.padded, num_warps=tile.warps,
            )  # fmt: skip
    return grad_x


def _launch_forward(
    x: Tensor, mask: Tensor | None, bias: Tensor | None, seed: Tensor | None, out: Tensor, probabilities: Tensor,
    scale: float, dropout: float, log: bool,
) -> None:  # fmt: skip
    """Fills `out` and, unless it is empty, `probabilities`."""
    if out.numel() == 0:
        return
    rows = _four_dimensions(x)
    kind, lowest, masks = NO_MASK, 0.0, None
    if mask is not None and mask.dtype == torch.bool:
        kind, masks = BOOLEAN_MASK, _four_dimensions(mask.view(torch.uint8).expand(x.shape))
    elif mask is not None:
        added = mask.float() if mask.dtype == torch.float64 else mask
        kind, lowest = ADDITIVE_MASK, torch.finfo(added.dtype).min
        masks = _four_dimensions(added.expand(x.shape))
    biases = None if bias is None else _four_dimensions(bias.expand(x.shape))
    given = [tensor for tensor in (rows, masks, biases) if tensor is not None]
    n_columns = x.shape[-1]
    n_rows, tile = x.numel() // n_columns, tile_for(n_columns)
    tensors = (
        rows,
        masks,
        biases,
        seed if dropout else None,
        out,
        probabilities if probabilities.numel() else None,
    )
    numbers = (rows.shape[1], rows.shape[2], scale, lowest, *_dropout_numbers(dropout))
    strides = [
        stride
        for tensor in (rows, masks, biases)
        for stride in ((0,) * 4 if tensor is None else tensor.stride())
    ]
    constants = {"MASK": kind, "LOG": log, "FLAT": all(map(_is_flat, given)), "num_warps": tile.warps}
    with on(x.device):
        if tile.whole:
            rows_kernel.forward[(triton.cdiv(n_rows, tile.rows),)](
                *tensors,
                n_rows,
                n_columns,
                *numbers,
                *strides,
                ROWS=tile.rows,
                BLOCK=tile.columns,
                **constants,
            )
            return
        shares = shares_for(n_rows, n_columns, tile.columns, processors(x.device))
        peaks, totals = x.new_empty((2, n_rows, shares.number), dtype=torch.float32).unbind()
        for phase in (0,) if shares.number == 1 else (1, 2):
            wide_kernel.forward[(n_rows, shares.number)](
                *tensors, peaks, totals, n_columns, shares.columns, shares.number, *numbers, *strides,
                PHASE=phase, STEPS=tile.columns // WIDE_LANES, LANES=WIDE_LANES, SHARES=shares.padded, **constants,
            )  # fmt: skip


def _outputs(
    x: Tensor, mask: Tensor | None, bias: Tensor | None, seed: Tensor | None, scale: float, dropout: float, log: bool,
    differentiable: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return x.new_empty(x.shape), x.new_empty(x.shape if dropout and differentiable else 0)


def _gradient(
    grad: Tensor, saved: Tensor, seed: Tensor | None, scale: float, dropout: float, log: bool
) -> Tensor:
    return saved.new_empty(saved.shape)


softmax_op.register_fake(_outputs)
softmax_backward_op.register_fake(_gradient)


@softmax_inplace_op.register_fake
def _(
    x: Tensor, mask: Tensor | None, bias: Tensor | None, seed: Tensor | None, scale: float, dropout: float
) -> None:
    return None


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, mask, bias, seed, ctx.scale, ctx.dropout, ctx.log, _ = inputs
    out, probabilities = output
    ctx.added = [None if tensor is None else (tensor.shape, tensor.dtype) for tensor in (mask, bias)]
    ctx.mark_non_differentiable(probabilities)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(probabilities if ctx.dropout else out, seed)


def _softmax_backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    saved, seed = ctx.saved_tensors
    need_x, *need_added = ctx.needs_input_grad[:3]
    if grad is None:
        return (None,) * 8
    # Where something was added, the gradient of the logits is computed once, and scaled for x.
    added = any(need_added)
    grad_logits = softmax_backward_op(grad, saved, seed, 1.0 if added else ctx.scale, ctx.dropout, ctx.log)
    grad_x = grad_logits * ctx.scale if added and ctx.scale != 1.0 else grad_logits
    grad_added = [
        grad_logits.sum_to_size(about[0]).to(about[1]) if needed else None
        for needed, about in zip(need_added, ctx.added, strict=True)
    ]
    return (grad_x if need_x else None, *grad_added, None, None, None, None, None)


softmax_op.register_autograd(_softmax_backward, setup_context=_setup_context)


def _dropout_numbers(dropout: float) -> tuple[int, float]:
    """The word from which on an element survives, and what survivors are multiplied by."""
    return dropout_threshold(dropout), 1.0 / (1.0 - dropout)


def _four_dimensions(tensor: Tensor) -> Tensor:
    """[..., N] as [batch, heads, queries, N]: a view, unless leading dimensions do not merge."""
    while tensor.dim() < 4:
        tensor = tensor.unsqueeze(0)
    return tensor.flatten(0, tensor.dim() - 4)


def _is_flat(tensor: Tensor) -> bool:
    """Whether one stride leads from each row of [batch, heads, queries, N] to the next."""
    batch, heads, queries, _ = tensor.shape
    by_batch, by_head, by_query, _ = tensor.stride()
    return (heads == 1 or by_head == queries * by_query) and (
        batch == 1 or by_batch == heads * queries * by_query
    )
