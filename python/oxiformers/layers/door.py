"""The door of an encoder: a padded batch comes in and is packed, and what goes out is padded again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import torch
from torch import Tensor

from oxiformers.config import Config
from oxiformers.errors import ArgumentError
from oxiformers.layers.inputs import check_options, require_tensor, tokens_of
from oxiformers.layers.layout import Layout


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


# use_cache is of no use to an encoder, and transformers' encoders take it all the same.
_OPTIONS = frozenset(ForwardOptions.__annotations__) | {"use_cache"}


class Door:
    """One call's way in and out.

    Attributes:
        layout: how the batch lies inside.
        head_mask: as it was given.
        output_attentions, output_hidden_states, return_dict: what the call asks for, or else the config.
    """

    __slots__ = (
        "_came_in_laid_out",
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
        self.head_mask = options.get("head_mask")
        self.output_attentions = _choose(options.get("output_attentions"), config.output_attentions)
        self.output_hidden_states = _choose(options.get("output_hidden_states"), config.output_hidden_states)
        self.return_dict = _choose(options.get("return_dict"), config.use_return_dict)
        check_options(options, _OPTIONS)
        layout = options.get("layout")
        tokens = tokens_of(input_ids, inputs_embeds, attention_mask, packed=layout is not None)
        self._came_in_laid_out = layout is not None
        if layout is None:
            rectangular = self.output_attentions or config.attn_implementation == "eager"
            layout = Layout.of(tokens, attention_mask, rectangular=rectangular, first_column=first_column)
        else:
            _check_fits(layout, tokens, attention_mask)
        if self.output_attentions and layout.form != "rectangular":
            raise ArgumentError(
                f"output_attentions: a {layout.form} batch has no matrix of attention weights; pass a padded "
                "batch and its attention_mask instead of layout",
                key="output_attentions",
                expected="False with layout=",
                actual="True",
            )
        self.layout = layout

    def enter(self, tensor: Tensor | None) -> Tensor | None:
        """``[B, S, ...]`` as the layout wants it."""
        return tensor if tensor is None or self._came_in_laid_out else self.layout.pack(tensor)

    def enter_labels(self, labels: Tensor, ignored: int = -100) -> tuple[Tensor, bool]:
        """Labels of tokens as the layout wants them, and whether some under the mask are thereby left out."""
        require_tensor(labels, "labels")
        if self._came_in_laid_out:
            return labels, False
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
            return packed, False
        return packed, bool((labels != ignored).sum() > (packed != ignored).sum())

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


def _choose(asked: bool | None, default: bool) -> bool:
    return default if asked is None else asked


def _check_fits(layout: Layout, tokens: Tensor, attention_mask: Tensor | None) -> None:
    if attention_mask is not None:
        raise ArgumentError(
            "attention_mask: the layout says already which tokens there are",
            key="attention_mask",
            expected="None with layout=",
            actual=str(tuple(attention_mask.shape)),
        )
    expected = layout.shape if layout.query is None else layout.query.positions.shape
    if expected is not None and tokens.shape[: len(expected)] != expected:
        raise ArgumentError(
            f"input_ids: the layout has tokens of shape {tuple(expected)}, got {tuple(tokens.shape)}",
            key="input_ids",
            expected=str(tuple(expected)),
            actual=str(tuple(tokens.shape)),
        )
