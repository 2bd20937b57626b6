"""The kinds of a config's fields: which ranges annotations stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import pytest

from oxiformers import PretrainedConfig, config_types
from oxiformers.auto.registry import ARCHITECTURES
from oxiformers.config_types import Count, Layers, NonNegative, Probability, TokenId
from oxiformers.errors import ConfigError
from oxiformers.weights.meta import WithoutMemory

LAYERS = get_args(Layers)[1]


@dataclass
class Kinds(PretrainedConfig):
    """A field of each kind; the plain ones are spelled unlike any size of a model here."""

    model_type = "kinds"
    breadth: int = 4
    maybe: int | None = None
    offset: int = 0
    before: int = -1
    several: int | list[int] = 4
    stack: Layers = 2
    parts: Count = 3
    share: Probability = 0.5
    share_or_none: Probability | None = None
    spread: NonNegative = 0.1
    shares: list[Probability] | None = None
    token: TokenId | None = 7
    free: float = 1.0
    chunk_size_feed_forward: int = 8
    pad_token_id: int | None = 5


@dataclass
class MoreKinds(Kinds):
    """Declares fields again, with other defaults or another kind."""

    model_type = "more_kinds"
    stack: int = 3
    share: float = 0.25
    parts: Layers = 1


GOOD: dict[str, list[Any]] = {
    "breadth": [1, 1 << 31], "maybe": [None, 1], "offset": [0, -5, 9], "before": [-1, -9, 9], "several": [1, [0, -1]],
    "stack": [1, 1024], "parts": [0, 9], "share": [0, 1, 0.3], "share_or_none": [None, 1.0], "spread": [0, 1e9],
    "shares": [None, [], [0, 0.5, 1]], "token": [None, 0, -100], "free": [-1e9], "chunk_size_feed_forward": [0],
    "pad_token_id": [0, -1, None],
}  # fmt: skip
BAD: dict[str, list[Any]] = {
    "breadth": [0, -1, (1 << 31) + 1], "maybe": [0, -1], "offset": [1 << 40, -(1 << 40)], "several": [0],
    "stack": [0, 1025], "parts": [-1], "share": [-0.1, 1.1, 2], "share_or_none": [-1.0], "spread": [-1e-9],
    "shares": [[0.5, 1.5]], "token": [1 << 40], "chunk_size_feed_forward": [-1],
}  # fmt: skip


@pytest.mark.parametrize("key", GOOD)
def test_ranges_come_from_the_kinds_of_fields(key: str) -> None:
    assert GOOD.keys() == {"token" if key == "token" else key for key in Kinds.__annotations__}
    for value in GOOD[key]:
        Kinds(**{key: value}).check()
    for value in BAD.get(key, []):
        config = Kinds(**{key: value})
        assert getattr(config, key) == value
        with pytest.raises(ConfigError, match=f"{key}: expected (from|at least)") as caught:
            config.check()
        assert caught.value.key == key


def test_fields_that_are_declared_again() -> None:
    """A plain annotation keeps the range of the base class, another kind replaces it."""
    for good in ({}, {"stack": 1024}, {"parts": 1024}, {"breadth": 1}, {"pad_token_id": 0}):
        MoreKinds(**good).check()
    for bad in (
        {"stack": 1025},
        {"share": 1.5},
        {"parts": 0},
        {"breadth": 0},
        {"chunk_size_feed_forward": -1},
    ):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            MoreKinds(**bad).check()


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_numbers_of_modules_are_of_the_kind_of_layers(model_type: str) -> None:
    """A field that makes more modules is a Layers, so that no config asks for a billion of them."""
    row = ARCHITECTURES[model_type]
    config_class, model_class = row.config_class(), row.model_class("AutoModel")
    assert model_class is not None

    def modules(**values: Any) -> int:
        with WithoutMemory():
            return sum(1 for _ in model_class(config_class(**values)).modules())

    hints = config_types.hints(config_class)
    deep = {key for key, hint in hints.items() if config_types.outside(1025, hint) == (1025, LAYERS)}
    shallow = dict.fromkeys(deep, 2)
    least = modules(**shallow)
    assert least > 2
    assert modules(**dict.fromkeys(deep, 3)) > least
    for key, value in config_class().to_dict().items():
        if key in hints and key not in deep and type(value) is int and value > 0:
            try:
                assert modules(**shallow, **{key: 2 * value}) == least, key
            except ConfigError:  # it cannot be doubled alone
                continue
