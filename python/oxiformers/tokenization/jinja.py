"""Chat templates: compiled in a sandbox, and rendered with a record of what the assistant said.

Only this module imports jinja2; it is imported on first use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.utils
from jinja2 import nodes
from jinja2.exceptions import (
    SecurityError,
    TemplateError,
    TemplateRuntimeError,
    TemplateSyntaxError,
    UndefinedError,
)
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from oxiformers.errors import ArgumentError

#: What a template's failure can also be caught as, the most particular first.
_KINDS: tuple[type[Exception], ...] = (
    TemplateSyntaxError,
    SecurityError,
    UndefinedError,
    TemplateRuntimeError,
    TemplateError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
    ZeroDivisionError,
    IndexError,
    KeyError,
    Exception,
)


class ChatTemplateError(ArgumentError):
    """A chat template does not compile, does something the sandbox refuses, or raises.

    It is also an instance of what was raised in it: `jinja2.TemplateError`, TypeError and so on.
    """

    def __init__(self, message: str) -> None:
        # the other base classes may want more arguments than a message
        Exception.__init__(self, message)
        self.path = self.expected = self.actual = None
        self.key = "chat_template"
        self.text = message

    def __str__(self) -> str:
        return self.text


_ERRORS = {
    kind: type(f"Chat{kind.__name__}", (ChatTemplateError, kind), {})
    for kind in _KINDS
    if kind is not Exception
}
_ERRORS[Exception] = ChatTemplateError


#: The longest text a template may make, in characters, and the largest number, in bits.
_LONGEST, _LARGEST = 1 << 26, 1 << 16


class _Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, in which a template cannot fill the memory with one multiplication either."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        for value, count in ((left, right), (right, left)):
            if operator == "*" and isinstance(value, (str, list, tuple)) and isinstance(count, int):
                _check_size(len(value) * count, _LONGEST)
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length()
            _check_size(bits * right if operator == "**" else bits + right.bit_length(), _LARGEST)
        return super().call_binop(context, operator, left, right)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise SecurityError(f"a chat template may not make values of this size: {size}, more than {most}")


class Recorder:
    """Which characters of a rendered chat came from `{% generation %}` blocks.

    Attributes:
        rendered: how many characters are out so far.
        spans: start and end of each block.
    """

    def __init__(self) -> None:
        self.rendered = 0
        self.spans: list[tuple[int, int]] = []


#: The recorder of the rendering that runs now: compiled templates are shared by threads.
_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}` around what the assistant said."""

    tags = {"generation"}  # noqa: RUF012 -- as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_record"), [], [], body).set_lineno(line)

    def _record(self, caller: Callable[[], str]) -> str:
        text = caller()
        recorder = _recorder.get()
        if recorder is not None:
            recorder.spans.append((recorder.rendered, recorder.rendered + len(text)))
        return text


class _Dict:
    """The template's `dict`: builds dictionaries and has no attributes that lead out of the sandbox."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """The template's `namespace`, without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args  # so that a template may pass self= as well
        values = dict(*rest, **kwargs)
        for name in values:
            _check_name(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace takes no name that begins with an underscore: {name!r}")


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is: jinja2's own filter escapes it for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


@lru_cache(maxsize=1)
def environment() -> ImmutableSandboxedEnvironment:
    """The sandbox of all chat templates: they change nothing that is passed in, and reach no internals."""
    sandbox = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    sandbox.filters["tojson"] = _to_json
    sandbox.globals.update(
        raise_exception=_raise_exception,
        strftime_now=_strftime_now,
        dict=_Dict(),
        namespace=_Namespace,
    )
    return sandbox


@lru_cache(maxsize=128)
def compile_template(text: str) -> jinja2.Template:
    """The compiled template. Raises ChatTemplateError where its syntax is wrong."""
    with _as_template_errors():
        return environment().from_string(text)


@lru_cache(maxsize=128)
def literal_text(text: str) -> str:
    """All that a template says literally, outside of tags and in strings, parted by null characters."""
    tree = environment().parse(text)
    found = {node.data for node in tree.find_all(nodes.TemplateData)}
    found |= {node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)}
    return "\0".join(sorted(found))


def render(template: jinja2.Template, variables: dict[str, Any]) -> tuple[str, list[tuple[int, int]]]:
    """Renders a compiled template.

    Returns:
        The text, and start and end of what came from its `{% generation %}` blocks, in characters.
    """
    recorder = Recorder()
    token = _recorder.set(recorder)
    try:
        with _as_template_errors():
            parts = []
            for part in template.generate(variables):
                parts.append(part)
                recorder.rendered += len(part)
                _check_size(recorder.rendered, _LONGEST)
    finally:
        _recorder.reset(token)
    return "".join(parts), recorder.spans


@contextmanager
def _as_template_errors() -> Iterator[None]:
    """What a template raises becomes a ChatTemplateError that names the line."""
    try:
        yield
    except Exception as error:
        kind = next(kind for kind in _KINDS if isinstance(error, kind))
        line = error.lineno if isinstance(error, TemplateSyntaxError) else _line_of(error)
        message = (
            (error.message or "") if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
        )
        where = "" if line is None else f" (line {line} of the chat template)"
        failure = _ERRORS[kind](f"{message}{where}")
        failure.__dict__.update({**error.__dict__, **failure.__dict__})
        raise failure from error


def _line_of(error: BaseException) -> int | None:
    """The template's line that raised, from the traceback as jinja2 rewrites it."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
