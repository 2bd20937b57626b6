"""Whole corpora and every code point against tokenizers 0.23.3: `make parity`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.core.reference import CORPORA, NAMES, Pair, documents  # noqa: E402

# Encodings of this many documents are held at a time.
BATCH = 512
COMPARED = ("ids", "offsets", "type_ids", "special_tokens_mask", "attention_mask", "word_ids", "tokens")


def differences(pair: Pair, texts: list[str]) -> int:
    """How many of the texts differ in anything, the short way to ids included."""
    flat, starts = pair.ours.encode_batch_flat(texts)
    count = 0
    both = zip(pair.ours.encode_batch(texts), pair.theirs.encode_batch(texts), strict=True)
    for index, (mine, theirs) in enumerate(both):
        row = flat[starts[index] : starts[index + 1]].tolist()
        equal = row == theirs.ids and all(getattr(mine, name) == getattr(theirs, name) for name in COMPARED)
        count += not equal
    return count


def main() -> int:
    shared = Path(os.environ.get("OXIFORMERS_SHARED") or ROOT.parent / "shared")
    if not shared.is_dir():
        print(f"{shared} is not there: set OXIFORMERS_SHARED", file=sys.stderr)
        return 2
    total = 0
    for name in NAMES:
        pair = Pair.read(shared / "tokenizers" / name / "tokenizer.json")
        for corpus in CORPORA:
            texts = list(documents(shared / "corpora" / f"{corpus}.txt"))
            found = sum(differences(pair, texts[at : at + BATCH]) for at in range(0, len(texts), BATCH))
            print(f"{name:32} {corpus:14} {len(texts):6} documents, {found} differences", flush=True)
            total += found
    print(f"{total} differences")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
