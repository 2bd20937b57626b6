"""Texts to labels with scores."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from oxiformers.errors import ArgumentError, ConfigError
from oxiformers.logging import get_logger
from oxiformers.pipelines.batching import check_tokenizer_arguments
from oxiformers.pipelines.call import Arguments, Call
from oxiformers.pipelines.hooks import equivalent
from oxiformers.pipelines.rows import Batch, Order, join
from oxiformers.pipelines.text import TextPipeline

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


class TextClassificationPipeline(TextPipeline):
    """Texts, or pairs of texts, to labels with scores.

    Arguments of the constructor or a call, beside those of Pipeline and of the tokenizer:

    - top_k: how many labels, best first; None for all. Without it the best one alone.
    - function_to_apply: "softmax", "sigmoid" or "none", how logits become scores; by default "none" for
      regression, "sigmoid" for a single label or labels that do not exclude each other, else "softmax".
    - return_all_scores: deprecated; True gives every label, in the order of their ids.

    A str gives ``[{"label", "score"}]``; a list gives such a dict for each input, or with top_k a list of
    dicts.
    """

    def __init__(self, model: Any, *parts: Any, **arguments: Any) -> None:
        super().__init__(model, *parts, **arguments)
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
            task["function_to_apply"] = _function_name(function)
        everything = rest.pop("return_all_scores", None)
        if "top_k" in rest:
            task["top_k"] = _check_top_k(rest.pop("top_k"))
            task["_legacy"] = False
        elif everything is not None:
            warnings.warn(
                "return_all_scores is deprecated: pass top_k=None for every label, top_k=1 for the best",
                FutureWarning,
                stacklevel=2,
            )
            task["top_k"] = None if everything else 1
        check_tokenizer_arguments(rest)
        return Arguments(rest, {}, task)

    def run(self, batch: Batch, call: Call) -> Tensor:
        """The logits of a batch, ``[B, L]``."""
        logits = self.run_texts(batch).named("logits")
        rows = len(batch.rows)
        if logits is None or logits.dim() != 2 or logits.shape[0] != rows:
            found = "no logits" if logits is None else f"logits of shape {tuple(logits.shape)}"
            raise ArgumentError.mismatch(
                "model",
                f"logits of shape ({rows}, labels), of a classification head",
                f"{found} of {type(self.model).__name__}",
            )
        return logits

    def collect(self, kept: list[Tensor], order: Order) -> Scores:
        """The logits of the window, ``[N, L]``, in the order of its inputs."""
        logits: Scores = join(kept).float().numpy()[order.places()]
        return logits

    def finish(self, collected: Scores, details: Any, call: Call) -> list[Any]:
        """A dict, or a list of dicts, for each text of the window."""
        return self._label(collected, **call.finish)

    @equivalent
    def postprocess(self, model_outputs: Any, **arguments: Any) -> Any:
        """The logits of one text, ``[1, L]``, to a dict, or a list of dicts."""
        return self._label(model_outputs["logits"].float().numpy(), **arguments)[0]

    def _label(
        self,
        logits: Scores,
        function_to_apply: str | None = None,
        top_k: int | None = 1,
        _legacy: bool = True,
    ) -> list[Any]:
        """Logits ``[N, L]`` to what a text's result is; `_legacy` where `top_k` was not given."""
        scores = FUNCTIONS[function_to_apply or self._default_function()](logits)
        labels = self._labels(scores.shape[1])
        if _legacy and top_k == 1:
            best = scores.argmax(axis=1)
            values = scores[np.arange(len(best)), best]
            return [
                {"label": labels[index], "score": score}
                for index, score in zip(best.tolist(), values.tolist(), strict=True)
            ]
        order = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
        if not _legacy:
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
            raise ConfigError.mismatch(
                "id2label",
                f"the keys 0 to {count - 1}, a name for each of {count} logits",
                ", ".join(map(str, id2label)) or "none",
            )
        return [id2label[index] for index in range(count)]


def _function_name(value: Any) -> str:
    name = value.lower() if isinstance(value, str) else value
    if not isinstance(name, str) or name not in FUNCTIONS:
        names = ", ".join(repr(known) for known in (*FUNCTIONS, "default"))
        raise ArgumentError.mismatch("function_to_apply", f"one of {names}", repr(value))
    return name


def _check_top_k(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 0):
        raise ArgumentError.mismatch("top_k", "an integer of at least 0, or None for all", repr(value))
    return value
