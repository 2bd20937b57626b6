"""The Transformers quick tour on a Rust core.

Every public name is imported when it is first used: importing oxiformers imports neither torch nor triton.
Type checkers read the names in `__init__.pyi`, which is written from the same table.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from oxiformers.env import limit_spinning
from oxiformers.public_names import MODULES

__version__ = "0.1.0"

limit_spinning()  # now, since importing torch is what fixes it

__all__ = [*sorted(MODULES), "__version__", "logging"]


def __getattr__(name: str) -> Any:
    if name == "logging":
        value: Any = import_module(f"{__name__}.logging")
    elif name in MODULES:
        value = getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
