"""Pipelines of texts: tokenized a window at a time, truncated to what the model takes, run packed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from torch import Tensor

from oxiformers.errors import ArgumentError, InputTypeError
from oxiformers.logging import get_logger
from oxiformers.pipelines import batching
from oxiformers.pipelines.base import Pipeline
from oxiformers.pipelines.call import Call
from oxiformers.pipelines.hooks import equivalent
from oxiformers.pipelines.inputs import Source, Window
from oxiformers.pipelines.rows import Batch, Prepared, owners
from oxiformers.pipelines.texts import Texts, find_text_source, read_texts

logger = get_logger(__name__)

#: Parameters that hold a vector for each position, by the ends of their names in checkpoints.
_POSITION_TABLE = re.compile(r"(^|\.)(position_embeddings?|embed_positions|wpe)$")


class TextPipeline(Pipeline):
    """Texts, or pairs of texts, tokenized and run without padding, in batches by a budget of tokens.

    A task derives from it and writes `run`, on what `run_texts` gives, and `finish`. One whose inputs become several
    texts writes `prepare` too, with `encode` and `plan`.

    A model whose forward takes no `layout` gets padded batches.

    Arguments of the constructor or a call, beside those of Pipeline: the tokenizer's, such as truncation and
    max_length. Truncation also cuts to the model's own number of positions, where that is less, and says so once.
    """

    unit = "text"
    _load_tokenizer = True
    _load_feature_extractor = False
    _load_image_processor = False
    _load_processor = False

    def __init__(self, model: Any, tokenizer: Any = None, *parts: Any, **arguments: Any) -> None:
        self._positions = count_positions(model)
        self._told = False
        super().__init__(model, tokenizer, *parts, **arguments)

    def find_source(self, inputs: Any) -> Source:
        """A text, a dict or a list, or what to stream. Raises InputTypeError for anything else."""
        return find_text_source(inputs)

    def prepare(self, window: Window, call: Call) -> Prepared:
        """The window's texts, tokenized, in batches."""
        texts = read_texts(window, bool(call.prepare.get("is_split_into_words")))
        return self.plan(self.encode(texts, window, call), window, call)

    def encode(
        self, texts: Texts, window: Window, call: Call, counts: Sequence[int] | None = None
    ) -> batching.Encoded:
        """The texts of a window, tokenized.

        Args:
            texts: those of the window's inputs, in order.
            window: the inputs.
            call: with the arguments of the tokenizer, `call.prepare`.
            counts: how many texts each input became; None where each became one.
        """
        limited = self._limited(call.prepare)
        try:
            encoded = batching.encode(self.tokenizer, texts, limited)
        except (ArgumentError, InputTypeError) as error:
            # The tokenizer counts from the first text of the window.
            place = re.match(r"inputs\[(\d+)\]", error.key or "")
            if place is None:
                raise
            name = f"inputs[{owners(window, counts)[int(place[1])]}]"
            raise type(error)(
                str(error).replace(place[0], name),
                key=(error.key or "").replace(place[0], name),
                expected=error.expected,
                actual=error.actual,
            ) from error
        if limited is not call.prepare:
            self._tell_of_cut(int(np.diff(encoded.cu_seqlens).max(initial=0)))
        return encoded

    def plan(
        self, encoded: batching.Encoded, window: Window, call: Call, counts: Sequence[int] | None = None
    ) -> Prepared:
        """Batches of tokenized texts; `counts` as for `encode`. Raises ArgumentError for a text without tokens."""
        arguments = call.prepare
        types = arguments.get("return_token_type_ids")
        types = "token_type_ids" in self.tokenizer.model_input_names if types is None else bool(types)
        types = types and "token_type_ids" in batching.forward_arguments(self.model).names
        plan = batching.plan_window(encoded, batching.token_budget(self.device), call.batch_size, types=types)
        inputs = owners(window, counts)
        if len(plan.order) and not int(plan.lengths[-1]):
            raise ArgumentError.mismatch(
                f"inputs[{inputs[plan.order[-1]]}]",
                "at least one token",
                "none",
                "no special tokens are added",
            )
        return Prepared(plan.batches(inputs), plan)

    def run_texts(self, batch: Batch) -> batching.Outputs:
        """The model's outputs for a batch of texts.

        Raises ArgumentError, with the index of the input, for one of more tokens than the model has positions.
        """
        takes = batching.forward_arguments(self.model)
        padding = None if takes.packed else batching.pad_settings(self.model, self.tokenizer)
        further = {"use_cache": False} if "use_cache" in takes.names else {}
        try:
            return batching.run_model(self.model, batch.data, self.device, padding, **further)
        except ArgumentError as error:
            if error.key == "max_position_embeddings":
                _refuse_length(error, batch)
            raise

    @equivalent
    def preprocess(self, inputs: Any, **arguments: Any) -> Any:
        """One text, or a dict of a text and its pair, to the tensors ``[1, S]`` the model takes."""
        texts = read_texts(Window([inputs]), bool(arguments.get("is_split_into_words")))
        pair = None if texts.pairs is None else texts.pairs[0]
        limited = self._limited(arguments)
        encoded = self.tokenizer(texts.texts[0], pair, return_tensors="pt", **limited)
        if limited is not arguments:
            self._tell_of_cut(encoded["input_ids"].shape[1])
        return encoded

    @equivalent
    def _forward(self, model_inputs: Any, **arguments: Any) -> Any:
        """The model's outputs for these inputs."""
        if "use_cache" in batching.forward_arguments(self.model).names:
            arguments = {"use_cache": False, **arguments}
        return self.model(**model_inputs, **arguments)

    def _limited(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The tokenizer's arguments; where they truncate, to no more tokens than the model has positions."""
        if self._positions is None or not (arguments.get("truncation") or arguments.get("max_length")):
            return arguments
        asked = batching.truncation_asked(self.tokenizer, arguments)
        if asked is None or (asked.max_length is not None and asked.max_length <= self._positions):
            return arguments
        return {**arguments, "truncation": asked.truncation, "max_length": self._positions}

    def _tell_of_cut(self, longest: int) -> None:
        """Warns, once, that a text was cut to the model's positions, where the tokenizer's limit is another one."""
        if longest == self._positions and not self._told:
            self._told = True
            logger.warning(
                "truncation: texts are cut to %d tokens, as %s takes no more; the tokenizer's limit, or "
                "max_length, is above that",
                longest, type(self.model).__name__,
            )  # fmt: skip


def count_positions(model: Any) -> int | None:
    """The most tokens a text may have by the model's table of positions; None for a model without one.

    A row of padding, and what lies before it, are no positions (RoBERTa), nor are rows beyond the config's number
    (BART).
    """
    for name, module in getattr(model, "named_modules", tuple)():
        table = getattr(module, "weight", None)
        if _POSITION_TABLE.search(name) and isinstance(table, Tensor) and table.dim() == 2:
            padding = getattr(module, "padding_idx", None)
            count = table.shape[0] - (0 if padding is None else padding + 1)
            stated = getattr(getattr(model, "config", None), "max_position_embeddings", None)
            return min(count, stated) if isinstance(stated, int) else count
    return None


def _refuse_length(error: ArgumentError, batch: Batch) -> NoReturn:
    """The model's refusal of a text that is too long, with the index of the input: the batch's first, as longest."""
    raise ArgumentError.mismatch(
        f"inputs[{batch.inputs[0]}]",
        error.expected,
        f"{int(batch.data.lengths[0])} tokens",
        "pass truncation=True, or a smaller max_length=",
    ) from error
