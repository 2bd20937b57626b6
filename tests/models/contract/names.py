"""What a row records of its classes: their parameters as fresh weights have them, and the keys of their configs.

A parameter is written as its shape and its values: "24x24 ~0.4" is drawn with that deviation, "24 =1" constant. A head
writes its base model as one line, "bert.*": "BertModel", and null where it lacks a parameter of it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.models.contract.subjects import FOLDER


@dataclass(frozen=True)
class Parameter:
    """A shape, and the value that a fresh tensor has everywhere, or else the deviation it is drawn with."""

    shape: tuple[int, ...]
    value: float | None
    deviation: float = 0.0

    @classmethod
    def of(cls, shape: list[int], mean: float, deviation: float) -> Parameter:
        """From what was measured."""
        if deviation < 1e-7:
            return cls(tuple(shape), float(f"{mean:.4g}"))
        return cls(tuple(shape), None, float(f"{deviation:.2g}"))

    @classmethod
    def read(cls, text: str) -> Parameter:
        """From a line."""
        size, _, values = text.rpartition(" ")
        shape = tuple(int(length) for length in size.split("x")) if size else ()
        number = float(values[1:])
        return cls(shape, number) if values[0] == "=" else cls(shape, None, number)

    def write(self) -> str:
        """As a line."""
        size = "x".join(map(str, self.shape))
        values = f"~{self.deviation:g}" if self.value is None else f"={self.value:g}"
        return f"{size} {values}" if size else values

    def is_like(self, other: Parameter) -> bool:
        """Whether both have one shape, and values as like as their number makes sure."""
        if self.shape != other.shape or (self.value is None) != (other.value is None):
            return False
        if self.value is not None and other.value is not None:
            return math.isclose(self.value, other.value, rel_tol=1e-3)
        count = math.prod(self.shape)
        within = 0.1 + 4 / math.sqrt(2 * count)
        smaller, larger = sorted((self.deviation, other.deviation))
        return larger <= smaller * (1 + within)


@cache
def recorded(row: str) -> dict[str, Any]:
    """What a row records: {"keys": {key: default}, "classes": {name: {parameter: Parameter}}}."""
    found = json.loads((FOLDER / f"{row}.json").read_text())
    classes: dict[str, dict[str, Parameter]] = {}
    for name, lines in found["classes"].items():
        parameters: dict[str, Parameter] = {}
        for key, text in lines.items():
            if key.endswith("*"):
                parameters |= {key[:-1] + inner: value for inner, value in classes[text].items()}
            elif text is None:
                del parameters[key]
            else:
                parameters[key] = Parameter.read(text)
        classes[name] = parameters
    return {"keys": found["keys"], "classes": classes}


def abbreviated(classes: dict[str, dict[str, Parameter]], prefix: str) -> dict[str, dict[str, str | None]]:
    """The lines of every class; the first one's parameters are one line where they lie under a prefix."""
    base = next(iter(classes))
    lines: dict[str, dict[str, str | None]] = {}
    for name, parameters in classes.items():
        inner = {prefix + key: value for key, value in classes[base].items()}
        shared = {key for key, value in inner.items() if key in parameters and parameters[key].is_like(value)}
        lines[name] = {}
        if name != base and len(shared) > len(inner) // 2:
            lines[name][prefix + "*"] = base
            lines[name] |= {key: None for key in inner if key not in parameters}
        else:
            shared = set()
        lines[name] |= {key: value.write() for key, value in parameters.items() if key not in shared}
    return lines
