"""A part of a model that its model calls with a context, and a user alone, with transformers 4.57's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.errors import InputTypeError, UnsupportedError
from oxiformers.layers.context import ForwardContext

#: What transformers 4.57's encoder layers take after the tokens, in its order.
ENCODER_ARGUMENTS = (
    "attention_mask", "head_mask", "encoder_hidden_states", "encoder_attention_mask", "past_key_values",
    "output_attentions", "cache_position",
)  # fmt: skip
#: The same of its decoder layers with rotary positions.
DECODER_ARGUMENTS = (
    "attention_mask", "position_ids", "past_key_values", "use_cache", "cache_position", "position_embeddings",
    "output_attentions",
)  # fmt: skip


class Part(nn.Module):
    """A layer, a stack of layers, or an attention. Subclasses write `run`.

    Class attributes:
        arguments: what transformers 4.57's class of the same name takes after the tokens, in its order.
    """

    arguments: ClassVar[tuple[str, ...]] = ENCODER_ARGUMENTS

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` within a call.

        Args:
            context: of the call.
            *shared: tensors that carry a gradient and that all layers read, such as an encoder's tokens. They are
                arguments of their own, as recomputing a layer sees no gradient of a tensor within the context.

        Returns:
            ``[..., D]``, then attention weights and those of cross-attention, each None unless the layout is
            rectangular.
        """
        raise NotImplementedError

    def named(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call without a context, by the names that `context_of` knows."""
        return asked

    def alone(self, result: Any, asked: dict[str, Any]) -> Any:
        """What a call without a context returns: by default the tokens, and the attention weights asked for."""
        weights = result[1:] if asked.get("output_attentions") else ()
        return (result[0], *(tensor for tensor in weights if tensor is not None))

    def forward(self, hidden_states: Tensor, *arguments: Any, **named: Any) -> Any:
        """As `run` where the first argument is a context; else the arguments are those of transformers 4.57."""
        if arguments and isinstance(arguments[0], ForwardContext):
            return self.run(hidden_states, *arguments)
        asked = self.named(bind(self.arguments, arguments, named))
        context = context_of(hidden_states, asked)
        states = () if context.encoder_states is None else (context.encoder_states,)
        return self.alone(self.run(hidden_states, context, *states), asked)


def bind(names: Sequence[str], arguments: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name. Raises InputTypeError for those that are not among the names, or given twice."""
    if len(arguments) > len(names):
        raise InputTypeError.mismatch(
            "arguments", f"at most {len(names)}: {', '.join(names)}", len(arguments)
        )
    asked = dict(zip(names, arguments, strict=False))
    for name, value in named.items():
        if name in asked or (name not in names and value is not None):
            raise InputTypeError.mismatch(
                name, "once" if name in asked else f"one of {', '.join(names)}", name
            )
        asked[name] = value
    return asked


def context_of(hidden: Tensor, asked: dict[str, Any]) -> ForwardContext:
    """The context of a part that is called alone.

    Args:
        hidden: ``[B, S, D]``.
        asked: arguments by their names in transformers 4.57. Its layers take masks of four dimensions, bool or added
            to the scores; two dimensions ``[B, S]`` say which tokens there are, as a model takes it.

    Raises:
        UnsupportedError: a cache, which a whole model fills.
    """
    if asked.get("past_key_values") is not None:
        raise UnsupportedError(
            "past_key_values: a cache is filled by the whole model; call that", key="past_key_values"
        )
    options = {
        "output_attentions": bool(asked.get("output_attentions")),
        "output_hidden_states": bool(asked.get("output_hidden_states")),
        "head_mask": _head_mask(asked.get("head_mask", asked.get("layer_head_mask"))),
    }
    # BART's layers have a mask of their own for the heads of cross-attention.
    if "cross_attn_layer_head_mask" in asked or "layer_head_mask" in asked:
        options["cross_attn_head_mask"] = _head_mask(asked.get("cross_attn_layer_head_mask"))
    context = ForwardContext(_AS_CALLED, options, frozenset(options))
    # DistilBERT's parts call it by another name.
    mask = asked.get("attention_mask", asked.get("attn_mask"))
    read = asked.get("encoder_attention_mask")
    # Tokens that are padding keep their values, as in transformers.
    context.lay_out(hidden, mask, rectangular=mask is not None or read is not None)
    if (states := asked.get("encoder_hidden_states")) is not None:
        context.read_encoder(states, read)
    if (tables := asked.get("position_embeddings")) is not None:
        # transformers' tables hold each angle twice, for both elements of a pair.
        context.rotation = tuple(table[..., : table.shape[-1] // 2].unsqueeze(-2) for table in tables)
    return context


def _head_mask(mask: Any) -> Tensor | None:
    """A head mask as transformers 4.57 hands it to its parts: ``[1, H, 1, 1]``, or with layers before; or Nones."""
    if isinstance(mask, (list, tuple)) and all(item is None for item in mask):
        return None
    if isinstance(mask, Tensor) and mask.dim() >= 4:
        return mask.flatten(-4) if mask.dim() == 4 else mask.flatten(1)
    masks: Tensor | None = mask
    return masks


#: The options of a part that is called alone are its arguments; this has the defaults of all others.
_AS_CALLED = Config()
