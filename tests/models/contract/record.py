"""Records the names and shapes of every class: `python -m tests.models.contract.record PYTHON`.

PYTHON is an interpreter that has transformers 5.23.0.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.models.conftest import run_oracle
from tests.models.contract.rows import ROWS
from tests.models.contract.subjects import config_values, model_class

FOLDER = Path(__file__).parent / "names"


def main(python: Path) -> None:
    """Writes one file for each row."""
    classes = {
        name: {"config": model_class(name).config_class.__name__, "values": config_values(name)}
        for row in ROWS.values()
        for name in row.classes
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "classes.json")
        path.write_text(json.dumps(classes))
        recorded = json.loads(run_oracle(python, "record", path))
    FOLDER.mkdir(exist_ok=True)
    for row, entry in ROWS.items():
        lines = {name: recorded[name] for name in entry.classes}
        (FOLDER / f"{row}.json").write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
