"""Decoding a token at a time equals tokenizers' DecodeStream at every step, and in sum what decoding at once gives."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.decoders import DecodeStream

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import ArgumentError, InputTypeError
from tests.core.reference import wordpiece

RELAXED = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

CHAIN = [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
]
DECODERS: list[dict[str, Any] | None] = [
    None,
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
    {"type": "ByteFallback"},
    {"type": "Sequence", "decoders": CHAIN},
    {
        "type": "Sequence",
        "decoders": [CHAIN[1], {"type": "Fuse"}, {"type": "Strip", "content": "�", "start": 1, "stop": 0}],
    },
    {
        "type": "Sequence",
        "decoders": [{"type": "Replace", "pattern": {"String": "<"}, "content": "["}, CHAIN[1]],
    },
    {"type": "Metaspace", "replacement": "▁"},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"},
    {"type": "WordPiece", "prefix": "##", "cleanup": True},
    {"type": "BPEDecoder", "suffix": "</w>"},
    {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
]
TOKENS = [
    *(f"<0x{byte:02X}>" for byte in (0x20, 0x41, 0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0xFF)),
    *"ÃĥÂ©âĤ¬ðŁĺĢ",
    *[
        "Ġ",
        "Ġa",
        "▁",
        "▁a",
        "a",
        "##b",
        "'s",
        ".",
        "</w>",
        "a</w>",
        "<pad>",
        "|",
        "",
        "�",
        "ï¿½",
        "é",
        "日本",
    ],
]
SPECIAL = ["[X]", "<|end|>"]


def tree(decoder: Any) -> str:
    tokens = ["[UNK]", *dict.fromkeys(TOKENS)]
    found = wordpiece({token: index for index, token in enumerate(tokens)}, normalizer=None)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    found["added_tokens"] = [
        {"id": index, "content": content, **flags} for index, content in enumerate(SPECIAL, len(tokens))
    ]
    found["decoder"] = decoder
    return json.dumps(found)


@RELAXED
@given(
    decoder=st.sampled_from(DECODERS),
    prompt=st.none() | st.lists(st.integers(0, 50), max_size=5),
    steps=st.lists(st.integers(0, 50) | st.lists(st.integers(0, 50), min_size=1, max_size=4), max_size=30),
    skip=st.booleans(),
)
def test_random_steps(
    decoder: dict[str, Any] | None, prompt: list[int] | None, steps: list[int | list[int]], skip: bool
) -> None:
    text = tree(decoder)
    ours, theirs = Tokenizer.from_str(text), tokenizers.Tokenizer.from_str(text)
    found = ours.stream(skip, prompt=prompt)
    if prompt and theirs.decode(prompt, skip).endswith("�"):
        check_pieces(ours, found, prompt, steps, skip)
        return
    expected = DecodeStream(prompt, skip)
    for step in steps:
        try:
            chunk = expected.step(theirs, step)
        except Exception as error:
            if "Invalid prefix" not in str(error):
                raise
            with pytest.raises(ArgumentError):
                found.step(step)
            return
        assert found.step(step) == chunk


def check_pieces(ours: Tokenizer, found: Any, prompt: list[int], steps: list[Any], skip: bool) -> None:
    """After a prompt that ends with U+FFFD: nothing of it comes again but what was not a character yet.

    tokenizers gives the whole prompt out again.
    """
    wholes = [ours.decode(prompt[:count], skip) for count in range(len(prompt) + 1)]
    starts = wholes[max(count for count, whole in enumerate(wholes) if not whole.endswith("�")) :]
    given, ids = "", list(prompt)
    for step in steps:
        ids += step if isinstance(step, list) else [step]
        try:
            given += found.step(step) or ""
        except ArgumentError:
            return
        whole = ours.decode(ids, skip)
        assert any(whole.startswith(start + given) for start in starts), (prompt, ids, given)


@pytest.mark.parametrize(
    ("decoder", "prompt", "steps", "expected"),
    [
        ("bytes", ["a", "Ġ", "Ã"], ["©", "a"], ["é", "a"]),
        ("bytes", ["a", "Ġ", "â", "Ĥ"], ["¬", "a"], ["€", "a"]),
        ("bytes", ["â", "Ĥ"], ["¬", "a"], ["€", "a"]),
        ("bytes", ["a", "â", "Ĥ"], ["a", "a"], ["�a", "a"]),
        ("bytes", ["a", "Ĥ"], ["a"], ["a"]),
        ("bytes", ["a", "ï¿½"], ["a", "Ã", "©"], ["a", None, "é"]),
        ("bytes", ["a", "ðŁĺĢ", "[X]", "Ã", "<|end|>"], ["©"], [None]),
        ("run", ["▁a", "▁", "<0xC3>"], ["<0xA9>", "a"], ["é", "a"]),
        ("run", ["▁a", "<0xC3>", "<0xA9>", "<0xE2>", "<0x82>"], ["<0xAC>", "▁a"], ["€", " a"]),
        ("run", ["<0xF0>", "<0x9F>"], ["<0x98>", "<0x80>", "a"], [None, "😀", "a"]),
        ("run", ["▁a", "<0xFF>"], ["a"], ["a"]),
        ("run", ["▁a", "�"], ["a"], ["a"]),
        ("replaced", ["a", "<0xC3>"], ["<0xA9>", "a"], ["é", "a"]),
        ("words", ["a", "�"], ["a"], [" a"]),
        (None, ["a", "�"], ["a"], [" a"]),
    ],
)
def test_prompts_that_end_inside_a_character(
    decoder: str | None, prompt: list[str], steps: list[str], expected: list[str | None]
) -> None:
    kinds = {None: DECODERS[0], "bytes": DECODERS[1], "run": DECODERS[3], "words": DECODERS[8]}
    last = {"type": "Replace", "pattern": {"String": "x"}, "content": "y"}
    kinds["replaced"] = {"type": "Sequence", "decoders": [CHAIN[1], last]}
    ours = Tokenizer.from_str(tree(kinds[decoder]))

    def ids(tokens: list[str]) -> list[int]:
        return [index for token in tokens if (index := ours.token_to_id(token)) is not None]

    stream = ours.stream(prompt=ids(prompt))
    pieces = [stream.step(index) for index in ids(steps)]
    if "<|end|>" in prompt:  # a special token between the bytes of a character is where it ends
        assert "a" not in "".join(piece or "" for piece in pieces)
        return
    assert pieces == expected


NAMES = [
    "gpt2",
    "llama-3",
    "qwen2.5",
    "llama-2",
    "t5-small",
    "xlm-roberta-base",
    "bert-base-cased",
    "whisper-tiny",
]


@pytest.mark.parametrize("name", NAMES)
def test_real_tokenizers(name: str, shared: Path) -> None:
    path = str(shared / "tokenizers" / name / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(path)
    # Decoding asks for nothing of what is done to text.
    found_tree = json.loads(Path(path).read_text("utf-8"))
    ours = Tokenizer.from_str(json.dumps(found_tree | {"normalizer": None, "pre_tokenizer": None}))
    theirs.no_truncation()
    theirs.no_padding()
    corpora = sorted((shared / "corpora").rglob("*multilingual*"))
    lines = [
        line
        for corpus in corpora
        if corpus.is_file()
        for line in corpus.read_text("utf-8").split("\n")
        if line
    ]
    draw = random.Random(1)
    rows = [
        theirs.encode(line, add_special_tokens=False).ids for line in draw.sample(lines, min(60, len(lines)))
    ]
    rows += [[draw.randrange(theirs.get_vocab_size() + 9) for _ in range(200)] for _ in range(10)]
    for skip in (False, True):
        for row in rows:
            found, expected = ours.stream(skip), DecodeStream(skip_special_tokens=skip)
            chunks = []
            for index in row:
                try:
                    chunk = expected.step(theirs, index)
                except Exception as error:
                    if "Invalid prefix" not in str(error):
                        raise
                    with pytest.raises(ArgumentError):
                        found.step(index)
                    break
                assert found.step(index) == chunk
                chunks.append(chunk or "")
            else:
                assert ours.decode(row, skip).startswith("".join(chunks))


def test_broken_text_is_linear() -> None:
    """100,000 tokens that never become a character; quadratic work would not end."""
    for decoder in (DECODERS[1], DECODERS[3]):
        ours = Tokenizer.from_str(tree(decoder))
        byte = ours.token_to_id("<0xFF>" if decoder is DECODERS[3] else "Ã")
        assert byte is not None
        stream = ours.stream()
        assert all(stream.step(byte) is None for _ in range(100_000))
        assert stream.step([ours.token_to_id("a") or 0]) == "�" * 100_000 + "a"
    ours = Tokenizer.from_str(tree(DECODERS[10]))
    pad = ours.token_to_id("<pad>") or 0
    stream = ours.stream()
    assert all(stream.step(pad) is None for _ in range(100_000))
    special = ours.with_added_tokens([AddedToken("<s>", special=True)])
    stream, skipped = special.stream(True), special.token_to_id("<s>")
    assert skipped is not None and all(stream.step(skipped) is None for _ in range(100_000))


def test_arguments_and_copies() -> None:
    ours = Tokenizer.from_str(tree(None))
    a = ours.token_to_id("a")
    assert a is not None
    stream = ours.stream()
    with pytest.raises(ArgumentError) as caught:
        stream.step(-1)
    assert caught.value.key == "id"
    with pytest.raises(InputTypeError) as refused:
        stream.step([a, 1.5])  # type: ignore[list-item]
    assert refused.value.key == "id[1]"
    with pytest.raises(InputTypeError):
        stream.step("a")  # type: ignore[arg-type]
    with pytest.raises(InputTypeError):
        ours.stream(prompt=["a"])  # type: ignore[list-item]
    assert stream.step(a) == "a"
    other, deep = copy.copy(stream), copy.deepcopy(stream)
    assert stream.step(a) == other.step((a,)) == deep.step([a]) == " a"
    assert ours.stream(prompt=[a]).step(a) == " a"
    assert stream.step([]) is None
