"""Offsets are all characters of a token, whatever space was put in front of its word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import oxiformers

TEXT = "Hello wörld, it's 42 日本"
WORDS = ["Hello", "wörld,", "it's", "42", "日本", "x"]


def pieces(batch: Any, text: str | list[str]) -> list[tuple[str, str]]:
    """Each token with the characters it is said to be, without what is white space to byte-level tokens."""
    found = []
    for token, word, (start, end) in zip(
        batch.tokens(), batch.word_ids(), batch["offset_mapping"], strict=True
    ):
        source = text[word] if isinstance(text, list) else text
        found.append((token.removeprefix("Ġ"), source[start:end].strip(" ")))
    return found


@pytest.mark.parametrize("name", ["gpt2", "roberta-base", "modernbert-base"])
@pytest.mark.parametrize("added", [[], ["<dev>"]])
def test_a_prefix_space_on_the_generic_class(name: str, added: list[str], shared: Path) -> None:
    """The offsets with `add_prefix_space=True` are those without it, but for what the space itself changes."""
    folder = shared / "tokenizers" / name
    tokenizer = oxiformers.PreTrainedTokenizerFast.from_pretrained(folder, add_prefix_space=True)
    tokenizer.add_tokens(added)
    options: dict[str, Any] = {"add_special_tokens": False, "return_offsets_mapping": True}
    text = "<dev>".join([TEXT, TEXT]) if added else TEXT
    for batch, source in (
        (tokenizer(text, **options), text),
        (tokenizer(WORDS, is_split_into_words=True, **options), WORDS),
    ):
        for token, span in pieces(batch, source):
            if token.isascii():
                assert token in (span, "")
            else:
                assert span and span in "".join(source)


@pytest.mark.parametrize("cls", ["RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"])
@pytest.mark.parametrize("add_prefix_space", [False, True])
def test_the_first_word_after_an_added_token(cls: str, add_prefix_space: bool, shared: Path) -> None:
    folder = shared / "tokenizers" / "roberta-base"
    tokenizer = getattr(oxiformers, cls).from_pretrained(folder, add_prefix_space=add_prefix_space)
    tokenizer.add_tokens(["<dev>"])
    for text in ("<dev>BMS", "a<dev>BMS", "<dev>BMS is<dev>it", "<dev> BMS", "<mask>BMS", "B <mask> MS"):
        batch = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        spans = [text[start:end].strip() for start, end in batch["offset_mapping"]]
        assert [token.removeprefix("Ġ").strip() for token in batch.tokens()] == spans
