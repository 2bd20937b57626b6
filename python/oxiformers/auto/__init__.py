"""The Auto classes: a model, config or tokenizer by what its files say it is."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classes import AutoConfig as AutoConfig
    from .classes import AutoModel as AutoModel
    from .classes import AutoModelForCausalLM as AutoModelForCausalLM
    from .classes import AutoModelForMaskedLM as AutoModelForMaskedLM
    from .classes import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
    from .classes import AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM
    from .classes import AutoModelForSequenceClassification as AutoModelForSequenceClassification
    from .classes import AutoModelForTokenClassification as AutoModelForTokenClassification
    from .tokenizer import AutoTokenizer as AutoTokenizer

__all__ = [
    "AutoConfig",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForMaskedLM",
    "AutoModelForQuestionAnswering",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoTokenizer",
]


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
