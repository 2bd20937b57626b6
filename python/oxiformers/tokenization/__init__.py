"""Tokenizers: text to model inputs and back, over the compiled core."""

from __future__ import annotations

from oxiformers._core import AddedToken, Encoding, Tokenizer
from oxiformers.tokenization.batch import BatchEncoding, CharSpan, TokenSpan
from oxiformers.tokenization.bert import (
    BertTokenizer,
    BertTokenizerFast,
    DistilBertTokenizer,
    DistilBertTokenizerFast,
)
from oxiformers.tokenization.classes import tokenizer_class
from oxiformers.tokenization.json_schema import get_json_schema
from oxiformers.tokenization.options import PaddingStrategy, TensorType, TruncationStrategy
from oxiformers.tokenization.tokenizer import (
    PreTrainedTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "CharSpan",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "Encoding",
    "PaddingStrategy",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerBase",
    "PreTrainedTokenizerFast",
    "TensorType",
    "TokenSpan",
    "Tokenizer",
    "TruncationStrategy",
    "get_json_schema",
    "tokenizer_class",
]
