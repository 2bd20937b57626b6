"""merges.txt in every form that tools write: no merge is lost, whatever the file begins and ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import oxiformers

HEADERS = ["#version: 0.2\n", "", "\n#version: 0.2\r\n", "\ufeff#version: 0.2 - trained elsewhere\n"]
ENDS = ["", "\n", "\r\n", "\n\n"]
PLAIN = {
    "vocab": ["a", "b", "c", "#version", "x", "ab", "abc", "#versionx", "<|endoftext|>", "<unk>"],
    "merges": ["a b", "#version x", "ab c"],
}
#: CLIP and HerBERT mark the end of a word.
MARKED = {
    "vocab": ["a", "b", "c</w>", "ab", "abc</w>", "<unk>", "<|endoftext|>", "<|startoftext|>"],
    "merges": ["a b", "ab c</w>"],
}
CLASSES: list[tuple[str, dict[str, Any], str]] = [
    *((name, PLAIN, "abc") for name in ("GPT2Tokenizer", "RobertaTokenizer", "Qwen2Tokenizer")),
    *((name, PLAIN, "abc") for name in ("BartTokenizer", "CodeGenTokenizer", "DebertaTokenizer")),
    *((name, PLAIN, "abc") for name in ("LongformerTokenizer", "LEDTokenizer", "WhisperTokenizer")),
    *((name, MARKED, "abc</w>") for name in ("CLIPTokenizer", "HerbertTokenizer", "OpenAIGPTTokenizer")),
]


@pytest.mark.parametrize(("name", "files", "whole"), CLASSES, ids=[case[0] for case in CLASSES])
@pytest.mark.parametrize("header", HEADERS, ids=["version", "none", "blank", "mark"])
@pytest.mark.parametrize("end", ENDS, ids=["open", "newline", "carriage", "blank"])
def test_first_and_last_merge_count(
    name: str, files: dict[str, Any], whole: str, header: str, end: str, tmp_path: Path
) -> None:
    special = ["<s>", "</s>", "<pad>", "<mask>", "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    vocabulary = {token: index for index, token in enumerate([*files["vocab"], *special])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    text = header + "\n".join(files["merges"]) + end
    (tmp_path / "merges.txt").write_bytes(text.encode())
    tokenizer = getattr(oxiformers, name).from_pretrained(tmp_path)
    assert tokenizer.tokenize("abc") == [whole]


def test_the_real_merges_of_gpt2(shared: Path, tmp_path: Path) -> None:
    """The last merge is made without a last newline, the first one without the line of the version."""
    source = shared / "tokenizers" / "gpt2"
    (tmp_path / "vocab.json").write_bytes((source / "vocab.json").read_bytes())
    merges = (source / "merges.txt").read_text(encoding="utf-8").removeprefix("#version: 0.2\n").rstrip("\n")
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    tokenizer = oxiformers.GPT2Tokenizer.from_pretrained(tmp_path)
    first, *_, last = (line.replace(" ", "").replace("Ġ", " ") for line in merges.split("\n"))
    assert tokenizer(first)["input_ids"] == [256]
    assert tokenizer(last)["input_ids"] == [50255]


def test_the_limit_of_clip_counts_merges(shared: Path, tmp_path: Path) -> None:
    """CLIP uses the first 48,894 merges of its file, with or without a first line for the version."""
    source = shared / "tokenizers" / "clip-vit-base-patch32"
    (tmp_path / "vocab.json").write_bytes((source / "vocab.json").read_bytes())
    lines = (source / "merges.txt").read_text(encoding="utf-8").split("\n")
    expected = oxiformers.CLIPTokenizer.from_pretrained(source, tokenizer_file=None)
    for text in ("\n".join(lines), "\n".join(lines[1:]), "\n".join([*lines[:-1], "zzz zzz"])):
        (tmp_path / "merges.txt").write_text(text, encoding="utf-8")
        tokenizer = oxiformers.CLIPTokenizer.from_pretrained(tmp_path)
        for words in ("a photo of a cat", "untypically photographed llamas 2024"):
            assert tokenizer(words)["input_ids"] == expected(words)["input_ids"]
