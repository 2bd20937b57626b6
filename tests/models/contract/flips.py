"""Other values for keys of a config, and whether a model takes notice of them."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import torch
from torch import Tensor

from oxiformers.config import Config
from oxiformers.config_types import hints
from oxiformers.errors import OxiformersError
from tests.models.answer import PROBE
from tests.models.contract.inert import GENERIC
from tests.models.contract.inputs import make, usual
from tests.models.contract.names import recorded
from tests.models.contract.subjects import ROWS, config_values, model_class, with_weights

#: What text keys of these names are changed to, whatever the row; each is in a list, as rows' own values may be.
TEXTS: dict[str, list[Any]] = {
    "hidden_act": ["relu", "silu"],
    "activation": ["relu", "silu"],
    "activation_function": ["relu", "silu"],
    "feed_forward_proj": ["relu", "silu"],
    "dense_act_fn": ["relu", "silu"],
    "rope_scaling": [{"rope_type": "linear", "factor": 2.0}],
    "rope_parameters": [{"rope_type": "default", "rope_theta": 77.0}],
    "id2label": [{0: "yes", 1: "no", 2: "both", 3: "neither"}],
    "label2id": [{"yes": 0}],
    "architectures": [["Other"]],
}


def keys_of(row: str, config_class: type[Config]) -> list[str]:
    """Every key to change: the fields of our config and the keys of transformers', but for what may change nothing."""
    known = dict.fromkeys((*hints(config_class), *recorded(row)["keys"]))
    return [key for key in known if key not in GENERIC and key not in config_class.attribute_map]


def candidates(row: str, key: str, config: Config, config_class: type[Config]) -> list[Any]:
    """Other values for a key, likelier ones first."""
    for chosen in (ROWS[row].flips, TEXTS):
        if key in chosen:
            values = chosen[key] if isinstance(chosen[key], list) else [chosen[key]]
            return [value for value in values if value != getattr(config, key, None)]
    default = recorded(row)["keys"].get(key)
    return list(_others(getattr(config, key, default), hints(config_class).get(key)))


def _others(value: Any, hint: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (
            other
            for other in (2 * value, value // 2, value + 1, value - 1, 1)
            if other != value and other >= 0
        )
    elif isinstance(value, float):
        yield value + 0.5 if value < 0.5 else value / 2
    elif isinstance(value, str):
        yield from (option for option in _literals(hint) if option != value)
        yield f"{value}-other"
    elif isinstance(value, (list, tuple)):
        yield [next(_others(item, None), item) for item in value]
        yield [*value, *value[-1:]]
    elif isinstance(value, dict):
        yield value | {"other": 1}
    else:
        yield from _of_type(hint)


def _of_type(hint: Any) -> Iterator[Any]:
    """A value of each type that a key without one may have."""
    if hint is None:
        yield from (1, "other")
    parts = _parts(hint)
    yield from _literals(hint)
    known = {bool: True, float: 0.5, int: 3, str: "other"}
    for part in parts:
        if part in known:
            yield known[part]
        elif get_origin(part) is dict:
            yield {"other": 1}
        elif get_origin(part) is list:
            yield [3]


def _parts(hint: Any) -> list[Any]:
    """The types that an annotation joins, without their ranges."""
    joined = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [get_args(part)[0] if get_origin(part) is Annotated else part for part in joined]


def _literals(hint: Any) -> list[Any]:
    return [
        option
        for part in _parts(hint)
        if str(get_origin(part)) == "typing.Literal"
        for option in get_args(part)
    ]


class Seen:
    """All that a model of one config shows: its parameters, its outputs, fresh weights, and outputs in training."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        made = model_class(name)
        torch.manual_seed(0)
        self._name, self._model = name, made(made.config_class(**config_values(name) | values)).eval()
        # A copy, for the weights are to be replaced.
        self._fresh = {key: tensor.clone() for key, tensor in self._model.state_dict().items()}
        with_weights(self._model)

    def parameters(self) -> Any:
        return [(key, tuple(weight.shape)) for key, weight in self._model.named_parameters()]

    def outputs(self) -> Any:
        return self._run()

    def fresh(self) -> Any:
        return self._fresh

    def training(self) -> Any:
        self._model.train()
        return self._run()

    def _run(self) -> Any:
        inputs = {
            key: tensor.float() if tensor.is_floating_point() else tensor
            for key, tensor in make(self._name, usual(self._name)).items()
            if not key.startswith(PROBE)
        }
        torch.manual_seed(0)
        with torch.no_grad():
            return self._model(**inputs)


LOOKS = ("parameters", "outputs", "fresh", "training")


def notices(name: str, key: str, values: list[Any], looks: dict[str, Any]) -> str:
    """How a subject takes notice of the first of the values that it can be built with.

    Args:
        name: of the subject.
        key: of the config.
        values: others than the row's.
        looks: what the subject shows with the row's, by the names of LOOKS.

    Returns:
        One of LOOKS, "error" where no value can be built or run, or "" where nothing changes.
    """
    for value in values:
        try:
            seen = Seen(name, {key: value})
            return next((look for look in LOOKS if not same(getattr(seen, look)(), looks[look])), "")
        except OxiformersError:
            continue
    return "error"


def same(one: Any, other: Any) -> bool:
    """Whether two outputs are alike to the last bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):  # outputs of models, too
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return not isinstance(one, (int, str, float)) or bool(one == other)


def looks_of(name: str) -> dict[str, Any]:
    """What a subject shows."""
    seen = Seen(name, {})
    return {look: getattr(seen, look)() for look in LOOKS}


def unexplained(row: str, found: dict[str, str]) -> tuple[list[str], list[str]]:
    """Keys that change nothing without a reason, and those that have a reason and do change something."""
    inert = ROWS[row].inert
    silent = [key for key, notice in found.items() if not notice and key not in inert]
    return silent, [key for key in inert if found.get(key, "absent")]
