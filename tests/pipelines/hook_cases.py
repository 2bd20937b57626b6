"""Pipelines written as transformers documents it, once for both packages, and how a case of them is run.

Imported by the oracle too, in an environment without this package: so nothing is imported from it here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import torch


class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A dataset as torch has them: a length, and rows by number."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def define(package: str) -> dict[str, type]:
    """The classes, by name, derived from the package's."""
    pipelines = importlib.import_module(f"{package}.pipelines")
    pipeline_base: Any = pipelines.Pipeline
    chunk_base: Any = getattr(pipelines, "ChunkPipeline", None)
    if chunk_base is None:
        chunk_base = importlib.import_module(f"{package}.pipelines.base").ChunkPipeline
    classification: Any = pipelines.TextClassificationPipeline

    class Pair(pipeline_base):
        """A text and a second one given by an argument, to a label, a score and the logits."""

        def _sanitize_parameters(self, **kwargs: Any) -> Any:
            prepare = {"second_text": kwargs["second_text"]} if "second_text" in kwargs else {}
            forward = {"scale": kwargs["scale"]} if "scale" in kwargs else {}
            finish = {"digits": kwargs["digits"]} if "digits" in kwargs else {}
            return prepare, forward, finish

        def preprocess(self, text: str, second_text: str | None = None) -> Any:
            return self.tokenizer(text, text_pair=second_text, return_tensors=self.framework_name())

        def framework_name(self) -> str:
            return "pt"

        def _forward(self, model_inputs: Any, scale: float = 1.0) -> Any:
            outputs = self.model(**model_inputs)
            outputs["logits"] = outputs["logits"] * scale
            return outputs

        def postprocess(self, model_outputs: Any, digits: int | None = None) -> Any:
            logits = model_outputs.logits[0]
            best = torch.softmax(logits, -1).max(-1)
            label = self.model.config.id2label[int(best.indices)]
            score = float(best.values)
            if digits is not None:
                score = round(score, digits)
            return {"label": label, "score": score, "logits": logits.tolist()}

    class Kinds(pipeline_base):
        """Whatever an input is: what the hooks see of it, without the model."""

        def _sanitize_parameters(self, **kwargs: Any) -> Any:
            return kwargs, {}, {}

        def preprocess(self, item: Any, times: int = 1) -> Any:
            text = repr(item)
            return {
                "long": torch.arange(len(text))[None] * times,
                "features": torch.ones(1, len(text), 3),
                "special_tokens_mask": torch.zeros(1, len(text), dtype=torch.int64),
                "flat": torch.tensor([len(text)]),
                "name": text,
            }

        def _forward(self, inputs: Any) -> Any:
            assert not torch.is_grad_enabled()
            batched = isinstance(inputs["name"], list)
            return {
                "seen": ["batched"] * len(inputs["name"]) if batched else "alone",
                "name": inputs["name"],
                "sum": inputs["long"].sum(1),
                "masked": inputs["special_tokens_mask"],
                "hidden_states": (inputs["features"], inputs["features"] * 2),
                "flat": inputs["flat"],
                "nothing": None,
            }

        def postprocess(self, outputs: Any) -> Any:
            first, second = outputs["hidden_states"]
            return [
                outputs["seen"],
                outputs["name"], outputs["sum"].tolist(), outputs["masked"].tolist(), outputs["flat"].tolist(),
                float(first.sum()), float(second.sum()), outputs["nothing"],
            ]  # fmt: skip

    class Tokens(pipeline_base):
        """The hidden states of a text's first and last real token, of all layers; a tensor is returned."""

        def _sanitize_parameters(self, **kwargs: Any) -> Any:
            return {}, kwargs, {}

        def preprocess(self, text: str) -> Any:
            return self.tokenizer(text, return_tensors="pt")

        def _forward(self, model_inputs: Any, layer: int = -1) -> Any:
            found = self.model(**model_inputs, output_hidden_states=True).hidden_states[layer]
            mask = model_inputs["attention_mask"].bool()
            return torch.stack(
                [torch.stack([row[keep][0], row[keep][-1]]) for row, keep in zip(found, mask, strict=True)]
            )

        def postprocess(self, ends: torch.Tensor) -> Any:
            return ends.tolist()

    class Chunks(chunk_base):
        """A text in chunks of some words; the label of each, and how many there are."""

        def _sanitize_parameters(self, words: int | None = None) -> Any:
            return {} if words is None else {"words": words}, {}, {}

        def preprocess(self, text: str, words: int = 3) -> Iterator[Any]:
            parts = text.split()
            for start in range(0, max(len(parts), 1), words):
                encoded = self.tokenizer(" ".join(parts[start : start + words]), return_tensors="pt")
                yield {"is_last": start + words >= len(parts), "start": start, **encoded}

        def _forward(self, model_inputs: Any) -> Any:
            is_last = model_inputs.pop("is_last")
            start = model_inputs.pop("start")
            return {"is_last": is_last, "start": start, "logits": self.model(**model_inputs).logits}

        def postprocess(self, outputs: Any) -> Any:
            return [[int(chunk["start"]), *chunk["logits"][0].tolist()] for chunk in outputs], len(outputs)

    class Scores(classification):  # type: ignore[misc]
        """The package's own pipeline with another postprocess."""

        def postprocess(self, model_outputs: Any, **arguments: Any) -> Any:
            found = super().postprocess(model_outputs, **arguments)
            return {"found": found, "first": model_outputs["logits"][0, 0].item() * 100}

    class Shout(classification):  # type: ignore[misc]
        """The package's own pipeline with an argument and a preprocess of its own."""

        def _sanitize_parameters(self, exclaim: str = "", **kwargs: Any) -> Any:
            prepare, forward, finish = super()._sanitize_parameters(**kwargs)
            return {**prepare, "exclaim": exclaim}, forward, finish

        def preprocess(self, inputs: str, exclaim: str = "", **arguments: Any) -> Any:
            return super().preprocess(inputs + exclaim, **arguments)

    return {own.__name__: own for own in (Pair, Kinds, Tokens, Chunks, Scores, Shout)}


def answer(package: str, classes: dict[str, type], case: dict[str, Any]) -> Any:
    """Runs one case: a class, a model's folder, settings, inputs (plain, or as a generator or dataset), arguments."""
    module: Any = importlib.import_module(package)
    pipelines: Any = importlib.import_module(f"{package}.pipelines")
    own = classes[case["class"]]
    settings = dict(case.get("settings", {}))
    task = "text-classification"
    if case.get("register"):
        task = f"own-{case['class'].lower()}"
        if task not in pipelines.PIPELINE_REGISTRY.get_supported_tasks():
            pipelines.PIPELINE_REGISTRY.register_pipeline(
                task, pipeline_class=own, pt_model=module.AutoModelForSequenceClassification, type="text"
            )
    else:
        settings["pipeline_class"] = own
    pipe = pipelines.pipeline(task, model=case["model"], device="cpu", **settings)
    if case.get("padding_side"):
        pipe.tokenizer.padding_side = case["padding_side"]
    inputs = case["inputs"]
    if case.get("as") == "generator":
        inputs = (item for item in inputs)
    elif case.get("as") == "dataset":
        inputs = Rows(inputs)
    elif case.get("as") == "tuple":
        inputs = tuple(inputs)
    result = pipe(inputs, **case.get("arguments", {}))
    return list(result) if case.get("as") in ("generator", "dataset") else result
