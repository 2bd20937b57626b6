"""The files a family keeps its vocabulary in: vocab.json, merges.txt, sentencepiece and tiktoken models."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from oxiformers import _core
from oxiformers.errors import FileError, FormatError, InputTypeError, MissingFileError
from oxiformers.files import json_type, read_json

_TIKTOKEN_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n?")


def read_vocabulary(path: str | os.PathLike[str]) -> dict[str, int]:
    """Ids by token from a vocab.json.

    Raises FormatError for a file that does not map strings to ids.
    """
    found = read_json(Path(path))
    for token, index in found.items():
        if type(index) is not int or index < 0:
            raise FormatError.mismatch(
                token, "an integer of at least 0", json_type(index), f"its value is {index!r:.80}", path=path
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


def read_merges(path: str | os.PathLike[str], most: int | None = None) -> list[tuple[str, str]]:
    """The merges of a merges.txt, the first to be made first, each once.

    Args:
        path: the file: two tokens a line, after a first line that may state the version.
        most: how many of its merges count.

    Raises FileError, and FormatError for a line that does not hold two tokens, with its number.
    """
    return list(dict.fromkeys(_core.read_merges(os.fspath(path))[:most]))


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
            raise InputTypeError.mismatch(f"merges[{index}]", "two tokens", f"{merge!r:.80}")
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
