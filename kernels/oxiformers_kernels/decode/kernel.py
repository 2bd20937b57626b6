"""Attention to a cache in Triton: the keys of a row are split over programs, what they find is merged by log-sum-exp.

The split over keys is Flash-Decoding's (Dao, Haziza, Massa, Sizov, 2023), built on the online softmax of
FlashAttention (arXiv:2205.14135). All queries that read the same keys (new tokens, the heads of a group, the rows of a
sentence for a prefix) make up one tile, so that every key is read once.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from oxiformers_kernels.attention.scores_kernel import LOG2E, add_by_distance, capped, keeps
from oxiformers_kernels.decode.ref import Biases, Cache, Options, Prefix
from oxiformers_kernels.device import dot_settings, on, roomy

# Keys of one program: fewer are not worth starting one, more would leave a long row to a few.
FEWEST_KEYS = 128
MOST_KEYS = 1024
# Programs for every multiprocessor, where the rows alone are not that many.
PROGRAMS = 8
MERGED_PARTS = 16
# Bytes of keys and values that a program waits for at a time.
BLOCK_BYTES = 32768
LARGEST_BLOCK = 128

# How a unit's keys are found: in its own slot, in a named slot, in pages, in pages that hold whole blocks of keys.
NO_INDEX, SLOTS, PAGES, WHOLE_BLOCKS_OF_PAGES = 0, 1, 2, 3

# A cache grows at every token: what would change with it is no part of the compiled kernel.
GROWING = (
    "capacity",
    "shared_capacity",
    "members",
    "tiles",
    "splits",
    "wanted",
    "part",
    "parts",
    "query_length",
)


@triton.jit(do_not_specialize=GROWING)
def _attend(
    q, keys, values, lengths, shared_lengths, index, slopes, table, out, partial, sums,
    scale, softcap, reach, left, right,
    heads, kv_heads, query_length, members, beams, capacity, shared_capacity, tiles, splits, wanted, part, parts,
    page_size, q_row, q_token, q_head, q_column,
    k_slot, k_head, k_token, k_column, v_slot, v_head, v_token, v_column, index_row, index_column,
    SIZE: tl.constexpr, V_SIZE: tl.constexpr, COLUMNS: tl.constexpr, V_COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, FEWEST: tl.constexpr, MOST: tl.constexpr,
    INDEX: tl.constexpr, SHARED: tl.constexpr, PREFIX: tl.constexpr, SPLIT: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, ALIBI: tl.constexpr, DISTANCE: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """One part of the keys that `members` rows of the batch share: the prefix of their sentence, or a row's own.

    INDEX: 0: unit u lies in slot u; 1: in slot index[u]; 2: in the pages index[u, :]; 3: so, and a block of keys lies
    in one page. PREFIX: there is a prefix, before the keys of the cache; SHARED: it is what this launch reads.
    SPLIT: writes normalised float32 values `[B * Lq * H, parts, Dv]` and log-sum-exps (in units of log 2)
    `[B * Lq * H, parts]`, else `out [B, Lq, H, Dv]`.
    """
    program = tl.program_id(0)
    kv_head = program % kv_heads
    program = program // kv_heads
    tile = program % tiles
    program = program // tiles
    split = program % splits
    unit = (program // splits).to(tl.int64)

    group = heads // kv_heads
    count = members * query_length * group
    place = tile * QUERIES + tl.arange(0, QUERIES)
    there = place < count
    # Rows of the tile beyond the last query repeat it, so that what they see widens no range.
    place = tl.minimum(place, count - 1)
    row = unit * members + place // (query_length * group)
    token = place // group % query_length
    head = kv_head * group + place % group
    flat = (row * query_length + token) * heads + head

    position = tl.minimum(tl.load(lengths + row).to(tl.int32), capacity) - query_length + token
    first_place = 0
    if PREFIX:
        sentence = row // beams
        before = tl.minimum(tl.load(shared_lengths + sentence).to(tl.int32), shared_capacity)
        position += before
        first_place = tl.max(before, axis=0)
    if SHARED:
        high = first_place
        first_place = 0
    else:
        high = tl.minimum(tl.load(lengths + unit).to(tl.int32), capacity)
    low = 0
    if LEFT:
        low = tl.maximum(tl.min(position, axis=0) - left - first_place, 0) // KEYS * KEYS
    if RIGHT:
        high = tl.minimum(high, tl.max(position, axis=0) + right + 1 - first_place)
    share = (tl.maximum(high - low, 0) + wanted - 1) // wanted
    share = tl.minimum(tl.maximum((share + KEYS - 1) // KEYS * KEYS, FEWEST), MOST)
    begin = low + split * share
    end = tl.minimum(begin + share, high)
    if SPLIT:
        partial += (flat * parts + part + split)[:, None] * V_SIZE
        sums += flat * parts + part + split
        if begin >= end:
            tl.store(sums, tl.full([QUERIES], float("-inf"), tl.float32), mask=there)
            return

    columns, v_columns = tl.arange(0, COLUMNS), tl.arange(0, V_COLUMNS)
    q += (row * q_row + token * q_token + head * q_head)[:, None] + columns[None, :] * q_column
    query = tl.load(q, mask=there[:, None] & (columns < SIZE)[None, :], other=0.0)
    if UPCAST:
        query = query.to(tl.float32)
    slope = 0.0
    if ALIBI:
        slope = tl.load(slopes + head).to(tl.float32)[:, None]
    if DISTANCE:
        table += (head * (2 * reach + 1))[:, None]
    keys += kv_head.to(tl.int64) * k_head
    values += kv_head.to(tl.int64) * v_head
    if INDEX == 0:
        keys += unit * k_slot
        values += unit * v_slot
    if INDEX == 1:
        slot = tl.load(index + unit * index_row).to(tl.int64)
        keys += slot * k_slot
        values += slot * v_slot
    if INDEX >= 2:
        index += unit * index_row

    peak = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    attended = tl.zeros([QUERIES, V_COLUMNS], tl.float32)
    block = tl.arange(0, KEYS)
    for start in range(begin, end, KEYS):
        places = start + block
        inside = places < end
        if INDEX <= 1:
            k_offsets = places.to(tl.int64)[:, None] * k_token
            v_offsets = places.to(tl.int64)[:, None] * v_token
        if INDEX == 2:
            page = tl.load(index + places // page_size * index_column, mask=inside, other=0).to(tl.int64)
            k_offsets = (page * k_slot + places % page_size * k_token)[:, None]
            v_offsets = (page * v_slot + places % page_size * v_token)[:, None]
        if INDEX == 3:
            page = tl.load(index + start // page_size * index_column).to(tl.int64)
            k_offsets = (page * k_slot + (start % page_size + block) * k_token)[:, None]
            v_offsets = (page * v_slot + (start % page_size + block) * v_token)[:, None]
        k_inside, v_inside = inside[:, None], inside[:, None]
        if SIZE != COLUMNS:
            k_inside = k_inside & (columns < SIZE)[None, :]
        if V_SIZE != V_COLUMNS:
            v_inside = v_inside & (v_columns < V_SIZE)[None, :]
        key = tl.load(keys + k_offsets + columns[None, :] * k_column, mask=k_inside, other=0.0)
        value = tl.load(values + v_offsets + v_columns[None, :] * v_column, mask=v_inside, other=0.0)
        if UPCAST:
            key = key.to(tl.float32)
            value = value.to(tl.float32)
        products = tl.dot(query, tl.trans(key), input_precision=PRECISION)
        distance = (first_place + places)[None, :] - position[:, None]
        visible = keeps(distance, left, right, LEFT, RIGHT, inside[None, :])
        scores, _ = capped(products, scale, softcap, SOFTCAP)
        scores = add_by_distance(scores, distance, slope, table, reach, LOG2E, ALIBI, DISTANCE)
        scores = tl.where(visible, scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, axis=1))
        # A query that has seen nothing has peak -inf; subtracting 0 there keeps exp(-inf) = 0 from being NaN.
        shift = tl.where(new_peak == float("-inf"), 0.0, new_peak)
        probabilities = tl.exp2(scores - shift[:, None])
        fade = tl.exp2(peak - shift)
        total = total * fade + tl.sum(probabilities, axis=1)
        attended = tl.dot(
            probabilities.to(value.dtype), value, attended * fade[:, None], input_precision=PRECISION
        )
        peak = new_peak

    empty = total == 0.0
    total = tl.where(empty, 1.0, total)
    attended = attended / total[:, None]
    written = there[:, None] & (v_columns < V_SIZE)[None, :]
    if SPLIT:
        tl.store(partial + v_columns[None, :], attended, mask=written)
        tl.store(sums, tl.where(empty, float("-inf"), peak + tl.log2(total)), mask=there)
    else:
        out += flat[:, None] * V_SIZE + v_columns[None, :]
        tl.store(out, attended.to(out.dtype.element_ty), mask=written)


@triton.jit(do_not_specialize=("parts",))
def _merge(partial, sums, out, parts, V_SIZE: tl.constexpr, V_COLUMNS: tl.constexpr, PARTS: tl.constexpr):
    """One query's parts, weighted by their share of its sum, into `out [B * Lq * H, Dv]`; 0 where it saw nothing."""
    flat = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, V_COLUMNS)
    peak = float("-inf")
    total = 0.0
    merged = tl.zeros([V_COLUMNS], tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        found = tl.load(sums + flat * parts + part, mask=part < parts, other=float("-inf"))
        seen = (found != float("-inf"))[:, None] & (columns < V_SIZE)[None, :]
        attended = tl.load(
            partial + (flat * parts + part)[:, None] * V_SIZE + columns[None, :], mask=seen, other=0.0
        )
        new_peak = tl.maximum(peak, tl.max(found, axis=0))
        shift = tl.where(new_peak == float("-inf"), 0.0, new_peak)
        weights = tl.exp2(found - shift)
        fade = tl.exp2(peak - shift)
        total = total * fade + tl.sum(weights, axis=0)
        merged = merged * fade + tl.sum(weights[:, None] * attended, axis=0)
        peak = new_peak
    merged = merged / tl.where(total == 0.0, 1.0, total)
    tl.store(out + flat * V_SIZE + columns, merged.to(out.dtype.element_ty), mask=columns < V_SIZE)


class Tile(NamedTuple):
    """Queries and keys of one block of work, and who does it."""

    queries: int
    keys: int
    warps: int
    stages: int


def tile_for(
    queries: int, columns: int, v_columns: int, bytes_each: int, paged: bool, roomy_device: bool
) -> Tile:
    """The tile for `queries` that share their keys, in heads of `columns` (a power of two) of `bytes_each`."""
    exact, width = bytes_each == 4, max(columns, v_columns)
    block_bytes = BLOCK_BYTES if roomy_device and not exact else BLOCK_BYTES // 2
    # The largest power of two that is not above.
    keys = triton.next_power_of_2(block_bytes // ((columns + v_columns) * bytes_each) + 1) // 2
    # Products of float32 hold both operands in registers.
    most = 16 if exact else 64 if width <= 128 else 32
    rows = min(most, max(16, triton.next_power_of_2(queries)))
    warps = 8 if rows > 16 or width * bytes_each > 512 else 4
    # The page of a block is loaded before its keys are, which takes stages of its own.
    return Tile(rows, min(LARGEST_BLOCK, max(16, keys)), warps, 5 if paged else 3)


class Parts(NamedTuple):
    """How many programs share the keys of a row: as many as are wanted, and more where the keys would be too many."""

    wanted: int
    launched: int


def parts_for(programs: int, keys: int, multiprocessors: int) -> Parts:
    """The parts of at most `keys` keys, where `programs` would run without a split.

    A program finds its share from the row's length, on the device: the length over `wanted`, but never fewer than
    FEWEST_KEYS nor more than MOST_KEYS. `launched` is enough for any length up to `keys`.
    """
    wanted = max(1, triton.cdiv(PROGRAMS * multiprocessors, programs))
    return Parts(wanted, max(min(wanted, triton.cdiv(keys, FEWEST_KEYS)), triton.cdiv(keys, MOST_KEYS)))


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    # The interpreter splits as a large device does, so that merging is tried.
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 132


def decode_attention(
    q: Tensor, cache: Cache, prefix: Prefix | None, biases: Biases, options: Options
) -> Tensor:
    """As `ref.decode_attention`, for float16, bfloat16 and float32, with float32 sums throughout."""
    result: Tensor = decode_attention_op(q, *cache, *(prefix or (None, None, None)), *biases, *options)
    return result


@torch.library.custom_op("oxiformers_kernels::decode_attention", mutates_args=())
def decode_attention_op(
    q: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, block_table: Tensor | None, slots: Tensor | None,
    prefix_keys: Tensor | None, prefix_values: Tensor | None, prefix_lengths: Tensor | None,
    alibi_slopes: Tensor | None, distance_bias: Tensor | None,
    scale: float, softcap: float, left: int, right: int,
) -> Tensor:  # fmt: skip
    """The launches: over the prefix, over the cache, and over what both have found."""
    out = torch.empty((*q.shape[:3], values.shape[3]), dtype=q.dtype, device=q.device)
    if out.numel() == 0:
        return out
    cache = Cache(keys, values, lengths.contiguous(), block_table, slots)
    options, prefix, sources = Options(scale, softcap, left, right), None, []
    if prefix_keys is not None and prefix_values is not None and prefix_lengths is not None:
        prefix = Prefix(prefix_keys, prefix_values, prefix_lengths.contiguous())
        if prefix.keys.shape[2]:
            sources.append(_shared(q, prefix))
    if cache.capacity:
        sources.append(_own(q, cache, options))
    if not sources:
        return out.zero_()
    parts, queries = sum(source.parts.launched for source in sources), out.numel() // out.shape[3]
    partial = sums = out
    if parts > 1:
        partial = torch.empty((queries, parts, out.shape[3]), dtype=torch.float32, device=q.device)
        sums = torch.empty((queries, parts), dtype=torch.float32, device=q.device)
    biases = Biases(*(None if bias is None else bias.contiguous() for bias in (alibi_slopes, distance_bias)))
    call, part = _Call(q, cache, prefix, biases, options, out, partial, sums, parts), 0
    with on(q.device):
        for source in sources:
            _launch(source, call, part)
            part += source.parts.launched
        if parts > 1:
            _merge[(queries,)](
                partial, sums, out, parts,
                V_SIZE=out.shape[3], V_COLUMNS=_columns(values), PARTS=MERGED_PARTS, num_warps=4,
            )  # fmt: skip
    return out


@decode_attention_op.register_fake
def _(q: Tensor, keys: Tensor, values: Tensor, *rest: Any) -> Tensor:
    return q.new_empty((*q.shape[:3], values.shape[3]))


class _Call(NamedTuple):
    """What all launches of a call share; `partial` and `sums` are `out` itself where there is one part."""

    q: Tensor
    cache: Cache
    prefix: Prefix | None
    biases: Biases
    options: Options
    out: Tensor
    partial: Tensor
    sums: Tensor
    parts: int


class _Source(NamedTuple):
    """What one launch reads: `[units, Hkv, keys, D]` and `[.., Dv]`, for `members` rows of the batch a unit."""

    keys: Tensor
    values: Tensor
    units: int
    members: int
    shared: bool
    places: Tensor | None
    places_kind: int
    tile: Tile
    tiles: int
    parts: Parts


def _columns(side: Tensor) -> int:
    return max(16, int(triton.next_power_of_2(side.shape[3])))


def _split(
    q: Tensor, keys: Tensor, values: Tensor, units: int, most: int, paged: bool
) -> tuple[Tile, int, Parts]:
    """The tile, how many of it the queries of a unit fill, and the parts of up to `most` keys."""
    kv_heads = keys.shape[1]
    queries = q.shape[0] // units * q.shape[1] * (q.shape[2] // kv_heads)
    tile = tile_for(queries, _columns(keys), _columns(values), q.element_size(), paged, roomy(q.device))
    tiles = triton.cdiv(queries, tile.queries)
    return tile, tiles, parts_for(units * kv_heads * tiles, most, _multiprocessors(q.device))


def _shared(q: Tensor, prefix: Prefix) -> _Source:
    keys, values, units = prefix.keys, prefix.values, prefix.keys.shape[0]
    work = _split(q, keys, values, units, keys.shape[2], False)
    return _Source(keys, values, units, q.shape[0] // units, True, None, NO_INDEX, *work)


def _own(q: Tensor, cache: Cache, options: Options) -> _Source:
    keys, values, units, most = cache.keys, cache.values, q.shape[0], cache.capacity
    index, kind = cache.slots, NO_INDEX if cache.slots is None else SLOTS
    if options.left >= 0 and options.right >= 0:
        # What a window sees, and the start of its first block.
        most = min(most, options.left + options.right + q.shape[1] + LARGEST_BLOCK)
    if cache.block_table is not None:
        keys, values, index = keys.transpose(1, 2), values.transpose(1, 2), cache.block_table
    tile, tiles, parts = _split(q, keys, values, units, most, cache.block_table is not None)
    if cache.block_table is not None:
        kind = WHOLE_BLOCKS_OF_PAGES if keys.shape[2] % tile.keys == 0 else PAGES
    return _Source(keys, values, units, 1, False, index, kind, tile, tiles, parts)


def _launch(source: _Source, call: _Call, part: int) -> None:
    q, cache, prefix, biases, options, out, partial, sums, parts = call
    keys, values, tile, index = source.keys, source.values, source.tile, source.places
    sentences, shared = (q.shape[0], 0) if prefix is None else (prefix.keys.shape[0], prefix.keys.shape[2])
    reach = 0 if biases.distance_bias is None else biases.distance_bias.shape[1] // 2
    index_strides = (0, 0) if index is None else (*index.stride(), 0)[:2]
    precision, upcast = dot_settings(q.dtype)
    _attend[(source.units * keys.shape[1] * source.tiles * source.parts.launched,)](
        q, keys, values, cache.lengths, None if prefix is None else prefix.lengths, index, *biases,
        out, partial, sums, options.scale, options.softcap, reach, options.left, options.right,
        q.shape[2], keys.shape[1], q.shape[1], source.members, q.shape[0] // sentences, cache.capacity, shared,
        source.tiles, source.parts.launched, source.parts.wanted, part, parts, keys.shape[2],
        *q.stride(), *keys.stride(), *values.stride(), *index_strides,
        SIZE=keys.shape[3], V_SIZE=values.shape[3], COLUMNS=_columns(keys), V_COLUMNS=_columns(values),
        QUERIES=tile.queries, KEYS=tile.keys, FEWEST=FEWEST_KEYS, MOST=MOST_KEYS,
        INDEX=source.places_kind, SHARED=source.shared, PREFIX=prefix is not None, SPLIT=parts > 1,
        LEFT=options.left >= 0, RIGHT=options.right >= 0, SOFTCAP=options.softcap > 0,
        ALIBI=biases.alibi_slopes is not None, DISTANCE=biases.distance_bias is not None,
        PRECISION=precision, UPCAST=upcast, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
