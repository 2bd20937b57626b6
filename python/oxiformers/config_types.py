"""The kinds of values that fields of a config have, and whether a value is one of a kind.

A field's annotation says what its values may be. Types are checked when a config is made, as JSON has types;
ranges when a model is built from it, since a config of no possible model may still be read, changed and written::

    hidden_size: int = 768                        # a size: at least 1, at most what a tensor's dimension may be
    num_hidden_layers: Layers = 12
    type_vocab_size: Count = 2                    # may be zero
    hidden_dropout_prob: Probability = 0.1
    layer_norm_eps: NonNegative = 1e-12
    tie_word_embeddings: bool = True              # and str, dict, list[int], ... | None: any value of that type

An int whose default is below 1 is no size: it may be any number of 32 bits. A field that a subclass declares again
keeps the range it had, unless the annotation names another.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import types
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from oxiformers.files import json_type


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`, both included."""

    least: float
    most: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether the number lies within."""
        return self.least <= value <= self.most

    def __str__(self) -> str:
        return f"at least {self.least}" if self.most == math.inf else f"from {self.least} to {self.most}"


SIZE = Range(1, 1 << 31)
WHOLE = Range(-(1 << 31), 1 << 31)

#: The size of an image or a patch: one number for both sides, or height and width.
Sides = Annotated[int, SIZE] | list[Annotated[int, SIZE]]
#: How many of something there are that may be absent: a dimension of a tensor, or zero.
Count = Annotated[int, Range(0, 1 << 31)]
#: How many modules are built one after another. The deepest published models have 126 layers.
Layers = Annotated[int, Range(1, 1024)]
#: The id of a token, or a negative number that is none.
TokenId = Annotated[int, WHOLE]
#: A share or a probability, as of dropout.
Probability = Annotated[float, Range(0, 1)]
#: An epsilon, a standard deviation.
NonNegative = Annotated[float, Range(0)]


@lru_cache(maxsize=1024)
def expected_words(hint: Any) -> str:
    """An annotation in words: 'an integer or null'."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return expected_words(arguments[0])
    if origin in (Union, types.UnionType):
        words = list(dict.fromkeys(expected_words(argument) for argument in arguments))
        if "a number" in words and "an integer" in words:
            words.remove("an integer")
        return " or ".join(words)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (list, tuple):
        inner = [argument for argument in arguments if argument is not Ellipsis]
        return "an array" + (f" of ({expected_words(inner[0])})" if inner else "")
    if origin is dict or hint is dict:
        return "an object"
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "an array",
        type(None): "null",
    }
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def fits(value: object, hint: Any) -> bool:
    """Whether the value has the annotated type, as JSON has types.

    A boolean is no number, an integer does for a float, an integral string is no integer, and a float is
    finite.
    """
    if hint is Any:
        return True
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits(value, arguments[0])
    if origin in (Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(argument) and value == argument for argument in arguments)
    if origin in (list, tuple):
        inner = [argument for argument in arguments if argument is not Ellipsis]
        return isinstance(value, (list, tuple)) and all(fits(item, inner[0]) for item in value if inner)
    if origin is dict:
        return isinstance(value, dict) and all(
            fits(_key(key, arguments[0]), arguments[0]) and fits(item, arguments[1])
            for key, item in value.items()
        )
    if hint is float:
        return _is_finite_number(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is None or hint is type(None):
        return value is None
    return not isinstance(hint, type) or isinstance(value, hint)


def outside(value: object, hint: Any) -> tuple[object, Range] | None:
    """The number, in a value of the annotated type, that the annotation's ranges exclude, and the range; else None."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        ranges = [item for item in arguments[1:] if isinstance(item, Range)] if is_number else []
        return next(((value, item) for item in ranges if not item.holds(cast(float, value))), None)
    if origin in (Union, types.UnionType):
        matching = (argument for argument in arguments if fits(value, argument))
        results = [outside(value, argument) for argument in matching]
        return None if None in results else next(iter(results), None)
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        inner = [argument for argument in arguments if argument is not Ellipsis]
        return next((found for item in value if inner and (found := outside(item, inner[0]))), None)
    return None


def actual_words(value: object) -> str:
    """A value in words, short: "a string ('12')"."""
    if value is None:
        return "null"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return f"{json_type(value)} ({text if len(text) <= 80 else text[:77] + '...'})"


def _key(key: object, hint: Any) -> object:
    """Object keys are strings in JSON: one that spells an integer does for an integer."""
    if hint is int and isinstance(key, str) and len(key) <= 18 and key.removeprefix("-").isdecimal():
        return int(key)
    return key


def _is_finite_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def defaults(cls: type[Any]) -> dict[str, Any]:
    """The fields of a config class with their defaults; a class without the decorator gets it here."""
    if (known := cls.__dict__.get("_known_defaults")) is None:
        if "__dataclass_fields__" not in cls.__dict__:
            dataclasses.dataclass(cls)
        known = {}
        for field in dataclasses.fields(cls):
            if field.default_factory is not dataclasses.MISSING:
                known[field.name] = field.default_factory()
            elif field.default is not dataclasses.MISSING:
                known[field.name] = field.default
            else:
                raise TypeError(f"field {field.name} of {cls.__name__} needs a default")
        cls._known_defaults = known
    return cast(dict[str, Any], known)


def hints(cls: type[Any]) -> dict[str, Any]:
    """The annotations of a config class's fields with their ranges, without those that are other names of a field."""
    if (known := cls.__dict__.get("_known_hints")) is None:
        found = get_type_hints(cls, include_extras=True)
        inherited: dict[str, Any] = {}
        for base in reversed(cls.__mro__[1:]):
            if "__dataclass_fields__" in base.__dict__:
                inherited |= hints(base)
        known = {
            name: _with_range(found[name], default, inherited.get(name))
            for name, default in defaults(cls).items()
            if name not in cls.attribute_map
        }
        cls._known_hints = known
    return cast(dict[str, Any], known)


def _with_range(hint: Any, default: object, inherited: Any) -> Any:
    """The annotation, and for plain numbers the range of the base class, for plain integers else of a size."""
    if get_origin(hint) in (Union, types.UnionType):
        members = (_with_range(item, default, inherited) for item in get_args(hint))
        return functools.reduce(operator.or_, members)
    if hint not in (int, float):
        return hint
    parts = [inherited] if get_origin(inherited) is Annotated else list(get_args(inherited))
    kept = next((part for part in parts if get_origin(part) is Annotated and get_args(part)[0] is hint), None)
    if kept is not None:
        return kept
    if hint is float:
        return hint
    is_size = default is None or (isinstance(default, int) and SIZE.holds(default))
    return Annotated[int, SIZE if is_size else WHOLE]
