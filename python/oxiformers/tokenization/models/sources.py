"""The files a family keeps its vocabulary in: vocab.json, merges.txt, sentencepiece and tiktoken models."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import FileError, FormatError, InputTypeError, MissingFileError
from ...files import json_type, read_json

_TIKTOKEN_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n?")


def read_vocabulary(path: str | os.PathLike[str]) -> dict[str, int]:
    """Ids by token from a vocab.json.

    Raises FormatError for a file that does not map strings to ids.
    """
    found = read_json(Path(path))
    for token, index in found.items():
        if type(index) is not int or index < 0:
            raise FormatError(
                f"{path}: {token!r} should have an id, found {json_type(index)} ({index!r:.80})",
                path=os.fspath(path),
                key=token,
                expected="an integer of at least 0",
                actual=json_type(index),
            )
    return found


def read_text(path: str | os.PathLike[str]) -> str:
    """A whole file as text. Raises FileError, and FormatError where it is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} does not exist", path=os.fspath(path), errno=error.errno) from error
    except OSError as error:
        raise FileError(
            f"{path} cannot be read: {error.strerror}", path=os.fspath(path), errno=error.errno
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8: {error}", path=os.fspath(path), expected="UTF-8") from error


def read_merges(
    path: str | os.PathLike[str], lines: slice | None = None, *, counted: bool = False
) -> list[tuple[str, str]]:
    """The merges of a merges.txt, the first to be made first, each once.

    Args:
        path: the file: two tokens a line.
        lines: which of its lines count; all but a first one that states the version by default.
        counted: whether a third token of a line is how often the merge was seen, which is passed over.

    Raises FormatError for a line that does not hold two tokens, with its number.
    """
    every = read_text(path).split("\n")
    if lines is None:
        chosen = [line for line in every if line.strip()]
        first = 1 if chosen and chosen[0].startswith("#version:") else 0
        chosen = chosen[first:]
    else:
        first, chosen = lines.start or 0, every[lines]
        if chosen and not chosen[-1].strip():
            chosen.pop()  # what follows the last line's end
    merges: dict[tuple[str, str], None] = {}
    for number, line in enumerate(chosen, start=first + 1):
        parts = line.split()
        if counted and len(parts) == 3:
            parts.pop()
        if len(parts) != 2:
            raise FormatError(
                f"{path}: line {number} should hold two tokens, found {len(parts)} ({line!r:.80})",
                path=os.fspath(path),
                key=f"line {number}",
                expected="two tokens",
                actual=f"{len(parts)} tokens",
            )
        merges[(parts[0], parts[1])] = None
    return list(merges)


def merge_pairs(merges: Iterable[str | Sequence[str]]) -> list[tuple[str, str]]:
    """Merges given as pairs, or as texts of two tokens with a space between.

    Raises InputTypeError for anything else, with its index.
    """
    pairs = []
    for index, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if (
            not isinstance(parts, (list, tuple))
            or len(parts) != 2
            or not all(isinstance(one, str) for one in parts)
        ):
            raise InputTypeError(
                f"merges[{index}] should be two tokens, found {merge!r:.80}",
                key=f"merges[{index}]",
                expected="two tokens",
                actual=type(merge).__name__,
            )
        pairs.append((parts[0], parts[1]))
    return pairs


def is_tiktoken(path: str | os.PathLike[str]) -> bool:
    """Whether the file is a tiktoken one: bytes in base64 and a rank on each line."""
    try:
        with Path(path).open("rb") as file:
            lines = list(islice(file, 2))
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} does not exist", path=os.fspath(path), errno=error.errno) from error
    except OSError as error:
        raise FileError(
            f"{path} cannot be read: {error.strerror}", path=os.fspath(path), errno=error.errno
        ) from error
    return bool(lines) and all(_TIKTOKEN_LINE.fullmatch(line) for line in lines)


def json_text(value: Any, indent: int | None = None) -> str:
    """The value as the JSON of a vocabulary file, in the order it has."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
