"""A stack of encoder layers, and the attention over several heads that they are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oxiformers.errors import ArgumentError
from oxiformers.layers.attention import attend
from oxiformers.layers.door import Door
from oxiformers.layers.layout import Layout
from oxiformers.layers.scoring import PLAIN, Scoring


class Encoded(NamedTuple):
    """What a stack computed: tokens ``[..., D]`` of its last layer and, where asked for, of every layer.

    Attributes:
        last: of the last layer.
        hidden_states: of the embeddings and of every layer; or None.
        attentions: ``[B, H, S, S]`` of every layer; or None.
    """

    last: Tensor
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None


class EncoderStack(nn.Module):
    """Layers one after another, under the name ``layer``.

    A layer is called with the tokens, the layout, its ``[H]`` of the head mask or None, and the queries (None
    where they are the tokens). It returns what becomes of the queries, and the attention weights (None unless the
    layout is rectangular).
    """

    gradient_checkpointing = False

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)
        self.checkpoint_options: dict[str, Any] = {"use_reentrant": False}

    def forward(self, hidden: Tensor, door: Door) -> Encoded:
        """Runs every layer over ``[..., D]``."""
        states, attentions = [hidden], []
        layout, queries = door.layout, None
        head_masks = layer_head_masks(door.head_mask, len(self.layer))
        for number, (layer, head_mask) in enumerate(zip(self.layer, head_masks, strict=True), start=1):
            if layout.reads_first and number == len(self.layer) and not door.output_hidden_states:
                # Nobody reads the other tokens of this layer: they are only attended to.
                queries, layout = layout.first_queries(hidden)
            arguments = (hidden, layout, head_mask, queries)
            if self.gradient_checkpointing and self.training:
                hidden, weights = checkpoint(layer, *arguments, **self.checkpoint_options)
            else:
                hidden, weights = layer(*arguments)
            if door.output_hidden_states:
                states.append(hidden)
            if door.output_attentions:
                attentions.append(weights)
        return Encoded(
            hidden,
            tuple(states) if door.output_hidden_states else None,
            tuple(attentions) if door.output_attentions else None,
        )


def layer_head_masks(head_mask: Tensor | None, layers: int) -> list[Tensor | None]:
    """A head mask ``[H]`` or ``[layers, H]`` as one ``[H]`` for each layer.

    Raises:
        ArgumentError: it has another shape.
    """
    if head_mask is None:
        return [None] * layers
    if head_mask.dim() == 1:
        return [head_mask] * layers
    if head_mask.dim() != 2 or head_mask.shape[0] != layers:
        raise ArgumentError(
            f"head_mask: expected [heads] or [{layers}, heads], got shape {tuple(head_mask.shape)}",
            key="head_mask",
            expected=f"[heads] or [{layers}, heads]",
            actual=str(tuple(head_mask.shape)),
        )
    return list(head_mask.unbind())


def self_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    layout: Layout,
    head_mask: Tensor | None,
    dropout: float,
) -> tuple[Tensor, Tensor | None]:
    """Attends with several heads side by side in the last dimension.

    Args:
        query, key, value: ``[..., H * D]``.
        heads: H.
        layout: of the batch.
        head_mask: ``[H]``, multiplies each head's output; or None.
        dropout: probability of dropping an attention weight.

    Returns:
        ``[..., H * D]``, and the weights ``[B, H, S, S]`` where the layout is rectangular, else None.
    """
    split = [tensor.unflatten(-1, (heads, -1)) for tensor in (query, key, value)]
    attended, weights = attend(
        split[0], split[1], split[2], layout, Scoring(dropout=dropout) if dropout else PLAIN
    )
    if head_mask is not None:
        attended = attended * head_mask[:, None].to(attended.dtype)
        weights = None if weights is None else weights * head_mask[:, None, None].to(weights.dtype)
    return attended.flatten(-2), weights
