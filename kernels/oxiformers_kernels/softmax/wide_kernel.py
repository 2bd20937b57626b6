"""Softmax and log-softmax of rows wider than a block: two passes, by one program a row or by several."""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.softmax.rows_kernel import kept, load_logits, row_offsets


@triton.jit
def _combined(peaks, totals):
    """Peak and sum of exponentials of a row, from those of its parts."""
    peak = tl.max(peaks, axis=0)
    shift = tl.where(peak == float("-inf"), 0.0, peak)
    return shift, tl.sum(totals * tl.exp(peaks - shift), axis=0)


@triton.jit
def _statistics(
    x, mask, bias, begin, end, x_column, mask_column, bias_column, scale, lowest,
    MASK: tl.constexpr, STEPS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Peak (0 for -inf) and sum of exponentials of columns `begin` to `end`: a pair a lane, combined at the end.

    A lane takes STEPS columns at a time and rescales its sum once for all of them.
    """
    peaks = tl.full([LANES], float("-inf"), tl.float32)
    totals = tl.zeros([LANES], tl.float32)
    block = tl.arange(0, STEPS)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    for start in range(begin, end, STEPS * LANES):
        columns = start + block
        inside = columns < end
        logits = load_logits(
            x,
            mask,
            bias,
            columns.to(tl.int64),
            inside,
            x_column,
            mask_column,
            bias_column,
            scale,
            lowest,
            MASK,
        )
        peak = tl.maximum(peaks, tl.max(logits, axis=0))
        shift = tl.where(peak == float("-inf"), 0.0, peak)
        totals = totals * tl.exp(peaks - shift) + tl.sum(tl.exp(logits - shift[None, :]), axis=0)
        peaks = peak
    return peaks, totals


@triton.jit
def _write(
    x, mask, bias, seed, out, probabilities, row, begin, end, shift, total, x_column, mask_column, bias_column,
    scale, lowest, threshold, survivor, MASK: tl.constexpr, LOG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The result for columns `begin` to `end`; `out` and `probabilities` are row pointers."""
    total = tl.where(total == 0.0, 1.0, total)
    subtracted = shift + tl.log(total)
    factor = 1.0 / total
    block = tl.arange(0, BLOCK)
    last = begin + (end - begin - 1) // BLOCK * BLOCK
    for done in range(0, end - begin, BLOCK):
        # Backwards: what was read last is what the cache still has.
        start = last - done
        columns = start + block
        inside = columns < end
        logits = load_logits(
            x,
            mask,
            bias,
            columns.to(tl.int64),
            inside,
            x_column,
            mask_column,
            bias_column,
            scale,
            lowest,
            MASK,
        )
        result = logits - subtracted if LOG else tl.exp(logits - shift) * factor
        result = result.to(out.dtype.element_ty)
        if seed is not None:
            if probabilities is not None:
                tl.store(probabilities + columns, result, mask=inside)
            rows = row + tl.arange(0, 1)[:, None]
            keep = tl.reshape(kept(tl.load(seed), rows, start, threshold, 1, BLOCK), [BLOCK])
            result = tl.where(keep, result.to(tl.float32) * survivor, 0.0).to(out.dtype.element_ty)
        tl.store(out + columns, result, mask=inside)


@triton.jit(do_not_specialize=["threshold"])
def forward(
    x, mask, bias, seed, out, probabilities, peaks, totals, n_columns, share, shares, heads, queries,
    scale, lowest, threshold, survivor,
    x_batch, x_head, x_query, x_column, mask_batch, mask_head, mask_query, mask_column,
    bias_batch, bias_head, bias_query, bias_column,
    MASK: tl.constexpr, LOG: tl.constexpr, FLAT: tl.constexpr, PHASE: tl.constexpr, STEPS: tl.constexpr,
    LANES: tl.constexpr, SHARES: tl.constexpr,
):  # fmt: skip
    """Program (row, part) has `share` columns of a row. PHASE 0: a row is one part, and all is done at once; otherwise
    PHASE 1 keeps `peaks` and `totals` [rows, shares], PHASE 2 writes. SHARES: `shares`, up to a power of 2.
    """
    row, part = tl.program_id(0), tl.program_id(1)
    begin = part * share
    end = tl.minimum(begin + share, n_columns)
    x += row_offsets(row, heads, queries, x_batch, x_head, x_query, FLAT)
    if MASK != 0:
        mask += row_offsets(row, heads, queries, mask_batch, mask_head, mask_query, FLAT)
    if bias is not None:
        bias += row_offsets(row, heads, queries, bias_batch, bias_head, bias_query, FLAT)
    if PHASE == 2:
        parts = tl.arange(0, SHARES)
        place = row.to(tl.int64) * shares + parts
        shift, total = _combined(
            tl.load(peaks + place, mask=parts < shares, other=float("-inf")),
            tl.load(totals + place, mask=parts < shares, other=0.0),
        )
    else:
        lane_peaks, lane_totals = _statistics(
            x, mask, bias, begin, end, x_column, mask_column, bias_column, scale, lowest, MASK, STEPS, LANES
        )
        shift, total = _combined(lane_peaks, lane_totals)
    if PHASE == 1:
        place = row.to(tl.int64) * shares + part
        # A part with nothing kept must not raise the peak of its row.
        tl.store(peaks + place, tl.where(total == 0.0, float("-inf"), shift))
        tl.store(totals + place, total)
    else:
        out += row.to(tl.int64) * n_columns
        if probabilities is not None:
            probabilities += row.to(tl.int64) * n_columns
        _write(
            x,
            mask,
            bias,
            seed,
            out,
            probabilities,
            row,
            begin,
            end,
            shift,
            total,
            x_column,
            mask_column,
            bias_column,
            scale,
            lowest,
            threshold,
            survivor,
            MASK,
            LOG,
            STEPS * LANES,
        )


@triton.jit
def _load_pair(
    saved, grad, seed, row, start, columns, inside, grad_column, threshold, survivor,
    LOG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What the forward kept and the gradient before dropout, of BLOCK columns from `start`."""
    p = tl.load(saved + columns, mask=inside, other=float("-inf") if LOG else 0.0).to(tl.float32)
    g = tl.load(grad + columns.to(tl.int64) * grad_column, mask=inside, other=0.0).to(tl.float32)
    if seed is not None:
        rows = row + tl.arange(0, 1)[:, None]
        keep = tl.reshape(kept(tl.load(seed), rows, start, threshold, 1, BLOCK), [BLOCK])
        g = tl.where(keep, g * survivor, 0.0)
    if LOG:
        g = tl.where(p == float("-inf"), 0.0, g)
    return p, g


@triton.jit(do_not_specialize=["threshold"])
def backward(
    grad, saved, seed, grad_x, sums, n_columns, share, shares, scale, threshold, survivor, grad_row, grad_column,
    LOG: tl.constexpr, PHASE: tl.constexpr, BLOCK: tl.constexpr, SHARES: tl.constexpr,
):  # fmt: skip
    """As `rows_kernel.backward`, in the phases of `forward`; `sums` [rows, shares]."""
    row, part = tl.program_id(0), tl.program_id(1)
    begin = part * share
    end = tl.minimum(begin + share, n_columns)
    grad += row.to(tl.int64) * grad_row
    saved += row.to(tl.int64) * n_columns
    grad_x += row.to(tl.int64) * n_columns
    block = tl.arange(0, BLOCK)
    if PHASE == 2:
        parts = tl.arange(0, SHARES)
        total = tl.sum(
            tl.load(sums + row.to(tl.int64) * shares + parts, mask=parts < shares, other=0.0), axis=0
        )
    else:
        lanes = tl.zeros([BLOCK], tl.float32)
        for start in range(begin, end, BLOCK):
            columns = start + block
            inside = columns < end
            p, g = _load_pair(
                saved, grad, seed, row, start, columns, inside, grad_column, threshold, survivor, LOG, BLOCK
            )
            lanes += g if LOG else p * g
        total = tl.sum(lanes, axis=0)
    if PHASE == 1:
        tl.store(sums + row.to(tl.int64) * shares + part, total)
    else:
        last = begin + (end - begin - 1) // BLOCK * BLOCK
        for done in range(0, end - begin, BLOCK):
            # Backwards: what was read last is what the cache still has.
            start = last - done
            columns = start + block
            inside = columns < end
            p, g = _load_pair(
                saved, grad, seed, row, start, columns, inside, grad_column, threshold, survivor, LOG, BLOCK
            )
            result = g - tl.exp(p) * total if LOG else p * (g - total)
            tl.store(grad_x + columns, (scale * result).to(grad_x.dtype.element_ty), mask=inside)
