"""Where the tiles of attention's programs lie in Triton: the plan of packed sequences, and which blocks a tile sees."""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

#: int32 numbers a row of a plan: slot 0 of the sequence, its tiles, start and length on both sides, its index.
PLAN_COLUMNS = 8


@triton.jit(do_not_specialize=["n_sequences"])
def plan_tiles(
    cu_own, cu_other, plan, n_sequences, BLOCK: tl.constexpr, SEQUENCES: tl.constexpr, CHUNK: tl.constexpr
):
    """Writes which sequence each slot of `plan` works on, the longest first, so that none is left for the end.

    plan `[1 + slots, 8]`: row 0 holds the number of slots; a sequence has one for every BLOCK tokens of its own side.
    The rank of a sequence is counted, not sorted: a program compares its sequences with all others.
    """
    own = tl.program_id(0) * SEQUENCES + tl.arange(0, SEQUENCES)
    inside = own < n_sequences
    own_start = tl.load(cu_own + own, mask=inside, other=0).to(tl.int32)
    own_length = tl.load(cu_own + own + 1, mask=inside, other=0).to(tl.int32) - own_start
    other_start = tl.load(cu_other + own, mask=inside, other=0).to(tl.int32)
    other_length = tl.load(cu_other + own + 1, mask=inside, other=0).to(tl.int32) - other_start
    slots_before = tl.zeros([SEQUENCES], tl.int32)
    total = 0
    for first in range(0, n_sequences, CHUNK):
        them = first + tl.arange(0, CHUNK)
        there = them < n_sequences
        start = tl.load(cu_own + them, mask=there, other=0).to(tl.int32)
        length = tl.load(cu_own + them + 1, mask=there, other=0).to(tl.int32) - start
        tiles = tl.where(there, (length + BLOCK - 1) // BLOCK, 0)
        work_start = tl.load(cu_other + them, mask=there, other=0).to(tl.int32)
        work = tl.load(cu_other + them + 1, mask=there, other=0).to(tl.int32) - work_start
        longer = work[None, :] > other_length[:, None]
        before = longer | ((work[None, :] == other_length[:, None]) & (them[None, :] < own[:, None]))
        slots_before += tl.sum(tl.where(before, tiles[None, :], 0), axis=1)
        total += tl.sum(tiles, axis=0)
    tl.store(plan, total, mask=tl.program_id(0) == 0)
    own_tiles = tl.where(inside, (own_length + BLOCK - 1) // BLOCK, 0)
    for tile in range(tl.max(own_tiles, axis=0)):
        row = plan + (1 + slots_before + tile).to(tl.int64) * 8
        here = tile < own_tiles
        tl.store(row + 0, slots_before, mask=here)
        tl.store(row + 1, own_tiles, mask=here)
        tl.store(row + 2, own_start, mask=here)
        tl.store(row + 3, own_length, mask=here)
        tl.store(row + 4, other_start, mask=here)
        tl.store(row + 5, other_length, mask=here)
        tl.store(row + 6, own, mask=here)


@triton.jit
def find_tile(plan, heads, own_length, other_length, n_sequences, BLOCK: tl.constexpr, PACKED: tl.constexpr):
    """This program's (slot, sequence, head, first row of its tile, start and length of both sides).

    A slot is the number of a tile among those of all sequences. Programs of a head lie side by side: its keys are then
    read from the cache. One without work gets lengths of 0.
    """
    program = tl.program_id(0)
    slot = program // heads
    first_slot = 0
    if PACKED:
        alive = slot < tl.load(plan)
        row = plan + (1 + slot).to(tl.int64) * 8
        first_slot = tl.load(row + 0, mask=alive, other=0)
        tiles = tl.load(row + 1, mask=alive, other=1)
        own_start = tl.load(row + 2, mask=alive, other=0)
        own_length = tl.load(row + 3, mask=alive, other=0)
        other_start = tl.load(row + 4, mask=alive, other=0)
        other_length = tl.load(row + 5, mask=alive, other=0)
        sequence = tl.load(row + 6, mask=alive, other=0)
        within = program - first_slot * heads
        head = tl.where(alive, within // tiles, 0)
        tile = tl.where(alive, within % tiles, 0)
    else:
        tiles = (own_length + BLOCK - 1) // BLOCK
        sequence = slot // tiles
        first_slot = sequence * tiles
        within = program - first_slot * heads
        head = within // tiles
        tile = within % tiles
        own_start = sequence * own_length
        other_start = sequence * other_length
    # Under a causal mask the last tile sees the most; the longest work goes first.
    tile = tiles - 1 - tile
    return first_slot + tile, sequence, head, tile * BLOCK, own_start, own_length, other_start, other_length


@triton.jit
def head_of(tensor, sequence, start, head, batch, token, head_stride, PACKED: tl.constexpr):
    """A head of a sequence: of packed tokens from `start` on, or of a row of the batch."""
    if PACKED:
        tensor += start.to(tl.int64) * token
    else:
        tensor += sequence.to(tl.int64) * batch
    return tensor + head.to(tl.int64) * head_stride


@triton.jit
def visible_range(
    first, last, length, before, after, BLOCK: tl.constexpr, BEFORE: tl.constexpr, AFTER: tl.constexpr
):
    """The blocks of the other side that positions `first`..`last` see, and those of them that all see in full.

    A position p sees [p - before, p + after] within [0, length). Returns (low, full_low, full_high, high): the blocks
    begin at multiples of BLOCK from low, [full_low, full_high) need no mask, and may be empty.
    """
    low = 0
    high = length
    full_low = 0
    full_high = length
    if BEFORE:
        low = tl.maximum(first - before, 0) // BLOCK * BLOCK
        full_low = (tl.maximum(last - before, 0) + BLOCK - 1) // BLOCK * BLOCK
    if AFTER:
        high = tl.minimum(length, tl.maximum(last + after + 1, 0))
        full_high = tl.minimum(length, tl.maximum(first + after + 1, 0))
    low = tl.minimum(low, (high + BLOCK - 1) // BLOCK * BLOCK)
    full_high = full_high // BLOCK * BLOCK
    none = full_high <= full_low
    full_low = tl.where(none, low, full_low)
    full_high = tl.where(none, low, full_high)
    return low, full_low, full_high, high


@triton.jit
def masked_block(index, low, full_low, full_high, BLOCK: tl.constexpr, BEFORE: tl.constexpr):
    """Where the `index`-th block outside of [full_low, full_high) begins."""
    if BEFORE:
        left = (full_low - low) // BLOCK
        return tl.where(index < left, low + index * BLOCK, full_high + (index - left) * BLOCK)
    else:
        return full_high + index * BLOCK


@triton.jit
def near_range(first, last, full_low, full_high, reach, BLOCK: tl.constexpr):
    """Those of the blocks in [full_low, full_high) with a distance to `first`..`last` that is less than `reach`.

    All distances of any other block lie on one side beyond a table of distances, and share its end.
    """
    near_low = full_low + tl.maximum(first - reach + 1 - full_low, 0) // BLOCK * BLOCK
    near_low = tl.minimum(near_low, full_high)
    near_high = full_low + (tl.maximum(last + reach - full_low, 0) + BLOCK - 1) // BLOCK * BLOCK
    return near_low, tl.maximum(tl.minimum(near_high, full_high), near_low)


class Side(NamedTuple):
    """A head of a sequence's queries, keys or values, `[length, size]`.

    Attributes:
        rows: its first element, rows are `token` apart.
        tiles, first, column: the whole tensor as the copy engine reads it, and where the head lies in it.
    """

    rows: tl.tensor
    token: tl.tensor
    tiles: tl.tensor
    first: tl.tensor
    column: tl.tensor


@triton.jit
def load_block(
    block, first, length, token, size,
    COLUMNS: tl.constexpr, ROWS: tl.constexpr, EXACT: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Rows first..first + ROWS of a sequence's `[length, size]` side; zeros outside.

    EXACT: `size` is COLUMNS. Not MASKED: all rows exist.
    """
    rows, columns = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    pointers = block + tl.cast(first, tl.int64) * token + rows * token + columns
    if MASKED:
        inside = first + rows < length
        if not EXACT:
            inside = inside & (columns < size)
        return tl.load(pointers, mask=inside, other=0.0)
    if EXACT:
        return tl.load(pointers)
    return tl.load(pointers, mask=columns < size, other=0.0)


@triton.jit
def load_tile(
    side, start, length,
    SIZE: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr, MASKED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Rows start..start + ROWS of a Side; by the copy engine, those beyond the sequence are its neighbour's."""
    if TMA:
        block = side.tiles.load([side.first + start, side.column])
    else:
        block = load_block(side.rows, start, length, side.token, SIZE, COLUMNS, ROWS, SIZE == COLUMNS, MASKED)
    return block
