"""Bulk token ids of a WordPiece tokenizer: encode_batch_flat against the fastest call `tokenizers` has for it."""

from __future__ import annotations

from collections.abc import Iterator

import tokenizers

from benches.python.common import Case, documents, shared
from oxiformers._core import Tokenizer

TESTS = ("tests/core",)


def cases() -> Iterator[Case]:
    path = str(shared("tokenizers/bert-base-uncased/tokenizer.json"))
    ours, theirs = Tokenizer.from_file(path), tokenizers.Tokenizer.from_file(path)
    for corpus in ("english.txt", "code.txt", "multilingual.txt", "cjk.txt", "short.txt"):
        texts = documents(corpus)
        ids, offsets = ours.encode_batch_flat(texts)
        expected = theirs.encode_batch(texts)
        assert len(offsets) == len(texts) + 1
        for index, encoding in enumerate(expected):
            assert ids[offsets[index] : offsets[index + 1]].tolist() == encoding.ids, texts[index]
        yield Case(
            f"bulk ids, {corpus}",
            {
                "oxiformers": lambda texts=texts: ours.encode_batch_flat(texts),
                "tokenizers encode_batch": lambda texts=texts: theirs.encode_batch(texts),
                "tokenizers encode_batch_fast": lambda texts=texts: theirs.encode_batch_fast(texts),
            },
            {"texts": len(texts), "bytes": sum(len(text.encode()) for text in texts), "tokens": len(ids)},
        )
