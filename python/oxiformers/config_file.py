"""Finding and reading config.json."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from oxiformers import config_types, files, hub
from oxiformers.errors import UnsupportedError

CONFIG_NAME = "config.json"


def read_config(
    name_or_path: str | os.PathLike[str], **kwargs: Any
) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The keys of config.json as read, its path, and the arguments that are not the Hub's."""
    arguments, rest = hub.split_hub_arguments(kwargs)
    if isinstance(name_or_path, (str, os.PathLike)) and os.path.isfile(name_or_path):
        path = Path(name_or_path)
    else:
        path = cast(Path, hub.Source(name_or_path, **arguments).file(CONFIG_NAME))
    return files.read_json(path), str(path), rest


def refuse_remote_code(values: dict[str, Any], source: str, trust_remote_code: bool | None) -> None:
    """Refuses a config that asks for code of its own together with a caller who allows it.

    Without `trust_remote_code` the package's own class is used, as transformers does. With it transformers
    would run the repository's code, which oxiformers never does.
    """
    if trust_remote_code and "auto_map" in values:
        raise UnsupportedError(
            f"{source}: auto_map names code of the repository's own, and oxiformers never runs such code; "
            f"without trust_remote_code=True its own {values.get('model_type')!r} is used, if it has that",
            path=source,
            key="auto_map",
            expected="no auto_map, or trust_remote_code=False",
            actual=config_types.actual_words(values["auto_map"]),
        )


def untag_floats(value: Any) -> Any:
    """Reads transformers 5's JSON spelling of the floats JSON lacks: {"__float__": "Infinity"}."""
    if isinstance(value, dict):
        if value.keys() == {"__float__"} and value["__float__"] in ("Infinity", "-Infinity", "NaN"):
            return float(value["__float__"])
        return {key: untag_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [untag_floats(item) for item in value]
    return value
