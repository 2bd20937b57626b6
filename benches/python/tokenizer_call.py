"""The call every user makes, strings to padded tensors: ours against transformers'."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import transformers

import oxiformers
from benches.python.common import Case, documents, shared

TESTS = ("tests/core", "tests/tokenization")
TOKENIZER = "tokenizers/bert-base-uncased"


def cases() -> Iterator[Case]:
    ours = oxiformers.AutoTokenizer.from_pretrained(shared(TOKENIZER))
    theirs = transformers.AutoTokenizer.from_pretrained(shared(TOKENIZER))
    lines = documents("short.txt")
    inputs = {
        "short.txt, one call": [lines],
        "short.txt, batches of 32": [lines[start : start + 32] for start in range(0, len(lines), 32)],
        "short.txt, one string a call": lines[:1000],
    }
    for name, batches in inputs.items():

        def run(tokenizer, batches=batches):
            return [tokenizer(batch, padding=True, return_tensors="pt") for batch in batches]

        for our_batch, their_batch in zip(run(ours), run(theirs), strict=True):
            assert set(our_batch) == set(their_batch)
            assert all(torch.equal(our_batch[key], their_batch[key]) for key in their_batch)
        yield Case(
            f"tokenizer(batch, padding=True, return_tensors='pt'), {name}",
            {"oxiformers": lambda run=run: run(ours), "transformers": lambda run=run: run(theirs)},
            {"texts": len(lines) if isinstance(batches[0], list) else len(batches)},
        )
