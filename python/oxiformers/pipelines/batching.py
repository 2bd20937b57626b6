"""From texts to a model's outputs without padding: one tokenization a window, batches by a budget of tokens.

A window of texts is tokenized in one call to flat arrays. The batch plan sorts it by length and cuts it where
a batch would hold too many tokens; the flat arrays are put in that order once, so that a batch is a slice.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from oxiformers import env
from oxiformers._core import Tokenizer, pack_sequences, plan_batches
from oxiformers.errors import ArgumentError
from oxiformers.layers.layout import Layout
from oxiformers.models.base import PreTrainedModel
from oxiformers.pipelines.rows import Batch, Ints
from oxiformers.pipelines.texts import Texts
from oxiformers.tokenization.options import CoreOptions, resolve_lengths, resolve_side, resolve_truncation

#: Tokens of a batch on CPU. The matrix products are at full speed from about 2,000 rows on, and the
#: activations of a base-sized model stay small.
CPU_TOKEN_BUDGET = 4096
#: Tokens of a batch on an accelerator, which needs more of them to be busy.
ACCELERATOR_TOKEN_BUDGET = 16_384

#: The arguments of a tokenizer call that a pipeline passes on: not those that ask for further outputs.
TOKENIZER_ARGUMENTS = frozenset(
    {
        "add_special_tokens",
        "is_split_into_words",
        "max_length",
        "pad_to_multiple_of",
        "padding",
        "padding_side",
        "return_attention_mask",
        "return_token_type_ids",
        "split_special_tokens",
        "stride",
        "truncation",
        "truncation_side",
        "verbose",
    }
)


def token_budget(device: torch.device) -> int:
    """How many tokens a batch may hold on the device, where the environment does not say."""
    default = CPU_TOKEN_BUDGET if device.type == "cpu" else ACCELERATOR_TOKEN_BUDGET
    return env.token_budget() or default


def check_tokenizer_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises ArgumentError for an argument that a tokenizer call lacks or no pipeline has a use for."""
    for name in arguments:
        if name not in TOKENIZER_ARGUMENTS:
            known = ", ".join(sorted(TOKENIZER_ARGUMENTS))
            raise ArgumentError(
                f"unexpected argument {name!r}; a pipeline passes these on to its tokenizer: {known}",
                key=name,
                expected=f"one of {known}",
                actual=name,
            )


class Lengths(NamedTuple):
    """What the arguments say about lengths: `padding` is "longest", "max_length" or None."""

    padding: str | None
    truncation: str | None
    max_length: int | None


def lengths_asked(tokenizer: Any, arguments: Mapping[str, Any]) -> Lengths:
    """The arguments of a call as the tokenizer understands them, its own limit included."""
    return Lengths(
        *resolve_lengths(
            arguments.get("padding", False),
            arguments.get("truncation"),
            arguments.get("max_length"),
            arguments.get("pad_to_multiple_of"),
            tokenizer.model_max_length,
            arguments.get("verbose", True),
        )
    )


def truncation_asked(tokenizer: Any, arguments: Mapping[str, Any]) -> Lengths | None:
    """What the arguments say about lengths, where they truncate, whether to a limit or to none; else None."""
    asked = lengths_asked(tokenizer, arguments)
    if asked.truncation is not None:
        return asked
    strategy = resolve_truncation(arguments.get("truncation"))  # without any limit, lengths_asked drops it
    return None if strategy is None else Lengths(asked.padding, strategy, None)


class Encoded(NamedTuple):
    """Tokenized texts, one after another.

    Attributes:
        input_ids, token_type_ids: int64 ``[T]``.
        cu_seqlens: int64 ``[N + 1]``, where each text starts, from 0.
    """

    input_ids: Ints
    token_type_ids: Ints
    cu_seqlens: Ints


def encode(tokenizer: Any, texts: Texts, arguments: Mapping[str, Any]) -> Encoded:
    """Tokenizes a window of texts in one call; padding that the arguments ask for is left out.

    Args:
        tokenizer: one over the compiled core, or anything that is called like it and returns lists.
        texts: what to tokenize.
        arguments: of the call, see TOKENIZER_ARGUMENTS.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(core, Tokenizer) or not tokenizer.core_alone:
        return _encode_lists(tokenizer, texts, arguments)
    lengths = lengths_asked(tokenizer, arguments)
    options: CoreOptions = {
        "add_special_tokens": bool(arguments.get("add_special_tokens", True)),
        "is_pretokenized": bool(arguments.get("is_split_into_words", False)),
    }
    if arguments.get("split_special_tokens", tokenizer.split_special_tokens):
        options["split_special_tokens"] = True
    if lengths.truncation is not None:
        side = arguments.get("truncation_side") or tokenizer.truncation_side
        options["truncation"] = lengths.truncation  # type: ignore[typeddict-item]
        options["truncation_side"] = resolve_side(side, "truncation_side")
        options["max_length"] = lengths.max_length
        options["stride"] = arguments.get("stride", 0)
    arrays = core.encode_batch_packed(texts.texts, texts.pairs, **options)  # type: ignore[misc]
    return Encoded(arrays["input_ids"], arrays["token_type_ids"], arrays["cu_seqlens"])


def _encode_lists(tokenizer: Any, texts: Texts, arguments: Mapping[str, Any]) -> Encoded:
    found: dict[str, list[list[int]]] = {"input_ids": [], "token_type_ids": []}
    kept = {name: value for name, value in arguments.items() if not name.startswith(("pad", "return_"))}
    for index, text in enumerate(texts.texts):
        pair = None if texts.pairs is None else texts.pairs[index]
        encoding = tokenizer(text, pair, **kept)
        found["input_ids"].append(list(encoding["input_ids"]))
        types = encoding.get("token_type_ids")
        found["token_type_ids"].append([0] * len(encoding["input_ids"]) if types is None else list(types))
    ids, _, cu_seqlens = pack_sequences(found["input_ids"])
    return Encoded(ids, pack_sequences(found["token_type_ids"])[0], cu_seqlens)


class PackedTexts(NamedTuple):
    """A batch of texts, one after another.

    Attributes:
        input_ids: int64 ``[T]``.
        token_type_ids: int64 ``[T]``, or None.
        lengths: int64 ``[B]`` on the host, longest first.
    """

    input_ids: Tensor
    token_type_ids: Tensor | None
    lengths: Tensor


class Plan(NamedTuple):
    """A window of tokenized texts, in the order in which they are computed.

    Attributes:
        input_ids: int64 ``[T]``.
        token_type_ids: int64 ``[T]``, or None.
        lengths: int64 ``[N]``, longest first.
        order: int64 ``[N]``, which text of the window each place holds.
        cuts: the places where a batch starts or ends: 0, ..., N.
    """

    input_ids: Tensor
    token_type_ids: Tensor | None
    lengths: Tensor
    order: Ints
    cuts: list[int]

    def batches(self, inputs: Ints) -> Iterator[Batch]:
        """The batches in order; their data is PackedTexts, views of the window.

        Args:
            inputs: int64 ``[N]``, the index of the input each text of the window belongs to.
        """
        start_token = 0
        for start, end in pairwise(self.cuts):
            lengths = self.lengths[start:end]
            end_token = start_token + int(lengths.sum())
            types = self.token_type_ids
            packed = PackedTexts(
                self.input_ids[start_token:end_token],
                None if types is None else types[start_token:end_token],
                lengths,
            )
            rows = self.order[start:end]
            yield Batch(rows, inputs[rows], packed)
            start_token = end_token


def plan_window(encoded: Encoded, budget: int, rows: int | None, *, types: bool) -> Plan:
    """Sorts a window by length and cuts it into batches.

    Args:
        encoded: the window.
        budget: tokens of a batch; a longer text is a batch of its own.
        rows: the most texts of a batch, None for no limit.
        types: whether the model takes token types.
    """
    lengths = np.diff(encoded.cu_seqlens)
    order, boundaries = plan_batches(lengths, budget)
    cuts = boundaries.tolist()
    if rows is not None:
        cuts = [cut for start, end in pairwise(cuts) for cut in range(start, end, rows)]
        cuts.append(len(order))
    lengths = lengths[order]
    if len(order) == 1:
        take: Any = slice(None)
    else:
        # Each token's place in the window, from its text's place there and its own place in the text.
        starts = np.cumsum(lengths) - lengths
        take = np.repeat(encoded.cu_seqlens[:-1][order] - starts, lengths) + np.arange(len(encoded.input_ids))
    return Plan(
        torch.from_numpy(encoded.input_ids[take]),
        torch.from_numpy(encoded.token_type_ids[take]) if types else None,
        torch.from_numpy(lengths),
        order,
        cuts,
    )


class Outputs(NamedTuple):
    """A model's outputs for one batch.

    Attributes:
        values: what its forward returned.
        lengths: int64 ``[B]`` on the host.
        keep: bool ``[B, S]`` where the batch went in padded, else None.
    """

    values: Any
    lengths: Tensor
    keep: Tensor | None

    def named(self, name: str) -> Tensor | None:
        """The output of that name, None where there is none; the first one of a plain tuple or tensor."""
        values = self.values
        if isinstance(values, Mapping):
            found: Tensor | None = values.get(name)
            return found
        return self.first()

    def first(self) -> Tensor:
        """The first output."""
        values = self.values
        tensor: Tensor = values if isinstance(values, Tensor) else values[0]
        return tensor

    def sequences(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """One tensor a text: ``[S, ...]`` of an output that has a row for each token, else its row.

        Raises ArgumentError for an output that has neither.
        """
        rows, tokens = self.lengths.numel(), int(self.lengths.sum())
        if self.keep is not None and tensor.shape[:2] == self.keep.shape:
            tensor = tensor[self.keep]
        elif tensor.shape[0] == rows and (rows != tokens or tensor.dim() < 2):
            return tensor.unbind(0)
        if tensor.shape[0] != tokens:
            raise ArgumentError.mismatch(
                "model",
                f"a first output of shape ({tokens}, ...), a row a token, or ({rows}, ...), a row a text",
                tuple(tensor.shape),
            )
        parts: tuple[Tensor, ...] = tensor.split(self.lengths.tolist())
        return parts


class ForwardArguments(NamedTuple):
    """What a model's forward takes: the names it lists, and whether it takes a packed batch, by `layout`."""

    names: frozenset[str]
    packed: bool


def forward_arguments(model: Any) -> ForwardArguments:
    """What the model's forward takes. Of the package's own models, all of `**options` are theirs."""
    if type(model).__name__ == "OptimizedModule":
        model = model._orig_mod  # what torch.compile wraps has the signature
    names, more = _argument_names(getattr(model.forward, "__func__", model.forward))
    return ForwardArguments(names, "layout" in names or (more and isinstance(model, PreTrainedModel)))


@lru_cache(maxsize=64)
def _argument_names(function: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    # Reading a signature takes longer than a short text through a small model.
    parameters = inspect.signature(function).parameters
    return frozenset(parameters), any(item.kind is item.VAR_KEYWORD for item in parameters.values())


class PadSettings(NamedTuple):
    """How to pad for a model that takes only padded batches."""

    token_id: int
    side: str


def pad_settings(model: Any, tokenizer: Any) -> PadSettings:
    """How batches are padded for a model that takes no `layout`.

    Raises ArgumentError where the tokenizer has no padding token.
    """
    if tokenizer.pad_token_id is None:
        hint = f"{type(model).__name__} takes padded batches only; set tokenizer.pad_token"
        raise ArgumentError.mismatch("pad_token", "a token", None, hint)
    return PadSettings(tokenizer.pad_token_id, tokenizer.padding_side)


def run_model(
    model: Any, texts: PackedTexts, device: torch.device, padding: PadSettings | None, **inputs: Any
) -> Outputs:
    """Runs a batch of texts through the model, packed, or padded where `padding` says how.

    Args:
        model: takes `layout`, or is padded for.
        texts: what goes in.
        device: of the model.
        padding: how to pad for a model that does not take packed batches; None for any other.
        **inputs: further arguments of its forward.
    """
    lengths = texts.lengths
    if padding is None:
        inputs["input_ids"] = texts.input_ids.to(device)
        if texts.token_type_ids is not None:
            inputs["token_type_ids"] = texts.token_type_ids.to(device)
        inputs["layout"] = Layout.from_lengths(lengths, device)
        return Outputs(model(**inputs), lengths, None)
    columns = torch.arange(int(lengths.max()))
    if padding.side == "left":
        keep = columns >= columns.numel() - lengths[:, None]
    else:
        keep = columns < lengths[:, None]
    ids = torch.full(keep.shape, padding.token_id, dtype=torch.int64)
    ids[keep] = texts.input_ids
    inputs["input_ids"] = ids.to(device)
    inputs["attention_mask"] = keep.to(torch.int64).to(device)
    if texts.token_type_ids is not None:
        types = torch.zeros_like(ids)
        types[keep] = texts.token_type_ids
        inputs["token_type_ids"] = types.to(device)
    return Outputs(model(**inputs), lengths, keep.to(device))
