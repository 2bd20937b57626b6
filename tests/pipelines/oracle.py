"""Runs pipelines of transformers, in an environment of its own: a line of JSON in, a line out, until the end.

A line holds cases: [task, model folder, arguments of the constructor, inputs, arguments of the call], or a dict, a
case of hook_cases. A result is {"result": ...} or {"error": the exception's name}; tensors become
{"shape", "values"}. Of the case [task] the result is the task's default model.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import hook_cases  # type: ignore[import-not-found]
import transformers
from transformers import pipeline
from transformers.pipelines import SUPPORTED_TASKS


def plain(value: Any) -> Any:
    if hasattr(value, "shape"):
        return {"shape": list(value.shape), "values": value.tolist()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def run(case: Any, made: dict[str, Any]) -> dict[str, Any]:
    try:
        if isinstance(case, dict):
            if "classes" not in made:
                made["classes"] = hook_cases.define("transformers")
            return {"result": hook_cases.answer("transformers", made["classes"], case)}
        if len(case) == 1:
            return {"result": SUPPORTED_TASKS[case[0]]["default"]["model"]}
        task, folder, settings, inputs, arguments = case
        key = json.dumps([task, folder, settings], sort_keys=True)
        if key not in made:
            made[key] = pipeline(task, model=folder, device="cpu", **settings)
        return {"result": plain(made[key](inputs, **arguments))}
    except Exception as error:  # noqa: BLE001 - whatever it is, its name is the answer
        return {"error": type(error).__name__}


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    made: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps([run(case, made) for case in json.loads(line)]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
