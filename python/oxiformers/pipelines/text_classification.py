"""Texts to labels with scores."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..errors import ArgumentError, ConfigError
from ..logging import get_logger
from .base import Arguments, Pipeline, join
from .batching import Outputs, Plan

logger = get_logger(__name__)

Scores = npt.NDArray[np.float32]


def softmax(logits: Scores) -> Scores:
    """Logits ``[N, L]`` to probabilities that add up to 1."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Scores = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: Scores) -> Scores:
    """Logits ``[N, L]`` to a probability each."""
    with np.errstate(over="ignore"):  # exp gives infinity, and 1 / infinity the 0 that is meant
        return np.divide(1.0, 1.0 + np.exp(-logits), dtype=np.float32)


def identity(logits: Scores) -> Scores:
    """Logits as they are."""
    return logits


FUNCTIONS = {"softmax": softmax, "sigmoid": sigmoid, "none": identity}


class TextClassificationPipeline(Pipeline):
    """Texts, or pairs of texts, to labels with scores.

    Arguments of the constructor or a call, beside those of Pipeline and of the tokenizer:

    - top_k: how many labels, best first; None for all. Without it the best one alone.
    - function_to_apply: "softmax", "sigmoid" or "none", how logits become scores; by default "none" for
      regression, "sigmoid" for a single label or labels that do not exclude each other, else "softmax".
    - return_all_scores: deprecated; True gives every label, in the order of their ids.

    A str gives ``[{"label", "score"}]``; a list gives such a dict for each input, or with top_k a list of
    dicts.
    """

    def __init__(self, model: Any, tokenizer: Any = None, **arguments: Any) -> None:
        super().__init__(model, tokenizer, **arguments)
        if not type(model).__name__.endswith("ForSequenceClassification"):
            logger.warning(
                "the model %s is not known to classify sequences; %s needs logits, one row a text",
                type(model).__name__,
                self.task or "text-classification",
            )

    def __call__(self, inputs: Any, **arguments: Any) -> Any:
        """Classifies the inputs; see Pipeline.__call__ for what they may be, the class for the arguments."""
        result = super().__call__(inputs, **arguments)
        # A lone text gives a list, where top_k does not give one already: so transformers' users expect it.
        return [result] if isinstance(inputs, str) and "top_k" not in arguments else result

    def sort_arguments(self, arguments: dict[str, Any]) -> Arguments:
        """top_k, function_to_apply and return_all_scores are the task's own, the rest is the tokenizer's."""
        task: dict[str, Any] = {}
        rest = dict(arguments)
        if rest.get("is_split_into_words"):
            raise ArgumentError(
                "is_split_into_words: text-classification takes texts, not lists of words",
                key="is_split_into_words",
            )
        function = rest.pop("function_to_apply", None)
        if function is not None and function != "default":
            task["function"] = _function_name(function)
        everything = rest.pop("return_all_scores", None)
        if "top_k" in rest:
            task["top_k"] = _check_top_k(rest.pop("top_k"))
            task["legacy"] = False
        elif everything is not None:
            warnings.warn(
                "return_all_scores is deprecated: pass top_k=None for every label, top_k=1 for the best",
                FutureWarning,
                stacklevel=2,
            )
            task["top_k"] = None if everything else 1
        return Arguments(rest, task)

    def collect(self, outputs: Outputs) -> Tensor:
        """The logits of a batch, ``[B, L]``."""
        logits = outputs.named("logits")
        rows = outputs.lengths.numel()
        if logits is None or logits.dim() != 2 or logits.shape[0] != rows:
            found = "no logits" if logits is None else f"logits of shape {tuple(logits.shape)}"
            raise ArgumentError(
                f"{type(self.model).__name__} gives {found} for {rows} texts; text-classification needs a "
                f"model with a classification head, logits of shape ({rows}, labels)",
                key="model",
                expected=f"logits of shape ({rows}, labels)",
                actual=found,
            )
        return logits

    def finish(self, kept: list[Any], plan: Plan, arguments: Arguments) -> list[Any]:
        """A dict, or a list of dicts, for each text of the window."""
        logits: Scores = join(kept).float().numpy()[plan.restore()]
        task = arguments.task
        scores = FUNCTIONS[task.get("function") or self._default_function()](logits)
        labels = self._labels(scores.shape[1])
        top_k, legacy = task.get("top_k", 1), task.get("legacy", True)
        if legacy and top_k == 1:
            best = scores.argmax(axis=1)
            values = scores[np.arange(len(best)), best]
            return [
                {"label": labels[index], "score": score}
                for index, score in zip(best.tolist(), values.tolist(), strict=True)
            ]
        order = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
        if not legacy:
            order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
        sorted_scores = np.take_along_axis(scores, order, axis=1)
        return [
            [{"label": labels[index], "score": score} for index, score in zip(indices, row, strict=True)]
            for indices, row in zip(order.tolist(), sorted_scores.tolist(), strict=True)
        ]

    def _default_function(self) -> str:
        config = self.model.config
        if config.problem_type == "regression":
            return "none"
        if config.problem_type == "multi_label_classification" or config.num_labels == 1:
            return "sigmoid"
        return "softmax"

    def _labels(self, count: int) -> list[str]:
        id2label = self.model.config.id2label or {}
        missing = next((index for index in range(count) if index not in id2label), None)
        if missing is not None:
            raise ConfigError(
                f"id2label: expected a name for each of the {count} logits, {missing} has none",
                key="id2label",
                expected=f"the keys 0 to {count - 1}",
                actual=", ".join(map(str, id2label)) or "none",
            )
        return [id2label[index] for index in range(count)]


def _function_name(value: Any) -> str:
    name = value.lower() if isinstance(value, str) else value
    if not isinstance(name, str) or name not in FUNCTIONS:
        expected = "one of " + ", ".join(repr(known) for known in (*FUNCTIONS, "default"))
        raise ArgumentError(
            f"function_to_apply: expected {expected}, got {value!r}",
            key="function_to_apply",
            expected=expected,
            actual=repr(value),
        )
    return name


def _check_top_k(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 0):
        raise ArgumentError(
            f"top_k: expected an integer of at least 0, or None for all, got {value!r}",
            key="top_k",
            expected="an integer of at least 0, or None",
            actual=repr(value),
        )
    return value
