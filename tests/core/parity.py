"""Whole corpora against tokenizers 0.23.3, then 200,000 random cases: `make parity`."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.core.reference import CORPORA, NAMES, Pair, documents  # noqa: E402

# Encodings of this many documents are held at a time.
BATCH = 512
COMPARED = ("ids", "offsets", "type_ids", "special_tokens_mask", "attention_mask", "word_ids", "tokens")
# Bytes of a corpus that are one document, too.
LARGE = 1 << 20


def differences(pair: Pair, texts: list[str]) -> int:
    """How many of the texts differ in anything, the short way to ids and the text of the ids included."""
    flat, starts = pair.ours.encode_batch_flat(texts)
    count = 0
    all_mine, all_theirs = pair.ours.encode_batch(texts), pair.theirs.encode_batch(texts)
    ids = [theirs.ids for theirs in all_theirs]
    decoded = [
        [mine == theirs for mine, theirs in zip(ours, others, strict=True)]
        for skip in (False, True)
        for ours, others in [
            (pair.ours.decode_batch(ids, skip), pair.theirs.decode_batch(ids, skip_special_tokens=skip))
        ]
    ]
    for index, (mine, theirs) in enumerate(zip(all_mine, all_theirs, strict=True)):
        row = flat[starts[index] : starts[index + 1]].tolist()
        equal = row == theirs.ids and all(getattr(mine, name) == getattr(theirs, name) for name in COMPARED)
        count += not (equal and all(same[index] for same in decoded))
    return count


def check(folder: Path, name: str) -> tuple[int, list[str]]:
    """The differences of one tokenizer over all corpora, and a line for each."""
    pair = Pair.read(folder / "tokenizers" / name / "tokenizer.json")
    total, lines = 0, []
    for corpus in CORPORA:
        path = folder / "corpora" / f"{corpus}.txt"
        texts = list(documents(path))
        found = sum(differences(pair, texts[at : at + BATCH]) for at in range(0, len(texts), BATCH))
        found += differences(pair, [path.read_bytes()[:LARGE].decode(errors="ignore")])
        lines.append(f"{name:32} {corpus:14} {len(texts) + 1:6} documents, {found} differences")
        total += found
    return total, lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TOKENIZER", help="all by default")
    options = parser.parse_args()
    shared = Path(os.environ.get("OXIFORMERS_SHARED") or ROOT.parent / "shared")
    if not shared.is_dir():
        print(f"{shared} is not there: set OXIFORMERS_SHARED", file=sys.stderr)
        return 2
    # A process each, so that the threads of the one do not wait for the comparing of the other.
    os.environ.update(TOKENIZERS_PARALLELISM="false", OXIFORMERS_NUM_THREADS="1")
    names = options.names or NAMES
    total = 0
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for found, lines in pool.map(check, [shared] * len(names), names):
            print("\n".join(lines), flush=True)
            total += found
    print(f"{total} differences")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
