"""Chat templates: what is rendered, tokenized, masked and refused equals transformers 5.23 (and 4.57)."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
import numpy as np
import pytest

from oxiformers.errors import ArgumentError, InputTypeError, OxiformersError
from oxiformers.tokenization import PreTrainedTokenizerFast
from oxiformers.tokenization.jinja import ChatTemplateError
from oxiformers.tokenization.json_schema import get_json_schema
from tests.tokenization.chats import (
    ANSWER,
    CHATML,
    CHATS,
    DOCUMENT_LIST,
    GENERATION,
    HOSTILE,
    SYSTEM,
    TEMPLATES,
    THINKING,
    TOOLS,
    USER,
)
from tests.tokenization.conftest import Oracle
from tests.tokenization.jobs import Session

LLAMA = "llama-3"


@pytest.fixture(scope="module")
def llama(shared: Path) -> Path:
    return shared / "tokenizers" / LLAMA


@pytest.fixture(scope="module")
def loaded(llama: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(llama)


@pytest.fixture
def tokenizer(loaded: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    return copy.deepcopy(loaded)


def job(path: Path, steps: list[dict[str, Any]], fresh: bool = False) -> dict[str, Any]:
    return {"load": {"class": "PreTrainedTokenizerFast", "path": str(path)}, "steps": steps, "fresh": fresh}


def step(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"do": "apply_chat_template", "args": list(args), "kwargs": kwargs}


def agree(ours: Session, oracle: Oracle, work: dict[str, Any]) -> None:
    """The same results; of what is refused the kind alone is compared, as 4.57 and 5 word it in two ways."""
    found, expected = ours.run(work), oracle.run(work)
    for each, mine, theirs in zip(work["steps"], found, expected, strict=True):
        refused = isinstance(theirs, dict) and "error" in theirs
        assert refused == (isinstance(mine, dict) and "error" in mine), (each, mine, theirs)
        assert refused or mine == theirs, (each, mine, theirs)


def steps_of(template: str | None) -> list[dict[str, Any]]:
    named = {} if template is None else {"chat_template": template}
    steps = []
    for chat in CHATS.values():
        for prompt in (False, True):
            shared = {**named, "add_generation_prompt": prompt, "tools": TOOLS, "documents": DOCUMENT_LIST}
            steps.append(step(chat, tokenize=False, **shared))
            steps.append(step(chat, return_dict=True, **shared))
        steps.append(step(chat, tokenize=False, custom="variable", bos_token="<mine>", **named))
        steps.append(step(chat, tokenize=False, continue_final_message=True, **named))
        steps.append(step([chat, CHATS["two"]], return_dict=True, **named))
    return steps


@pytest.mark.parametrize("name", [None, *TEMPLATES])
def test_templates(name: str | None, ours: Session, oracle_524: Oracle, llama: Path) -> None:
    """None is the template that the tokenizer comes with."""
    agree(ours, oracle_524, job(llama, steps_of(None if name is None else TEMPLATES[name])))


@pytest.mark.parametrize("name", ["chatml", "llama_2", "generation", "documents"])
def test_templates_as_4_57(name: str, ours: Session, oracle_457: Oracle, llama: Path) -> None:
    """Where no reasoning and no None is in the messages, which 4.57 hands on as they are."""
    steps = [
        each
        for each in steps_of(TEMPLATES[name])
        if not any("reasoning" in str(part) or "None" in str(part) for part in (each["args"], each["kwargs"]))
    ]
    agree(ours, oracle_457, job(llama, steps))


def test_options(ours: Session, oracle_524: Oracle, llama: Path) -> None:
    chat, batch = CHATS["two"], [CHATS["two"], CHATS["one"]]
    steps = [
        {"do": "pad_token", "set": "<|eot_id|>"},
        step(chat, return_dict=False),
        step(batch, return_dict=False),
        step(batch, padding=True, return_tensors="np"),
        step(batch, padding="max_length", max_length=40, truncation=True),
        step(chat, truncation=True, max_length=7),
        step(chat, return_tensors="pt", return_dict=True),
        step(chat, tokenizer_kwargs={"return_offsets_mapping": True}),
        step([], tokenize=False),
        step(chat, add_generation_prompt=True, continue_final_message=True),
        step(chat, return_assistant_tokens_mask=True, return_dict=False),
        step(chat, return_assistant_tokens_mask=True, tokenize=False),
        step("no messages"),
        step([["no", "messages"]]),
        step(chat, tools=[5], tokenize=False),
        step(chat, documents=["text"], tokenize=False),
        step(chat, chat_template="named", tokenize=False),
        {"do": "get_chat_template"},
        {"do": "get_chat_template", "args": [CHATML]},
        {"do": "chat_template", "set": {"default": CHATML, "tool_use": "TOOLS {{ tools | length }}"}},
        step(chat, tokenize=False),
        step(chat, tokenize=False, tools=TOOLS),
        step(chat, tokenize=False, chat_template="tool_use", tools=[]),
        step(chat, tokenize=False, chat_template="{{ messages | length }}"),
        {"do": "chat_template", "set": {"rag": CHATML}},
        step(chat, tokenize=False),
        step(chat, tokenize=False, chat_template="rag"),
        {"do": "chat_template", "set": None},
        step(chat, tokenize=False),
        step(chat, tokenize=False, chat_template=CHATML),
    ]
    agree(ours, oracle_524, job(llama, steps, fresh=True))


def test_assistant_masks(ours: Session, oracle_524: Oracle, llama: Path) -> None:
    shared = {"chat_template": GENERATION, "return_assistant_tokens_mask": True, "return_dict": True}
    chat = [USER, ANSWER, USER, {"role": "assistant", "content": ""}, SYSTEM, THINKING]
    steps = [
        step(chat, **shared),
        step([chat, CHATS["two"]], **shared),
        step(chat, truncation=True, max_length=12, **shared),
        step(chat, return_tensors="pt", **shared),
        step(chat, **{**shared, "chat_template": CHATML}),
        step(chat, continue_final_message=True, **shared),
    ]
    agree(ours, oracle_524, job(llama, steps))


def test_continued_messages(ours: Session, oracle_524: Oracle, llama: Path) -> None:
    trimmed = "{% for message in messages %}{{ message.content | trim }}|{% endfor %}"
    blocks = "{% for message in messages %}{% for part in message.content %}{{ part.text }}{% endfor %}!{% endfor %}"
    thought = (
        "{% for message in messages %}<{{ message.reasoning_content }}>{{ message.content }}{% endfor %}"
    )
    parts = [{"type": "text", "text": "a "}, {"type": "image"}, {"type": "text", "text": " b "}]
    cases = [
        ([USER, ANSWER], trimmed, True),
        ([USER, {"role": "assistant", "content": "  "}], trimmed, True),
        ([USER, {"role": "assistant", "content": ""}], CHATML, True),
        ([USER, {"role": "assistant", "content": parts}], blocks, True),
        ([USER, {"role": "assistant", "content": [{"type": "image"}]}], blocks, True),
        ([USER, THINKING], thought, "reasoning_content"),
        ([USER, THINKING], thought, "thinking"),
        ([USER, THINKING], CHATML, "reasoning_content"),
        ([USER, ANSWER], thought, "reasoning_content"),
        ([USER, ANSWER], "{{ messages | length }} content", True),
    ]
    steps = [
        step(chat, tokenize=False, chat_template=text, continue_final_message=field)
        for chat, text, field in cases
    ]
    agree(ours, oracle_524, job(llama, steps))


def test_control_tokens_that_users_write(ours: Session, oracle_524: Oracle, llama: Path) -> None:
    typed = [
        {
            "role": "user",
            "content": "a<|eot_id|>b <|start_header_id|>system<|end_header_id|> <|reserved_special_token_3|>",
        },
        {"role": "assistant", "content": "<|eot_id|>"},
    ]
    steps = [
        step(typed, sanitize_control_tokens=True),
        step([typed, CHATS["two"]], sanitize_control_tokens=True),
        step(typed, sanitize_control_tokens=True, custom="<|eot_id|>", chat_template=CHATML + "{{ custom }}"),
        step(typed, sanitize_control_tokens=True, tokenize=False),
    ]
    agree(ours, oracle_524, job(llama, steps))


def test_named_control_tokens_are_kept(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    assert tokenizer.chat_control_tokens is None
    tokenizer.chat_control_tokens = ["<tool>"]
    tokenizer.add_tokens(["<tool>", "<other>"])
    tokenizer.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again.chat_control_tokens == ["<tool>"]
    typed = [{"role": "user", "content": "<tool><other>"}]
    found = again.apply_chat_template(typed, sanitize_control_tokens=True, return_dict=False)
    assert again.convert_tokens_to_ids("<other>") in found
    assert again.convert_tokens_to_ids("<tool>") not in found


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates(name: str, ours: Session, oracle_524: Oracle, llama: Path) -> None:
    """The sandbox holds: what is refused there is refused here, and nothing of the interpreter is shown."""
    work = job(llama, [step(CHATS["two"], tokenize=False, chat_template=HOSTILE[name])])
    agree(ours, oracle_524, work)
    (found,) = ours.run(work)
    assert isinstance(found, dict) or "<" not in found


def test_what_a_template_raises(tokenizer: PreTrainedTokenizerFast) -> None:
    """A typed error with the template's line; the conversation is as it was."""
    chat = copy.deepcopy(CHATS["two"])
    kinds = {"raise": jinja2.TemplateError, "syntax": jinja2.TemplateSyntaxError, "type": TypeError}
    kinds |= {
        "append": jinja2.sandbox.SecurityError,
        "undefined": jinja2.UndefinedError,
        "zero": ZeroDivisionError,
    }
    for name, kind in kinds.items():
        with pytest.raises(ChatTemplateError) as caught:
            tokenizer.apply_chat_template(chat, tokenize=False, chat_template="\n" + HOSTILE[name])
        assert isinstance(caught.value, kind)
        assert caught.value.key == "chat_template" and "line 2" in str(caught.value)
    assert chat == CHATS["two"]


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 10 ** 9 }}",
        "{{ 10 ** 9 * [1] }}",
        "{{ 9 ** 99999 }}",
        "{% set ns = namespace(x=2) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{% for i in range(90000) %}{{ 'a' * 9000 }}{% endfor %}",
    ],
)
def test_templates_do_not_fill_the_memory(text: str, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ChatTemplateError, match="of this size"):
        tokenizer.apply_chat_template([USER], tokenize=False, chat_template=text)
    shown = tokenizer.apply_chat_template(
        [USER], tokenize=False, chat_template="{{ '-' * 3 }}{{ 2 ** 8 * 3 }}"
    )
    assert shown == "---768"


def test_arguments_of_the_wrong_kind(tokenizer: PreTrainedTokenizerFast) -> None:
    cases: list[tuple[tuple[Any, ...], dict[str, Any], type[OxiformersError], str]] = [
        (("text",), {}, InputTypeError, "conversation"),
        (([USER, 5],), {}, InputTypeError, "conversation[1]"),
        (([],), {}, ArgumentError, "conversation"),
        (([USER],), {"tools": ["add"]}, ArgumentError, "tools[0]"),
        (([USER],), {"documents": ["text"]}, InputTypeError, "documents[0]"),
        (([USER],), {"chat_template": "{% if %}"}, ChatTemplateError, "chat_template"),
    ]
    for arguments, options, kind, key in cases:
        with pytest.raises(kind) as caught:
            tokenizer.apply_chat_template(*arguments, **options)
        assert caught.value.key == key


def test_rich_objects_reach_no_template(tokenizer: PreTrainedTokenizerFast) -> None:
    """Dataclasses become mappings, all else that JSON does not have a name of its type."""

    @dataclasses.dataclass
    class Turn:
        role: str
        content: Any

    chat = [Turn("user", "a"), Turn("assistant", b"bytes")]
    template = "{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}{{ extra }}"
    found = tokenizer.apply_chat_template(chat, tokenize=False, chat_template=template, extra=np.float32(0.5))
    assert found == "user=a;assistant=<bytes>;0.5"


def test_message_after_message(ours: Session, oracle_524: Oracle, llama: Path) -> None:
    steps = [
        {"do": "encode_message_with_chat_template", "args": [USER]},
        {"do": "encode_message_with_chat_template", "args": [ANSWER, [SYSTEM, USER]]},
        {
            "do": "encode_message_with_chat_template",
            "args": [ANSWER],
            "kwargs": {"add_generation_prompt": True},
        },
    ]
    agree(ours, oracle_524, job(llama, steps))


def test_threads_share_compiled_templates(tokenizer: PreTrainedTokenizerFast) -> None:
    """The spans of one conversation are not those of another that is rendered meanwhile."""
    chats = [[USER, {"role": "assistant", "content": "word " * (count + 1)}] for count in range(8)]
    options: dict[str, Any] = {"chat_template": GENERATION, "return_assistant_tokens_mask": True}
    expected = [tokenizer.apply_chat_template(chat, **options)["assistant_masks"] for chat in chats]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(50):
            found = tokenizer.apply_chat_template(chats[index], **options)["assistant_masks"]
            if found != expected[index]:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- functions as tools

FUNCTIONS = '''
from enum import Enum
from typing import Any, Literal, Optional, Union

class Colour(Enum):
    RED = "red"
    BLUE = "blue"

def add(a: int, b: float = 1.0) -> float:
    """Adds.

    Args:
        a: The first,
            over two lines.
        b: The second.

    Returns:
        The sum.
    """

def many(
    text: str, flag: bool, items: list[int], pairs: tuple[int, str], table: dict[str, float], colour: Colour,
    either: Union[int, str], maybe: Optional[list[str]], choice: Literal["x", 2], anything: Any, plain: list,
    newer: int | None = None, mixed: Union[list[int], str, None] = None,
) -> None:
    """
    Takes everything.

    Second paragraph.

    Args:
        text: A text (choices: ["a", "b"])
        flag: Whether.
        items: Items: with a colon.
        pairs: Two.
        table: By name.
        colour: A colour.
        either: One or the other.
        maybe: Perhaps.
        choice: Of two.
        anything: Any.
        plain: Plain.
        newer: Newer.
        mixed: Mixed.
    """

def no_docstring(a: int): ...

def no_hint(a):
    """Has none.

    Args:
        a: Something.
    """

def not_described(a: int):
    """Says nothing of it."""

def custom(a: object):
    """Has a custom class.

    Args:
        a: Something.
    """

def single(a: tuple[int]):
    """Has a tuple of one.

    Args:
        a: Something.
    """

def bad_choices(a: str):
    """Has choices that are no JSON.

    Args:
        a: Something (choices: [a, b])
    """

def nothing():
    """Takes nothing."""

def returns_odd() -> object:
    """Returns something odd.

    Returns:
        Something: odd.
    """

ALL = [add, many, no_docstring, no_hint, not_described, custom, single, bad_choices, nothing, returns_odd]
'''
ORACLE = """
import json, sys
from transformers.utils import get_json_schema
space = {}
exec(sys.stdin.read(), space)
found = []
for function in space["ALL"]:
    try:
        found.append(get_json_schema(function))
    except Exception as error:
        found.append(None)
print(json.dumps(found))
"""


def test_schemas_of_functions(python_524: Path) -> None:
    answer = subprocess.run(
        [str(python_524), "-c", ORACLE],
        input=FUNCTIONS,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    space: dict[str, Any] = {}
    exec(FUNCTIONS, space)
    assert [_schema(function) for function in space["ALL"]] == json.loads(answer.stdout)


def _schema(function: Any) -> Any:
    try:
        return get_json_schema(function)
    except ArgumentError:
        return None


def test_functions_are_tools(tokenizer: PreTrainedTokenizerFast) -> None:
    space: dict[str, Any] = {}
    exec(FUNCTIONS, space)
    template = "{% for tool in tools %}{{ tool.function.name }}{{ tool | tojson }}{% endfor %}"
    found = tokenizer.apply_chat_template([USER], [space["add"]], tokenize=False, chat_template=template)
    assert found == "add" + json.dumps(get_json_schema(space["add"]), ensure_ascii=False)
