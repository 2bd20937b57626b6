"""The door of a decoder: as an encoder's, with a cache of what came before."""

from __future__ import annotations

from typing import Any, TypedDict

import torch
from torch import Tensor

from oxiformers.config import Config
from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.layers.cache import Cache
from oxiformers.layers.cached_attention import CacheStep, lay_out
from oxiformers.layers.door import Door
from oxiformers.layers.embedding import check_length
from oxiformers.layers.inputs import check_options, tokens_of
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


# token_type_ids: some tokenizers make them, and transformers' decoders, too, have no use for them.
_OPTIONS = frozenset(DecoderOptions.__annotations__) | {"token_type_ids"}


class DecoderDoor(Door):
    """One call's way in and out.

    Attributes:
        cache: what the call continues and adds to; None without a cache.
        And those of Door.
    """

    __slots__ = ("_attention_mask", "cache")

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
        check_options(options, _OPTIONS)
        layout = options.get("layout")
        tokens = tokens_of(input_ids, inputs_embeds, attention_mask, packed=layout is not None)
        if cache is not None and not isinstance(cache, Cache):
            raise InputTypeError(
                f"past_key_values: expected an oxiformers.DynamicCache, got {type(cache).__name__}",
                key="past_key_values", expected="an oxiformers.DynamicCache", actual=type(cache).__name__,
            )  # fmt: skip
        if cache is None and may_cache and _chosen(options.get("use_cache"), config.use_cache):
            cache = Cache()
        self.cache: Cache | None = cache
        self.head_mask = None
        self.output_attentions = _chosen(options.get("output_attentions"), config.output_attentions)
        self.output_hidden_states = _chosen(options.get("output_hidden_states"), config.output_hidden_states)
        self.return_dict = _chosen(options.get("return_dict"), config.use_return_dict)
        self._attention_mask = attention_mask
        self._came_in_laid_out = layout is not None
        if layout is None:
            rectangular = rectangular or self.output_attentions or config.attn_implementation == "eager"
            layout = lay_out(tokens, attention_mask, cache, rectangular=rectangular, by_distance=by_distance)
        else:
            expected = layout.shape if layout.query is None else tuple(layout.query.positions.shape)
            if expected is not None and tuple(tokens.shape[: len(expected)]) != tuple(expected):
                raise ArgumentError(
                    f"input_ids: the layout has tokens of shape {tuple(expected)}, got {tuple(tokens.shape)}",
                    key="input_ids", expected=str(tuple(expected)), actual=str(tuple(tokens.shape)),
                )  # fmt: skip
        if self.output_attentions and layout.form != "rectangular":
            raise ArgumentError(
                f"output_attentions: a {layout.form} batch has no matrix of attention weights; pass a padded "
                "batch and its attention_mask instead of layout",
                key="output_attentions", expected="False with layout=", actual="True",
            )  # fmt: skip
        self.layout = layout

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


def _chosen(asked: bool | None, default: bool) -> bool:
    return default if asked is None else asked
