"""Attention of one call's tokens to those that a cache keeps and to one another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.layers import fused
from oxiformers.layers.attention import attend, attend_rectangular
from oxiformers.layers.cache import Cache
from oxiformers.layers.layout import Layout
from oxiformers.layers.scoring import PLAIN, Scoring
from oxiformers.layers.slot_attention import SlotAttention

# The kernel for new tokens reads the keys once for all of them; more than so many are a prompt's.
_MOST_DECODED = 16


def lay_out(
    tokens: Tensor,
    attention_mask: Tensor | None,
    cache: Cache | None = None,
    *,
    rectangular: bool = False,
    by_distance: bool = False,
) -> Layout:
    """The layout of a padded or unpadded batch that may continue what a cache keeps.

    Args:
        tokens: ``[B, S]`` ids or ``[B, S, D]`` embeddings.
        attention_mask: as Layout.of takes it; two-dimensional ones have the columns of the cache before those
            of the tokens, ``[B, past + S]``.
        cache: what the tokens continue.
        rectangular: keep the batch rectangular, whatever the mask.
        by_distance: attention depends on the distance in columns, so padding between tokens has to stay.
    """
    width = 0 if cache is None else cache.get_seq_length()
    current = attention_mask
    if attention_mask is not None and attention_mask.dim() == 2 and width:
        expected = (tokens.shape[0], width + tokens.shape[1])
        if tuple(attention_mask.shape) != expected:
            raise ArgumentError.mismatch(
                "attention_mask", f"shape {expected}", tuple(attention_mask.shape),
                f"the cache's {width} columns come before the input's",
            )  # fmt: skip
        current = attention_mask[:, width:]
    if by_distance and not rectangular and not torch.compiler.is_compiling():
        rectangular = cache is not None and cache.has_gaps()
        if current is not None and current.dim() == 2:
            rectangular = rectangular or _has_gaps(current != 0, after_others=width > 0)
    return Layout.of(tokens, current, rectangular=rectangular)


def _has_gaps(keep: Tensor, after_others: bool) -> bool:
    """Whether padding lies between tokens of a row, or before the first where others came before it."""
    begins = keep[:, 1:] & ~keep[:, :-1]
    blocks = begins.sum(1) + (torch.ones_like(keep[:, 0]) if after_others else keep[:, 0]).long()
    return bool((blocks > 1).any())


class CacheStep:
    """One call of a model over a cache: where its tokens go, and what they see.

    Made before the first layer, committed after the last one: a call that fails leaves the cache as it was.

    Args:
        cache: gets a row for every sequence if it has none.
        layout: of the call's tokens (of its queries, where ``reading``).
        device: where the tokens lie.
        attention_mask: as lay_out takes it; None where nothing more than the padding is hidden.
        reading: the tokens attend to what is kept and are not kept themselves, as in cross-attention.
    """

    def __init__(
        self,
        cache: Cache,
        layout: Layout,
        device: torch.device,
        attention_mask: Tensor | None = None,
        *,
        reading: bool = False,
    ) -> None:
        self.cache, self.layout, self.device, self.reading = cache, layout, device, reading
        self.queries = _lengths(layout)
        if not len(cache.rows):
            cache.join(len(self.queries))
        elif len(cache.rows) != len(self.queries):
            raise ArgumentError.mismatch(
                "past_key_values", f"{len(self.queries)} rows, as the input has", f"{len(cache.rows)} rows"
            )
        self.slots = cache.rows if layout.order is None else cache.rows[layout.order]
        self.past = cache.lengths[self.slots]
        self.width = cache.get_seq_length()
        self.fresh = not reading and not int(
            (self.past if layout.shape is None else cache.widths[cache.rows]).sum()
        )
        self._hidden: Tensor | None = None
        self._mask = layout.mask
        if not self.fresh:
            self._hide(attention_mask)
        if not reading:
            self._assign()
        # With a gradient to record, the new tokens' own keys are attended to, not the copies that were written.
        self._recorded = torch.is_grad_enabled() and not reading
        self._totals = self.past if reading else self.past + self.queries
        self._slot_attention = SlotAttention(
            self.queries, self._totals, self.slots, device, self._hidden, joined=self._recorded
        )
        self._on_device: tuple[Tensor, Tensor] | None = None
        self._few_and_alike: bool | None = None

    # Writing

    @property
    def positions(self) -> Tensor:
        """The column of every token: ``[T]`` packed, else ``[1, S]``; after those that are kept."""
        if self.layout.packed:
            return self._column
        return torch.arange(self.width, self.width + self._current_width(), device=self.device).unsqueeze(0)

    @property
    def longest(self) -> int:
        """The columns of the longest sequence: those that are kept, and the call's."""
        return int(self._widths.max()) if len(self._widths) else 0

    def write(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Puts the tokens' keys and values (``[..., Hkv, D]``) into a layer of the cache."""
        flat = (key, value) if self.layout.packed else (key.flatten(0, 1), value.flatten(0, 1))
        self.cache.layer(layer).write(
            self._slot, self._index, *flat, len(self.cache.lengths), self.cache.capacity
        )

    def commit(self) -> None:
        """Counts the tokens as kept, once every layer has written them."""
        if not self.reading:
            self.cache.commit(self._slot, self._index, self._column, self.slots, self.queries, self._widths)

    def _assign(self) -> None:
        """Gives every token its slot, its index in the slot, and its column."""
        cache, layout, added = self.cache, self.layout, self.queries
        cache.reserve(max((self.past + added).tolist(), default=0))
        total = int(added.sum())
        starts = torch.cumsum(added, 0) - added
        within = torch.arange(total) - torch.repeat_interleave(starts, added, output_size=total)
        index = within + torch.repeat_interleave(self.past, added, output_size=total)
        self._slot = torch.repeat_interleave(self.slots, added, output_size=total).to(self.device)
        self._index = index.to(self.device)
        if layout.shape is None:
            begin = cache.widths[self.slots]
            self._widths = begin + added
            self._column = (within + torch.repeat_interleave(begin, added, output_size=total)).to(self.device)
        else:
            self._widths = torch.full_like(self.past, self.width + layout.shape[1])
            if layout.query is not None:
                self._column = layout.query.positions + self.width
            else:
                self._column = within.to(self.device) + self.width

    def _hide(self, attention_mask: Tensor | None) -> None:
        """What the caller's mask hides of what is kept; refuses one that shows what was padding."""
        rectangular = self.layout.form == "rectangular"
        explicit = attention_mask is not None and attention_mask.dim() > 2
        if attention_mask is None and not rectangular:
            return
        kept = self.cache.kept(self.width, self.device)
        if attention_mask is not None and not explicit:
            shown = attention_mask[:, : self.width] != 0
            if torch.equal(shown, kept) and not rectangular:
                return
            if bool((shown & ~kept).any()):
                raise ArgumentError.mismatch(
                    "attention_mask", "0 where it was 0 when the cache was filled", "1",
                    'keys of padding were never computed (attn_implementation="eager" computes them)',
                )  # fmt: skip
            kept = shown
        if not rectangular:
            assert self.cache.columns is not None
            rows = self.slots.to(self.device)
            longest = int(self.past.max())
            in_order = kept if self.layout.order is None else kept[self.layout.order.to(self.device)]
            columns = self.cache.columns[rows, :longest].clamp(max=self.width - 1)
            # What comes after a row's last token is for new ones.
            present = torch.arange(longest, device=self.device) < self.past.to(self.device).unsqueeze(1)
            self._hidden = present & ~in_order.gather(1, columns)
            return
        mask, current = self.layout.mask, 0 if self.reading else self._current_width()
        if mask is None:
            mask = kept.new_ones(len(kept), 1, 1, self.width if self.reading else current)
        if not explicit and not self.reading:
            mask = torch.cat((kept[:, None, None], mask), dim=-1)
        elif not bool(kept.all()):
            hidden = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
            mask = mask.masked_fill(F.pad(~kept, (0, current))[:, None, None], hidden)
        self._mask = mask

    def _current_width(self) -> int:
        assert self.layout.shape is not None
        return self.layout.shape[1]

    # Attending

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        scoring: Scoring = PLAIN,
    ) -> tuple[Tensor, Tensor | None]:
        """Writes the tokens' keys and values, and attends to them and to those kept before.

        Args:
            layer: the index of the layer.
            query, key, value: as attention.attend takes them; key and value None where reading.
            scoring: how scores become probabilities. Its bias is ``[B or 1, H or 1, Lq, Lk]`` over a row's kept tokens
                and its new ones after them; of a rectangular batch over the columns of both.

        The result is attention.attend's. What was kept before has no gradient.

        Raises:
            UnsupportedError: the scoring has products with positions, or "triton" cannot run; the message says why.
        """
        if scoring.position_index is not None:
            raise UnsupportedError.mismatch(
                "past_key_values", "None with disentangled attention", "a cache",
                "keys that are kept have no products with positions",
            )  # fmt: skip
        layout, store = self.layout, self.cache.layer(layer)
        if key is not None and value is not None:
            self.write(layer, key, value)
            if self.fresh:
                return attend(query, key, value, layout, scoring)
        assert store.key_slots is not None and store.value_slots is not None
        slots = (store.key_slots, store.value_slots)
        new = None if key is None or value is None else (key, value)
        if layout.backend != "torch":
            obstacle = self._decoding_obstacle((query, *(new or ())), scoring)
            if fused.decoding_runs(query, slots[1], layout, obstacle):
                lengths, rows = self._rows_on_device()
                return fused.decode(query, *slots, lengths, rows, scoring), None
        if layout.form == "rectangular":
            sides = [self.cache.rectangular(side, self.width).transpose(1, 2) for side in slots]
            if new is not None:
                sides = [torch.cat(pair, dim=1) for pair in zip(sides, new, strict=True)]
            scoring = scoring.showing_all() if layout.explicit else scoring
            return attend_rectangular(query, sides[0], sides[1], self._mask, scoring)
        if new is not None and not layout.packed:
            new = (new[0].flatten(0, 1), new[1].flatten(0, 1))
        flat = query if layout.packed else query.flatten(0, 1)
        output = self._slot_attention.attend(flat, slots, new if self._recorded else None, scoring)
        return output.view(*query.shape[:-1], slots[1].shape[-1]), None

    def _decoding_obstacle(self, tensors: tuple[Tensor, ...], scoring: Scoring) -> str | None:
        """What the kernel for a few new tokens a row cannot take of this call and its tensors; or None."""
        if self.layout.form == "rectangular":
            return "an explicit mask or attention weights keep the batch rectangular"
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return "the kernel has no backward"
        if self._hidden is not None:
            return "the attention mask hides some of the tokens that are kept"
        undecoded = fused.undecoded(scoring)
        if undecoded is not None:
            return undecoded
        if self._few_and_alike is None:
            counts = set(self.queries.tolist())
            self._few_and_alike = len(counts) == 1 and 0 < counts.pop() <= _MOST_DECODED
        if not self._few_and_alike:
            return f"the kernel takes as many new tokens in each row, from 1 to {_MOST_DECODED}"
        return None

    def _rows_on_device(self) -> tuple[Tensor, Tensor]:
        """How many keys each row has and its slot, int64 ``[B]`` each; copied once for all layers."""
        if self._on_device is None:
            self._on_device = self._totals.to(self.device), self.slots.to(self.device)
        return self._on_device


def attend_after(
    step: CacheStep | None,
    layer: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    scoring: Scoring,
) -> tuple[Tensor, Tensor | None]:
    """Self-attention of a decoder's layer, over a cache where the call has a step in one: see attend."""
    if step is None:
        return attend(query, key, value, layout, scoring)
    return step.attend(layer, query, key, value, scoring)


def _lengths(layout: Layout) -> Tensor:
    """How many tokens each sequence has, int64 on the host."""
    if layout.query is not None:
        return layout.query.lengths
    assert layout.shape is not None
    return torch.full((layout.shape[0],), layout.shape[1], dtype=torch.int64)
