"""Runs pipelines of transformers, in an environment of its own: cases come in as JSON, results go out so.

A case is [task, model folder, arguments of the constructor, inputs, arguments of the call]. A result is
{"result": ...} or {"error": the exception's name}; tensors become {"shape", "values"}.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import transformers
from transformers import pipeline


def plain(value: Any) -> Any:
    if hasattr(value, "shape"):
        return {"shape": list(value.shape), "values": value.tolist()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def run(case: list[Any], made: dict[str, Any]) -> dict[str, Any]:
    task, folder, settings, inputs, arguments = case
    key = json.dumps([task, folder, settings], sort_keys=True)
    try:
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
    json.dump([run(case, made) for case in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
