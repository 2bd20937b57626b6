"""Tokenizers: text to model inputs and back, over the compiled core."""

from __future__ import annotations

from .._core import AddedToken, Encoding, Tokenizer
from .batch import BatchEncoding, CharSpan, TokenSpan
from .bert import BertTokenizer, BertTokenizerFast, DistilBertTokenizer, DistilBertTokenizerFast
from .classes import tokenizer_class
from .json_schema import get_json_schema
from .options import PaddingStrategy, TensorType, TruncationStrategy
from .tokenizer import PreTrainedTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

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
