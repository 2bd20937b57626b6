"""tokenizers 0.23.3 beside ours: the same call on both, and what must be equal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from oxiformers._core import Encoding, Tokenizer

NAMES = (
    "albert-base-v2",
    "all-MiniLM-L6-v2",
    "bert-base-cased",
    "bert-base-multilingual-uncased",
    "bert-base-uncased",
    "clip-vit-base-patch32",
    "deberta-v3-base",
    "gpt-neox-20b-pythia",
    "gpt-oss-o200k",
    "gpt2",
    "llama-2",
    "llama-3",
    "mistral-7b-v0.1",
    "modernbert-base",
    "pegasus",
    "qwen2.5",
    "roberta-base",
    "t5-small",
    "whisper-tiny",
    "xlm-roberta-base",
)
CORPORA = ("english", "code", "multilingual", "cjk", "short")
FIELDS = (
    "ids",
    "type_ids",
    "tokens",
    "offsets",
    "attention_mask",
    "special_tokens_mask",
    "word_ids",
    "sequence_ids",
    "n_sequences",
)


@dataclass(frozen=True)
class Call:
    """The options of one call, in our words."""

    add_special_tokens: bool = True
    is_pretokenized: bool = False
    truncation: str | None = None
    max_length: int | None = None
    stride: int = 0
    truncation_side: str = "right"
    padding: str | None = None
    pad_to_multiple_of: int | None = None
    padding_side: str = "right"

    def ours(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass
class Pair:
    """One tokenizer file read by both."""

    ours: Tokenizer
    theirs: tokenizers.Tokenizer

    @classmethod
    def read(cls, path: Path) -> Pair:
        theirs = tokenizers.Tokenizer.from_file(str(path))
        theirs.no_truncation()
        theirs.no_padding()
        return cls(Tokenizer.from_file(str(path)), theirs)

    @classmethod
    def parse(cls, tree: dict[str, Any]) -> Pair:
        text = json.dumps(tree)
        return cls(Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text))

    def reference(self, inputs: Sequence[Any], pairs: Sequence[Any] | None, call: Call) -> list[Any]:
        """Encodings of tokenizers for the call; its state is set anew each time."""
        theirs = self.theirs
        theirs.no_truncation()
        theirs.no_padding()
        if call.truncation is not None and call.max_length is not None:
            theirs.enable_truncation(
                call.max_length, stride=call.stride, strategy=call.truncation, direction=call.truncation_side
            )
        if call.padding is not None:
            theirs.enable_padding(
                direction=call.padding_side,
                length=call.max_length if call.padding == "max_length" else None,
                pad_to_multiple_of=call.pad_to_multiple_of,
            )
        batch = list(inputs) if pairs is None else list(zip(inputs, pairs, strict=True))
        batch = [item[0] if isinstance(item, tuple) and item[1] is None else item for item in batch]
        found: list[Any] = theirs.encode_batch(
            batch, is_pretokenized=call.is_pretokenized, add_special_tokens=call.add_special_tokens
        )
        return found

    def check(self, inputs: Sequence[Any], pairs: Sequence[Any] | None = None, call: Call = Call()) -> int:
        """Compares every way to encode a batch; returns how many encodings were compared."""
        expected = self.reference(inputs, pairs, call)
        options = call.ours()
        cut = call.truncation is not None
        found = self.ours.encode_batch(inputs, pairs, return_overflowing=cut, **options)
        assert len(found) == len(expected)
        for index, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
            compare(mine, theirs, f"input {index}: {inputs[index]!r}, {pairs and pairs[index]!r}, {call}")
        self._check_rows(inputs, pairs, options, expected)
        self._check_flat(inputs, pairs, call, expected)
        return sum(1 + len(theirs.overflowing) for theirs in expected)

    def _check_rows(
        self, inputs: Sequence[Any], pairs: Sequence[Any] | None, options: dict[str, Any], expected: list[Any]
    ) -> None:
        """Rows without overflow go the short way to ids: they must be what the detailed way gives."""
        rows = self.ours.encode_batch_lists(inputs, pairs, special_tokens_mask=True, **options)
        names = {
            "input_ids": "ids",
            "token_type_ids": "type_ids",
            "attention_mask": "attention_mask",
            "special_tokens_mask": "special_tokens_mask",
        }
        for key, name in names.items():
            assert rows[key] == [getattr(theirs, name) for theirs in expected], (key, inputs, pairs, options)
        detailed = self.ours.encode_batch_lists(inputs, pairs, offsets=True, **options)
        assert detailed["input_ids"] == rows["input_ids"]
        assert detailed["offset_mapping"] == [theirs.offsets for theirs in expected]
        if len({len(row) for row in rows["input_ids"]}) == 1:
            arrays = self.ours.encode_batch_arrays(
                inputs, pairs, special_tokens_mask=True, offsets=True, **options
            )
            for key, values in {**rows, "offset_mapping": detailed["offset_mapping"]}.items():
                array = arrays[key]
                assert array.dtype == np.int64 and array.flags.c_contiguous
                assert array.tolist() == [
                    [list(item) if isinstance(item, tuple) else item for item in row] for row in values
                ], key

    def _check_flat(
        self, inputs: Sequence[Any], pairs: Sequence[Any] | None, call: Call, expected: list[Any]
    ) -> None:
        if call.padding is not None:
            return
        options = {
            key: value
            for key, value in call.ours().items()
            if key not in ("padding", "pad_to_multiple_of", "padding_side")
        }
        packed = self.ours.encode_batch_packed(inputs, pairs, **options)
        ids = [id for theirs in expected for id in theirs.ids]
        lengths = [len(theirs.ids) for theirs in expected]
        assert packed["input_ids"].tolist() == ids
        assert packed["token_type_ids"].tolist() == [id for theirs in expected for id in theirs.type_ids]
        assert packed["position_ids"].tolist() == [at for length in lengths for at in range(length)]
        assert packed["cu_seqlens"].tolist() == [0, *np.cumsum(lengths, dtype=np.int64).tolist()]
        if pairs is None and call.truncation is None and not call.is_pretokenized:
            flat, offsets = self.ours.encode_batch_flat(list(inputs), call.add_special_tokens)
            assert flat.dtype == np.uint32 and offsets.dtype == np.int64
            assert flat.tolist() == ids and offsets.tolist() == packed["cu_seqlens"].tolist()


def compare(mine: Encoding, theirs: Any, context: str, *, overflow: bool = True) -> None:
    for name in FIELDS:
        assert getattr(mine, name) == getattr(theirs, name), (name, context)
    if overflow:
        assert len(mine.overflowing) == len(theirs.overflowing), context
        for left, right in zip(mine.overflowing, theirs.overflowing, strict=True):
            compare(left, right, context, overflow=False)


def documents(path: Path, size: int | None = None) -> Iterator[str]:
    """Documents of a corpus, separated by a blank line (short.txt: one a line), up to about `size` bytes."""
    text = path.read_text(encoding="utf-8")
    taken = 0
    for document in text.split("\n" if path.stem == "short" else "\n\n"):
        yield document
        taken += len(document.encode())
        if size is not None and taken >= size:
            return


def batched(items: list[str], size: int) -> Iterator[list[str]]:
    """Consecutive parts of `size` items, the last one shorter."""
    return (items[at : at + size] for at in range(0, len(items), size))


def wordpiece(
    vocab: dict[str, int],
    *,
    normalizer: dict[str, Any] | None,
    pre_tokenizer: str | None = "BertPreTokenizer",
) -> dict[str, Any]:
    """A tokenizer.json with no post-processor."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer and {"type": "BertNormalizer", **normalizer},
        "pre_tokenizer": pre_tokenizer and {"type": pre_tokenizer},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }
