"""The exceptions oxiformers raises: each also is the built-in class a caller would expect to catch."""

from __future__ import annotations

import os
from typing import Self


class OxiformersError(Exception):
    """The base of every error raised on purpose.

    Attributes:
        path: the file or folder concerned, or None.
        key: where in it (a JSON path, a tensor's name), or the argument's name, or None.
        expected: what is asked for at that place, in words, or None.
        actual: what was found or passed, in words, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        key: str | None = None,
        expected: str | None = None,
        actual: str | None = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.key = key
        self.expected = expected
        self.actual = actual

    @classmethod
    def mismatch(
        cls,
        key: str,
        expected: object,
        actual: object,
        hint: str = "",
        *,
        path: str | os.PathLike[str] | None = None,
    ) -> Self:
        """The error of a value that is not what it should be: "path: key: expected ..., got ...; hint".

        Args:
            key, path: where the value stands, as the attributes.
            expected, actual: in words, or values whose `str` says it.
            hint: what to do about it, or why it matters.
        """
        where = f"{os.fspath(path)}: {key}" if path is not None else key
        advice = f"; {hint}" if hint else ""
        return cls(
            f"{where}: expected {expected}, got {actual}{advice}",
            path=None if path is None else os.fspath(path),
            key=key,
            expected=str(expected),
            actual=str(actual),
        )


class FileError(OxiformersError, OSError):
    """A file could not be opened, read, mapped or written."""

    def __init__(self, message: str, *, errno: int | None = None, **fields: str | None) -> None:
        OxiformersError.__init__(self, message, **fields)
        self.errno = errno
        self.filename = self.path

    def __str__(self) -> str:
        """The message: OSError's own would show the errno and the path in its place."""
        return str(self.args[0]) if self.args else ""


class MissingFileError(FileError, FileNotFoundError):
    """A file or folder that is needed is not there; nor is it in the cache or on the Hub."""


class FormatError(OxiformersError, ValueError):
    """A file does not hold what its format promises."""


class UnsupportedError(OxiformersError, ValueError):
    """A well-formed request for something this version does not have."""


class ArgumentError(OxiformersError, ValueError):
    """An argument is out of range or contradicts another one."""


class InputTypeError(OxiformersError, TypeError):
    """An input has the wrong type, such as a number where a string is expected."""


class TokenListError(InputTypeError, AssertionError):
    """Something stands for a list of tokens that is none; transformers asserts it."""


class AttributeConflictError(OxiformersError, AttributeError):
    """A setting has the name of a method, which it would hide."""


class ConfigError(OxiformersError, ValueError):
    """A config value has the wrong type or contradicts another value or the weights."""


class WeightsError(OxiformersError, ValueError):
    """The weights do not fit the model: missing, unexpected, of another shape or dtype."""
