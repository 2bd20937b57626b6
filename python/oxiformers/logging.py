"""The package's loggers and their level, with the functions of `transformers.logging`.

Every module logs to `oxiformers.<module>`. The level is that of OXIFORMERS_VERBOSITY (debug, info, warning, error,
critical), by default WARNING. Records go to the root logger's handlers where the program has set some up, else to
standard error.
"""

from __future__ import annotations

import logging
import sys
from logging import CRITICAL, DEBUG, ERROR, FATAL, INFO, NOTSET, WARN, WARNING
from threading import Lock
from typing import TextIO

from oxiformers import env

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "NOTSET",
    "WARN",
    "WARNING",
    "disable_propagation",
    "enable_propagation",
    "get_logger",
    "get_verbosity",
    "set_verbosity",
    "set_verbosity_debug",
    "set_verbosity_error",
    "set_verbosity_info",
    "set_verbosity_warning",
]

_LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR, "critical": CRITICAL}
_ROOT = "oxiformers"
_lock = Lock()
_ready = False


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the present sys.stderr, which a program may replace, unless the root logger has handlers."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger(_ROOT).propagate and logging.getLogger().handlers:
            return
        self.stream = sys.stderr
        super().emit(record)


def _root() -> logging.Logger:
    global _ready
    root = logging.getLogger(_ROOT)
    with _lock:
        if not _ready:
            handler = _StandardError()
            handler.setFormatter(logging.Formatter("%(name)s: %(levelname)s: %(message)s"))
            root.addHandler(handler)
            wanted = env.verbosity()
            root.setLevel(_LEVELS.get(wanted or "warning", WARNING))
            _ready = True
            if wanted is not None and wanted not in _LEVELS:
                root.warning("unknown verbosity %r; the known ones are %s", wanted, ", ".join(_LEVELS))
    return root


def get_logger(name: str | None = None) -> logging.Logger:
    """The logger of that name below the package's logger; without a name, the package's logger."""
    root = _root()
    if name is None or name == _ROOT:
        return root
    return logging.getLogger(name if name.startswith(_ROOT + ".") else f"{_ROOT}.{name}")


def get_verbosity() -> int:
    """The package's log level, as the numbers of the standard `logging` module."""
    return _root().getEffectiveLevel()


def set_verbosity(level: int) -> None:
    """Sets the package's log level: one of the numbers of the standard `logging` module."""
    _root().setLevel(level)


def set_verbosity_debug() -> None:
    """Logs everything."""
    set_verbosity(DEBUG)


def set_verbosity_info() -> None:
    """Logs information, warnings and errors."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Logs warnings and errors: the default."""
    set_verbosity(WARNING)


def set_verbosity_error() -> None:
    """Logs errors only."""
    set_verbosity(ERROR)


def enable_propagation() -> None:
    """Passes records on to the root logger: the default."""
    _root().propagate = True


def disable_propagation() -> None:
    """Does not pass records on to the root logger."""
    _root().propagate = False
