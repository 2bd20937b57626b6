"""Byte-pair encoding beside tokenizers': ids, tokens and places on random models, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from oxiformers._core import Tokenizer, read_merges, read_tiktoken
from oxiformers.errors import ArgumentError, FormatError, UnsupportedError

MANY = settings(max_examples=400, deadline=None)
ALPHABETS = ("ab", "abc", "abé中", "aé中😀x", " ab▁", "ab<>")


def _learn(words: list[list[str]], steps: int, cut: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and merges that training on words of symbols gives: the most frequent pair, over and over."""
    vocab = {symbol: 0 for word in words for symbol in word}
    merges = []
    for _ in range(steps):
        counts: dict[tuple[str, str], int] = {}
        for word in words:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        best = max(counts, key=lambda pair: counts[pair])
        merged = best[0] + best[1][cut:]
        merges.append(best)
        vocab.setdefault(merged, 0)
        for index, word in enumerate(words):
            joined: list[str] = []
            for symbol in word:
                if joined and (joined[-1], symbol) == best:
                    joined[-1] = merged
                else:
                    joined.append(symbol)
            words[index] = joined
    return {token: index for index, token in enumerate(vocab)}, merges


@dataclass
class _Case:
    model: dict[str, Any]
    texts: list[str]
    # Printed by hypothesis where a case fails.
    file: str = field(init=False)

    def __post_init__(self) -> None:
        self.file = json.dumps({"version": "1.0", "model": self.model})


@st.composite
def _cases(draw: st.DrawFn) -> _Case:
    alphabet = draw(st.sampled_from(ALPHABETS))
    prefix = draw(st.sampled_from(["", "", "", "##", "a"]))
    suffix = draw(st.sampled_from(["", "", "", "</w>", "a"]))
    known = st.text(alphabet=alphabet, min_size=1, max_size=8)
    words = [
        [
            (prefix if at else "") + letter + (suffix if at == len(word) - 1 else "")
            for at, letter in enumerate(word)
        ]
        for word in draw(st.lists(known, min_size=1, max_size=12))
    ]
    vocab, merges = _learn(words, draw(st.integers(0, 25)), len(prefix))
    if draw(st.booleans()):
        merges = draw(st.permutations(merges))
    # Merges nobody would learn, and repeated ones.
    for _ in range(draw(st.integers(0, 4))):
        left, right = draw(st.sampled_from(sorted(vocab))), draw(st.sampled_from(sorted(vocab)))
        if right.startswith(prefix):
            vocab.setdefault(left + right[len(prefix) :], len(vocab))
            merges.insert(draw(st.integers(0, len(merges))), (left, right))
    unknown = draw(st.sampled_from([None, None, "<unk>", "a", "", "<missing>"]))
    if unknown not in (None, "<missing>"):
        vocab.setdefault(unknown, len(vocab))
    fallback = draw(st.booleans())
    if fallback:
        absent = draw(st.sets(st.sampled_from(["<0x78>", "<0xC3>", "<0x61>", "<0x80>"])))
        for token in (f"<0x{byte:02X}>" for byte in range(256)):
            if token not in absent:
                vocab.setdefault(token, len(vocab))
    if draw(st.integers(0, 9)) == 0:
        vocab.pop(draw(st.sampled_from(sorted(vocab))))
    stretch, shift = draw(st.sampled_from([(1, 0), (1, 0), (7, 3), (1, 2**22)]))
    vocab = {token: index * stretch + shift for token, index in vocab.items()}
    spaced = any(" " in token for pair in merges for token in pair)
    model: dict[str, Any] = {
        "type": "BPE",
        "dropout": draw(st.sampled_from([None, 0, 0.0])),
        "unk_token": unknown,
        "continuing_subword_prefix": prefix or draw(st.sampled_from([None, ""])),
        "end_of_word_suffix": suffix or draw(st.sampled_from([None, ""])),
        "fuse_unk": draw(st.booleans()),
        "byte_fallback": fallback,
        "ignore_merges": draw(st.booleans()),
        "vocab": vocab,
        "merges": [list(pair) for pair in merges]
        if spaced or draw(st.booleans())
        else ["#version: 0.2", *(" ".join(pair) for pair in merges)],
    }
    left_out = draw(st.sets(st.sampled_from(sorted(model.keys() - {"type", "vocab", "merges"}))))
    model = {key: value for key, value in model.items() if value or key not in left_out}
    letters = st.sampled_from(alphabet + "xé\n😀")
    texts = draw(st.lists(st.text(alphabet=letters, max_size=14), min_size=3, max_size=8))
    # Long words are merged in other ways, from 129 and from 4096 symbols on.
    part = draw(st.text(alphabet=st.sampled_from(alphabet), min_size=1, max_size=10))
    long = part * (draw(st.sampled_from([130, 200, 4200])) // len(part) + 1)
    return _Case(model, [*texts, *vocab, long + draw(known) + long[: draw(st.integers(0, 300))]])


def _loaded(file: str) -> tokenizers.Tokenizer | None:
    """None where tokenizers refuses the file, be it by a panic of its own."""
    try:
        return tokenizers.Tokenizer.from_str(file)
    except BaseException as error:
        if type(error).__name__ not in ("Exception", "PanicException"):
            raise
        return None


def _encoded(reference: tokenizers.Tokenizer, text: str) -> tuple[Any, ...] | None:
    """None where the unknown token is needed and missing."""
    try:
        encoding = reference.encode(text, add_special_tokens=False)
    except Exception as error:
        if "Unk token" not in str(error):
            raise
        return None
    return encoding.ids, encoding.tokens, encoding.offsets


@MANY
@given(_cases())
def test_random_models(case: _Case) -> None:
    reference = _loaded(case.file)
    if reference is None:
        with pytest.raises(FormatError):
            Tokenizer.from_str(case.file)
        return
    ours = Tokenizer.from_str(case.file)
    for text in case.texts:
        expected = _encoded(reference, text)
        if expected is None:
            with pytest.raises(ArgumentError, match="unk_token"):
                ours.encode_batch([text])
            continue
        encoding = ours.encode_batch([text], add_special_tokens=False)[0]
        assert (encoding.ids, encoding.tokens, encoding.offsets) == expected, (case, text)
        assert ours.encode_batch_lists([text], add_special_tokens=False)["input_ids"] == [expected[0]]
    assert json.loads(ours.to_str())["model"] == json.loads(reference.to_str())["model"]


def _model(**changed: Any) -> str:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]], **changed}
    return json.dumps(
        {"version": "1.0", "model": {key: value for key, value in model.items() if value != "absent"}}
    )


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"type": "absent"},
        {"type": "absent", "merges": ["#version: 0.2", "a b"]},
        {"merges": []},
        {"merges": ["a b", ["a", "b"]]},
        {"merges": [["a", "b"], "a b"]},
        {"merges": [["a", "b", "c"]]},
        {"merges": ["a  b"]},
        {"merges": ["a"]},
        {"merges": [" ab"], "vocab": {"": 0, "ab": 1}},
        {"merges": "absent"},
        {"merges": None},
        {"vocab": "absent"},
        {"vocab": {}},
        {"vocab": {}, "merges": []},
        {"vocab": {"a": -1, "b": 1, "ab": 2}},
        {"vocab": {"a": 1.5, "b": 1, "ab": 2}},
        {"vocab": {"a": 2**32, "b": 1, "ab": 2}},
        {"vocab": {"a": "0", "b": 1, "ab": 2}},
        {"fuse_unk": None},
        {"fuse_unk": "yes"},
        {"byte_fallback": None, "ignore_merges": None},
        {"unk_token": 5},
        {"continuing_subword_prefix": "b"},
        {"end_of_word_suffix": 1},
        {"dropout": 1.5},
        {"dropout": -0.5},
        {"unheard_of": [1]},
    ],
)
def test_what_is_read_and_what_is_refused(changed: Mapping[str, Any]) -> None:
    file = _model(**changed)
    reference = _loaded(file)
    if reference is None:
        with pytest.raises(FormatError):
            Tokenizer.from_str(file)
        return
    ours = Tokenizer.from_str(file)
    assert ours.vocab() == reference.get_vocab()
    assert ours.encode_batch(["abba"])[0].tokens == reference.encode("abba").tokens
    assert json.loads(ours.to_str()) == json.loads(reference.to_str())


def test_merging_at_random_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="dropout"):
        Tokenizer.from_str(_model(dropout=0.1))


def test_two_tokens_with_one_id_are_refused() -> None:
    # Which of them tokenizers gives back for the id differs from one process to the next.
    with pytest.raises(FormatError, match="an id for each token"):
        Tokenizer.from_str(_model(vocab={"a": 0, "b": 0, "ab": 1}))
    with pytest.raises(ArgumentError, match="an id for each token"):
        Tokenizer.from_bpe({"a": 0, "b": 0}, [])


def test_repeated_keys() -> None:
    file = '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "a": 2}, "merges": []}, "version": "1.0"}'
    ours, reference = Tokenizer.from_str(file), tokenizers.Tokenizer.from_str(file)
    assert ours.vocab() == reference.get_vocab() == {"a": 2, "b": 1}
    assert ours.encode_batch(["ab"])[0].ids == reference.encode("ab").ids == [2, 1]


def test_merges_files(tmp_path: Path) -> None:
    vocab = {token: index for index, token in enumerate(["a", "b", "#", "ab", "##", "é", "éa"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    path = tmp_path / "merges.txt"
    path.write_bytes("#version: 0.2\r\na b\r\n# #\r\né a\r\n".encode())
    reference = tokenizers.models.BPE.from_file(str(tmp_path / "vocab.json"), str(path))
    merges = read_merges(str(path))
    assert merges == [("a", "b"), ("#", "#"), ("é", "a")]
    ours = Tokenizer.from_bpe(vocab, merges)
    expected = tokenizers.Tokenizer(reference).encode("ab##éab#")
    assert ours.encode_batch(["ab##éab#"])[0].tokens == expected.tokens
    path.write_text("#version: 0.2\na b\n\na b c\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"merges.txt: line 4: expected two tokens"):
        read_merges(str(path))


def test_merges_file_of_gpt2(shared: Path) -> None:
    folder = shared / "tokenizers" / "gpt2"
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    assert [" ".join(pair) for pair in read_merges(str(folder / "merges.txt"))] == model["merges"]


@pytest.mark.parametrize(
    ("name", "file"), [("llama-3", "tokenizer.model"), ("whisper-tiny", "multilingual.tiktoken")]
)
def test_tiktoken_files(name: str, file: str, shared: Path) -> None:
    folder = shared / "tokenizers" / name
    vocab, merges = read_tiktoken(str(folder / file))
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if name == "llama-3":
        assert vocab == model["vocab"]
        assert [" ".join(pair) for pair in merges] == model["merges"]
        return
    # Here tokenizer.json was made of merges.txt, in another order; every merge must be among those found.
    assert {tuple(merge.split(" ")) for merge in model["merges"]} <= set(merges)
    assert all(model["vocab"][token] == index for token, index in vocab.items() if token)


def test_tiktoken_files_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "tokens.tiktoken"
    for content, place in [
        ("YQ== 0\nYg==\n", "line 2"),
        ("YQ== 0\n\nY!== 1", "line 3"),
        ("YQ== -1", "line 1"),
        ("YQ== 0\nYg== 0\n", "the file"),
    ]:
        path.write_text(content, encoding="utf-8")
        with pytest.raises(FormatError, match=rf"tokens.tiktoken: {place}: "):
            read_tiktoken(str(path))
