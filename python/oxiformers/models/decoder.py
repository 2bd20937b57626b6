"""What decoder-only language models share: the stack of layers, and the heads that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.errors import ArgumentError
from oxiformers.layers.context import DecoderOptions, ForwardContext, warn_of_masked_labels
from oxiformers.layers.embedding import Embedding
from oxiformers.layers.linear import Linear
from oxiformers.layers.llama_config import LlamaNamesConfig
from oxiformers.layers.llama_names import DecoderLayer
from oxiformers.layers.loss import cross_entropy, sequence_loss
from oxiformers.layers.rope import RotaryEmbedding
from oxiformers.layers.tokens import require_tensor
from oxiformers.models.heads import Head, QuestionAnswering, TokenClassification
from oxiformers.models.outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from oxiformers.models.stack import Stack


class Decoder(Stack):
    """Embeddings, layers and a norm, under any names: see Stack for what subclasses say."""

    output_class: ClassVar[type[Any]] = BaseModelOutputWithPast
    layers_name = "layers"
    # Some tokenizers make token types, which are of no use here; transformers' decoders take them.
    known_options = frozenset(DecoderOptions.__annotations__) | {"token_type_ids"}

    @property
    def is_decoder(self) -> bool:
        """Always."""
        return True

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        **options: Unpack[DecoderOptions],
    ) -> Any:
        """Tokens ``[B, S]`` to ``[B, S, D]``.

        With past_key_values the tokens continue those of the calls before: attention_mask has the columns of
        both, ``[B, past + S]``. position_ids ``[B, S]`` or ``[1, S]`` are the columns by default; a packed
        batch (layout=) counts in each sequence.
        """
        return self.read(
            options, input_ids, attention_mask, position_ids, inputs_embeds, past_key_values=past_key_values
        )


class DecoderModel(Decoder):
    """A decoder with rotary positions, under Llama's names.

    Class attributes:
        layer_class: made with the config and the layer's index.
    """

    layer_class: ClassVar[type[DecoderLayer]] = DecoderLayer
    input_embedding = "embed_tokens"
    supported: ClassVar[Mapping[str, Any]] = {"add_cross_attention": False}

    def __init__(self, config: LlamaNamesConfig) -> None:
        super().__init__(config)
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            self.layer_class(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = self.layer_class.norm_class(config.hidden_size, config.rms_norm_eps)
        assert config.rope_parameters is not None
        assert config.head_dim is not None
        self.rotary_emb = RotaryEmbedding(
            config.rope_parameters, config.head_dim, config.max_position_embeddings
        )
        # A window is counted in columns.
        self.by_distance = any(config.window_of(index) for index in range(config.num_hidden_layers))
        self.post_init()

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
    ) -> Tensor:
        """The tokens' embeddings."""
        embedded: Tensor = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        return embedded

    def rotate(self, positions: Tensor, dtype: torch.dtype) -> Any:
        """The rotation of the positions."""
        return self.rotary_emb.rotation(positions, dtype)

    def finish(self, hidden: Tensor) -> Tensor:
        """The norm after the last layer."""
        normed: Tensor = self.norm(hidden)
        return normed


class CausalLM(Head):
    """A decoder and the logits of the next token, ``lm_head``."""

    model_class: ClassVar[type[Any]] = DecoderModel
    output_class: ClassVar[type[Any]] = CausalLMOutputWithPast
    output_embedding = "lm_head"
    lm_head: nn.Module

    def build(self, config: Any) -> None:
        """Makes ``lm_head``."""
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to logits ``[..., vocabulary]``."""
        logits: Tensor = self.lm_head(hidden)
        return logits

    def targets(self, labels: Tensor, context: ForwardContext) -> Tensor:
        """Labels at the tokens that predict them, as the layout lies; -100 where there is none."""
        return next_tokens(labels, context)

    def predict(
        self,
        encoded: Any,
        context: ForwardContext,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
    ) -> Any:
        """Tokens ``[B, S]`` to logits ``[B, S, vocabulary]``; see Decoder.forward.

        Args:
            labels: ``[B, S]``, the tokens themselves: each is predicted from those before it. -100 is left
                out, and so is padding.
            logits_to_keep: only the logits of the last so many columns (all of them for 0), or of the columns
                of an index ``[n]``. Of a packed batch 1 keeps each sequence's last, ``[B, vocabulary]``.
            num_items_in_batch: what the sum of the losses is divided by; the number of labels by default.
        """
        hidden, loss = encoded.last_hidden_state, None
        if isinstance(logits_to_keep, Tensor) or logits_to_keep:
            if labels is not None:
                raise ArgumentError.mismatch(
                    "logits_to_keep", "0 with labels", logits_to_keep, "the loss needs all logits"
                )
            logits = self.logits_of(kept_columns(hidden, context, logits_to_keep))
        else:
            inner = self.logits_of(hidden)
            if labels is not None:
                loss = next_token_loss(inner, self.targets(labels, context), num_items_in_batch)
            logits = context.unpack(inner)
        return self.output_class(loss=loss, logits=logits)


class LastTokenClassification(Head):
    """One class, several, or values for each sequence, by its last token: a linear layer ``score``."""

    output_class = SequenceClassifierOutputWithPast
    score: nn.Module

    def build(self, config: Any) -> None:
        """Makes ``score``."""
        self.score = Linear(config.hidden_size, config.num_labels, bias=False)

    def predict(self, encoded: Any, context: ForwardContext, labels: Tensor | None = None) -> Any:
        """Tokens ``[B, S]`` to logits ``[B, labels]``; for labels see `loss.sequence_loss`.

        The last token is the last under the mask that is not pad_token_id. A batch needs a pad_token_id, as in
        transformers; packed, its layout says where sequences end.
        """
        logits = self.score(last_tokens(encoded.last_hidden_state, context, self.config.pad_token_id))
        loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return self.output_class(loss=loss, logits=logits)


class DecoderTokenClassification(TokenClassification):
    """A class for each token: a linear layer after ``dropout``, of 0.1 where the config has no key for it.

    Class attributes:
        classifier_name: of the linear layer.
    """

    classifier_name: ClassVar[str] = "score"

    def build(self, config: Any) -> None:
        """Makes ``dropout`` and the linear layer."""
        chosen = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout"))
        self.dropout = nn.Dropout(next((value for value in chosen if value is not None), 0.1))
        self.add_module(self.classifier_name, Linear(config.hidden_size, config.num_labels))

    def logits_of(self, hidden: Tensor) -> Tensor:
        """``[..., D]`` to logits ``[..., labels]``."""
        logits: Tensor = getattr(self, self.classifier_name)(self.dropout(hidden))
        return logits


class DecoderQuestionAnswering(QuestionAnswering):
    """The span that answers a question, whatever labels the config has; the decoder is ``transformer``."""

    base_model_prefix = "transformer"

    def build(self, config: Any) -> None:
        """Makes ``qa_outputs``."""
        self.qa_outputs = Linear(config.hidden_size, 2)


def last_tokens(hidden: Tensor, context: ForwardContext, padding_id: int | None) -> Tensor:
    """The last token of every sequence that is not padding, ``[B, D]``, of tokens as the layout has them.

    It is the first one where all are padding; zeros where there is no token.
    """
    tokens, mask = context.tokens, context.attention_mask
    # Embeddings do not tell padding.
    known = None if tokens.is_floating_point() else padding_id
    if context.came_in_packed:
        assert context.layout.query is not None
        ends = context.layout.query.cu_seqlens
        if known is None:
            return at_ends(hidden, ends)
        index = torch.arange(len(hidden), device=hidden.device).masked_fill(tokens.eq(known), -1)
        return at_ends(hidden, ends, index.cummax(0).values)
    columns = context.unpack(hidden)
    if padding_id is None and len(columns) != 1:
        raise ArgumentError.mismatch(
            "input_ids", "one sequence where the config has no pad_token_id", f"{len(columns)} sequences"
        )
    real = torch.ones(columns.shape[:2], dtype=torch.bool, device=columns.device)
    if known is not None:
        real = tokens.ne(known)
    if mask is not None and mask.dim() == 2:
        real = real & (mask[:, -columns.shape[1] :] != 0)
    last = (torch.arange(columns.shape[1], device=columns.device) * real).argmax(-1)
    return columns[torch.arange(columns.shape[0], device=columns.device), last]


def at_ends(hidden: Tensor, cu_seqlens: Tensor, last: Tensor | None = None) -> Tensor:
    """One token of every packed sequence, ``[T, D]`` to ``[B, D]``; zeros where a sequence is empty.

    Args:
        hidden: the tokens.
        cu_seqlens: see Segments.
        last: ``[T]``, the token that is taken where a sequence ends with this one: where it is before the
            sequence, the first of it is. By default the token itself.
    """
    starts, ends = cu_seqlens[:-1], cu_seqlens[1:]
    if not len(hidden):
        return hidden.new_zeros(len(starts), *hidden.shape[1:])
    index = (ends - 1).clamp(min=0)
    if last is not None:
        index = last[index].maximum(starts.clamp(max=len(hidden) - 1))
    return hidden[index].masked_fill((starts == ends).unsqueeze(-1), 0.0)


def kept_columns(hidden: Tensor, context: ForwardContext, kept: int | Tensor) -> Tensor:
    """The tokens whose logits are asked for: ``[B, n, D]``, or ``[B, D]`` of a packed batch."""
    if not context.came_in_packed:
        columns = context.unpack(hidden)
        return columns[:, -kept:] if isinstance(kept, int) else columns[:, kept]
    if isinstance(kept, Tensor):
        return hidden[kept]
    if kept != 1:
        raise ArgumentError.mismatch(
            "logits_to_keep", "0, 1 or an index of tokens", kept, "a packed batch has no columns; 1 keeps the last "
            "token of each sequence",
        )  # fmt: skip
    assert context.layout.query is not None
    return at_ends(hidden, context.layout.query.cu_seqlens)


def next_tokens(labels: Tensor, context: ForwardContext) -> Tensor:
    """Labels moved to the token that predicts them, as the layout lies; -100 where there is none."""
    require_tensor(labels, "labels")
    if context.came_in_packed:
        assert context.layout.query is not None
        # The token after a sequence's last one is the first of another, at position 0.
        moved = F.pad(labels[1:], (0, 1), value=-100)
        return moved.masked_fill(F.pad(context.layout.query.positions[1:], (0, 1)) == 0, -100)
    attention_mask = context.attention_mask
    if attention_mask is not None and attention_mask.dim() == 2:
        padding = attention_mask[:, -labels.shape[1] :] == 0
        if not torch.compiler.is_compiling() and bool((padding & (labels != -100)).any()):
            warn_of_masked_labels()
        labels = labels.masked_fill(padding, -100)
    return context.pack_labels(F.pad(labels[:, 1:], (0, 1), value=-100))


def next_token_loss(logits: Tensor, targets: Tensor, items: int | Tensor | None = None) -> Tensor:
    """Cross-entropy of ``[..., vocabulary]`` against ``[...]`` in float32: mean, or sum over ``items``."""
    targets = targets.to(logits.device)
    if items is None:
        return cross_entropy(logits, targets, widely=True)
    loss = cross_entropy(logits, targets, "sum", widely=True)
    return loss / (items.to(loss.device) if isinstance(items, Tensor) else items)
