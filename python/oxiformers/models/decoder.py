"""What decoder-only language models share: the stack of layers, and the head that predicts the next token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oxiformers.config import Config
from oxiformers.errors import ArgumentError
from oxiformers.layers.decoder import DecoderLayer
from oxiformers.layers.decoder_door import DecoderDoor, DecoderOptions
from oxiformers.layers.door import warn_of_masked_labels
from oxiformers.layers.inputs import Embedding, cross_entropy, require_tensor
from oxiformers.layers.linear import Linear
from oxiformers.layers.rope import RotaryEmbedding
from oxiformers.logging import get_logger
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

logger = get_logger(__name__)


class Decoder(PreTrainedModel):
    """An embedding, layers and a norm, under any names: subclasses make them and say which they are.

    A layer is called with the tokens, the layout, what `place` has for it, and the call's part in the cache (None
    without one). It returns the tokens and the attention weights (None unless the layout is rectangular).

    Class attributes:
        output_class: of forward.
    """

    output_class: ClassVar[type[Any]] = BaseModelOutputWithPast
    gradient_checkpointing = False
    #: How many positions there are; None where nothing bounds them.
    position_limit: int | None = None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.checkpoint_options: dict[str, Any] = {"use_reentrant": False}

    def parts(self) -> tuple[nn.Module, nn.ModuleList, nn.Module]:
        """The embedding of words, the layers, and the norm after the last one."""
        raise NotImplementedError

    def place(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Any]:
        """Words ``[..., D]`` and positions ``[...]`` (or ``[1, S]``) to the first layer's tokens, and what every
        layer is given of the positions."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[DecoderOptions],
    ) -> BaseModelOutputWithPast | tuple[Any, ...]:
        """Tokens ``[B, S]`` to ``[B, S, D]``.

        With past_key_values the tokens continue those of the calls before: attention_mask has the columns of
        both, ``[B, past + S]``. position_ids ``[B, S]`` or ``[1, S]`` are the columns by default; a packed
        batch (layout=) counts in each sequence.
        """
        door = DecoderDoor(
            self.config, options, input_ids, attention_mask, inputs_embeds, past_key_values,
            may_cache=may_cache(self, options),
        )  # fmt: skip
        embedding, layers, norm = self.parts()
        embedded = door.enter(inputs_embeds)
        words: Tensor = embedding(door.enter(input_ids)) if embedded is None else embedded
        step = door.step(words.device)
        given = door.enter(position_ids)
        positions = door.positions(step, words.device, self.position_limit) if given is None else given
        hidden, placed = self.place(words, positions)
        states, attentions = [], []
        for layer in layers:
            if door.output_hidden_states:
                states.append(hidden)
            if self.gradient_checkpointing and self.training:
                hidden, weights = checkpoint(
                    layer, hidden, door.layout, placed, step, **self.checkpoint_options
                )
            else:
                hidden, weights = layer(hidden, door.layout, placed, step)
            if door.output_attentions:
                attentions.append(weights)
        hidden = norm(hidden)
        if step is not None:
            step.commit()
        output: BaseModelOutputWithPast = self.output_class(
            last_hidden_state=door.leave(hidden),
            past_key_values=door.cache,
            hidden_states=door.leave_states([*states, hidden] if door.output_hidden_states else None),
            attentions=door.leave_attentions(attentions if door.output_attentions else None),
        )
        return output if door.return_dict else output.to_tuple()


class DecoderModel(Decoder):
    """A decoder with rotary positions, under Llama's names.

    Class attributes:
        layer_class: made with the config and the layer's index.
    """

    layer_class: ClassVar[type[DecoderLayer]] = DecoderLayer
    base_model_prefix = "model"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            self.layer_class(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = self.layer_class.norm_class(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = RotaryEmbedding(
            config.rope_parameters, config.head_dim, config.max_position_embeddings
        )
        self.post_init()

    def parts(self) -> tuple[nn.Module, nn.ModuleList, nn.Module]:
        """The embedding of words, the layers, and the norm after the last one."""
        return self.embed_tokens, self.layers, self.norm

    def place(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Any]:
        """Words as they are, and the rotation of their positions."""
        return hidden, self.rotary_emb(positions, hidden.dtype)


class CausalLM(PreTrainedModel):
    """A decoder, under the name `base_model_prefix`, and the logits of the next token, ``lm_head``.

    Class attributes:
        model_class: of the decoder.
        output_class: of forward.
    """

    model_class: ClassVar[type[Decoder]] = DecoderModel
    output_class: ClassVar[type[Any]] = CausalLMOutputWithPast
    base_model_prefix = "model"
    tied: ClassVar[Mapping[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        setattr(self, self.base_model_prefix, self.model_class(config))
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
        **options: Unpack[DecoderOptions],
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Tokens ``[B, S]`` to logits ``[B, S, vocabulary]``; see Decoder.forward.

        Args:
            labels: ``[B, S]``, the tokens themselves: each is predicted from those before it. -100 is left
                out, and so is padding.
            logits_to_keep: only the logits of the last so many columns (all of them for 0), or of the columns
                of an index ``[n]``. Of a packed batch 1 keeps each sequence's last, ``[B, vocabulary]``.
            num_items_in_batch: what the sum of the losses is divided by; the number of labels by default.
        """
        door = DecoderDoor(
            self.config, options, input_ids, attention_mask, inputs_embeds, past_key_values,
            may_cache=may_cache(self.base_model, options),
        )  # fmt: skip
        inside: DecoderOptions = {
            "output_attentions": door.output_attentions,
            "output_hidden_states": door.output_hidden_states,
            "return_dict": True,
            "layout": door.layout,
            "use_cache": door.cache is not None,
        }
        decoded = self.base_model(
            input_ids=door.enter(input_ids),
            attention_mask=attention_mask,
            position_ids=door.enter(position_ids),
            past_key_values=door.cache,
            inputs_embeds=door.enter(inputs_embeds),
            **inside,
        )
        hidden, loss = decoded.last_hidden_state, None
        if isinstance(logits_to_keep, Tensor) or logits_to_keep:
            if labels is not None:
                raise ArgumentError(
                    "logits_to_keep: the loss needs all logits",
                    key="logits_to_keep", expected="0 with labels", actual=str(logits_to_keep),
                )  # fmt: skip
            logits = self.lm_head(kept_columns(hidden, door, logits_to_keep))
        else:
            inner = self.lm_head(hidden)
            if labels is not None:
                targets = next_tokens(labels, attention_mask, door)
                loss = next_token_loss(inner, targets, num_items_in_batch)
            logits = door.leave(inner)
        output: CausalLMOutputWithPast = self.output_class(
            loss=loss,
            logits=logits,
            past_key_values=decoded.past_key_values,
            hidden_states=door.leave_states(decoded.hidden_states),
            attentions=door.leave_attentions(decoded.attentions),
        )
        return output if door.return_dict else output.to_tuple()


def may_cache(model: nn.Module, options: DecoderOptions) -> bool:
    """Whether a call may fill a new cache: not where layers are computed twice, nor unasked in training."""
    if not model.training or not torch.is_grad_enabled():
        return True
    if getattr(model, "gradient_checkpointing", False):
        if options.get("use_cache"):
            _warn_of_checkpointing()
        return False
    return bool(options.get("use_cache"))


def kept_columns(hidden: Tensor, door: DecoderDoor, kept: int | Tensor) -> Tensor:
    """The tokens whose logits are asked for: ``[B, n, D]``, or ``[B, D]`` of a packed batch."""
    if not door.came_in_packed:
        columns = door.leave(hidden)
        return columns[:, -kept:] if isinstance(kept, int) else columns[:, kept]
    if isinstance(kept, Tensor):
        return hidden[kept]
    if kept != 1:
        raise ArgumentError(
            "logits_to_keep: a packed batch has no columns; 1 keeps the last token of each sequence",
            key="logits_to_keep", expected="0, 1 or an index of tokens", actual=str(kept),
        )  # fmt: skip
    assert door.layout.query is not None
    ends = door.layout.query.cu_seqlens
    last = hidden[(ends[1:] - 1).clamp(min=0)]
    return last.masked_fill((ends[1:] == ends[:-1]).unsqueeze(-1), 0.0)


def next_tokens(labels: Tensor, attention_mask: Tensor | None, door: DecoderDoor) -> Tensor:
    """Labels moved to the token that predicts them, as the layout lies; -100 where there is none."""
    require_tensor(labels, "labels")
    if door.came_in_packed:
        assert door.layout.query is not None
        # The token after a sequence's last one is the first of another, at position 0.
        moved = F.pad(labels[1:], (0, 1), value=-100)
        return moved.masked_fill(F.pad(door.layout.query.positions[1:], (0, 1)) == 0, -100)
    if attention_mask is not None and attention_mask.dim() == 2:
        padding = attention_mask[:, -labels.shape[1] :] == 0
        if not torch.compiler.is_compiling() and bool((padding & (labels != -100)).any()):
            warn_of_masked_labels()
        labels = labels.masked_fill(padding, -100)
    return door.enter_labels(F.pad(labels[:, 1:], (0, 1), value=-100))


def next_token_loss(logits: Tensor, targets: Tensor, items: int | Tensor | None = None) -> Tensor:
    """Cross-entropy of ``[..., vocabulary]`` against ``[...]`` in float32: mean, or sum over ``items``."""
    targets = targets.to(logits.device)
    if items is None:
        return cross_entropy(logits, targets, widely=True)
    loss = cross_entropy(logits, targets, "sum", widely=True)
    return loss / (items.to(loss.device) if isinstance(items, Tensor) else items)


@cache
def _warn_of_checkpointing() -> None:
    logger.warning("use_cache=True is ignored: gradient checkpointing computes every layer twice")
