"""What a decoder's layers read of an encoder: its tokens, or the keys that a cache kept of them."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers.layers.attention import attend
from oxiformers.layers.cache import Cache
from oxiformers.layers.cached_attention import CacheStep
from oxiformers.layers.layout import Layout, Segments
from oxiformers.layers.scoring import Scoring


class CrossStep:
    """One call's cross-attention. Keys are computed in the first call, and read from the cache in later ones.

    Args:
        queries: the layout of the decoder's tokens.
        states: the encoder's output, ``[B, S, D]``, or ``[T, D]`` with a layout.
        attention_mask: of the encoder's tokens, as Layout.of takes it.
        layout: of the encoder's tokens, where they come packed.
        cache: for the keys and values; None without a cache.
    """

    def __init__(
        self,
        queries: Layout,
        states: Tensor,
        attention_mask: Tensor | None,
        layout: Layout | None = None,
        cache: Cache | None = None,
    ) -> None:
        #: The encoder's tokens as the keys lie; None where the cache has the keys.
        self.states: Tensor | None = None
        self._step: CacheStep | None = None
        if cache is not None and cache.is_initialized:
            if queries.form == "rectangular":
                queries = queries.attending_to(Layout.of(states, attention_mask, rectangular=True))
            self._step = CacheStep(cache, queries, states.device, attention_mask, reading=True)
            return
        keys = _in_order_of(queries, states, attention_mask) if layout is None else layout
        self.states = states if layout is not None else keys.pack(states)
        self._layout = queries.attending_to(keys)
        if cache is not None:
            self._step = CacheStep(cache, keys, states.device)

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        scoring: Scoring,
    ) -> tuple[Tensor, Tensor | None]:
        """As attention.attend; key and value are None where ``states`` is."""
        if key is None or value is None:
            assert self._step is not None
            return self._step.attend(layer, query, None, None, scoring)
        if self._step is not None:
            self._step.write(layer, key, value)
        return attend(query, key, value, self._layout, scoring)

    def commit(self) -> None:
        """Counts the keys as kept, once every layer has written them."""
        if self._step is not None:
            self._step.commit()


def _in_order_of(queries: Layout, states: Tensor, attention_mask: Tensor | None) -> Layout:
    """The layout of the encoder's padded output, packed in the order of the queries' rows."""
    if queries.form == "rectangular" or torch.compiler.is_compiling():
        return Layout.of(states, attention_mask, rectangular=queries.form == "rectangular")
    if queries.order is None:
        return Layout.of(states, attention_mask, order=torch.arange(states.shape[0]))
    shape = (states.shape[0], states.shape[1])
    keep = (
        torch.ones(shape, dtype=torch.bool, device=states.device)
        if attention_mask is None
        else attention_mask != 0
    )
    return Layout("packed", shape=shape, query=Segments.from_mask(keep, queries.order))
