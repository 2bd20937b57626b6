"""The gradients of attention's biases in Triton: score gradients of a tile, added up by distance or by its index."""

from __future__ import annotations

import triton
import triton.language as tl

from oxiformers_kernels.attention.scores_kernel import clamped


@triton.jit
def add_to(pointers, values, inside, PRIVATE: tl.constexpr):
    """Adds to float32 memory that all programs share, or that is this program's alone."""
    if PRIVATE:
        # Barriers keep the order of the program's threads, and so the sum.
        tl.debug_barrier()
        tl.store(pointers, tl.load(pointers, mask=inside, other=0.0) + values, mask=inside)
        tl.debug_barrier()
    else:
        tl.atomic_add(pointers, values, mask=inside, sem="relaxed")


@triton.jit
def add_diagonals(
    table_grad, left_sum, right_sum, grads, first_distance, reach, left_side,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, NEAR: tl.constexpr, PRIVATE: tl.constexpr,
):  # fmt: skip
    """Adds the score gradients `[QUERIES, KEYS]` of a tile to those of their distances; QUERIES is at most KEYS.

    first_distance: of the tile's first query and first key. Each row is turned by its index, a distance then lies in
    one column (in two halves), and a column's sum is one addition to memory. Distances beyond the table go to two sums.
    """
    if not NEAR:
        everything = tl.sum(tl.sum(grads, axis=1), axis=0)
        left_sum += tl.where(left_side, everything, 0.0)
        right_sum += tl.where(left_side, 0.0, everything)
    else:
        rows, columns = tl.arange(0, QUERIES)[:, None], tl.arange(0, KEYS)[None, :]
        turned = tl.gather(grads, (rows + columns) & (KEYS - 1), axis=1)
        wrapped = rows + columns >= KEYS
        for half in tl.static_range(2):
            sums = tl.sum(tl.where(wrapped == (half == 1), turned, 0.0), axis=0)
            distance = first_distance + tl.arange(0, KEYS) - half * KEYS
            beyond_left = distance <= -reach
            beyond_right = (distance >= reach) & (distance > -reach)
            left_sum += tl.sum(tl.where(beyond_left, sums, 0.0), axis=0)
            right_sum += tl.sum(tl.where(beyond_right, sums, 0.0), axis=0)
            add_to(table_grad + distance + reach, sums, (distance > -reach) & (distance < reach), PRIVATE)
    return left_sum, right_sum


@triton.jit
def add_by_index(
    memory, row, grads, distance, rows, inside, terms, STEP: tl.constexpr, PRIVATE: tl.constexpr
):
    """Adds the gradients of a tile's products to those of its rows' products with positions.

    memory: of the first row, `row` apart; no other program adds to this tile's rows. STEP: what a column adds to the
    distance, 1 or -1. The position of a distance rises or falls with it, so those that share one lie side by side.
    """
    index = tl.load(terms.index + clamped(distance, terms.index_reach))
    pointers = memory + rows.to(tl.int64) * row + index
    if PRIVATE:
        # The sum of a run of columns is that up to its last less that before its first: two additions to an element.
        width: tl.constexpr = grads.shape[1]
        columns = tl.arange(0, width)[None, :]
        sums = tl.cumsum(grads, axis=1)
        after = tl.load(terms.index + clamped(distance + STEP, terms.index_reach))
        before = tl.load(terms.index + clamped(distance - STEP, terms.index_reach))
        row_inside = (tl.sum(inside.to(tl.int32), axis=1) > 0)[:, None]
        add_to(pointers, sums, row_inside & ((after != index) | (columns == width - 1)), True)
        add_to(pointers, grads - sums, row_inside & ((before != index) | (columns == 0)), True)
    else:
        tl.atomic_add(pointers, grads, mask=inside, sem="relaxed")
