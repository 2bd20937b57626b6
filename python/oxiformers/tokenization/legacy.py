"""Methods that programs call for the sake of other versions and classes, and those that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.options import PaddingStrategy, TensorType, TruncationStrategy

if TYPE_CHECKING:
    from oxiformers.tokenization.tokenizer import PreTrainedTokenizerFast


class LegacyCalls:
    """Older names for what a call and `add_tokens` do, and methods of which only the refusal is here."""

    #: What `register_for_auto_class` was told.
    _auto_class: ClassVar[str | None] = None

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

    @classmethod
    def register_for_auto_class(cls, auto_class: str | type = "AutoTokenizer") -> None:
        """Says which Auto class is to load this one. No code is saved for it: a repository's code never runs here.

        Raises ArgumentError for another Auto class than AutoTokenizer.
        """
        name = auto_class if isinstance(auto_class, str) else auto_class.__name__
        if name != "AutoTokenizer":
            raise ArgumentError.mismatch("auto_class", "AutoTokenizer", name)
        cls._auto_class = name

    def train_new_from_iterator(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: vocabularies are read here, not trained."""
        raise UnsupportedError(
            "train_new_from_iterator is not supported: train with the tokenizers library, and load the "
            "tokenizer.json it saves",
            key="train_new_from_iterator",
        )

    def parse_response(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: what a model answers is not taken apart here."""
        _refuse_parsing("parse_response")

    def get_response_parser(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: what a model answers is not taken apart here."""
        _refuse_parsing("get_response_parser")


def _refuse_parsing(method: str) -> NoReturn:
    raise UnsupportedError(
        f"{method} is not supported: decode the ids, and take the text apart by the model's own format",
        key=method,
    )
