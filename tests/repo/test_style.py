"""One style of imports, and docstrings that say more than the name they stand under."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.repo.tree import KERNELS, PACKAGE, files, parsed, relative

#: Words that say nothing by themselves.
FILLERS = {
    "a", "an", "and", "are", "as", "by", "for", "from", "in", "is", "its", "of", "on", "or", "s", "that", "the", "this",
    "to", "what", "which", "with",
}  # fmt: skip


@pytest.mark.parametrize("path", files(".py", ".pyi"), ids=relative)
def test_imports_are_absolute(path: Path) -> None:
    found = [
        f"{node.lineno}: from {'.' * node.level}{node.module or ''} import ..."
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []


def words_of_name(name: str) -> set[str]:
    """The words of a class's name: {"bert", "layer"} for BertLayer."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def repeats(name: str, docstring: str) -> bool:
    """Whether a docstring has no words but those of the name: singular and plural count as one."""
    said = {
        word.rstrip("s") for word in re.findall(r"</?\w+>|[a-z]+", docstring.lower()) if word not in FILLERS
    }
    return said <= {word.rstrip("s") for word in words_of_name(name)}


@pytest.mark.parametrize(
    ("name", "docstring", "answer"),
    [
        ("BertLayer", "A layer of BERT.", True),
        ("AttentionMasks", "The attention mask.", True),
        ("BertLayer", "A layer of BERT: attention, then the feed-forward part.", False),
        ("GPT2Block", "One block.", False),
    ],
)
def test_what_repeats_a_name(name: str, docstring: str, answer: bool) -> None:
    assert repeats(name, docstring) is answer


@pytest.mark.parametrize("path", [*files(".py", under=PACKAGE), *files(".py", under=KERNELS)], ids=relative)
def test_a_docstring_says_more_than_the_name(path: Path) -> None:
    found = [
        f"{node.lineno}: {node.name}: {docstring}"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and (docstring := ast.get_docstring(node)) is not None
        if repeats(node.name, docstring)
    ]
    assert found == []
