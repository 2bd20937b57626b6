"""Checks config values against their annotations and against the sizes a model can have."""

from __future__ import annotations

import dataclasses
import math
import types
from functools import lru_cache
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from .files import json_type

#: The largest value of each size; larger ones are refused before anything is built. Widths and depths lie far
#: above the largest published models (hidden_size 53248, num_hidden_layers 126).
SIZE_LIMITS: dict[str, int] = {
    **dict.fromkeys(
        (
            "num_hidden_layers",
            "num_layers",
            "num_decoder_layers",
            "n_layers",
            "n_layer",
            "encoder_layers",
            "decoder_layers",
        ),
        1024,
    ),
    **dict.fromkeys(
        (
            "num_attention_heads",
            "num_key_value_heads",
            "num_heads",
            "n_heads",
            "n_head",
            "encoder_attention_heads",
            "decoder_attention_heads",
        ),
        1 << 14,
    ),
    **dict.fromkeys(
        ("hidden_size", "dim", "d_model", "n_embd", "d_kv", "head_dim", "embedding_size"), 1 << 20
    ),
    **dict.fromkeys(
        ("intermediate_size", "hidden_dim", "d_ff", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim"), 1 << 24
    ),
    **dict.fromkeys(("vocab_size", "type_vocab_size"), 1 << 26),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 1 << 31),
    **dict.fromkeys(("relative_attention_num_buckets", "relative_attention_max_distance"), 1 << 24),
}

#: Sizes that may be zero.
MAY_BE_ZERO = frozenset({"type_vocab_size"})

#: Labels are kept as a table in the config, so their number is bounded too.
MAX_LABELS = 1_000_000


@lru_cache(maxsize=1024)
def expected_words(hint: Any) -> str:
    """An annotation in words: 'an integer or null'."""
    origin, arguments = get_origin(hint), get_args(hint)
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
    """The annotations of a config class's fields, without those that are other names of another field."""
    if (known := cls.__dict__.get("_known_hints")) is None:
        found = get_type_hints(cls)
        known = {name: found[name] for name in defaults(cls) if name not in cls.attribute_map}
        cls._known_hints = known
    return cast(dict[str, Any], known)
