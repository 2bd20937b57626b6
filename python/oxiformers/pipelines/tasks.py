"""The tasks a pipeline is made for: one lazy row each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ArgumentError, UnsupportedError

if TYPE_CHECKING:
    from .base import Pipeline


class Task(NamedTuple):
    """One task.

    Attributes:
        pipeline_class: "module:class", imported when a pipeline of the task is made.
        auto_class: the name of the Auto class in `oxiformers.auto` that loads its models.
        default_model: repository and revision of the model taken where none is named; transformers' choice.
        architectures: how the names of its model classes end.
    """

    pipeline_class: str
    auto_class: str
    default_model: tuple[str, str]
    architectures: tuple[str, ...]

    def load_pipeline_class(self) -> type[Pipeline]:
        """The class that runs the task."""
        pipeline_class: type[Pipeline] = load(self.pipeline_class)
        return pipeline_class

    def load_auto_class(self) -> Any:
        """The Auto class whose `from_pretrained` loads the task's models."""
        return load(f"oxiformers.auto:{self.auto_class}")


def load(place: str) -> Any:
    """What lies at "module:name", imported only now."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


TASKS = {
    "feature-extraction": Task(
        "oxiformers.pipelines.feature_extraction:FeatureExtractionPipeline",
        "AutoModel",
        ("distilbert/distilbert-base-cased", "6ea8117"),
        ("Model",),
    ),
    "text-classification": Task(
        "oxiformers.pipelines.text_classification:TextClassificationPipeline",
        "AutoModelForSequenceClassification",
        ("distilbert/distilbert-base-uncased-finetuned-sst-2-english", "714eb0f"),
        ("ForSequenceClassification",),
    ),
}
ALIASES = {"sentiment-analysis": "text-classification"}


def get_supported_tasks() -> list[str]:
    """Every task's identifier, aliases included, sorted."""
    return sorted([*TASKS, *ALIASES])


def find_task(name: str) -> tuple[str, Task]:
    """The identifier and the row of a task named by its identifier or an alias. Raises UnsupportedError."""
    identifier = ALIASES.get(name, name)
    task = TASKS.get(identifier)
    if task is None:
        known = ", ".join(get_supported_tasks())
        raise UnsupportedError(
            f"unknown task {name!r}; the tasks are {known}", key="task", expected=known, actual=repr(name)
        )
    return identifier, task


def infer_task(architectures: list[str] | None, model_name: str) -> str:
    """The identifier of the task that a model of these classes is for. Raises ArgumentError."""
    for architecture in architectures or ():
        for identifier, task in TASKS.items():
            if architecture.endswith(task.architectures):
                return identifier
    named = ", ".join(architectures) if architectures else "none"
    raise ArgumentError(
        f"the task of {model_name} cannot be told from its architectures ({named}); pass task=, one of "
        + ", ".join(get_supported_tasks()),
        path=model_name,
        key="task",
        expected=f"one of {', '.join(get_supported_tasks())}",
        actual="None",
    )
