"""The door of a decoder: as an encoder's, with a cache of what came before."""

from __future__ import annotations

from typing import Any, ClassVar, TypedDict, cast

import torch
from torch import Tensor

from oxiformers.config import Config
from oxiformers.errors import InputTypeError
from oxiformers.layers.cache import Cache
from oxiformers.layers.cached_attention import CacheStep, lay_out
from oxiformers.layers.door import Door, ForwardOptions, check_fits, choose
from oxiformers.layers.embedding import check_length
from oxiformers.layers.layout import Layout


class DecoderOptions(TypedDict, total=False):
    """What every decoder's forward takes besides its tensors of tokens.

    Attributes:
        use_cache: keep keys and values for the next call. By default what the config says, but not in a
            training step, which has no next call.
        output_attentions, output_hidden_states, return_dict: override the config's values.
        layout: the batch comes packed, tensors are ``[T, ...]``, and so does what goes out.
        cache_position: accepted for compatibility; the cache knows its positions.
    """

    use_cache: bool | None
    output_attentions: bool | None
    output_hidden_states: bool | None
    return_dict: bool | None
    layout: Layout | None
    cache_position: Tensor | None


class DecoderDoor(Door):
    """One call's way in and out.

    Class attributes:
        options: token_type_ids, which some tokenizers make, are of no use here; transformers' decoders take them.

    Attributes:
        cache: what the call continues and adds to; None without a cache.
        And those of Door.
    """

    options: ClassVar[frozenset[str]] = frozenset(DecoderOptions.__annotations__) | {"token_type_ids"}

    __slots__ = ("_by_distance", "_rectangular", "cache")

    def __init__(
        self,
        config: Config,
        options: DecoderOptions,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        cache: Any = None,
        *,
        may_cache: bool = True,
        by_distance: bool = False,
        rectangular: bool = False,
    ) -> None:
        """Finds the layout.

        Args:
            config: of the model.
            options: of the call.
            input_ids: ``[B, S]``, or ``[T]`` with a packed layout.
            attention_mask: see lay_out.
            inputs_embeds: ``[B, S, D]`` or ``[T, D]``, in place of input_ids.
            cache: past_key_values of the call before.
            may_cache: False where a new cache would be of no use.
            by_distance, rectangular: see lay_out.

        Raises:
            ArgumentError: neither or both of input_ids and inputs_embeds, or sizes that disagree.
            InputTypeError: the cache is none of oxiformers', or an argument is not known.
        """
        if cache is not None and not isinstance(cache, Cache):
            raise InputTypeError(
                f"past_key_values: expected an oxiformers.DynamicCache, got {type(cache).__name__}",
                key="past_key_values", expected="an oxiformers.DynamicCache", actual=type(cache).__name__,
            )  # fmt: skip
        if cache is None and may_cache and choose(options.get("use_cache"), config.use_cache):
            cache = Cache()
        self.cache: Cache | None = cache
        self._by_distance = by_distance
        self._rectangular = rectangular
        # What a decoder's options lack of an encoder's is refused by name.
        super().__init__(config, cast(ForwardOptions, options), input_ids, attention_mask, inputs_embeds)

    def find_layout(self, tokens: Tensor, rectangular: bool) -> Layout:
        """The layout of a batch that comes without one."""
        return lay_out(
            tokens, self._attention_mask, self.cache,
            rectangular=rectangular or self._rectangular, by_distance=self._by_distance,
        )  # fmt: skip

    def check_layout(self, layout: Layout, tokens: Tensor) -> None:
        """Raises ArgumentError where the layout that was given is not that of the tokens.

        A mask may come with it: the history of a cache has padding of its own.
        """
        check_fits(layout, tokens)

    def step(self, device: torch.device) -> CacheStep | None:
        """The call's part in the cache; None without a cache."""
        return (
            None if self.cache is None else CacheStep(self.cache, self.layout, device, self._attention_mask)
        )

    def positions(self, step: CacheStep | None, device: torch.device, limit: int | None = None) -> Tensor:
        """The column of every token: ``[T]`` packed, else ``[1, S]``; after those of the cache.

        Raises ArgumentError where there are more columns than ``limit``.
        """
        if limit is not None:
            check_length(self.layout, limit, None if step is None else step.longest)
        return self.layout.positions(device) if step is None else step.positions

    @property
    def came_in_packed(self) -> bool:
        """Whether the caller's tensors are ``[T, ...]``: then outputs are, too."""
        return self._came_in_laid_out and self.layout.packed
