"""Whole corpora against transformers 4.57, for the tokenizers that have no tokenizer.json: part of `make parity`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.core.reference import CORPORA, batched, documents  # noqa: E402
from tests.tokenization.conftest import Oracle, copied  # noqa: E402
from tests.tokenization.jobs import Session  # noqa: E402
from tests.tokenization.steps import call, step  # noqa: E402

#: Folders and the classes that read them.
SLOW = {"opus-mt-en-mg": "MarianTokenizer", "wav2vec2-base-960h": "Wav2Vec2CTCTokenizer"}
BATCH = 100


def differences(ours: Session, oracle: Oracle, folder: Path, name: str, texts: list[str]) -> Iterator[str]:
    """What differs, over ids, tokens and decoded text; of Marian also of the target language."""
    load = {"class": name, "path": str(folder), "kwargs": {}}

    def both(steps: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
        job = {"load": load, "steps": steps}
        return ours.run(job), oracle.run(job)

    for part in batched(texts, BATCH):
        steps = [call(part)]
        if name == "MarianTokenizer":
            steps.append(call(text_target=part))
        steps += [step("tokenize", text) for text in part]
        mine, theirs = both(steps)
        yield from _unequal(steps, mine, theirs)
        ids = theirs[0]["mapping"]["input_ids"]
        steps = [step("batch_decode", ids, skip_special_tokens=skip) for skip in (False, True)]
        yield from _unequal(steps, *both(steps))


def _unequal(steps: list[dict[str, Any]], mine: list[Any], theirs: list[Any]) -> Iterator[str]:
    for one, answer, expected in zip(steps, mine, theirs, strict=True):
        if answer != expected:
            yield f"{one['do']}({str(one['args'])[:200]})"


def main() -> int:
    shared = Path(os.environ.get("OXIFORMERS_SHARED") or ROOT.parent / "shared")
    if not shared.is_dir():
        print(f"{shared} is not there: set OXIFORMERS_SHARED", file=sys.stderr)
        return 2
    ours, oracle = Session("oxiformers"), Oracle(ROOT / ".venv-457/bin/python")
    total = 0
    for name, class_name in SLOW.items():
        with tempfile.TemporaryDirectory() as place:
            folder = copied(shared / "tokenizers" / name, Path(place) / "copy")
            for corpus in CORPORA:
                start = time.monotonic()
                texts = list(documents(shared / "corpora" / f"{corpus}.txt"))
                found = list(differences(ours, oracle, folder, class_name, texts))
                seconds = time.monotonic() - start
                print(
                    f"{name:32} {corpus:14} {len(texts):6} documents, {len(found)} differences {seconds:.0f} s"
                )
                print("".join(f"    {line}\n" for line in found[:5]), end="", flush=True)
                total += len(found)
    oracle.close()
    print(f"{total} differences")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
