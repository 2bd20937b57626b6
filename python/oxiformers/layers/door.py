"""The door of an encoder: a padded batch comes in and is packed, and what goes out is padded again."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import ClassVar, TypedDict

import torch
from torch import Tensor

from oxiformers.config import Config
from oxiformers.errors import ArgumentError
from oxiformers.layers.fused import attention_backend
from oxiformers.layers.inputs import check_options, require_tensor, tokens_of
from oxiformers.layers.layout import Layout
from oxiformers.logging import get_logger

logger = get_logger(__name__)


class ForwardOptions(TypedDict, total=False):
    """What every encoder's forward takes besides its tensors of tokens.

    Attributes:
        head_mask: ``[H]`` or ``[layers, H]``, what each head's output is multiplied by.
        output_attentions, output_hidden_states, return_dict: override the config's values.
        layout: the batch comes packed, tensors are ``[T, ...]``, and so does what goes out. Vectors and
            labels of whole sequences are in the layout's order.
    """

    head_mask: Tensor | None
    output_attentions: bool | None
    output_hidden_states: bool | None
    return_dict: bool | None
    layout: Layout | None


class Door:
    """One call's way in and out.

    Class attributes:
        options: what a call may name. use_cache is of no use to an encoder, and transformers' take it all the same.

    Attributes:
        layout: how the batch lies inside.
        head_mask: as it was given.
        output_attentions, output_hidden_states, return_dict: what the call asks for, or else the config.
    """

    options: ClassVar[frozenset[str]] = frozenset(ForwardOptions.__annotations__) | {"use_cache"}

    __slots__ = (
        "_attention_mask",
        "_came_in_laid_out",
        "_first_column",
        "head_mask",
        "layout",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
    )

    def __init__(
        self,
        config: Config,
        options: ForwardOptions,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        *,
        first_column: bool = False,
    ) -> None:
        """Finds the layout.

        Args:
            config: of the model.
            options: of the call.
            input_ids: ``[B, S]``, or ``[T]`` with a packed layout.
            attention_mask: see Layout.of.
            inputs_embeds: ``[B, S, D]`` or ``[T, D]``, in place of input_ids.
            first_column: the model reads column 0 of its output, see Layout.of.

        Raises:
            ArgumentError: neither or both of input_ids and inputs_embeds, or sizes that contradict another.
        """
        check_options(options, self.options)
        layout = options.get("layout")
        tokens = tokens_of(input_ids, inputs_embeds, attention_mask, packed=layout is not None)
        self.head_mask = options.get("head_mask")
        self.output_attentions = choose(options.get("output_attentions"), config.output_attentions)
        self.output_hidden_states = choose(options.get("output_hidden_states"), config.output_hidden_states)
        self.return_dict = choose(options.get("return_dict"), config.use_return_dict)
        self._attention_mask = attention_mask
        self._first_column = first_column
        self._came_in_laid_out = layout is not None
        if layout is None:
            rectangular = self.output_attentions or config.attn_implementation == "eager"
            layout = self.find_layout(tokens, rectangular)
        else:
            self.check_layout(layout, tokens)
        if self.output_attentions and layout.form != "rectangular":
            raise ArgumentError(
                f"output_attentions: a {layout.form} batch has no matrix of attention weights; pass a padded "
                "batch and its attention_mask instead of layout",
                key="output_attentions",
                expected="False with layout=",
                actual="True",
            )
        # Where one model calls another, the outer one has decided.
        if layout.backend is None:
            layout = layout.on(attention_backend(config.attn_implementation, tokens.device))
        self.layout = layout

    def enter(self, tensor: Tensor | None) -> Tensor | None:
        """``[B, S, ...]`` as the layout wants it."""
        return tensor if tensor is None or self._came_in_laid_out else self.layout.pack(tensor)

    def find_layout(self, tokens: Tensor, rectangular: bool) -> Layout:
        """The layout of a batch that comes without one."""
        return Layout.of(
            tokens, self._attention_mask, rectangular=rectangular, first_column=self._first_column
        )

    def check_layout(self, layout: Layout, tokens: Tensor) -> None:
        """Raises ArgumentError where the layout that was given is not that of the tokens."""
        if self._attention_mask is not None:
            raise ArgumentError(
                "attention_mask: the layout says already which tokens there are",
                key="attention_mask",
                expected="None with layout=",
                actual=str(tuple(self._attention_mask.shape)),
            )
        check_fits(layout, tokens)

    def enter_labels(self, labels: Tensor, ignored: int = -100) -> Tensor:
        """Labels of tokens as the layout wants them; those under the mask are left out, with one warning."""
        require_tensor(labels, "labels")
        if self._came_in_laid_out:
            return labels
        if labels.dim() != 2 or tuple(labels.shape) != self.layout.shape:
            raise ArgumentError(
                f"labels: expected shape {self.layout.shape} as the input has, got {tuple(labels.shape)}",
                key="labels",
                expected=str(self.layout.shape),
                actual=str(tuple(labels.shape)),
            )
        packed = self.layout.pack(labels)
        if self.layout.keep is not None:
            packed = labels.masked_fill(~self.layout.keep, ignored)
        if packed is labels or torch.compiler.is_compiling():
            return packed
        if bool((labels != ignored).sum() > (packed != ignored).sum()):
            warn_of_masked_labels()
        return packed

    def leave(self, tensor: Tensor) -> Tensor:
        """Tokens as the caller's batch lies, with zeros at padding."""
        return tensor if self._came_in_laid_out else self.layout.unpack(tensor)

    def leave_states(self, states: Iterable[Tensor] | None) -> tuple[Tensor, ...] | None:
        """`leave` for the hidden states of every layer."""
        return None if states is None else tuple(self.leave(state) for state in states)

    def leave_attentions(self, attentions: Iterable[Tensor] | None) -> tuple[Tensor, ...] | None:
        """Attention weights ``[B, H, Q, K]``, with zeros in the rows of padding."""
        if attentions is None:
            return None
        keep = None if self._came_in_laid_out else self.layout.keep
        if keep is None:
            return tuple(attentions)
        return tuple(weights.masked_fill(~keep[:, None, :, None], 0.0) for weights in attentions)


def choose(asked: bool | None, default: bool) -> bool:
    """What a call asks for, or else the default."""
    return default if asked is None else asked


def check_fits(layout: Layout, tokens: Tensor) -> None:
    """Raises ArgumentError where the tokens are not as many as the layout says."""
    expected = layout.shape if layout.query is None else layout.query.positions.shape
    if expected is not None and tokens.shape[: len(expected)] != expected:
        raise ArgumentError(
            f"input_ids: the layout has tokens of shape {tuple(expected)}, got {tuple(tokens.shape)}",
            key="input_ids",
            expected=str(tuple(expected)),
            actual=str(tuple(tokens.shape)),
        )


@cache
def warn_of_masked_labels() -> None:
    """Says once that labels at padding are left out."""
    logger.warning("labels at padding are ignored: the attention mask hides their tokens")
