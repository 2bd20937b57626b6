"""What every refusal has to be: a typed error, in time, that says where, what is due and what was found."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from oxiformers.errors import FileError, OxiformersError

SECONDS = 10


@dataclass(frozen=True)
class Refusal:
    """The error due.

    Attributes:
        error: its class, exactly.
        key: the place in the file, or the argument; None where there is none to name.
        expected, actual: parts of what the error says was due and was found.
        file: the name of the file concerned; None where there is none.
    """

    error: type[OxiformersError]
    key: str | None
    expected: str
    actual: str
    file: str | None = None


class TooSlow(BaseException):
    """The time was up; no handler of ordinary exceptions keeps it."""


@contextmanager
def within(seconds: int = SECONDS) -> Iterator[None]:
    """Raises TooSlow where the body takes longer."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"not answered within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refuses(call: Callable[[], object], due: Refusal, folder: Path | None = None) -> None:
    """Checks that the call is refused as is due."""
    with within(), pytest.raises(OxiformersError) as caught:
        call()
    error = caught.value
    message = str(error)
    assert type(error) is due.error, message
    assert error.key == due.key, message
    assert len(message) < 2000
    if due.file is not None:
        assert folder is not None
        assert error.path == str(folder / due.file), message
        assert due.file in message
    if isinstance(error, FileError):  # its message alone says what was looked for and what is there
        assert due.expected in message and due.actual in message, message
        return
    assert due.expected in str(error.expected), (error.expected, message)
    assert due.actual in str(error.actual), (error.actual, message)
    if due.key is not None:
        assert due.key.split(".")[-1].split("[")[0] in message or due.actual in message, message
