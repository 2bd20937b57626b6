"""The keys and values that decoding keeps: a slot for each row, so rows may differ and nothing is padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from oxiformers.errors import ArgumentError

# Capacities are multiples of this, and grow by half.
_STEP = 64


class CacheLayer:
    """One layer's keys and values: ``[slots, Hkv, capacity, D]`` each, once something was written.

    Places of a slot beyond its length hold zeros, or what a call left that failed.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.key_slots: Tensor | None = None
        self.value_slots: Tensor | None = None

    @property
    def keys(self) -> Tensor | None:
        """transformers' view, built when asked: ``[B, Hkv, columns, D]``, 0 where nothing was computed."""
        return None if self.key_slots is None else self._cache.rectangular(self.key_slots)

    @property
    def values(self) -> Tensor | None:
        """As keys."""
        return None if self.value_slots is None else self._cache.rectangular(self.value_slots)

    @property
    def is_initialized(self) -> bool:
        """Whether anything was written."""
        return self.key_slots is not None

    def get_seq_length(self) -> int:
        """How many columns the batch has, padding included."""
        return self._cache.get_seq_length() if self.is_initialized else 0

    def write(
        self, slot: Tensor, place: Tensor, key: Tensor, value: Tensor, slots: int, capacity: int
    ) -> None:
        """Puts the tokens' keys and values (``[T, Hkv, D]``) at their slots and places (``[T]``).

        What is kept has no gradient history.
        """
        self.key_slots = _grown(self.key_slots, key, slots, capacity)
        self.value_slots = _grown(self.value_slots, value, slots, capacity)
        with torch.no_grad():
            self.key_slots[slot, :, place] = key.detach()
            self.value_slots[slot, :, place] = value.detach()


class Cache:
    """The keys and values of a batch, for every layer of a decoder.

    Every row of the batch owns a slot. A row may leave and others may join between two calls: a list
    changes, no tensor does. Rows may have lengths of their own.

    Args:
        config: taken for compatibility; sizes are those of what is written.
    """

    def __init__(self, config: Any = None) -> None:
        del config
        self.layers: list[CacheLayer] = []
        self.capacity = 0
        #: Host, int64 ``[B]``: the slot of every row.
        self.rows = torch.empty(0, dtype=torch.int64)
        #: Host, int64 ``[slots]``: how many tokens are kept, and how many columns there were, with padding.
        self.lengths = torch.empty(0, dtype=torch.int64)
        self.widths = torch.empty(0, dtype=torch.int64)
        #: Device, int64 ``[slots, capacity]``: the column of each kept token.
        self.columns: Tensor | None = None

    # transformers' interface

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many columns the batch has, with padding: the position of the next one in a padded batch."""
        del layer_idx
        return int(self.widths[self.rows].max()) if self.rows.numel() else 0

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """-1: the cache grows as needed."""
        del layer_idx
        return -1

    @property
    def is_initialized(self) -> bool:
        """Whether anything was written."""
        return any(layer.is_initialized for layer in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> tuple[Tensor | None, Tensor | None]:
        return self.layers[index].keys, self.layers[index].values

    def __iter__(self) -> Iterator[tuple[Tensor | None, Tensor | None]]:
        for index in range(len(self.layers)):
            yield self[index]

    def __repr__(self) -> str:
        sizes = f"rows={len(self.rows)}, layers={len(self)}, columns={self.get_seq_length()}"
        return f"{type(self).__name__}({sizes})"

    # Rows

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """Keeps these rows, in this order; the slots of the others become free.

        Args:
            rows: indices of rows, each at most once.
        """
        chosen = torch.as_tensor(rows, dtype=torch.int64, device="cpu")
        if len(chosen.unique()) != len(chosen):
            raise ArgumentError(
                f"rows: expected every row at most once, got {chosen.tolist()}",
                key="rows", expected="no row twice", actual=str(chosen.tolist()),
            )  # fmt: skip
        self.rows = self.rows[chosen]

    def join(self, count: int) -> None:
        """Adds empty rows after the present ones, in free slots where there are some."""
        taken = set(self.rows.tolist())
        free = [slot for slot in range(len(self.lengths)) if slot not in taken][:count]
        for layer in self.layers:
            for tensor in (layer.key_slots, layer.value_slots):
                if tensor is not None and free:
                    # A mask hides what the last row left, but not what is not finite.
                    tensor[free] = 0
        fresh = range(len(self.lengths), len(self.lengths) + count - len(free))
        zeros = torch.zeros(len(fresh), dtype=torch.int64)
        self.lengths, self.widths = torch.cat((self.lengths, zeros)), torch.cat((self.widths, zeros))
        empty = torch.tensor(free, dtype=torch.int64)
        self.lengths, self.widths = self.lengths.index_fill(0, empty, 0), self.widths.index_fill(0, empty, 0)
        self.rows = torch.cat((self.rows, torch.tensor([*free, *fresh], dtype=torch.int64)))

    def layer(self, index: int) -> CacheLayer:
        """The layer of that index, made when it is first asked for."""
        while len(self.layers) <= index:
            self.layers.append(CacheLayer(self))
        return self.layers[index]

    def reserve(self, length: int) -> None:
        """Makes room for slots of that length, in every layer's next write."""
        if length > self.capacity:
            self.capacity = -(-max(length, self.capacity * 3 // 2) // _STEP) * _STEP

    def commit(
        self, slot: Tensor, place: Tensor, column: Tensor, rows: Tensor, added: Tensor, widths: Tensor
    ) -> None:
        """Counts what a call has written: only now do its tokens belong to the rows.

        Args:
            slot, place, column: int64 ``[T]`` on the device, of every token.
            rows: int64 ``[n]`` on the host, the slots that were written.
            added: int64 ``[n]`` on the host, how many tokens to each.
            widths: int64 ``[n]`` on the host, how many columns each has now.
        """
        self.columns = _grown(self.columns, column, len(self.lengths), self.capacity)
        self.columns[slot, place] = column
        # Copies: a call in inference mode may be followed by one outside of it.
        self.lengths = self.lengths.index_add(0, rows, added)
        self.widths = self.widths.index_copy(0, rows, widths)

    # Views

    def kept(self, width: int, device: torch.device) -> Tensor:
        """Which of the first ``width`` columns hold tokens: bool ``[B, width]``."""
        return self._places(width, device)[1]

    def rectangular(self, slots: Tensor, width: int | None = None) -> Tensor:
        """``[slots, Hkv, capacity, D]`` as ``[B, Hkv, width, D]``: every token at its column, else 0."""
        place, kept = self._places(self.get_seq_length() if width is None else width, slots.device)
        rows = self.rows.to(slots.device)
        tokens = slots[rows[:, None], :, place].masked_fill(~kept[:, :, None, None], 0)
        return tokens.transpose(1, 2)

    def has_gaps(self) -> bool:
        """Whether in some row padding lies between two tokens, or after the last one."""
        if self.columns is None:
            return False
        rows = self.rows[self.lengths[self.rows] > 0]
        expected = (self.widths[rows] - self.lengths[rows]).to(self.columns.device)
        return bool((self.columns[rows.to(self.columns.device), 0] != expected).any())

    def _places(self, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The place in its slot of every column's token (0 where there is none), and whether there is one."""
        count = len(self.rows)
        place = torch.zeros(count, width + 1, dtype=torch.int64, device=device)
        kept = torch.zeros(count, width + 1, dtype=torch.bool, device=device)
        if self.columns is not None and count:
            longest = int(self.lengths[self.rows].max())
            order = torch.arange(longest, device=device)
            valid = order < self.lengths[self.rows].to(device).unsqueeze(1)
            # Places beyond a row's length go to a column of their own, which is dropped.
            column = self.columns[self.rows.to(device), :longest].masked_fill(~valid, width).clamp(max=width)
            place.scatter_(1, column, order.expand(count, -1))
            kept.scatter_(1, column, valid)
        return place[:, :width], kept[:, :width]


class EncoderDecoderCache:
    """The two caches of an encoder-decoder: what the decoder said, and what its layers read of the encoder.

    Args:
        self_attention_cache, cross_attention_cache: new ones by default.
    """

    def __init__(
        self, self_attention_cache: Cache | None = None, cross_attention_cache: Cache | None = None
    ) -> None:
        self.self_attention_cache = Cache() if self_attention_cache is None else self_attention_cache
        self.cross_attention_cache = Cache() if cross_attention_cache is None else cross_attention_cache

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many columns the decoder's batch has, padding included."""
        return self.self_attention_cache.get_seq_length(layer_idx)

    @property
    def is_initialized(self) -> bool:
        """Whether anything was written."""
        return self.self_attention_cache.is_initialized

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """Keeps these rows, in this order, on both sides."""
        self.self_attention_cache.select(rows)
        self.cross_attention_cache.select(rows)

    def __len__(self) -> int:
        return len(self.self_attention_cache)

    def __repr__(self) -> str:
        return f"EncoderDecoderCache({self.self_attention_cache}, {self.cross_attention_cache})"


DynamicCache = Cache


def _grown(slots: Tensor | None, like: Tensor, count: int, capacity: int) -> Tensor:
    """``[slots, (Hkv,) capacity(, D)]`` with room for so many slots and places; new places are 0."""
    if (
        slots is not None
        and slots.shape[0] >= count
        and slots.shape[-2 if slots.dim() == 4 else -1] >= capacity
    ):
        return slots
    if slots is not None and slots.shape[0] < count:
        count = max(count, slots.shape[0] * 3 // 2)
    shape = (count, capacity) if like.dim() == 1 else (count, like.shape[-2], capacity, like.shape[-1])
    # Usable in and out of inference mode, whichever the first call was made in.
    with torch.inference_mode(False), torch.no_grad():
        grown = torch.zeros(shape, dtype=like.dtype, device=like.device)
        if slots is not None:
            grown[tuple(map(slice, slots.shape))] = slots
    return grown
