"""Strings to labels on CPU: the text-classification pipeline over texts of mixed length.

DistilBERT-base shape with random weights, 256 texts of 3 to 512 tokens (log-uniform lengths). Efficiency is the rate
at which linear-layer operations of real tokens are done, over the rate of the same layers alone (2,048 rows, oneDNN
with weights packed ahead), timed around every repetition. Padding factor is padded over real tokens at batch 32.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers

import oxiformers
from benches.python.common import Case, shared

TESTS = ("tests/pipelines", "tests/layers")
TEXTS = 256
SHAPES = ((768, 768, 4), (768, 3072, 1), (3072, 768, 1))  # D_in, D_out, how many a layer
LAYERS = 6
BATCH_SIZES = (1, 4, 8)


def texts_of_mixed_length(tokenizer) -> tuple[list[str], list[int]]:
    """Texts made of words that are one token each, and how many tokens each has."""
    generator = random.Random(0)
    words = [word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2]
    words.sort()
    lengths = [round(math.exp(generator.uniform(math.log(3), math.log(512)))) for _ in range(TEXTS)]
    return [" ".join(generator.choices(words, k=length - 2)) for length in lengths], lengths


def linear_rate(dtype: torch.dtype) -> float:
    """Operations a second of the model's linear layers at 2,048 rows, weights packed ahead."""
    operations = seconds = 0.0
    with torch.inference_mode():
        for size_in, size_out, count in SHAPES:
            rows, bias = torch.randn(2048, size_in).to(dtype), torch.randn(size_out).to(dtype)
            weight = torch.ops.mkldnn._reorder_linear_weight(torch.randn(size_out, size_in).to(dtype), 2048)
            best = math.inf
            for _ in range(8):
                start = time.perf_counter()
                torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
                best = min(best, time.perf_counter() - start)
            operations += count * 2.0 * 2048 * size_in * size_out
            seconds += count * best
    return operations / seconds


def cases() -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _cases(Path(folder))


def _cases(folder: Path) -> Iterator[Case]:
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(num_labels=2)
    transformers.DistilBertForSequenceClassification(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(shared("tokenizers/bert-base-uncased")).save_pretrained(folder)
    dtypes = [torch.float32]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        dtypes.append(torch.bfloat16)
    for dtype in dtypes:
        ours = oxiformers.pipeline("text-classification", model=str(folder), dtype=dtype)
        theirs = transformers.pipeline("text-classification", model=str(folder), dtype=dtype, device="cpu")
        texts, lengths = texts_of_mixed_length(theirs.tokenizer)
        assert [len(ids) for ids in theirs.tokenizer(texts)["input_ids"]] == lengths

        def run_theirs(batch_size, theirs=theirs, texts=texts):
            return theirs(texts, batch_size=batch_size)

        expected = run_theirs(1)
        tolerance = 1e-5 if dtype is torch.float32 else 1e-2
        for our_answer, their_answer in zip(ours(texts), expected, strict=True):
            assert abs(our_answer["score"] - their_answer["score"]) < tolerance
        best = min(BATCH_SIZES, key=lambda size, run=run_theirs: _seconds(lambda: run(size)))
        padded = sum(32 * max(lengths[start : start + 32]) for start in range(0, TEXTS, 32))
        per_token = LAYERS * sum(2.0 * size_in * size_out * count for size_in, size_out, count in SHAPES)
        yield Case(
            f"text-classification, DistilBERT-base, 256 texts of 3-512 tokens, {str(dtype).removeprefix('torch.')}",
            {
                "oxiformers": lambda ours=ours, texts=texts: ours(texts),
                f"transformers, its best batch size ({best})": lambda run=run_theirs, best=best: run(best),
                "transformers, batch size 32": lambda run=run_theirs: run(32),
            },
            {"tokens": sum(lengths), "padding_factor": round(padded / sum(lengths), 3)},
            calibrate=lambda dtype=dtype: linear_rate(dtype),
            work=per_token * sum(lengths),
            repetitions=5,
        )


def _seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
