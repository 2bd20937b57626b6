"""The tasks a pipeline is made for: one lazy row each, and the registry that users add theirs to."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from oxiformers.errors import ArgumentError, InputTypeError, UnsupportedError
from oxiformers.logging import get_logger

if TYPE_CHECKING:
    from oxiformers.pipelines.base import Pipeline

logger = get_logger(__name__)


class Task(NamedTuple):
    """One task.

    Attributes:
        pipeline_class: the class that runs it, or "module:class", imported when a pipeline is made.
        model_classes: the classes whose `from_pretrained` loads its models, or "module:class"; the first that
            takes a model loads it.
        default_model: repository and revision of the model taken where none is named; None where there is none.
        architectures: how the names of its model classes end.
        kind: what goes in: "text", "image", "audio", "multimodal", ...
    """

    pipeline_class: str | type[Pipeline]
    model_classes: tuple[Any, ...] = ()
    default_model: tuple[str, str | None] | None = None
    architectures: tuple[str, ...] = ()
    kind: str = "text"

    def load_pipeline_class(self) -> type[Pipeline]:
        """The class that runs the task."""
        pipeline_class: type[Pipeline] = load(self.pipeline_class)
        return pipeline_class

    def load_model_classes(self, architectures: list[str]) -> list[Any]:
        """The classes to load a model by, in order: the task's, or where it names none those of the config."""
        if self.model_classes:
            return [load(model_class) for model_class in self.model_classes]
        named = [getattr(importlib.import_module("oxiformers"), name, None) for name in architectures]
        return [model_class for model_class in named if model_class is not None] or [load(AUTO + "AutoModel")]


def load(place: Any) -> Any:
    """What lies at "module:name", imported only now; anything but a str as it is."""
    if not isinstance(place, str):
        return place
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


AUTO = "oxiformers.auto:"
TASKS = {
    "feature-extraction": Task(
        "oxiformers.pipelines.feature_extraction:FeatureExtractionPipeline",
        (AUTO + "AutoModel",),
        ("distilbert/distilbert-base-cased", "6ea8117"),
        ("Model",),
        "multimodal",
    ),
    "text-classification": Task(
        "oxiformers.pipelines.text_classification:TextClassificationPipeline",
        (AUTO + "AutoModelForSequenceClassification",),
        ("distilbert/distilbert-base-uncased-finetuned-sst-2-english", "714eb0f"),
        ("ForSequenceClassification",),
    ),
}
ALIASES = {"sentiment-analysis": "text-classification"}


class PipelineRegistry:
    """The tasks there are. `PIPELINE_REGISTRY` is the one that `pipeline` asks."""

    def get_supported_tasks(self) -> list[str]:
        """Every task's identifier, aliases included, sorted."""
        return sorted([*TASKS, *ALIASES])

    def register_pipeline(
        self,
        task: str,
        pipeline_class: type[Pipeline],
        pt_model: Any = None,
        tf_model: Any = None,
        default: Any = None,
        type: str | None = None,
    ) -> None:
        """Adds a task, or puts another class in its place, for the rest of the process.

        Args:
            task: its identifier.
            pipeline_class: what `pipeline(task, ...)` makes.
            pt_model: the class that loads its models, or a tuple of classes; by default the one that the config
                of a model names.
            tf_model: accepted; there are no TensorFlow models here.
            default: repository and revision of the model taken where none is named: ("user/model", "revision"),
                also as {"pt": ...} or {"model": ...}.
            type: "text", "image", "audio" or "multimodal".

        Raises:
            InputTypeError: an argument of another form.
        """
        del tf_model
        if not callable(pipeline_class):
            raise InputTypeError.mismatch("pipeline_class", "a class", repr(pipeline_class))
        if task in TASKS:
            logger.warning("%s: registered anew, as %s", task, pipeline_class.__name__)
        classes = () if pt_model is None else pt_model if isinstance(pt_model, tuple) else (pt_model,)
        TASKS[task] = Task(pipeline_class, classes, _read_default(default), (), type or "text")


PIPELINE_REGISTRY = PipelineRegistry()


def get_supported_tasks() -> list[str]:
    """Every task's identifier, aliases included, sorted."""
    return PIPELINE_REGISTRY.get_supported_tasks()


def _read_default(default: Any) -> tuple[str, str | None] | None:
    named = default
    for key in ("model", "pt"):
        if isinstance(named, Mapping) and key in named:
            named = named[key]
    if named is None:
        return None
    if isinstance(named, str):
        return named, None
    if isinstance(named, (tuple, list)) and len(named) == 2 and isinstance(named[0], str):
        return named[0], named[1]
    raise InputTypeError.mismatch("default", '("user/model", "revision")', repr(default))


def find_task(name: str) -> tuple[str, Task]:
    """The identifier and the row of a task named by its identifier or an alias. Raises UnsupportedError."""
    identifier = name if name in TASKS else ALIASES.get(name, name)
    task = TASKS.get(identifier)
    if task is None:
        known = ", ".join(get_supported_tasks())
        raise UnsupportedError.mismatch("task", f"one of {known}", repr(name))
    return identifier, task


def infer_task(architectures: list[str] | None, model_name: str) -> str:
    """The identifier of the task that a model of these classes is for. Raises ArgumentError."""
    for architecture in architectures or ():
        for identifier, task in TASKS.items():
            if task.architectures and architecture.endswith(task.architectures):
                return identifier
    named = ", ".join(architectures) if architectures else "none"
    known = ", ".join(get_supported_tasks())
    hint = f"the model's architectures ({named}) do not say for which task it is; pass task="
    raise ArgumentError.mismatch("task", f"one of {known}", None, hint, path=model_name)
