"""Cross entropy in Triton: a program a row, which reads the logits once for the loss and once more for the gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from oxiformers_kernels.device import on

# Bytes of a row that a program holds in registers at a time.
BLOCK_BYTES = 8192
# Bytes of one memory access of a thread.
ACCESS_BYTES = 16
# Elements of a gradient that a program of `_rescale` takes at a time, and how many programs there are at most.
RESCALE_BLOCK, RESCALE_PROGRAMS = 4096, 1024


@triton.jit
def _tanh(x):
    """tanh by exp(-2|x|), and near 0, where that cancels, by its series up to x^7."""
    decay = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - decay) / (1.0 + decay)
    square = tl.minimum(x * x, 1.0)
    small = x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 - square * (17.0 / 315.0))))
    return tl.where(tl.abs(x) < 0.2, small, tl.where(x < 0.0, -large, large))


@triton.jit
def _columns(start, LANES: tl.constexpr, VECTOR: tl.constexpr, ALIGNED: tl.constexpr):
    """[LANES, VECTOR] columns from `start` on: those of a lane side by side where a thread can read them at once,
    else those of neighbouring threads. Maxima and sums over axis 1 stay within a thread."""
    lane, element = tl.arange(0, LANES)[:, None], tl.arange(0, VECTOR)[None, :]
    return start + (lane * VECTOR + element if ALIGNED else element * LANES + lane)


@triton.jit
def _readable(columns, n_columns, readable, ALIGNED: tl.constexpr):
    """A mask of whole 16-byte accesses, or of the row itself, where no memory lies beyond it."""
    return columns < (readable if ALIGNED else n_columns)


@triton.jit
def _load_logits(
    logits, bias, columns, n_columns, readable, column_stride, softcap,
    CONTIGUOUS: tl.constexpr, ALIGNED: tl.constexpr, BIAS: tl.constexpr, SOFTCAP: tl.constexpr,
):  # fmt: skip
    """Logits of one row in float32, with bias and cap; -inf beyond its end. `readable` columns may be read."""
    inside = columns < n_columns
    offsets = columns if CONTIGUOUS else columns.to(tl.int64) * column_stride
    x = tl.load(logits + offsets, mask=_readable(columns, n_columns, readable, ALIGNED), other=0.0)
    x = x.to(tl.float32)
    if BIAS:
        x += tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)
    if SOFTCAP:
        x = softcap * _tanh(tl.where(inside, x, 0.0) / softcap)
    return tl.where(inside, x, float("-inf"))


@triton.jit
def _rows(
    logits, bias, labels, losses, log_sums, scale, grad_logits,
    n_columns, readable, ignore_index, label_smoothing, softcap, z_loss,
    row_stride, column_stride, label_stride, scale_stride, grad_stride,
    FORWARD: tl.constexpr, BACKWARD: tl.constexpr, CONTIGUOUS: tl.constexpr, ALIGNED: tl.constexpr,
    BIAS: tl.constexpr, SOFTCAP: tl.constexpr, SMOOTHING: tl.constexpr,
    LANES: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    """The loss and log-sum-exp of a row (FORWARD), the gradient of scale * loss (BACKWARD), or one after the other.

    `grad_logits` may be `logits`: an element is last read just before it is written, by the same program.
    """
    row = tl.program_id(0).to(tl.int64)
    logits += row * row_stride
    label = tl.load(labels + row * label_stride)
    if label == ignore_index:
        if FORWARD:
            tl.store(losses + row, 0.0)
            tl.store(log_sums + row, 0.0)
        if BACKWARD:
            nothing = tl.zeros([LANES, VECTOR], grad_logits.dtype.element_ty)
            for start in range(0, readable, LANES * VECTOR):
                columns = _columns(start, LANES, VECTOR, ALIGNED)
                tl.store(
                    grad_logits + row * grad_stride + columns,
                    nothing,
                    mask=_readable(columns, n_columns, readable, ALIGNED),
                )
    else:
        # No address is made of a label beyond the vocabulary; its loss and its gradient are NaN.
        valid = (label >= 0) & (label < n_columns)
        wrong = tl.where(valid, 0.0, float("nan"))
        if FORWARD:
            target = tl.where(valid, label, 0).to(tl.int64)
            picked = tl.load(logits + target * column_stride).to(tl.float32)
            if BIAS:
                picked += tl.load(bias + target).to(tl.float32)
            if SOFTCAP:
                picked = softcap * _tanh(picked / softcap)
            peak = tl.full([LANES], float("-inf"), tl.float32)
            total = tl.zeros([LANES], tl.float32)
            logit_sum = tl.zeros([LANES], tl.float32)
            for start in range(0, n_columns, LANES * VECTOR):
                columns = _columns(start, LANES, VECTOR, ALIGNED)
                x = _load_logits(
                    logits, bias, columns, n_columns, readable, column_stride, softcap,
                    CONTIGUOUS, ALIGNED, BIAS, SOFTCAP,
                )  # fmt: skip
                new_peak = tl.maximum(peak, tl.max(x, axis=1))
                # A lane that has seen nothing but -inf: subtracting 0 keeps exp(-inf) = 0 from being NaN.
                shift = tl.where(new_peak == float("-inf"), 0.0, new_peak)
                total = total * tl.exp(peak - shift) + tl.sum(tl.exp(x - shift[:, None]), axis=1)
                peak = new_peak
                if SMOOTHING:
                    logit_sum += tl.sum(tl.where(columns < n_columns, x, 0.0), axis=1)
            highest = tl.max(peak, axis=0)
            shift = tl.where(highest == float("-inf"), 0.0, highest)
            log_sum = tl.log(tl.sum(total * tl.exp(peak - shift), axis=0)) + shift
            loss = log_sum - picked
            if SMOOTHING:
                mean = tl.sum(logit_sum, axis=0) / n_columns
                loss = (1.0 - label_smoothing) * loss + label_smoothing * (log_sum - mean)
            tl.store(losses + row, loss + z_loss * log_sum * log_sum + wrong)
            tl.store(log_sums + row, log_sum)
        else:
            log_sum = tl.load(log_sums + row)
        if BACKWARD:
            weight = tl.load(scale + row * scale_stride).to(tl.float32) + wrong
            for start in range(0, n_columns, LANES * VECTOR):
                columns = _columns(start, LANES, VECTOR, ALIGNED)
                inside = columns < n_columns
                x = _load_logits(
                    logits, bias, columns, n_columns, readable, column_stride, softcap,
                    CONTIGUOUS, ALIGNED, BIAS, SOFTCAP,
                )  # fmt: skip
                grad = tl.exp(x - log_sum) * (1.0 + 2.0 * z_loss * log_sum)
                grad -= tl.where(columns == label, 1.0 - label_smoothing, 0.0)
                if SMOOTHING:
                    grad -= label_smoothing / n_columns
                if SOFTCAP:
                    tangent = tl.where(inside, x / softcap, 0.0)
                    grad *= 1.0 - tangent * tangent
                grad = tl.where(inside, grad * weight, 0.0)
                tl.store(
                    grad_logits + row * grad_stride + columns,
                    grad.to(grad_logits.dtype.element_ty),
                    mask=_readable(columns, n_columns, readable, ALIGNED),
                )


@triton.jit
def _rescale(x, factor, n_elements, BLOCK: tl.constexpr):
    """x *= factor, in place; where the factor is 1, as that of a last loss is, nothing is read or written."""
    number = tl.load(factor).to(tl.float32)
    if number != 1.0:
        first = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        stride = tl.num_programs(0).to(tl.int64) * BLOCK
        for step in range(tl.cdiv(n_elements, stride)):
            offsets = first + step * stride
            inside = offsets < n_elements
            value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32) * number
            tl.store(x + offsets, value.to(x.dtype.element_ty), mask=inside)


class Options(NamedTuple):
    """What a loss is, beside its logits and labels."""

    ignore_index: int
    label_smoothing: float
    softcap: float
    z_loss: float


class Tile(NamedTuple):
    """The elements of a row that a program takes at a time, as lanes x vector, and the warps that do it."""

    lanes: int
    vector: int
    warps: int


def tile_for(n_columns: int, itemsize: int) -> Tile:
    """16 bytes a thread and access; two accesses under way in rows that are wide enough."""
    vector = ACCESS_BYTES // itemsize
    columns = min(triton.next_power_of_2(n_columns), BLOCK_BYTES // itemsize)
    lanes = max(1, columns // vector)
    return Tile(lanes, vector, min(8, max(1, lanes // 64)))


def launch_rows(
    logits: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    losses: Tensor,
    log_sums: Tensor,
    scale: Tensor | None,
    grad_logits: Tensor | None,
    options: Options,
    *,
    forward: bool,
    readable: int,
) -> None:
    """Runs `_rows`; the gradient is written where `grad_logits` is given.

    Args:
        logits: `[T, V]`, any strides.
        losses, log_sums: `[T]`, contiguous; written if `forward`, else `log_sums` is read.
        scale: what the gradient is multiplied by: one number, or `[T]` with any stride.
        grad_logits: `[T, V]` with last stride 1, may be `logits`.
        readable: columns from V on up to here may be read, and are written as 0 in `grad_logits`.
    """
    n_rows, n_columns = logits.shape
    if n_rows == 0:
        return
    tile = tile_for(n_columns, logits.element_size())
    contiguous = logits.stride(1) == 1
    sizes = (readable, logits.stride(0), logits.data_ptr())
    with on(logits.device):
        _rows[(n_rows,)](
            logits, logits if bias is None else bias, labels, losses, log_sums,
            losses if scale is None else scale, logits if grad_logits is None else grad_logits,
            n_columns, readable, *options, logits.stride(0), logits.stride(1), labels.stride(0),
            0 if scale is None or scale.dim() == 0 else scale.stride(0),
            0 if grad_logits is None else grad_logits.stride(0),
            FORWARD=forward, BACKWARD=grad_logits is not None, CONTIGUOUS=contiguous,
            ALIGNED=contiguous and all(size % ACCESS_BYTES == 0 for size in sizes), BIAS=bias is not None,
            SOFTCAP=options.softcap != 0.0, SMOOTHING=options.label_smoothing != 0.0,
            LANES=tile.lanes, VECTOR=tile.vector, num_warps=tile.warps,
        )  # fmt: skip


def launch_rescale(x: Tensor, factor: Tensor) -> None:
    """Multiplies a contiguous tensor by a scalar tensor, in place."""
    if x.numel() == 0:
        return
    programs = min(triton.cdiv(x.numel(), RESCALE_BLOCK), RESCALE_PROGRAMS)
    with on(x.device):
        _rescale[(programs,)](x, factor, x.numel(), BLOCK=RESCALE_BLOCK, num_warps=8)


def cross_entropy(
    logits: Tensor, labels: Tensor, ignore_index: int, label_smoothing: float, softcap: float, z_loss: float
) -> Tensor:
    """As `ref.cross_entropy`, for float16, bfloat16 and float32; a label out of range gives NaN."""
    losses: Tensor = cross_entropy_op(logits, labels, ignore_index, label_smoothing, softcap, z_loss)[0]
    return losses


@torch.library.custom_op("oxiformers_kernels::cross_entropy", mutates_args=())
def cross_entropy_op(
    logits: Tensor, labels: Tensor, ignore_index: int, label_smoothing: float, softcap: float, z_loss: float
) -> tuple[Tensor, Tensor]:
    """The losses `[T]` and the log-sum-exp `[T]` of the rows, which the backward needs; both float32."""
    losses, log_sums = _row_values(logits), _row_values(logits)
    options = Options(ignore_index, label_smoothing, softcap, z_loss)
    launch_rows(
        logits, None, labels, losses, log_sums, None, None, options, forward=True, readable=logits.shape[1]
    )
    return losses, log_sums


@torch.library.custom_op("oxiformers_kernels::cross_entropy_backward", mutates_args=())
def cross_entropy_backward_op(
    grad: Tensor,
    logits: Tensor,
    labels: Tensor,
    log_sums: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
) -> Tensor:
    """The gradient of the logits from that of the losses, contiguous."""
    grad_logits = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    options = Options(ignore_index, label_smoothing, softcap, z_loss)
    launch_rows(
        logits, None, labels, log_sums, log_sums, grad, grad_logits, options,
        forward=False, readable=logits.shape[1],
    )  # fmt: skip
    return grad_logits


@cross_entropy_op.register_fake
def _(
    logits: Tensor, labels: Tensor, ignore_index: int, label_smoothing: float, softcap: float, z_loss: float
) -> tuple[Tensor, Tensor]:
    return _row_values(logits), _row_values(logits)


@cross_entropy_backward_op.register_fake
def _(
    grad: Tensor,
    logits: Tensor,
    labels: Tensor,
    log_sums: Tensor,
    ignore_index: int,
    label_smoothing: float,
    softcap: float,
    z_loss: float,
) -> Tensor:
    return torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, labels, *ctx.options = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(logits, labels, output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    logits, labels, log_sums = ctx.saved_tensors
    grad_logits = cross_entropy_backward_op(grad, logits, labels, log_sums, *ctx.options)
    return grad_logits, None, None, None, None, None


cross_entropy_op.register_autograd(_backward, setup_context=_setup_context)


def _row_values(logits: Tensor) -> Tensor:
    return torch.empty(logits.shape[0], dtype=torch.float32, device=logits.device)
