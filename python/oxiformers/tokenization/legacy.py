"""Methods that transformers 5 took away and programs still call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from .batch import BatchEncoding
from .options import PaddingStrategy, TensorType, TruncationStrategy

if TYPE_CHECKING:
    from .tokenizer import PreTrainedTokenizerFast


class LegacyCalls:
    """Older names for what a call and `add_tokens` do."""

    def prepare_seq2seq_batch(
        self,
        src_texts: Sequence[str],
        tgt_texts: Sequence[str] | None = None,
        max_length: int | None = None,
        max_target_length: int | None = None,
        padding: bool | str | PaddingStrategy = "longest",
        return_tensors: str | TensorType | None = None,
        truncation: bool | str | TruncationStrategy = True,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Tokenizes sources and their targets: what `tokenizer(src_texts, text_target=tgt_texts)` does with limits.

        Args:
            src_texts: the texts to translate or summarize.
            tgt_texts: what should come out; their ids are the `labels`.
            max_length: the most tokens of a source; the model's limit by default.
            max_target_length: the most tokens of a target; `max_length` by default.
            padding, return_tensors, truncation, **kwargs: as in a call; `src_lang` and `tgt_lang` are ignored.
        """
        tokenizer = cast("PreTrainedTokenizerFast", self)
        for name in ("src_lang", "tgt_lang"):
            kwargs.pop(name, None)
        if max_length is None:
            max_length = tokenizer.model_max_length
        shared: dict[str, Any] = {
            "add_special_tokens": True,
            "return_tensors": return_tensors,
            "padding": padding,
            "truncation": truncation,
            **kwargs,
        }
        batch = tokenizer(list(src_texts), max_length=max_length, **shared)
        if tgt_texts is not None:
            limit = max_length if max_target_length is None else max_target_length
            batch["labels"] = tokenizer(text_target=list(tgt_texts), max_length=limit, **shared)["input_ids"]
        return batch

    def sanitize_special_tokens(self) -> int:
        """Adds the special tokens that are not in the vocabulary, and returns how many there were."""
        tokenizer = cast("PreTrainedTokenizerFast", self)
        return tokenizer.add_tokens(tokenizer.all_special_tokens_extended, special_tokens=True)
