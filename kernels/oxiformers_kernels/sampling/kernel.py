"""Sampling in Triton: one program a row, which finds every threshold by reading the row again, and sorts nothing.

A row stays in the L2 cache, and a search reads it once for three pivots: about ten times for a vocabulary of 128k.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from oxiformers_kernels.device import on

# Columns that a program reads at a time, and bytes that a thread does.
BLOCK = 4096
ACCESS_BYTES = 16


@triton.jit
def _order(values):
    """float32 to int32 with the same order; applied to such a number (as float32 bits) it is its own inverse."""
    bits = values.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _block(LANES: tl.constexpr, VECTOR: tl.constexpr, ALIGNED: tl.constexpr):
    """[LANES, VECTOR] columns: those of a lane side by side where a thread can read them at once, else those of
    neighbouring threads. Sums over axis 1 stay within a thread."""
    lane, element = tl.arange(0, LANES)[:, None], tl.arange(0, VECTOR)[None, :]
    return lane * VECTOR + element if ALIGNED else element * LANES + lane


@triton.jit
def _load(logits, columns, n_columns, stride, scale, CONTIGUOUS: tl.constexpr):
    """Scaled logits in float32, -inf beyond the row."""
    offsets = columns if CONTIGUOUS else columns.to(tl.int64) * stride
    return tl.load(logits + offsets, mask=columns < n_columns, other=float("-inf")).to(tl.float32) * scale


@triton.jit
def _search(
    logits, n_columns, stride, scale, peak, low, high, low_count, target,
    WEIGHTED: tl.constexpr, CONTIGUOUS: tl.constexpr, ALIGNED: tl.constexpr,
    LANES: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    """The largest cut, in the order of `_order`, from which on the tokens amount to `target` or more: their number, or
    their weight exp(logit - peak). Any cut that parts the tokens in the same way will do.

    What lies from `low` on amounts to the target, what lies from `high` on does not; `low_count` tokens lie from `low`
    on, and none from `high` on.
    """
    block = _block(LANES, VECTOR, ALIGNED)
    high_count = low_count * 0
    # One token left between the two: it is the last that is needed.
    while (high - low > 1) & (low_count - high_count > 1):
        # Above `low`, so that what stands for no column (-inf) is below them all.
        quarter = tl.maximum((high - low) // 4, 1)
        first, second, third = low + quarter, low + (high - low) // 2, high - quarter
        count1, count2, count3 = (
            tl.zeros([LANES], tl.int32),
            tl.zeros([LANES], tl.int32),
            tl.zeros([LANES], tl.int32),
        )
        sum1, sum2, sum3 = (
            tl.zeros([LANES], tl.float32),
            tl.zeros([LANES], tl.float32),
            tl.zeros([LANES], tl.float32),
        )
        for start in range(0, n_columns, LANES * VECTOR):
            columns = start + block
            x = _load(logits, columns, n_columns, stride, scale, CONTIGUOUS)
            order = _order(x)
            from1, from2, from3 = order >= first, order >= second, order >= third
            count1 += tl.sum(from1.to(tl.int32), axis=1)
            count2 += tl.sum(from2.to(tl.int32), axis=1)
            count3 += tl.sum(from3.to(tl.int32), axis=1)
            if WEIGHTED:
                weight = tl.exp(x - peak)
                sum1 += tl.sum(tl.where(from1, weight, 0.0), axis=1)
                sum2 += tl.sum(tl.where(from2, weight, 0.0), axis=1)
                sum3 += tl.sum(tl.where(from3, weight, 0.0), axis=1)
        n1, n2, n3 = tl.sum(count1, axis=0), tl.sum(count2, axis=0), tl.sum(count3, axis=0)
        if WEIGHTED:
            enough1, enough2, enough3 = (
                tl.sum(sum1, axis=0) >= target, tl.sum(sum2, axis=0) >= target, tl.sum(sum3, axis=0) >= target
            )  # fmt: skip
        else:
            enough1, enough2, enough3 = n1 >= target, n2 >= target, n3 >= target
        # The highest pivot that has enough becomes the lower end, the next one the upper.
        new_low = tl.where(enough3, third, tl.where(enough2, second, tl.where(enough1, first, low)))
        new_low_count = tl.where(enough3, n3, tl.where(enough2, n2, tl.where(enough1, n1, low_count)))
        new_high = tl.where(enough3, high, tl.where(enough2, third, tl.where(enough1, second, first)))
        high_count = tl.where(enough3, high_count, tl.where(enough2, n3, tl.where(enough1, n2, n1)))
        low, low_count, high = new_low, new_low_count, new_high
    return low, low_count


@triton.jit(do_not_specialize=["top_k"])
def _sample(
    logits, tokens, thresholds, temperatures, top_ks, top_ps, min_ps, seed,
    temperature, top_k, top_p, min_p, n_columns, row_stride, column_stride,
    temperature_stride, top_k_stride, top_p_stride, min_p_stride,
    TEMPERATURES: tl.constexpr, TOP_KS: tl.constexpr, TOP_PS: tl.constexpr, MIN_PS: tl.constexpr,
    CONTIGUOUS: tl.constexpr, ALIGNED: tl.constexpr,
    LANES: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    """One row; what is given a row (the flags) is read from the tensor, the rest are numbers."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * row_stride
    if TEMPERATURES:
        temperature = tl.load(temperatures + row * temperature_stride).to(tl.float32)
    if TOP_KS:
        top_k = tl.load(top_ks + row * top_k_stride)
    if TOP_PS:
        top_p = tl.load(top_ps + row * top_p_stride).to(tl.float32)
    if MIN_PS:
        min_p = tl.load(min_ps + row * min_p_stride).to(tl.float32)
    greedy = temperature == 0.0
    scale = tl.div_rn(1.0, tl.where(greedy, 1.0, temperature))

    block = _block(LANES, VECTOR, ALIGNED)
    peaks = tl.full([LANES], float("-inf"), tl.float32)
    floors = tl.full([LANES], float("inf"), tl.float32)
    for start in range(0, n_columns, LANES * VECTOR):
        columns = start + block
        x = _load(logits, columns, n_columns, column_stride, scale, CONTIGUOUS)
        peaks = tl.maximum(peaks, tl.max(x, axis=1))
        floors = tl.minimum(floors, tl.min(tl.where(columns < n_columns, x, float("inf")), axis=1))
    peak, floor = tl.max(peaks, axis=0), tl.min(floors, axis=0)
    # In int64, where differences of two int32 have room.
    low, high = _order(floor).to(tl.int64), _order(peak).to(tl.int64) + 1
    # A row of -inf weighs nothing: subtracting 0 keeps exp(-inf) = 0 from being NaN.
    peak = tl.where(peak == float("-inf"), 0.0, peak)
    count = n_columns + tl.zeros([], tl.int32)

    if greedy:
        low = high - 1
    else:
        if (top_k > 0) & (top_k < n_columns):
            low, count = _search(
                logits, n_columns, column_stride, scale, peak, low, high, count, top_k,
                False, CONTIGUOUS, ALIGNED, LANES, VECTOR,
            )  # fmt: skip
        if top_p < 1.0:
            sums = tl.zeros([LANES], tl.float32)
            for start in range(0, n_columns, LANES * VECTOR):
                x = _load(logits, start + block, n_columns, column_stride, scale, CONTIGUOUS)
                sums += tl.sum(tl.where(_order(x) >= low, tl.exp(x - peak), 0.0), axis=1)
            target = tl.maximum(top_p * tl.sum(sums, axis=0), 1.1754943508222875e-38)
            low, count = _search(
                logits, n_columns, column_stride, scale, peak, low, high, count, target,
                True, CONTIGUOUS, ALIGNED, LANES, VECTOR,
            )  # fmt: skip
        if min_p > 0.0:
            low = tl.maximum(low, _order(peak + tl.log(min_p)).to(tl.int64))
    tl.store(
        thresholds + row, _order((low.to(tl.int32)).to(tl.float32, bitcast=True)).to(tl.float32, bitcast=True)
    )

    total = tl.zeros([], tl.float32)
    for start in range(0, n_columns, LANES * VECTOR):
        x = _load(logits, start + block, n_columns, column_stride, scale, CONTIGUOUS)
        total += tl.sum(tl.sum(tl.where(_order(x) >= low, tl.exp(x - peak), 0.0), axis=1), axis=0)
    uniform = tl.rand(tl.load(seed), row.to(tl.int32))
    target = tl.where(greedy, 0.0, uniform) * total

    # The first token at which the running sum exceeds the target; where rounding leaves none, the last one kept.
    flat = tl.arange(0, LANES * VECTOR)
    token, last = tl.full([], 2147483647, tl.int32), tl.full([], -1, tl.int32)
    before = tl.zeros([], tl.float32)
    for start in range(0, n_columns, LANES * VECTOR):
        if token == 2147483647:
            columns = start + flat
            x = _load(logits, columns, n_columns, column_stride, scale, CONTIGUOUS)
            weight = tl.where(_order(x) >= low, tl.exp(x - peak), 0.0)
            reached = before + tl.cumsum(weight, axis=0) > target
            token = tl.min(tl.where(reached & (weight > 0.0), columns, 2147483647), axis=0)
            last = tl.maximum(last, tl.max(tl.where(weight > 0.0, columns, -1), axis=0))
            before += tl.sum(weight, axis=0)
    tl.store(tokens + row, tl.where(token == 2147483647, last, token).to(tl.int64))


class Tile(NamedTuple):
    """The columns of a block, as lanes x vector neighbours, and the warps that read it."""

    lanes: int
    vector: int
    warps: int


def tile_for(n_columns: int, itemsize: int) -> Tile:
    """An access a thread and block: more would hold more sums than there are registers for."""
    columns, vector = min(triton.next_power_of_2(n_columns), BLOCK), ACCESS_BYTES // itemsize
    return Tile(max(1, columns // vector), vector, max(1, columns // (32 * vector)))


def sample(
    logits: Tensor,
    temperature: float | Tensor,
    top_k: int | Tensor,
    top_p: float | Tensor,
    min_p: float | Tensor,
    seed: Tensor,
) -> tuple[Tensor, Tensor]:
    """As `ref.sample`; a row without a finite logit gives -1."""
    given = (temperature, top_k, top_p, min_p)
    tensors = [value if isinstance(value, Tensor) else None for value in given]
    numbers = [0 if isinstance(value, Tensor) else value for value in given]
    result: tuple[Tensor, Tensor] = sample_op(
        logits, *tensors, float(numbers[0]), int(numbers[1]), float(numbers[2]), float(numbers[3]), seed
    )
    return result


@torch.library.custom_op("oxiformers_kernels::sample", mutates_args=())
def sample_op(
    logits: Tensor,
    temperatures: Tensor | None,
    top_ks: Tensor | None,
    top_ps: Tensor | None,
    min_ps: Tensor | None,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    seed: Tensor,
) -> tuple[Tensor, Tensor]:
    """Tokens and thresholds `[B]`; a number counts where its tensor `[B]` is None."""
    n_rows, n_columns = logits.shape
    tokens = torch.empty(n_rows, dtype=torch.int64, device=logits.device)
    thresholds = torch.empty(n_rows, dtype=torch.float32, device=logits.device)
    if n_rows == 0:
        return tokens, thresholds
    given = (temperatures, top_ks, top_ps, min_ps)
    tile = tile_for(n_columns, logits.element_size())
    contiguous = logits.stride(1) == 1
    sizes = (n_columns, logits.stride(0), logits.data_ptr())
    with on(logits.device):
        _sample[(n_rows,)](
            logits, tokens, thresholds, *(thresholds if tensor is None else tensor for tensor in given), seed,
            temperature, top_k, top_p, min_p, n_columns, *logits.stride(),
            *(0 if tensor is None else tensor.stride(0) for tensor in given),
            TEMPERATURES=temperatures is not None, TOP_KS=top_ks is not None, TOP_PS=top_ps is not None,
            MIN_PS=min_ps is not None, CONTIGUOUS=contiguous,
            ALIGNED=contiguous and all(size % ACCESS_BYTES == 0 for size in sizes), LANES=tile.lanes,
            VECTOR=tile.vector, num_warps=tile.warps,
        )  # fmt: skip
    return tokens, thresholds


@sample_op.register_fake
def _(
    logits: Tensor,
    temperatures: Tensor | None,
    top_ks: Tensor | None,
    top_ps: Tensor | None,
    min_ps: Tensor | None,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    seed: Tensor,
) -> tuple[Tensor, Tensor]:
    rows = logits.shape[0]
    return logits.new_empty(rows, dtype=torch.int64), logits.new_empty(rows, dtype=torch.float32)
