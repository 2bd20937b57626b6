"""Python functions as JSON schemas: how tools are described to a chat template."""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from oxiformers.errors import ArgumentError

Schema = dict[str, Any]

_SCALARS: dict[type, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}
_CONTAINERS: dict[Any, str] = {list: "array", tuple: "array", dict: "object"}
#: Types that are known once their module has been imported: without it no hint can name them.
_LOADED_TYPES = (("PIL.Image", "Image", "image"), ("torch", "Tensor", "audio"))

_SECTION = re.compile(r"Args:|Returns:|Raises:")
_AFTER_ARGUMENTS = re.compile(r"Returns:|Raises:")
_ARGUMENTS = re.compile(r"\n\s*Args:\n")
_RETURNS = re.compile(r"\n\s*Returns:\n")
_ARGUMENT = re.compile(r"(?:^|\n)(?P<indent>[ \t]*)(?P<name>\w+):\s*")
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


class TypeHintParsingException(ArgumentError):
    """A function's type hint has no equivalent in JSON schema, or is missing."""


class DocstringParsingException(ArgumentError):
    """A function has no docstring, or it lacks the description of an argument."""


class Docstring(NamedTuple):
    """The parts of a docstring in Google's style.

    Attributes:
        description: all before the first section.
        arguments: the descriptions of the arguments by name, each on one line.
        returns: the description of the result, or None.
    """

    description: str
    arguments: dict[str, str]
    returns: str | None


def get_json_schema(func: Callable[..., Any]) -> Schema:
    """The JSON schema of a function, from its type hints and its docstring in Google's style.

    Every argument (`self` or `cls` without a hint aside) needs a type hint and a description under `Args:`. A
    description that ends in `(choices: ["a", "b"])` limits the values. `Returns:` is optional, and so is the
    hint of what is returned.

    Returns:
        `{"type": "function", "function": {"name", "description", "parameters", "return"?}}`, whose
        `parameters` are `{"type": "object", "properties": {...}, "required"?: [...]}`.

    Raises:
        DocstringParsingException: no docstring, or an argument that it does not describe.
        TypeHintParsingException: no type hint, or one without an equivalent.
    """
    name = getattr(func, "__name__", "operation")
    text = inspect.getdoc(func)
    if not text:
        raise DocstringParsingException(
            f"Cannot generate JSON schema for {name} because it has no docstring!", key=name
        )
    docstring = parse_docstring(text.strip())
    properties, required = _parameters(func, name)
    returned = properties.pop("return", None)
    if returned is not None and docstring.returns is not None:
        returned["description"] = docstring.returns
    for argument, schema in properties.items():
        if argument not in docstring.arguments:
            raise DocstringParsingException(
                f"Cannot generate JSON schema for {name} because the docstring has no description for the "
                f"argument '{argument}'",
                key=argument,
                expected=f"{argument}: ... under Args:",
            )
        _describe(schema, docstring.arguments[argument], argument)
    parameters: Schema = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    function: Schema = {"name": name, "description": docstring.description, "parameters": parameters}
    if returned is not None:
        function["return"] = returned
    return {"type": "function", "function": function}


def parse_docstring(text: str) -> Docstring:
    """Takes a docstring in Google's style apart; sections and arguments it does not have are left out."""
    description = _SECTION.split(text, maxsplit=1)[0].strip()
    section = _ARGUMENTS.search(text)
    arguments: dict[str, str] = {}
    if section is not None:
        body = _AFTER_ARGUMENTS.split(text[section.end() :], maxsplit=1)[0].rstrip()
        arguments = _described_arguments("\n".join(line for line in body.split("\n") if line.strip()))
    section = _RETURNS.search(text)
    returns = text[section.end() :].split("Raises:", maxsplit=1)[0].strip() if section is not None else None
    return Docstring(description, arguments, returns)


def _described_arguments(block: str) -> dict[str, str]:
    """Descriptions by name. One lasts until a line `name:` that is not indented deeper than its own."""
    found: dict[str, str] = {}
    place = 0
    while (start := _ARGUMENT.search(block, place)) is not None:
        deeper = re.escape(start["indent"])
        end = re.compile(rf"\n(?!{deeper}[ \t])[ \t]*\w+:").search(block, start.end())
        place = len(block) if end is None else end.start()
        found[start["name"]] = re.sub(r"\s*\n+\s*", " ", block[start.end() : place].strip())
    return found


def _describe(schema: Schema, description: str, argument: str) -> None:
    """Puts an argument's description into its schema, and the choices at the description's end."""
    choices = _CHOICES.search(description)
    if choices is not None:
        try:
            values = json.loads(choices[1])
        except ValueError as error:
            raise DocstringParsingException(
                f"the choices of the argument '{argument}' are not a JSON list: {choices[1]}",
                key=argument,
                expected='(choices: ["a", "b"])',
                actual=choices[0],
            ) from error
        schema["enum"] = [value.strip() if isinstance(value, str) else value for value in values]
        description = description[: choices.start()].strip()
    schema["description"] = description


def _parameters(func: Callable[..., Any], name: str) -> tuple[dict[str, Schema], list[str]]:
    """The schemas of the arguments, and of the result under "return"; and the names without a default."""
    hints = get_type_hints(func)
    receiver = None
    required = []
    for index, (key, parameter) in enumerate(inspect.signature(func).parameters.items()):
        if parameter.annotation is parameter.empty:
            if index == 0 and key in ("self", "cls"):
                receiver = key
                continue
            raise TypeHintParsingException(
                f"Argument {key} is missing a type hint in function {name}", key=key, expected="a type hint"
            )
        if parameter.default is parameter.empty:
            required.append(key)
    properties: dict[str, Schema] = {}
    for key, hint in hints.items():
        if key == receiver:
            continue
        try:
            properties[key] = schema_of_hint(hint)
        except TypeHintParsingException:
            if key != "return":  # a model makes arguments, never the result: it may be of any type
                raise
    return properties, required


def schema_of_hint(hint: Any) -> Schema:
    """The JSON schema of a type hint. Raises TypeHintParsingException where there is none."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None:
        return _schema_of_class(hint)
    if origin in (Union, types.UnionType):
        return _schema_of_union(arguments)
    if origin is Literal:
        if any(type(value) not in _SCALARS for value in arguments):
            raise TypeHintParsingException(
                "Only the valid python literals can be listed in typing.Literal.",
                expected="int, float, str, bool or None",
                actual=str(hint),
            )
        return _schema_of_values(arguments)
    if origin in _CONTAINERS and not arguments:
        return {"type": _CONTAINERS[origin]}
    if origin is list:
        return {"type": "array", "items": schema_of_hint(arguments[0])}
    if origin is tuple:
        return {"type": "array", "prefixItems": [schema_of_hint(item) for item in _items(hint, arguments)]}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of_hint(arguments[1])}
    raise TypeHintParsingException(
        f"Couldn't parse this type hint, likely due to a custom class or object: {hint}", actual=str(hint)
    )


def _schema_of_class(hint: Any) -> Schema:
    if isinstance(hint, type) and issubclass(hint, Enum):
        values = [member.value for member in hint]
        if not values or any(type(value) not in _SCALARS for value in values):
            raise TypeHintParsingException(
                f"The Enum {hint.__name__} has no members, or members that are not int, float, str, bool or "
                f"None, which JSON holds: {values}",
                expected="members of int, float, str, bool or None",
                actual=str(values),
            )
        return _schema_of_values(values)
    if hint is Any:
        return {}
    try:
        name = _SCALARS.get(hint) or _CONTAINERS.get(hint)
    except TypeError:  # not hashable
        name = None
    for module, attribute, kind in _LOADED_TYPES:
        if module in sys.modules and hint is getattr(sys.modules[module], attribute, None):
            name = kind
    if name is None:
        raise TypeHintParsingException(
            f"Couldn't convert the type hint {hint!r} to a JSON schema, likely because it is a custom class "
            "or object; int, float, str, bool, Enum, Literal, and list, tuple, dict and unions of them have "
            "one. For another, write the schema by hand and pass it in place of the function.",
            actual=repr(hint),
        )
    return {"type": name}


def _schema_of_values(values: Iterable[Any]) -> Schema:
    values = list(values)
    kinds = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}


def _schema_of_union(arguments: tuple[Any, ...]) -> Schema:
    parts = [schema_of_hint(part) for part in arguments if part is not type(None)]
    if len(parts) == 1:
        schema = parts[0]
    elif all(list(part) == ["type"] and isinstance(part["type"], str) for part in parts):
        names = sorted({part["type"] for part in parts})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": parts}
    if type(None) in arguments:
        schema["nullable"] = True
    return schema


def _items(hint: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A tuple's items, where it has several and all of them are named."""
    if len(arguments) == 1:
        raise TypeHintParsingException(
            f"The type hint {str(hint).replace('typing.', '')} is a Tuple with a single element, which has no "
            "JSON schema here: for any number of elements take list[], for one leave tuple[] out.",
            expected="list[] or several elements",
            actual=str(hint),
        )
    if ... in arguments:
        raise TypeHintParsingException(
            "Conversion of '...' is not supported in Tuple type hints. Use list[] types for variable-length "
            "inputs instead.",
            expected="list[]",
            actual=str(hint),
        )
    return arguments
