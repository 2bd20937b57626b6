"""Which cache a decoder's call continues or fills."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.layers.cache import Cache, EncoderDecoderCache
from oxiformers.layers.context import ForwardContext, choose
from oxiformers.logging import get_logger

logger = get_logger(__name__)


def choose_cache(
    model: Any, past: Any, context: ForwardContext, *, reads_encoder: bool
) -> Cache | EncoderDecoderCache | None:
    """The cache of the calls before, or a new one where the call wants one and the model is a decoder.

    Args:
        model: with `is_decoder`, a config, and `gradient_checkpointing`.
        past: past_key_values of the call.
        context: of the call.
        reads_encoder: the keys of an encoder's tokens are kept, too.

    Raises:
        ArgumentError: a cache for a model that is no decoder.
        InputTypeError: the cache is none of oxiformers'.
    """
    if not model.is_decoder:
        if past is not None:
            raise ArgumentError.mismatch(
                "past_key_values", "None, as config.is_decoder is False", type(past).__name__
            )
        return None
    both = reads_encoder or model.config.is_encoder_decoder
    if past is not None and not isinstance(past, (Cache, EncoderDecoderCache)):
        expected = "an oxiformers.EncoderDecoderCache" if both else "an oxiformers.DynamicCache"
        raise InputTypeError.mismatch("past_key_values", expected, type(past).__name__)
    if past is None:
        wanted = choose(context.use_cache, model.config.use_cache) and may_cache(model, context.use_cache)
        past = Cache() if wanted else None
    return EncoderDecoderCache(past) if both and isinstance(past, Cache) else past


def self_attention_cache(cache: Cache | EncoderDecoderCache | None) -> Cache | None:
    """The part of a cache that holds the decoder's own tokens."""
    return cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache


def may_cache(model: Any, asked: bool | None) -> bool:
    """Whether a call may fill a new cache: not where layers are computed twice, nor unasked in training."""
    if not model.training or not torch.is_grad_enabled():
        return True
    if model.gradient_checkpointing:
        if asked:
            _warn_of_checkpointing()
        return False
    return bool(asked)


@cache
def _warn_of_checkpointing() -> None:
    logger.warning("use_cache=True is ignored: gradient checkpointing computes every layer twice")
