"""Decoding a token at a time by the class users hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxiformers.tokenization import PreTrainedTokenizerFast

TEXT = "Naïve café, 日本語 👍🏽 — don't <|eot_id|>stop."


@pytest.mark.parametrize("name", ["llama-3", "gpt2", "t5-small", "qwen2.5"])
def test_the_pieces_are_the_whole(name: str, shared: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(shared / "tokenizers" / name)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    for skip in (False, True):
        stream = tokenizer.decode_stream(skip_special_tokens=skip)
        pieces = [stream.step(index) for index in ids]
        whole = tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
        assert "".join(piece or "" for piece in pieces) == whole
        assert not any("�" in piece for piece in pieces if piece)
        # after a prompt only what comes then is given out
        stream = tokenizer.decode_stream(skip, prompt_ids=ids[:3])
        before = tokenizer.decode(ids[:3], skip_special_tokens=skip, clean_up_tokenization_spaces=False)
        if not before.endswith("�"):
            assert before + "".join(stream.step(index) or "" for index in ids[3:]) == whole


@pytest.mark.parametrize("name", ["gpt2", "llama-2"])
def test_every_prompt(name: str, shared: Path) -> None:
    """Wherever a prompt ends, what comes after it is what a stream gives that was led through the prompt."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(shared / "tokenizers" / name)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    whole = tokenizer.decode_stream()
    pieces = [whole.step(index) for index in ids]
    for count in range(len(ids)):
        stream = tokenizer.decode_stream(prompt_ids=ids[:count])
        assert [stream.step(index) for index in ids[count:]] == pieces[count:]


def test_a_prompt_that_ends_inside_a_character(shared: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(shared / "tokenizers" / "gpt2")
    ids = tokenizer("Hello world 🌶 chili")["input_ids"]
    stream = tokenizer.decode_stream(prompt_ids=ids[:4])
    assert [stream.step(index) for index in ids[4:]] == [" 🌶", " chili"]
