"""What encoders and decoders have in common: layers that run one after another, between embeddings and an output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oxiformers.errors import ArgumentError
from oxiformers.layers.cache import EncoderDecoderCache
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.part import Part
from oxiformers.layers.tokens import require_tensor, tokens_of
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.caching import choose_cache, self_attention_cache
from oxiformers.models.outputs import BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions


class Layered(NamedTuple):
    """What layers computed: tokens ``[..., D]`` of the last one and, where asked for, of every one.

    Attributes:
        last: of the last layer.
        hidden_states: what each layer read, and `last`; or None.
        attentions, cross_attentions: ``[B, H, Q, K]`` of every layer; or None.
    """

    last: Tensor
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Any, ...] | None
    cross_attentions: tuple[Any, ...] | None


def run_layers(
    owner: Any,
    layers: nn.ModuleList,
    hidden: Tensor,
    context: ForwardContext,
    *shared: Any,
    finish: Callable[[Tensor], Tensor] | None = None,
    layer_drop: float = 0.0,
) -> Layered:
    """Runs layers (see part.Part) over ``[..., D]``, one after another.

    Args:
        owner: the module that has the layers, with `gradient_checkpointing` and `checkpoint_options`.
        layers: each returns tokens and attention weights, those of cross-attention after them, and after these
            what takes the place of `shared` beyond its first.
        context: of the call.
        *shared: see Part.run; the first is the encoder's tokens.
        finish: applied to the last layer's tokens.
        layer_drop: the probability that a layer is left out in training (LayerDrop, arXiv:1909.11556).
    """
    context.check_head_mask(len(layers))
    states: list[Tensor] = []
    attentions: list[Tensor | None] = []
    cross_attentions: list[Tensor | None] = []
    recomputing = owner.gradient_checkpointing and owner.training
    for index, layer in enumerate(layers):
        if context.output_hidden_states:
            states.append(hidden)
        if layer_drop and owner.training and float(torch.rand(())) < layer_drop:
            attentions.append(None)
            continue
        here = context.for_last_layer() if index == len(layers) - 1 else context
        if recomputing:
            computed = checkpoint(layer, hidden, here, *shared, **owner.checkpoint_options)
        else:
            computed = layer(hidden, here, *shared)
        hidden, weights, *more = computed
        attentions.append(weights)
        cross_attentions += more[:1]
        if len(more) > 1:
            shared = (shared[0], *more[1:])
    if finish is not None:
        hidden = finish(hidden)
    asked = context.output_attentions
    crossed = asked and any(weights is not None for weights in cross_attentions)
    return Layered(
        hidden,
        (*states, hidden) if context.output_hidden_states else None,
        tuple(attentions) if asked else None,
        tuple(cross_attentions) if crossed else None,
    )


class LayerStack(Part):
    """Layers under the name that their checkpoints have, where these are a module of their own.

    Args:
        layers: the layers.
        name: of the list.
        layer_drop: see run_layers.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "attention_mask", "head_mask", "encoder_hidden_states", "encoder_attention_mask", "past_key_values",
        "use_cache", "output_attentions", "output_hidden_states", "return_dict",
    )  # fmt: skip
    gradient_checkpointing = False

    def __init__(self, layers: Any, name: str = "layer", layer_drop: float = 0.0) -> None:
        super().__init__()
        self.add_module(name, nn.ModuleList(layers))
        self.layer_list_name, self.layer_drop = name, layer_drop
        self.checkpoint_options: dict[str, Any] = {"use_reentrant": False}

    @property
    def layers_in_order(self) -> nn.ModuleList:
        """The layers, whatever the list is called."""
        layers: nn.ModuleList = getattr(self, self.layer_list_name)
        return layers

    def finish(self, hidden: Tensor) -> Tensor:
        """What is applied to the last layer's tokens: nothing, unless a subclass does."""
        return hidden

    def run(self, hidden: Tensor, context: ForwardContext, *shared: Any) -> Any:
        """``[..., D]`` through every layer, to Layered."""
        return run_layers(
            self,
            self.layers_in_order,
            hidden,
            context,
            *shared,
            finish=self.finish,
            layer_drop=self.layer_drop,
        )

    def alone(self, result: Layered, asked: dict[str, Any]) -> Any:
        """An output as transformers' encoders give it."""
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=result.last,
            hidden_states=result.hidden_states,
            attentions=result.attentions,
            cross_attentions=result.cross_attentions,
        )
        return output.to_tuple() if asked.get("return_dict") is False else output


class Stack(PreTrainedModel):
    """Embeddings and layers: the skeleton of encoders and of decoders.

    Subclasses make the modules, and say by the methods below what happens to tokens before and after the layers.

    Class attributes:
        output_class: of forward.
        layers_name: where the layers are: a LayerStack, or a list that the model itself owns.
        reads_first_column: the output depends on the first column even where the mask hides it, as a pooler's does.
        by_distance: attention depends on the distance in columns, see cached_attention.lay_out.
        position_limit: how many tokens a sequence may have; None where nothing bounds them.
        uncounted_id: the id of padding where positions count the tokens that are not padding, from the id after it
            on (RoBERTa); None where they are columns.
        layer_drop: see run_layers; of a LayerStack it is the stack's own.
    """

    output_class: ClassVar[type[Any]] = BaseModelOutput
    layers_name: ClassVar[str] = "encoder"
    by_distance: bool = False
    position_limit: int | None = None
    layer_drop: float = 0.0
    uncounted_id: int | None = None
    reads_first_column: bool = False
    gradient_checkpointing = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.checkpoint_options: dict[str, Any] = {"use_reentrant": False}

    @property
    def is_decoder(self) -> bool:
        """Whether a token sees those before it only, and a cache may keep them."""
        return bool(self.config.is_decoder)

    @property
    def reads_encoder(self) -> bool:
        """Whether there is cross-attention."""
        return self.is_decoder and bool(self.config.add_cross_attention)

    # What makes a model

    def find_positions(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, context: ForwardContext
    ) -> Tensor | None:
        """The positions of a call that names none, before it is packed: int64 ``[B, S]`` (``[T]`` with layout=).

        None stands for a token's column. The default goes by `uncounted_id`.
        """
        if self.uncounted_id is None:
            return None
        return context.counted_positions(self.uncounted_id, self.position_limit)

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
    ) -> Tensor:
        """What the first layer reads, ``[..., D]``. Ids are ``[...]``; positions too, or ``[1, S]``."""
        raise NotImplementedError

    def rotate(self, positions: Tensor, dtype: torch.dtype) -> Any:
        """What the layers get of the positions, see ForwardContext.rotation; None by default."""
        return None

    def share(self) -> tuple[Any, ...]:
        """What the first layer gets of `run_layers`' shared tensors, beyond the encoder's tokens."""
        return ()

    def finish(self, hidden: Tensor) -> Tensor:
        """What is applied to the last layer's tokens, such as a norm; nothing by default.

        The last of hidden_states is its result where the model owns the list of layers, and what it was given where
        they are a LayerStack.
        """
        return hidden

    def summarize(self, last: Tensor, context: ForwardContext) -> Mapping[str, Any]:
        """Further fields of the output, such as a pooled token."""
        return {}

    # The call

    def read(
        self,
        options: Mapping[str, Any],
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None = None,
        past_key_values: Any = None,
    ) -> Any:
        """A call whose input is text: lays it out, embeds it, runs the layers."""
        context, outermost = self.begin_forward(options)
        context.first_column = context.first_column or self.reads_first_column
        tokens = tokens_of(input_ids, inputs_embeds, attention_mask, packed=context.has_layout)
        states, mask = options.get("encoder_hidden_states"), options.get("encoder_attention_mask")
        require_tensor(states, "encoder_hidden_states")
        if states is None and mask is not None:
            raise ArgumentError.mismatch(
                "encoder_attention_mask", "None without encoder_hidden_states", tuple(mask.shape)
            )
        past_key_values = options.get("cache") if past_key_values is None else past_key_values
        cache = choose_cache(self, past_key_values, context, reads_encoder=states is not None)
        context.lay_out(
            tokens, attention_mask, self_attention_cache(cache), by_distance=self.by_distance,
            rectangular=mask is not None and mask.dim() > 2,
        )  # fmt: skip
        context.cache = cache
        if position_ids is None:
            position_ids = self.find_positions(input_ids, inputs_embeds, context)
        given = context.pack(position_ids)
        positions = context.positions(tokens.device, self.position_limit) if given is None else given
        hidden = self.embed(
            context.pack(input_ids), context.pack(inputs_embeds), context.pack(token_type_ids), positions
        )
        context.rotation = self.rotate(positions, hidden.dtype)
        if states is not None:
            if not self.reads_encoder:
                raise ArgumentError.mismatch(
                    "encoder_hidden_states", "None", f"shape {tuple(states.shape)}",
                    "to read an encoder, set is_decoder and add_cross_attention in the config",
                )  # fmt: skip
            kept = cache.cross_attention_cache if isinstance(cache, EncoderDecoderCache) else None
            context.read_encoder(states, mask, options.get("encoder_layout"), kept)
        return self.compute(hidden, context, outermost)

    def compute(self, hidden: Tensor, context: ForwardContext, outermost: bool) -> Any:
        """Runs the layers over what the first one reads, as the context's layout has it, and makes the output."""
        layers = getattr(self, self.layers_name)
        states, more = context.encoder_states, self.share()
        shared = (states, *more) if more or context.reads_encoder else ()
        if isinstance(layers, LayerStack):
            layered: Layered = layers(hidden, context, *shared)
            layered = layered._replace(last=self.finish(layered.last))
        else:
            layered = run_layers(
                self, layers, hidden, context, *shared, finish=self.finish, layer_drop=self.layer_drop
            )
        context.commit()
        fields = {
            "last_hidden_state": layered.last,
            "past_key_values": context.cache,
            "hidden_states": layered.hidden_states,
            "attentions": layered.attentions,
            "cross_attentions": layered.cross_attentions,
            **self.summarize(layered.last, context),
        }
        known = self.output_class.__dataclass_fields__
        output = self.output_class(**{name: value for name, value in fields.items() if name in known})
        return self.end_forward(output, context, outermost)
