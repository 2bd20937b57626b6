"""Which class a tokenizer's files ask for by name."""

from __future__ import annotations

from importlib import import_module

from oxiformers.tokenization.tokenizer import PreTrainedTokenizerFast
from oxiformers.tokenizer_table import MODULES

#: Names of the class that reads any tokenizer.json.
_ANY = ("PreTrainedTokenizer", "TokenizersBackend")


def tokenizer_class(name: str | None) -> type[PreTrainedTokenizerFast] | None:
    """The class of that name, with or without "Fast" at its end; None for a name that is not known."""
    plain = name.removesuffix("Fast") if name else ""
    if plain in _ANY:
        return PreTrainedTokenizerFast
    module = MODULES.get(plain)
    if module is None:
        return None
    found: type[PreTrainedTokenizerFast] = getattr(import_module(f"{__package__}.{module}"), plain)
    return found
