"""One tokenizer, many threads and processes: nothing is state, and the interpreter runs while it encodes."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oxiformers._core import AddedToken, Encoding, Tokenizer
from tests.core.test_tokenizer_random import base

WORDS = ["un", "able", "unaffable", "foo", "new", "york", "a", "b", "漢", "[MASK]", ",", "zzz", "É"]


def _wordpiece() -> Tokenizer:
    return Tokenizer.from_str(base(0, "BertPreTokenizer", 0))


def _bytelevel_bpe() -> Tokenizer:
    """Every byte, and some merges on top."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = [chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)]
    merges = [
        ("u", "n"),
        ("a", "b"),
        ("l", "e"),
        ("ab", "le"),
        ("Ġ", "un"),
        ("Ġ", "a"),
        ("f", "f"),
        ("o", "o"),
        ("y", "o"),
    ]
    tokens = dict.fromkeys([*letters, *("".join(pair) for pair in merges)])
    vocab = {token: index for index, token in enumerate(tokens)}
    components = {
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        }
    }
    return Tokenizer.from_bpe(vocab, merges, components=json.dumps(components))


def _bpe() -> Tokenizer:
    """Words that start with `▁`, unknown characters as bytes."""
    merges = [("u", "n"), ("▁", "un"), ("a", "b"), ("l", "e"), ("ab", "le"), ("o", "o"), ("▁", "f")]
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abeflnou", *map("".join, merges)]
    vocab = {token: index for index, token in enumerate(tokens)}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    components = {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}
    }
    return Tokenizer.from_bpe(
        vocab, merges, components=json.dumps(components), unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )


def _unigram() -> Tokenizer:
    pieces = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("▁un", -3.0),
        ("able", -3.5),
        ("aff", -4.0),
        *((c, -5.0) for c in "abefklnorwyz"),
    ]
    scheme = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return Tokenizer.from_unigram(pieces, unk_id=0, components=json.dumps({"pre_tokenizer": scheme}))


@pytest.fixture(
    scope="module", params=[_wordpiece, _bytelevel_bpe, _bpe, _unigram], ids=lambda build: build.__name__[1:]
)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    build: Callable[[], Tokenizer] = request.param
    return build()


def test_calls_do_not_see_each_other(tokenizer: Tokenizer) -> None:
    """8 threads with options of their own: 10,000 calls, each with the answer it has alone."""
    draw = random.Random(5)

    def job() -> tuple[list[str], dict[str, Any], Any]:
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(0, 30))) for _ in range(draw.randint(1, 4))]
        options: dict[str, Any] = {"add_special_tokens": draw.random() < 0.5}
        if draw.random() < 0.8:
            options |= {"truncation": "longest_first", "max_length": draw.randint(3, 20)}
            options["truncation_side"] = draw.choice(["left", "right"])
        if draw.random() < 0.8:
            options |= {"padding": "longest", "padding_side": draw.choice(["left", "right"])}
            options["pad_to_multiple_of"] = draw.choice([None, 4])
        return texts, options, tokenizer.encode_batch_lists(texts, **options)

    jobs = [job() for _ in range(10_000)]

    def wrong(thread: int) -> int:
        return sum(
            tokenizer.encode_batch_lists(texts, **options) != found
            for texts, options, found in jobs[thread::8]
        )

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(wrong, range(8))) == 0


def test_the_interpreter_runs_meanwhile(tokenizer: Tokenizer) -> None:
    """Another thread goes on while a long batch is encoded."""
    texts = [" ".join(WORDS * 200)] * 400
    worker = threading.Thread(target=tokenizer.encode_batch_packed, args=(texts,))
    # Where the lock is held for the whole call, this thread gets it once the call is over.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        worker.start()
        steps = 0
        while worker.is_alive():
            steps += 1
    finally:
        sys.setswitchinterval(interval)
        worker.join()
    assert steps > 1000


def test_changing_the_batch_meanwhile(tokenizer: Tokenizer) -> None:
    """Every row is that of some text the list held: what is read stays alive, whatever leaves the list."""
    texts = [" ".join(WORDS * 5) + str(index) for index in range(500)]
    others = [f"other {index}" for index in range(500)]
    possible = {tuple(row) for row in tokenizer.encode_batch_lists(texts + others)["input_ids"]}
    shared = [*texts]
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            shared.clear()
            shared.extend(f"other {index}" for index in range(500))
            shared[:] = [" ".join(WORDS * 5) + str(index) for index in range(500)]

    thread = threading.Thread(target=churn)
    thread.start()
    rows: list[list[int]] = []
    end = time.monotonic() + 60  # a call may find the list empty, so they are counted by what they found
    while len(rows) < 20_000 and time.monotonic() < end:
        rows += tokenizer.encode_batch_lists(shared)["input_ids"]
    stop.set()
    thread.join()
    assert len(rows) >= 20_000 and {tuple(row) for row in rows} <= possible


@pytest.mark.parametrize("count", ["1", "2", "5", "0", "many"])
def test_number_of_threads(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    texts = [" ".join(WORDS[index % 7 :] * 30) for index in range(300)]
    expected = tokenizer.encode_batch_packed(texts)
    monkeypatch.setenv("OXIFORMERS_NUM_THREADS", count)
    found = tokenizer.encode_batch_packed(texts)
    for key, values in expected.items():
        assert values.tolist() == found[key].tolist()
    assert [e.ids for e in tokenizer.encode_batch(texts)] == tokenizer.encode_batch_lists(texts)["input_ids"]


def test_parallelism_can_be_turned_off(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(WORDS * 50)] * 200
    expected = tokenizer.encode_batch_packed(texts)["input_ids"].tolist()
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert tokenizer.encode_batch_packed(texts)["input_ids"].tolist() == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_goes_on(tokenizer: Tokenizer) -> None:
    texts = [" ".join(WORDS * 50)] * 300
    expected = tokenizer.encode_batch_packed(texts)["input_ids"].tolist()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child() -> None:
        queue.put(tokenizer.encode_batch_packed(texts)["input_ids"].tolist())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        process = context.Process(target=child)
        process.start()
    assert queue.get() == expected
    process.join(10)
    assert process.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_data_loaders_with_forked_workers(tokenizer: Tokenizer) -> None:
    from torch.utils.data import DataLoader

    texts = [" ".join(WORDS[index % 5 :]) * (1 + index % 9) for index in range(200)]
    # Threads have run and words are remembered before the workers are forked.
    expected = tokenizer.encode_batch_lists(texts)["input_ids"]

    def rows(batch: list[str]) -> list[list[int]]:
        found: list[list[int]] = tokenizer.encode_batch_lists(batch)["input_ids"]
        return found

    # datasets may be any list
    loader: DataLoader[Any] = DataLoader(
        texts,  # type: ignore[arg-type]
        batch_size=8,
        num_workers=2,
        collate_fn=rows,
        multiprocessing_context="fork",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [row for batch in loader for row in batch] == expected


def test_pickles(tokenizer: Tokenizer) -> None:
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.to_str() == tokenizer.to_str()
    token = AddedToken("x", special=True)
    assert pickle.loads(pickle.dumps(token)) == token and str(token) == "x"
    assert not token.normalized and AddedToken("x").normalized and not AddedToken("x").as_special().normalized
    assert AddedToken("x", normalized=True).as_special().normalized
    assert token != AddedToken("x") and hash(token) == hash(AddedToken("x")) and token != "x"
    assert repr(AddedToken("x", lstrip=True)) == (
        "AddedToken('x', rstrip=False, lstrip=True, single_word=False, normalized=True, special=False)"
    )
    (encoding,) = tokenizer.encode_batch(
        ["unaffable new York [MASK] b"],
        ["É"],
        truncation="longest_first",
        max_length=8,
        padding="max_length",
        return_overflowing=True,
    )
    copy = pickle.loads(pickle.dumps(encoding))

    def content(found: Encoding) -> list[Any]:
        names = ("ids", "type_ids", "tokens", "offsets", "attention_mask", "special_tokens_mask", "word_ids")
        more = [found.sequence_ids, found.n_sequences, [content(part) for part in found.overflowing]]
        return [getattr(found, name) for name in names] + more

    assert content(copy) == content(encoding) and copy.overflowing
