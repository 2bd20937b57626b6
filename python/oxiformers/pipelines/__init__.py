"""Pipelines: from inputs to answers in one call. `pipeline(task, model=...)` makes one.

Importing this imports no torch; making a pipeline does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from oxiformers.pipelines.factory import pipeline
from oxiformers.pipelines.tasks import PIPELINE_REGISTRY, get_supported_tasks

if TYPE_CHECKING:
    from oxiformers.pipelines.base import ChunkPipeline as ChunkPipeline
    from oxiformers.pipelines.base import Pipeline as Pipeline
    from oxiformers.pipelines.feature_extraction import FeatureExtractionPipeline as FeatureExtractionPipeline
    from oxiformers.pipelines.text import TextPipeline as TextPipeline
    from oxiformers.pipelines.text_classification import (
        TextClassificationPipeline as TextClassificationPipeline,
    )

_LAZY = {
    "ChunkPipeline": "base",
    "FeatureExtractionPipeline": "feature_extraction",
    "Pipeline": "base",
    "TextClassificationPipeline": "text_classification",
    "TextPipeline": "text",
}

__all__ = [
    "PIPELINE_REGISTRY",
    "ChunkPipeline",
    "FeatureExtractionPipeline",
    "Pipeline",
    "TextClassificationPipeline",
    "TextPipeline",
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
