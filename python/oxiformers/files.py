"""Reading JSON that may be hostile, and writing text so that a file is either the old one or the new one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from oxiformers.errors import FileError, FormatError, MissingFileError

#: JSON nested deeper than this is refused: no config or tokenizer comes near, and deeper data overflow the
#: stack later.
MAX_JSON_DEPTH = 200


#: How many bytes `foreign_content` asks for.
HEAD_BYTES = 1024


def foreign_content(head: bytes) -> str | None:
    """What stands in the place of a model's file, told from its first `HEAD_BYTES`; None where nothing is known.

    The answer says what the file is and how to get the real one, to end "expected ..., got ...": Git LFS leaves
    pointers where it is not installed, and a download of a Hub page instead of its file leaves HTML.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:HEAD_BYTES].lower()
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        return (
            "a Git LFS pointer; run `git lfs install` and `git lfs pull` in its repository, or `hf download`"
        )
    is_html = text.startswith(b"<html") and (b"<head" in text or b"<body" in text)
    if is_html or text.startswith((b"<!doctype html", b"<?xml")):
        return "a web page; download the file itself (on the Hub its address has /resolve/, not /blob/)"
    if text.strip() in (b"entry not found", b"not found", b"repository not found", b"404: not found"):
        return "the message of a failed download; download the file again, as with `hf download`"
    return None


def refuse_foreign(path: str | os.PathLike[str], expected: str) -> None:
    """Raises a FormatError where the file is `foreign_content`; one that cannot be opened is the reader's to refuse."""
    try:
        with Path(path).open("rb") as stream:
            found = foreign_content(stream.read(HEAD_BYTES))
    except OSError:
        return
    if found is not None:
        raise FormatError.mismatch("content", expected, found, path=path)


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON file whose top level is an object.

    Raises:
        MissingFileError, FileError: it cannot be opened or read.
        FormatError: not UTF-8, not JSON, a repeated key, nested deeper than MAX_JSON_DEPTH, or not an object;
            with the path, and the line and column where there is one.
    """
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {name}", path=name, errno=error.errno) from error
    except OSError as error:
        raise FileError(f"{name} cannot be read: {error.strerror}", path=name, errno=error.errno) from error
    return parse_json(data, name)


def parse_json(data: bytes | str, source: str) -> dict[str, Any]:
    """Parses JSON whose top level is an object; `source` names it in errors, as `read_json` raises them."""
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{source} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}",
                path=source,
                expected="UTF-8",
                actual=f"0x{data[error.start]:02x} at byte {error.start}",
            ) from error

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise FormatError(
                f"{source} has the key {twice!r} twice in one object",
                path=source,
                key=twice,
                expected="each key once",
                actual="twice",
            )
        return result

    try:
        value = json.loads(data, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        found = foreign_content(data[:HEAD_BYTES].encode("utf-8", "surrogatepass"))
        if found is not None:
            raise FormatError.mismatch("content", "JSON", found, path=source) from error
        raise FormatError(
            f"{source} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            path=source,
            expected="JSON",
            actual=f"{error.msg} at line {error.lineno}, column {error.colno}",
        ) from error
    except RecursionError as error:
        raise _too_deep(source) from error
    except FormatError:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise FormatError(
            f"{source} cannot be read: {error}",
            path=source,
            expected="integers of at most 4300 digits",
            actual="a longer one",
        ) from error
    if not isinstance(value, dict):
        raise FormatError(
            f"{source} holds {json_type(value)}, not an object",
            path=source,
            expected="an object",
            actual=json_type(value),
        )
    _check_depth(value, source)
    return value


def json_type(value: object) -> str:
    """What JSON calls the value, with its article: 'a string', 'an array', ..."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names: list[tuple[type | tuple[type, ...], str]] = [
        (int, "an integer"),
        (float, "a number"),
        (str, "a string"),
        ((list, tuple), "an array"),
        (dict, "an object"),
    ]
    return next((name for kind, name in names if isinstance(value, kind)), f"a {type(value).__name__}")


def _check_depth(value: object, source: str) -> None:
    level: list[object] = [value]
    for _ in range(MAX_JSON_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(child for child in item.values() if isinstance(child, (dict, list)))
            elif isinstance(item, list):
                below.extend(child for child in item if isinstance(child, (dict, list)))
        if not below:
            return
        level = below
    raise _too_deep(source)


def _too_deep(source: str) -> FormatError:
    return FormatError(
        f"{source} is nested more than {MAX_JSON_DEPTH} levels deep",
        path=source,
        expected=f"at most {MAX_JSON_DEPTH} levels",
        actual="more",
    )


def make_folder(directory: str | os.PathLike[str]) -> None:
    """Creates the folder and its parents. Raises FileError, as where a file has that name."""
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"the folder {os.fspath(directory)} cannot be made: {error.strerror}",
            path=os.fspath(directory),
            errno=error.errno,
        ) from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 to a temporary file beside the target, then renames it. Raises FileError."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FileError(
            f"{target} cannot be written: {error.strerror}", path=str(target), errno=error.errno
        ) from error
