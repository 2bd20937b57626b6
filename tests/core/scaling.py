"""Time and memory on texts made to be slow, over sizes: `make scaling`.

A row says how long a text of each size took, relative to its smallest size and length; what grows faster than the
text is marked. Sizes reach 8 MB, with --full 64 MB.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from oxiformers._core import AddedToken, Tokenizer  # noqa: E402

TOKENIZERS = (
    *("bert-base-uncased", "gpt2", "llama-3", "gpt-oss-o200k", "clip-vit-base-patch32"),
    *("llama-2", "mistral-7b-v0.1", "t5-small", "albert-base-v2"),
)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
KINDS: dict[str, Callable[[int], str]] = {
    "a": lambda size: "a" * size,
    "spaces": lambda size: " " * size,
    "line ends": lambda size: "\n" * size,
    "marks": lambda size: "e" + "\u0301\u0323" * (size // 4),
    "digits": lambda size: "7" * size,
    "apostrophes": lambda size: "'" * size,
    "ideographs": lambda size: "中文字" * (size // 9),
    "emoji": lambda size: "👩‍👩‍👧" * (size // 18),
    "base64": lambda size: "".join(random.Random(1).choices(ALPHABET, k=size)),
    "letter, space": lambda size: "a " * (size // 2),
    "space, mark": lambda size: " \u0301" * (size // 3),
    "unknown": lambda size: "\U00010900" * (size // 4),
    "added tokens": lambda size: "<|endoftext|> [MASK] <s>" * (size // 24),
}
#: A text of this size is still in the processor's caches; what the larger ones may cost is measured by it.
CACHED = 1 << 18
#: Outside the caches a byte may cost so many times as much, fresh pages of memory included, and as n log n grows.
OUTSIDE = 4


def seconds(tokenizer: Tokenizer, texts: list[str], repetitions: int) -> float:
    """Processor time of this thread, which others on the machine leave alone; OXIFORMERS_NUM_THREADS has to be 1."""
    best = float("inf")
    for _ in range(repetitions):
        start = time.thread_time()
        tokenizer.encode_batch_flat(texts)
        best = min(best, time.thread_time() - start)
    return best


def tokenizer_with_many_added() -> Tokenizer:
    """100,000 added tokens over a small vocabulary."""
    small = Tokenizer.from_wordlevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")
    return small.with_added_tokens([AddedToken(f"<{number}>") for number in range(100_000)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="TOKENIZER", help="all by default")
    parser.add_argument("--full", action="store_true", help="up to 64 MB")
    options = parser.parse_args()
    os.environ["OXIFORMERS_NUM_THREADS"] = "1"
    shared = Path(os.environ.get("OXIFORMERS_SHARED") or ROOT.parent / "shared")
    sizes = [1 << 10, 1 << 14, 1 << 18, 1 << 22, *([1 << 26] if options.full else [1 << 23])]
    slow = 0
    for name in options.names or [*TOKENIZERS, "100,000 added tokens"]:
        path = shared / "tokenizers" / name / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path)) if path.exists() else tokenizer_with_many_added()
        for kind, make in KINDS.items():
            for way in ("one", "many"):
                cells = []
                cached = 0.0
                for size in sizes:
                    texts = [make(size)] if way == "one" else [make(1 << 10)] * (size >> 10)
                    taken = max(seconds(tokenizer, texts, 3 if size <= CACHED else 1), 1e-5)
                    if size == CACHED:
                        cached = taken
                    grown = size > CACHED and taken > cached * OUTSIDE * (
                        size * math.log(size) / (CACHED * math.log(CACHED))
                    )
                    slow += grown
                    cells.append(f"{taken / size * 1e9:7.0f}{'!' if grown else ' '}")
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
                print(f"{name:24} {kind:14} {way:5} ns a byte: {' '.join(cells)} peak {peak} MiB", flush=True)
    print(f"{slow} cells grow faster than their text")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
