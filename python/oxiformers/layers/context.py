"""What one call of a model knows: its options, the layout of its batch, its step in a cache, the encoder it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypedDict

import torch
from torch import Tensor

from oxiformers.config import Config
from oxiformers.errors import ArgumentError
from oxiformers.layers.attention import attend
from oxiformers.layers.cache import Cache, EncoderDecoderCache
from oxiformers.layers.cached_attention import CacheStep, lay_out
from oxiformers.layers.cross_attention import CrossStep
from oxiformers.layers.embedding import check_length, counted_positions, longest_of
from oxiformers.layers.fused import attention_backend
from oxiformers.layers.layout import Layout
from oxiformers.layers.scoring import PLAIN, Scoring
from oxiformers.layers.tokens import check_options, require_tensor
from oxiformers.logging import get_logger

logger = get_logger(__name__)


class ForwardOptions(TypedDict, total=False):
    """What every forward takes besides its tensors of tokens, pixels or samples.

    Attributes:
        output_attentions, output_hidden_states, return_dict: override the config's values.
        layout: the batch comes packed, tensors are ``[T, ...]``, and so does what goes out. Vectors and
            labels of whole sequences are in the layout's order.
        context: of the model that calls this one as a part of it.
    """

    output_attentions: bool | None
    output_hidden_states: bool | None
    return_dict: bool | None
    layout: Layout | None
    context: ForwardContext | None


class ImageOptions(TypedDict, total=False):
    """What encoders of images take besides their tensors; as ForwardOptions, but that no batch comes packed."""

    output_attentions: bool | None
    output_hidden_states: bool | None
    return_dict: bool | None
    context: ForwardContext | None


class EncoderOptions(ForwardOptions, total=False):
    """As ForwardOptions.

    Attributes:
        head_mask: ``[H]`` or ``[layers, H]``, what each head's output is multiplied by.
        use_cache, past_key_values, cache, encoder_hidden_states, encoder_attention_mask: of a config with is_decoder,
            see DecoderOptions; of no use to an encoder.
    """

    head_mask: Tensor | None
    use_cache: bool | None
    past_key_values: Any
    cache: Any
    encoder_hidden_states: Tensor | None
    encoder_attention_mask: Tensor | None


class DecoderOptions(ForwardOptions, total=False):
    """As ForwardOptions.

    Attributes:
        use_cache: keep keys and values for the next call. By default what the config says, but not in a
            training step, which has no next call.
        encoder_hidden_states: ``[B, S_encoder, D]``, what cross-attention reads; or ``[T, D]`` with a layout.
        encoder_attention_mask: ``[B, S_encoder]``, 1 for the tokens that are read.
        encoder_layout: of packed encoder_hidden_states, in the order of the tokens' sequences.
        cache: what transformers 5 calls past_key_values.
        cache_position: accepted for compatibility; the cache knows its positions.
    """

    use_cache: bool | None
    cache: Any
    encoder_hidden_states: Tensor | None
    encoder_attention_mask: Tensor | None
    encoder_layout: Layout | None
    cache_position: Tensor | None


class Seq2SeqOptions(ForwardOptions, total=False):
    """As ForwardOptions; ``layout`` is that of the encoder's tokens.

    Attributes:
        head_mask, decoder_head_mask, cross_attn_head_mask: ``[H]`` or ``[layers, H]``, what each head's output is
            multiplied by: in the encoder, in the decoder, and in what the decoder reads of the encoder.
        decoder_layout: the decoder's tokens come packed, in the same order of sequences as the encoder's.
        use_cache, cache, cache_position: see DecoderOptions.
    """

    head_mask: Tensor | None
    decoder_head_mask: Tensor | None
    cross_attn_head_mask: Tensor | None
    decoder_layout: Layout | None
    cache: Any
    use_cache: bool | None
    cache_position: Tensor | None


class ForwardContext:
    """One call, from the outermost model to the last layer: that model makes it and hands it inward.

    The model that reads the input lays it out (`lay_out`); heads around it only pack labels and unpack results.

    Attributes:
        layout: of the tokens, once they are laid out.
        output_attentions, output_hidden_states, return_dict: what the call asks for, or else the config.
        use_cache: what the call asks for; None where it does not say.
        first_column: the caller reads column 0 of the output, see Layout.of.
        reads_first: of the last layer nothing but the first token of each sequence is read.
        cache: what the call continues and adds to; None without a cache.
        rotation: what the layers get of the positions (see rope.Rotation); one for each kind of layer where they
            differ.
        tokens: ids or embeddings, as they were given.
        encoder_states: the tokens that cross-attention computes keys from; None where a cache has the keys.
    """

    __slots__ = (
        "_config",
        "_cross",
        "_cross_head_mask",
        "_first_index",
        "_given_layout",
        "_head_mask",
        "_step",
        "attention_mask",
        "cache",
        "encoder_states",
        "first_column",
        "layout",
        "output_attentions",
        "output_hidden_states",
        "reads_first",
        "return_dict",
        "rotation",
        "tokens",
        "use_cache",
    )

    layout: Layout
    tokens: Tensor

    def __init__(self, config: Config, options: Mapping[str, Any], known: frozenset[str]) -> None:
        """Reads the options of the call.

        Args:
            config: of the outermost model.
            options: of the call, by name.
            known: the names that the model takes.

        Raises:
            InputTypeError: an option has another name.
        """
        check_options(options, known)
        self._config = config
        # Of an encoder-decoder the context is the decoder's; `beside` makes the encoder's.
        own = "decoder_" if "decoder_layout" in known else ""
        self._given_layout: Layout | None = options.get(f"{own}layout")
        self._head_mask: Tensor | None = options.get(f"{own}head_mask")
        # Where cross-attention has no mask of its own, both share one.
        separate = "cross_attn_head_mask" in known
        self._cross_head_mask: Tensor | None = options.get(
            "cross_attn_head_mask" if separate else "head_mask"
        )
        self._step: CacheStep | None = None
        self._cross: CrossStep | None = None
        self._first_index: Tensor | None = None
        self.attention_mask: Tensor | None = None
        self.cache: Cache | EncoderDecoderCache | None = None
        self.encoder_states: Tensor | None = None
        self.first_column = self.reads_first = False
        self.output_attentions: bool = choose(options.get("output_attentions"), config.output_attentions)
        self.output_hidden_states: bool = choose(
            options.get("output_hidden_states"), config.output_hidden_states
        )
        self.return_dict: bool = choose(options.get("return_dict"), config.use_return_dict)
        self.use_cache: bool | None = options.get("use_cache")
        self.rotation: Any = None

    def beside(self, layout: Layout | None, head_mask: Tensor | None = None) -> ForwardContext:
        """The same call for other tokens: those of the encoder beside a decoder's.

        Args:
            layout: of these tokens, where they come packed.
            head_mask: of the encoder.
        """
        other = self._copy()
        other._given_layout, other._head_mask, other.use_cache = layout, head_mask, False
        other._cross_head_mask = None
        return other

    def lie_as(self, layout: Layout | None) -> None:
        """Says that the tokens, which are made of others, are packed as those are."""
        if self._given_layout is None:
            self._given_layout = layout

    def _copy(self) -> ForwardContext:
        other = object.__new__(ForwardContext)
        for name in ForwardContext.__slots__:
            if hasattr(self, name):
                setattr(other, name, getattr(self, name))
        return other

    # The tokens

    def lay_out(
        self,
        tokens: Tensor,
        attention_mask: Tensor | None,
        cache: Cache | None = None,
        *,
        by_distance: bool = False,
        rectangular: bool = False,
    ) -> None:
        """Finds the layout of a batch, and its step in a cache.

        Args:
            tokens: ``[B, S]`` or ``[B, S, D]``; ``[T]`` or ``[T, D]`` where the call has a packed layout.
            attention_mask: see cached_attention.lay_out.
            cache: that the tokens continue and add to.
            by_distance, rectangular: see cached_attention.lay_out.

        Raises:
            ArgumentError: sizes that contradict each other, or attention weights asked of a packed batch.
        """
        config, layout = self._config, self._given_layout
        if layout is None:
            rectangular = rectangular or self.output_attentions or config.attn_implementation == "eager"
            if cache is None and not by_distance:
                layout = Layout.of(
                    tokens, attention_mask, rectangular=rectangular, first_column=self.first_column
                )
            else:
                layout = lay_out(
                    tokens, attention_mask, cache, rectangular=rectangular, by_distance=by_distance
                )
        else:
            if attention_mask is not None and cache is None:
                shape = tuple(attention_mask.shape)
                raise ArgumentError.mismatch(
                    "attention_mask",
                    "None with layout=",
                    f"shape {shape}",
                    "the layout says which tokens there are",
                )
            check_fits(layout, tokens)
        if self.output_attentions and layout.form != "rectangular":
            raise ArgumentError.mismatch(
                "output_attentions", "False with layout=", True,
                f"a {layout.form} batch has no matrix of attention weights: pass it padded, with its attention_mask",
            )  # fmt: skip
        layout = layout.on(attention_backend(config.attn_implementation, tokens.device))
        if self.reads_first and not self.output_hidden_states:
            layout = layout.reading_first()
        self.layout, self.tokens, self.attention_mask = layout, tokens, attention_mask
        if cache is not None:
            self._step = CacheStep(cache, layout, tokens.device, attention_mask)

    def read_encoder(
        self,
        states: Tensor,
        attention_mask: Tensor | None,
        layout: Layout | None = None,
        cache: Cache | None = None,
    ) -> None:
        """Prepares cross-attention, see CrossStep. Raises ArgumentError for another number of sequences."""
        if self.layout.shape is not None and layout is None and states.shape[0] != self.layout.shape[0]:
            raise ArgumentError.mismatch(
                "encoder_hidden_states",
                f"{self.layout.shape[0]} sequences, as the tokens have",
                states.shape[0],
            )
        self._cross = CrossStep(self.layout, states, attention_mask, layout, cache)
        self.encoder_states = self._cross.states

    def commit(self) -> None:
        """Counts the call's tokens as kept, once every layer has written them."""
        for step in (self._step, self._cross):
            if step is not None:
                step.commit()

    @property
    def has_layout(self) -> bool:
        """Whether the caller gave a layout: then tensors come in and go out as it has them."""
        return self._given_layout is not None

    @property
    def came_in_packed(self) -> bool:
        """Whether the caller's tensors are ``[T, ...]``: then outputs are, too."""
        return self._given_layout is not None and self._given_layout.packed

    def positions(self, device: torch.device, limit: int | None = None) -> Tensor:
        """The column of every token: ``[T]`` packed, else ``[1, S]``; after those of the cache.

        Raises ArgumentError where there are more columns than ``limit``.
        """
        if limit is not None:
            check_length(self._longest(), limit)
        return self.layout.positions(device) if self._step is None else self._step.positions

    def counted_positions(self, padding_id: int, limit: int | None) -> Tensor:
        """Positions that count tokens, see embedding.counted_positions, as the caller's batch lies.

        They continue after the columns of the cache, padding included. Raises ArgumentError where a sequence has more
        tokens than ``limit``.
        """
        layout = self.layout if self.came_in_packed else None
        past: int | Tensor = self.past_length
        if layout is not None and self._step is not None:
            past = self._step.positions - layout.positions(self.tokens.device)
        positions = counted_positions(self.tokens, padding_id, layout, past)
        longest = self._longest()
        if limit is not None and longest is not None and longest > limit:
            # There may be padding in it: only now is it worth to read the positions.
            check_length(int(positions.max()) - padding_id, limit)
        return positions

    def _longest(self) -> int | None:
        return longest_of(self.layout) if self._step is None else self._step.longest

    @property
    def reads_encoder(self) -> bool:
        """Whether there is an encoder for cross-attention to read."""
        return self._cross is not None

    @property
    def past_length(self) -> int:
        """How many columns the cache had before this call, with padding."""
        return 0 if self._step is None else self._step.width

    # Attention

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN
    ) -> tuple[Tensor, Tensor | None]:
        """Self-attention of a layer, over the cache where there is one.

        Args:
            layer: its index in the cache and in the head mask.
            query, key, value, scoring: see attention.attend, and for its result.
        """
        if self._step is None:
            output, weights = attend(query, key, value, self.layout, scoring)
        else:
            output, weights = self._step.attend(layer, query, key, value, scoring)
        return _masked(self._head_mask, layer, output, weights)

    def attend_to_encoder(
        self,
        layer: int,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        scoring: Scoring = PLAIN,
    ) -> tuple[Tensor, Tensor | None]:
        """Cross-attention of a layer; keys and values are None where ``encoder_states`` is."""
        assert self._cross is not None
        output, weights = self._cross.attend(layer, query, key, value, scoring)
        return _masked(self._cross_head_mask, layer, output, weights)

    def check_head_mask(self, layers: int) -> None:
        """Raises ArgumentError where a head mask is neither ``[H]`` nor ``[layers, H]``."""
        for mask in (self._head_mask, self._cross_head_mask):
            if mask is not None and mask.dim() != 1 and (mask.dim() != 2 or mask.shape[0] != layers):
                raise ArgumentError.mismatch(
                    "head_mask", f"[heads] or [{layers}, heads]", f"shape {tuple(mask.shape)}"
                )

    def for_last_layer(self) -> ForwardContext:
        """The context of the last layer: where only first tokens are read, these are its queries."""
        if not self.layout.reads_first:
            return self
        other = self._copy()
        other._first_index, other.layout = self.layout.first_queries()
        return other

    def queries(self, hidden: Tensor) -> Tensor:
        """The tokens of ``[..., D]`` that a layer computes; the others are only attended to."""
        return hidden if self._first_index is None else hidden.index_select(0, self._first_index)

    # In and out

    def pack(self, tensor: Tensor | None) -> Tensor | None:
        """``[B, S, ...]`` as the layout has it."""
        return tensor if tensor is None or self._given_layout is not None else self.layout.pack(tensor)

    def pack_labels(self, labels: Tensor, ignored: int = -100) -> Tensor:
        """Labels of tokens as the layout has them; those under the mask are left out, with one warning."""
        require_tensor(labels, "labels")
        if self._given_layout is not None:
            return labels
        if labels.dim() != 2 or tuple(labels.shape) != self.layout.shape:
            raise ArgumentError.mismatch(
                "labels", f"shape {self.layout.shape} as the input has", tuple(labels.shape)
            )
        packed = self.layout.pack(labels)
        if self.layout.keep is not None:
            packed = labels.masked_fill(~self.layout.keep, ignored)
        if packed is labels or torch.compiler.is_compiling():
            return packed
        if bool((labels != ignored).sum() > (packed != ignored).sum()):
            warn_of_masked_labels()
        return packed

    def unpack(self, tensor: Tensor) -> Tensor:
        """Tokens as the caller's batch has them, with zeros at padding."""
        return tensor if self._given_layout is not None else self.layout.unpack(tensor)

    def unpack_states(self, states: Iterable[Tensor] | None) -> tuple[Tensor, ...] | None:
        """`unpack` for the hidden states of every layer."""
        return None if states is None else tuple(self.unpack(state) for state in states)

    def unpack_attentions(self, attentions: Iterable[Tensor] | None) -> tuple[Tensor, ...] | None:
        """Attention weights ``[B, H, Q, K]``, with zeros in the rows of padding."""
        if attentions is None:
            return None
        keep = None if self._given_layout is not None else self.layout.keep
        if keep is None:
            return tuple(attentions)
        return tuple(
            weights if weights is None else weights.masked_fill(~keep[:, None, :, None], 0.0)
            for weights in attentions
        )


def _masked(
    mask: Tensor | None, layer: int, output: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Heads ``[..., H, D]`` and probabilities ``[B, H, Q, K]`` times a layer's head mask."""
    if mask is None:
        return output, weights
    mask = mask if mask.dim() == 1 else mask[layer]
    output = output * mask[:, None].to(output.dtype)
    return output, None if weights is None else weights * mask[:, None, None].to(weights.dtype)


def choose(asked: bool | None, default: bool) -> bool:
    """What a call asks for, or else the default."""
    return default if asked is None else asked


def check_fits(layout: Layout, tokens: Tensor) -> None:
    """Raises ArgumentError where the tokens are not as many as the layout says."""
    expected = layout.shape if layout.query is None else layout.query.positions.shape
    if expected is not None and tokens.shape[: len(expected)] != expected:
        raise ArgumentError.mismatch(
            "input_ids", f"tokens of shape {tuple(expected)} as the layout has", tuple(tokens.shape)
        )


@cache
def warn_of_masked_labels() -> None:
    """Says once that labels at padding are left out."""
    logger.warning("labels at padding are ignored: the attention mask hides their tokens")
