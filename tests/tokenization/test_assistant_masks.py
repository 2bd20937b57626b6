"""Assistant masks say of each token whether it holds a character of what the assistant said, in every place of a chat.

The references go wrong on most of these: the right value is stated here.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from oxiformers.errors import ArgumentError
from oxiformers.tokenization import PreTrainedTokenizerFast, tokenizer_class

#: What the assistant said stands between nothing and a bar, so that a chat may begin and end with it.
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}{{ message.content }}"
    "{% endgeneration %}{% else %}{{ message.content }}{% endif %}{% endfor %}"
)
CHATS = {
    "first token": ["", "Yes", " and then?", "No"],
    "nothing said": ["Hi", "", "again", "  ", " and", ""],
    "white space at the end": ["Hi?", "yes  ", "again!", "no\n", "end"],
    "white space at the start": ["Hi?", "  yes", "again!", "\nno", "end"],
    "characters of several tokens": ["Hi?", "so 🌶", " or?", "🌶🌶", "日本"],
    "one token across": ["hel", "lo wor", "ld"],
    "one token across two turns": ["hel", "l", "", "o", "x"],
}
FOLDERS = ["gpt2", "roberta-base", "bert-base-uncased", "t5-small", "mistral-7b-v0.1"]


@pytest.fixture(scope="module")
def loaded(shared: Path) -> dict[str, PreTrainedTokenizerFast]:
    tokenizers = {}
    for name in FOLDERS:
        cls = {"bert-base-uncased": "BertTokenizer", "roberta-base": "RobertaTokenizer"}.get(name)
        found = tokenizer_class(cls) if cls else PreTrainedTokenizerFast
        assert found is not None
        tokenizers[name] = tokenizer = found.from_pretrained(shared / "tokenizers" / name)
        tokenizer.chat_template = TEMPLATE
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    return tokenizers


def conversation(turns: list[str]) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[index % 2], "content": turn} for index, turn in enumerate(turns)]


def said(turns: list[str]) -> set[int]:
    """The characters of the text that the assistant said."""
    characters: set[int] = set()
    start = 0
    for index, turn in enumerate(turns):
        if index % 2:
            characters |= set(range(start, start + len(turn)))
        start += len(turn)
    return characters


def expected(turns: list[str], offsets: Any) -> list[int]:
    return [int(bool(said(turns) & set(range(*place)))) for place in offsets]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("turns", CHATS.values(), ids=CHATS)
@pytest.mark.parametrize("special", [False, True])
def test_each_token_alone(name: str, turns: list[str], special: bool, loaded: Any) -> None:
    tokenizer = loaded[name]
    options: dict[str, Any] = {"return_offsets_mapping": True, "add_special_tokens": special}
    batch = tokenizer.apply_chat_template(
        conversation(turns), return_assistant_tokens_mask=True, tokenizer_kwargs=options
    )
    mask, offsets = batch["assistant_masks"], batch["offset_mapping"]
    # what was trimmed to nothing is looked at below
    assert [bit for bit, (start, end) in zip(mask, offsets, strict=True) if start < end] == expected(
        turns, [place for place in offsets if place[0] < place[1]]
    )
    text = "".join(turns)
    for bit, (start, end) in zip(mask, offsets, strict=True):
        if start == end:
            assert bit == (end > 0 and text[end - 1].isspace() and end - 1 in said(turns))


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_and_padding(name: str, side: str, loaded: Any) -> None:
    """What is left of a span counts on either side, and all spans that are left whole."""
    tokenizer = copy.deepcopy(loaded[name])
    tokenizer.truncation_side = tokenizer.padding_side = side
    turns = ["one", "two three", "four", "five six", "seven", "eight nine ten"]
    chats = [conversation(turns), conversation(turns[:2])]
    for length in range(1, 12):
        batch = tokenizer.apply_chat_template(
            chats,
            truncation=True,
            padding="max_length",
            max_length=length,
            return_assistant_tokens_mask=True,
            tokenizer_kwargs={"return_offsets_mapping": True},
        )
        for row, (mask, offsets) in enumerate(
            zip(batch["assistant_masks"], batch["offset_mapping"], strict=True)
        ):
            assert mask == expected(turns[: 2 if row else 6], offsets)
            assert len(mask) == length


def test_parts_cut_off(loaded: Any) -> None:
    """Each row that a conversation overflows into has the spans of its conversation."""
    tokenizer = loaded["gpt2"]
    all_turns = [["a b", " c d", " e f", " g h"], ["", "Yes no yes no yes"]]
    options = {"return_offsets_mapping": True, "return_overflowing_tokens": True, "stride": 1}
    common: dict[str, Any] = {"truncation": True, "max_length": 3, "return_assistant_tokens_mask": True}
    batch = tokenizer.apply_chat_template(
        [conversation(turns) for turns in all_turns], tokenizer_kwargs=options, **common
    )
    assert len(batch["assistant_masks"]) == len(batch["input_ids"]) > 2
    for mask, offsets, source in zip(
        batch["assistant_masks"], batch["offset_mapping"], batch["overflow_to_sample_mapping"], strict=True
    ):
        assert mask == expected(all_turns[source], offsets)
    alone = tokenizer.apply_chat_template(conversation(all_turns[0]), tokenizer_kwargs=options, **common)
    assert alone["assistant_masks"] == batch["assistant_masks"][: len(alone["input_ids"])]
    tensors = tokenizer.apply_chat_template(
        conversation(all_turns[1]),
        tokenizer_kwargs=options,
        padding="max_length",
        return_tensors="pt",
        **common,
    )
    assert tensors["assistant_masks"].shape == tensors["input_ids"].shape


def test_a_tokenizer_without_offsets() -> None:
    cls = tokenizer_class("CanineTokenizer")
    assert cls is not None
    with pytest.raises(
        ArgumentError, match="return_assistant_tokens_mask: expected a tokenizer that returns"
    ):
        cls(chat_template=TEMPLATE).apply_chat_template(
            conversation(["a", "b"]), return_assistant_tokens_mask=True
        )
