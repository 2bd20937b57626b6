"""Tokenizers of every algorithm on every corpus: ids in bulk against every peer, full detail and loading against one.

Documents are those of the other benchmarks, about a quarter of a megabyte of each corpus. A peer whose ids differ from
those of tokenizers is not timed; how many documents differ is kept. Every library uses all cores through its own batch
call. "warm" calls come after one with the same texts (several of the libraries remember words, ours among them);
"first" calls are made on tokenizers just loaded.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator

import tokenizers

from benches.python.common import Case, documents, shared
from benches.python.tokenizer_peers import PEERS, Encode, lists, oxiformers
from oxiformers._core import Tokenizer

TESTS = ("tests/core/test_component_pipelines.py",)

TOKENIZERS = {
    "bert-base-uncased": "WordPiece",
    "gpt2": "byte-level BPE",
    "llama-3": "byte-level BPE",
    "gpt-oss-o200k": "byte-level BPE",
    "qwen2.5": "byte-level BPE, NFC",
    "clip-vit-base-patch32": "BPE with </w>",
    "llama-2": "SentencePiece BPE",
    "t5-small": "Unigram",
    "xlm-roberta-base": "Unigram",
    "albert-base-v2": "Unigram",
}
CORPORA = ("english.txt", "code.txt", "multilingual.txt", "cjk.txt", "short.txt")
BYTES = 1 << 18
#: Words come again in the one, and hardly in the other.
FIRST = ("english.txt", "cjk.txt")
REPETITIONS = 5


def cases() -> Iterator[Case]:
    yield _threads()
    for name, algorithm in TOKENIZERS.items():
        path = str(shared(f"tokenizers/{name}/tokenizer.json"))
        details: dict[str, object] = {"tokenizer": name, "algorithm": algorithm}
        yield Case(
            f"load, {name}",
            {
                "oxiformers": lambda path=path: Tokenizer.from_file(path),
                "tokenizers": lambda path=path: tokenizers.Tokenizer.from_file(path),
            },
            details,
        )
        loaded = dict(_loaded(path))
        for corpus in CORPORA:
            texts = _texts(corpus)
            size = {"texts": len(texts), "bytes": sum(len(text.encode()) for text in texts)}
            expected = list(lists(loaded["tokenizers"](texts)))
            differing: dict[str, int] = {}
            sides: dict[str, Callable[[], object]] = {}
            for peer, encode in loaded.items():
                wrong = _differing(encode, texts, expected)
                if wrong:
                    differing[peer] = wrong
                    assert peer != "oxiformers", f"{name}, {corpus}: {wrong} documents differ"
                else:
                    sides[peer] = lambda encode=encode, texts=texts: encode(texts)
            facts = {**details, **size, "corpus": corpus, "documents_that_differ": differing}
            yield Case(f"ids, {name}, {corpus}, warm", sides, facts, repetitions=REPETITIONS)
            if corpus in FIRST:
                yield _first(name, path, corpus, texts, {**details, **size, "corpus": corpus})
        yield _detailed(name, path, details)


def _threads() -> Case:
    """One tokenizer shared by two threads that encode half of the texts each, no other threads allowed."""
    tokenizer = Tokenizer.from_file(str(shared("tokenizers/gpt2/tokenizer.json")))
    texts = [text for corpus in CORPORA for text in _texts(corpus)]
    halves = [texts[0::2], texts[1::2]]

    def encode(part: list[str]) -> None:
        tokenizer.encode_batch(part)

    def alone() -> None:
        for half in halves:
            encode(half)

    def together() -> None:
        threads = [threading.Thread(target=encode, args=(half,)) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def single(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            before = os.environ.get("OXIFORMERS_NUM_THREADS")
            os.environ["OXIFORMERS_NUM_THREADS"] = "1"
            try:
                work()
            finally:
                del os.environ["OXIFORMERS_NUM_THREADS"]
                if before is not None:
                    os.environ["OXIFORMERS_NUM_THREADS"] = before

        return run

    sides: dict[str, Callable[[], object]] = {"oxiformers": single(together), "one thread": single(alone)}
    details: dict[str, object] = {"tokenizer": "gpt2", "algorithm": "byte-level BPE"}
    return Case("two threads sharing a tokenizer, gpt2, five corpora", sides, details)


def _texts(corpus: str) -> list[str]:
    chosen, size = [], 0
    for text in documents(corpus):
        chosen.append(text)
        size += len(text.encode())
        if size >= BYTES:
            break
    return chosen


def _loaded(path: str) -> Iterator[tuple[str, Encode]]:
    yield "oxiformers", oxiformers(path)
    for peer, load in PEERS.items():
        # What a library can't load is not in the comparison; some say so on the standard output.
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            yield peer, load(path)


def _differing(encode: Encode, texts: list[str], expected: list[list[int]]) -> int:
    """How many documents get other ids; all of them where the library fails."""
    try:
        found = list(lists(encode(texts)))
    except Exception:  # noqa: BLE001 -- whatever a library raises, it did not encode the texts
        return len(texts)
    if len(found) != len(expected):
        return len(texts)
    return sum(one != other for one, other in zip(found, expected, strict=True))


def _first(name: str, path: str, corpus: str, texts: list[str], details: dict[str, object]) -> Case:
    """Each call takes a tokenizer that has seen no text."""

    def fresh(load: Callable[[str], Encode]) -> Callable[[], object]:
        # One for the call that warms the machine up.
        waiting = [load(path) for _ in range(REPETITIONS + 1)]
        return lambda: waiting.pop()(texts)

    sides = {"oxiformers": fresh(oxiformers), "tokenizers": fresh(PEERS["tokenizers"])}
    return Case(f"ids, {name}, {corpus}, first", sides, details, repetitions=REPETITIONS)


def _detailed(name: str, path: str, details: dict[str, object]) -> Case:
    ours, theirs = Tokenizer.from_file(path), tokenizers.Tokenizer.from_file(path)
    theirs.no_padding()
    theirs.no_truncation()
    texts = [text for corpus in CORPORA for text in _texts(corpus)[: 200 if corpus != "short.txt" else 2000]]
    for mine, other in zip(ours.encode_batch(texts), theirs.encode_batch(texts), strict=True):
        assert mine.ids == other.ids and mine.offsets == other.offsets
    sides = {
        "oxiformers": lambda: ours.encode_batch(texts),
        "tokenizers encode_batch": lambda: theirs.encode_batch(texts),
    }
    return Case(
        f"ids, offsets, words and masks, {name}, all corpora", sides, details, repetitions=REPETITIONS
    )
