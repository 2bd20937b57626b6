"""Records what rows compare with: `python -m tests.models.contract.record PYTHON... [ROW...]`.

PYTHON is an interpreter that has transformers. Names of parameters are the first one's that has the row: put 4.57.6
before 5.24.0, for its names are the checkpoints'. Keys of configs are those of all. Without rows, all are recorded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.models.contract.names import Parameter, abbreviated
from tests.models.contract.subjects import FOLDER, ROWS, config_values, model_class
from tests.models.oracle_process import OracleError, ask_once


def answers(pythons: list[Path], classes: dict[str, Any]) -> list[dict[str, Any]]:
    """What each interpreter that has the classes says of them; raises OracleError where none has."""
    found, errors = [], []
    for python in pythons:
        try:
            found.append(ask_once(python, "record", classes=classes))
        except OracleError as error:
            errors.append(f"{python}: {error}")
    if not found:
        raise OracleError("\n".join(errors))
    return found


def main(pythons: list[Path], rows: list[str]) -> None:
    """Writes one file for each row."""
    for row in rows or ROWS:
        names = list(ROWS[row].classes)
        classes = {
            name: {"config": model_class(name).config_class.__name__, "values": config_values(name)}
            for name in names
        }
        found = answers(pythons, classes)
        parameters = {
            name: {key: Parameter.of(*measured) for key, measured in found[0][name]["parameters"].items()}
            for name in names
        }
        keys = {key: value for each in reversed(found) for key, value in each[names[0]]["keys"].items()}
        lines = {
            "keys": dict(sorted(keys.items())),
            "classes": abbreviated(parameters, f"{model_class(names[0]).base_model_prefix}."),
        }
        (FOLDER / f"{row}.json").write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    given = sys.argv[1:]
    main([Path(each) for each in given if "/" in each], [each for each in given if "/" not in each])
