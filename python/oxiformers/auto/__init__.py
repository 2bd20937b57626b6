"""The Auto classes: a model, config or tokenizer by what its files say it is."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from oxiformers.auto.registry import AUTO_MODELS

__all__ = ["AutoConfig", *AUTO_MODELS, "AutoTokenizer"]


def __getattr__(name: str) -> Any:
    # on use, since the registry below this package is read by every `import oxiformers`
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "tokenizer" if name == "AutoTokenizer" else "classes"
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
