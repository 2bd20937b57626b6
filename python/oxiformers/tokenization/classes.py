"""Which class a tokenizer's files ask for by name."""

from __future__ import annotations

from .bert import BertTokenizer, DistilBertTokenizer
from .tokenizer import PreTrainedTokenizerFast

#: Classes by the name in tokenizer_config.json, without the ending "Fast".
TOKENIZER_CLASSES: dict[str, type[PreTrainedTokenizerFast]] = {
    "BertTokenizer": BertTokenizer,
    "DistilBertTokenizer": DistilBertTokenizer,
    "PreTrainedTokenizer": PreTrainedTokenizerFast,
    "TokenizersBackend": PreTrainedTokenizerFast,
}


def tokenizer_class(name: str | None) -> type[PreTrainedTokenizerFast] | None:
    """The class of that name, with or without "Fast" at its end; None for a name that is not known."""
    return TOKENIZER_CLASSES.get(name.removesuffix("Fast")) if name else None
