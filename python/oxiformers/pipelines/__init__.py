"""Pipelines: from strings to answers in one call. `pipeline(task, model=...)` makes one.

Importing this imports no torch; making a pipeline does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .factory import pipeline
from .tasks import get_supported_tasks

if TYPE_CHECKING:
    from .base import Pipeline as Pipeline
    from .feature_extraction import FeatureExtractionPipeline as FeatureExtractionPipeline
    from .text_classification import TextClassificationPipeline as TextClassificationPipeline

_LAZY = {
    "FeatureExtractionPipeline": "feature_extraction",
    "Pipeline": "base",
    "TextClassificationPipeline": "text_classification",
}

__all__ = [
    "FeatureExtractionPipeline",
    "Pipeline",
    "TextClassificationPipeline",
    "get_supported_tasks",
    "pipeline",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
