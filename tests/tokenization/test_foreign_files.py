"""A Git LFS pointer or a web page where a tokenizer's file should be: the error says so, and how to get the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import oxiformers
from oxiformers.errors import FormatError
from oxiformers.files import HEAD_BYTES, foreign_content
from tests.tokenization.conftest import copied

POINTER = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 499723
"""
PAGE = b"\n<!DOCTYPE html>\n<html class=''>\n<head><title>spiece.model</title></head></html>"
DENIED = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'
FOREIGN = {
    POINTER: "a Git LFS pointer; .*git lfs pull",
    PAGE: "a web page; download the file itself",
    DENIED: "a web page",
    b"Entry not found": "the message of a failed download; ",
}
#: A file of each kind: the folder it is of, the class that reads it, and what need not be there beside it.
FILES = {
    "tokenizer.json": ("gpt2", "PreTrainedTokenizerFast", ()),
    "tokenizer.model": ("llama-2", "LlamaTokenizer", ("tokenizer.json",)),
    "spiece.model": ("t5-small", "T5Tokenizer", ("tokenizer.json",)),
    "vocab.json": ("gpt2", "GPT2Tokenizer", ("tokenizer.json",)),
    "merges.txt": ("gpt2", "GPT2Tokenizer", ("tokenizer.json",)),
    "vocab.txt": ("bert-base-uncased", "BertTokenizer", ("tokenizer.json",)),
    "tokenizer_config.json": ("bert-base-uncased", "BertTokenizer", ()),
}


@pytest.mark.parametrize("content", FOREIGN, ids=["lfs", "html", "xml", "missing"])
@pytest.mark.parametrize("name", FILES)
def test_what_stands_in_place_of_a_file(name: str, content: bytes, shared: Path, tmp_path: Path) -> None:
    source, cls, without = FILES[name]
    folder = copied(shared / "tokenizers" / source, tmp_path / "copy", *without)
    (folder / name).write_bytes(content)
    with pytest.raises(FormatError, match=FOREIGN[content]) as caught:
        getattr(oxiformers, cls).from_pretrained(folder)
    assert caught.value.path == str(folder / name)


def test_a_tiktoken_file_of_no_class(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(POINTER)
    with pytest.raises(FormatError, match="expected a tiktoken file, got a Git LFS pointer"):
        oxiformers.PreTrainedTokenizerFast(vocab_file=tmp_path / "tokenizer.model")


def test_what_is_no_foreign_content() -> None:
    """Vocabularies may hold any of these words, and a head may end in the middle of a character."""
    for head in (
        b"",
        b"<html>\n<p>\n<div>\n",
        b"Entry not found\nfound\n",
        b"version\nhttps\n",
        b"{}",
        "🌶".encode()[:3],
        b"\xff\xfe\x00",
    ):
        assert foreign_content(head) is None
    assert foreign_content(b"\xef\xbb\xbf<HTML><BODY>" + b" " * HEAD_BYTES)
