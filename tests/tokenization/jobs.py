"""Runs tokenizer jobs against a library, oxiformers or transformers, and returns plain JSON to compare.

As a program it is the oracle: under an interpreter that has transformers it answers one JSON job a line.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import ItemsView, KeysView, ValuesView
from typing import Any


class Session:
    """Tokenizers of one library, loaded once each.

    A job is {"load": {"class", "path", "kwargs"}, "steps": [step, ...]}; a step is {"do": method or
    attribute, "args", "kwargs", "then": [step on the result, ...], "set": value}. A tuple is written
    {"tuple": [...]}, an added token {"added": {...}}, an array {"array": [...]}, a tensor {"tensor": [...]}.
    """

    def __init__(self, library: str) -> None:
        self.library = importlib.import_module(library)
        self.added_token = self.library.AddedToken
        self.loaded: dict[str, Any] = {}

    def run(self, job: dict[str, Any]) -> Any:
        """The results of the job's steps, in order."""
        load = job["load"]
        key = json.dumps(load, sort_keys=True)
        fresh = job.get("fresh", False)
        tokenizer = None if fresh else self.loaded.get(key)
        if tokenizer is None:
            try:
                tokenizer = getattr(self.library, load["class"]).from_pretrained(
                    load["path"], **self.value(load.get("kwargs", {}))
                )
            except BaseException as error:  # noqa: BLE001 -- a panic of the oracle is an answer as well
                return [failure(error)]
            if not fresh:
                self.loaded[key] = tokenizer
        return [self.step(tokenizer, step) for step in job["steps"]]

    def step(self, target: Any, step: dict[str, Any]) -> Any:
        """The result of one step, and of those that follow it on its result."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if "set" in step:
                    setattr(target, step["do"], self.value(step["set"]))
                    return None
                found = target if step["do"] == "" else getattr(target, step["do"])
                if callable(found):
                    found = found(*self.value(step.get("args", [])), **self.value(step.get("kwargs", {})))
            if "then" in step:
                return [plain(found), *[self.step(found, further) for further in step["then"]]]
            return plain(found)
        except BaseException as error:  # noqa: BLE001 -- a panic of the oracle is an answer as well
            return failure(error)

    def value(self, written: Any) -> Any:
        """What a written argument stands for."""
        if isinstance(written, list):
            return [self.value(item) for item in written]
        if isinstance(written, dict):
            if set(written) == {"tuple"}:
                return tuple(self.value(written["tuple"]))
            if set(written) == {"added"}:
                return self.added_token(**written["added"])
            if set(written) == {"array"}:
                return importlib.import_module("numpy").array(written["array"])
            if set(written) == {"tensor"}:
                return importlib.import_module("torch").tensor(written["tensor"])
            return {key: self.value(item) for key, item in written.items()}
        return written


def failure(error: BaseException) -> dict[str, str]:
    """An error by the built-in class a caller would catch."""
    kinds = (TypeError, ValueError, KeyError, AttributeError, IndexError, OSError, OverflowError)
    kind = next((kind.__name__ for kind in kinds if isinstance(error, kind)), type(error).__name__)
    return {"error": kind, "message": f"{type(error).__name__}: {error}"[:300]}


def plain(value: Any) -> Any:
    """A result as JSON holds it: mappings with their keys, arrays with type and shape."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if type(value).__name__ == "int64":
        return int(value)
    if hasattr(value, "content") and hasattr(value, "normalized"):
        fields = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
        return {"added": {field: getattr(value, field) for field in fields}}
    if hasattr(value, "char_to_token") and hasattr(value, "offsets"):
        names = ("ids", "type_ids", "tokens", "offsets", "attention_mask", "special_tokens_mask", "word_ids")
        return {name: plain(getattr(value, name)) for name in (*names, "sequence_ids")}
    if type(value).__name__ == "ndarray":
        if value.dtype == object:
            return {"ragged": [plain(item) for item in value]}
        return {"array": value.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
    if type(value).__name__ == "Tensor":
        return {"tensor": value.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, (KeysView, ValuesView, ItemsView)):
        return [plain(item) for item in value]
    if hasattr(value, "items"):
        return {"mapping": {str(key): plain(item) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "input_ids"):
        return plain(dict(value))
    return f"<{type(value).__name__}>"


def main() -> None:
    """Answers a job a line, until the input ends."""
    session = Session(sys.argv[1])
    for line in sys.stdin:
        sys.stdout.write(json.dumps(session.run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
