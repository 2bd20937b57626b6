"""Conversations to model inputs: the chat templates of a tokenizer."""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from inspect import isfunction, ismethod
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from oxiformers.errors import ArgumentError, InputTypeError, UnsupportedError
from oxiformers.logging import get_logger
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.control_tokens import control_tokens, encode_marked, mark
from oxiformers.tokenization.json_schema import get_json_schema
from oxiformers.tokenization.options import PaddingStrategy, TensorType
from oxiformers.tokenization.tensors import to_python

if TYPE_CHECKING:
    from oxiformers.tokenization.tokenizer import PreTrainedTokenizerFast

logger = get_logger(__name__)

Message = dict[str, Any]
Spans = list[tuple[int, int]]
"""Start and end of each part of a text, in characters."""

#: Stands for the end of the final message, which is then found in the rendered text and cut off.
_CONTINUE = "CONTINUE_FINAL_MESSAGE_TAG "
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
#: Where a message's reasoning is found: the first name is the one that most templates read.
_REASONING = ("reasoning_content", "thinking", "reasoning")


def plain(value: Any) -> Any:
    """A value as a template may see it: JSON's own types, and names of types in place of all others.

    Templates are foreign code, and methods of rich objects (images, arrays, models) are out of their reach so.
    """
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    for base in (str, int, float):
        if isinstance(value, base):  # subclasses carry methods of their own
            return base.__str__(value) if base is str else getattr(base, f"__{base.__name__}__")(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):  # pydantic
        return plain(value.model_dump())
    return f"<{kind.__name__}>"


def render_chat_template(
    conversations: Sequence[Any],
    chat_template: str,
    *,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    continue_final_message: bool | str = False,
    return_assistant_tokens_mask: bool = False,
    **variables: Any,
) -> tuple[list[str], list[Spans]]:
    """Renders conversations with a template.

    Args:
        conversations: each a list of messages (mappings, dataclasses or pydantic models), or an object that has
            such a list as `messages`.
        chat_template: the template's text.
        tools: JSON schemas, or functions to make them of.
        documents: mappings, usually with title and text.
        add_generation_prompt: asks the template for the start of an answer at the end.
        continue_final_message: leaves the final message open, cut after its content (or the named field).
        return_assistant_tokens_mask: whether the spans are wanted, so that it is said where there are none.
        **variables: what else the template reads.

    Returns:
        The texts, and for each the spans of its `{% generation %}` blocks.

    Raises:
        ChatTemplateError: what the template raises, or the sandbox refuses.
        ArgumentError, InputTypeError: a conversation, tool or document of another type.
    """
    try:
        from oxiformers.tokenization import jinja
    except ImportError as error:
        raise UnsupportedError(
            "chat templates need jinja2: install it with `pip install jinja2`", key="jinja2"
        ) from error

    if return_assistant_tokens_mask and not _GENERATION.search(chat_template):
        logger.warning(
            "return_assistant_tokens_mask=True, but the chat template has no {%% generation %%} block: the mask "
            "is all zeros"
        )
    template = jinja.compile_template(chat_template)
    shared = {
        "tools": plain(_schemas(tools)),
        "documents": plain(_documents(documents)),
        "add_generation_prompt": add_generation_prompt,
        **plain(variables),
    }
    texts, spans = [], []
    for conversation in conversations:
        messages = [_with_reasoning(message) for message in messages_of(conversation)]
        final = (
            _open_final(messages, continue_final_message, chat_template) if continue_final_message else None
        )
        text, found = jinja.render(template, {"messages": messages, **shared})
        texts.append(text if final is None else _cut_at_final(text, final))
        spans.append(found)
    return texts, spans


def messages_of(conversation: Any) -> list[Message]:
    """A conversation's messages in plain types; a fresh list of fresh dictionaries."""
    messages = plain(getattr(conversation, "messages", conversation))
    if not isinstance(messages, (list, tuple)):
        raise _wrong("conversation", "a list of messages", conversation)
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong(f"conversation[{index}]", "a dict such as {'role': ..., 'content': ...}", message)
    return list(messages)


def _schemas(tools: Sequence[Any] | None) -> list[Any] | None:
    if tools is None:
        return None
    schemas = []
    for index, tool in enumerate(tools):
        if isinstance(tool, dict):
            schemas.append(tool)
        elif isfunction(tool) or ismethod(tool):
            schemas.append(get_json_schema(tool))
        else:
            raise ArgumentError.mismatch(
                f"tools[{index}]",
                "a JSON schema, or a function with type hints and a docstring to make one of",
                type(tool).__name__,
            )
    return schemas


def _documents(documents: Sequence[Any] | None) -> Sequence[Any] | None:
    for index, document in enumerate(documents or ()):
        if not isinstance(document, dict):
            raise _wrong(f"documents[{index}]", "a dict with 'title' and 'text'", document)
    return documents


def _with_reasoning(message: Message) -> Message:
    """The message with its reasoning under the two names that templates read."""
    found = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    return message if found is None else {"thinking": found, **message, "reasoning_content": found}


def _open_final(messages: list[Message], field: bool | str, template: str) -> str:
    """Marks the end of the final message's field, in place, and returns what it says."""
    field = field if isinstance(field, str) else "content"
    if not messages:
        raise _no_continuation("the conversation is empty", field)
    final = messages[-1]
    value = final.get(field)
    if value is None:
        raise _no_continuation(f'the final message has no "{field}" to continue', field)
    fields = [name for name in _REASONING if final.get(name) == value] if field in _REASONING else [field]
    if not any(name in template for name in fields):
        raise _no_continuation(f'the chat template does not read "{field}"', field)
    if isinstance(value, (list, tuple)):
        block = next((part for part in reversed(value) if "text" in part), None)
        if block is None:
            raise _no_continuation("the final message has no text", field)
        text = str(block["text"])
        block["text"] = text + _CONTINUE
        return text
    for name in fields:
        final[name] = value + _CONTINUE
    return str(value)


def _cut_at_final(text: str, final: str) -> str:
    """The rendered text up to where the final message ends."""
    mark = _CONTINUE.strip()
    if final.strip() not in text or mark not in text:
        raise _no_continuation(
            "the final message does not appear in the rendered chat, as where a template leaves a part of it out: "
            f"{final.strip()!r:.200} in {text!r:.400}",
            "content",
        )
    end = text.rindex(mark)
    kept = text[:end]
    # where the template trims the content, the space before the mark was the content's own end
    return kept if text.startswith(_CONTINUE, end) else kept.rstrip()


def _no_continuation(reason: str, field: str) -> ArgumentError:
    return ArgumentError(
        f"continue_final_message is set, but {reason}", key="continue_final_message", expected=f"a {field}"
    )


def _wrong(key: str, expected: str, value: Any) -> InputTypeError:
    kind = type(value).__name__
    return InputTypeError.mismatch(key, expected, kind, f"its value is {value!r:.80}")


class ChatTemplates:
    """A tokenizer's chat templates: a text, or several by name."""

    chat_template: str | dict[str, str] | None
    chat_control_tokens: list[str] | None

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        sanitize_control_tokens: bool = False,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | TensorType | None = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Renders a conversation, or a batch of them, with the model's chat template, and tokenizes it.

        Keys of a message whose value is None are left out, and so are all types that JSON does not have.

        Args:
            conversation: a list of messages such as `{"role": "user", "content": "..."}`; a list of such lists is
                a batch.
            tools: what the model may call: JSON schemas, or functions (see `get_json_schema`).
            documents: what the model may cite: dictionaries, usually with title and text.
            chat_template: a template, or the name of one, in place of the tokenizer's.
            add_generation_prompt: whether the start of an answer is put at the end.
            continue_final_message: whether the final message stays open, for the model to go on with it; a str
                names the field to go on with, "content" by default.
            tokenize: False returns the rendered text.
            sanitize_control_tokens: whether control tokens inside the messages, tools, documents and variables
                become ordinary text, so that only the template writes control tokens.
            padding, truncation, max_length, return_tensors: as in a call.
            return_dict: False returns the `input_ids` alone.
            return_assistant_tokens_mask: adds `assistant_masks [B, S]`, 1 at tokens inside the template's
                `{% generation %}` blocks.
            tokenizer_kwargs: further arguments of the call.
            **kwargs: variables for the template; they win over the special tokens, which it can read by name.

        Raises:
            ChatTemplateError: what the template raises, or the sandbox refuses, with the template's line.
            ArgumentError: no template, an empty conversation, or arguments in contradiction.
        """
        tokenizer = cast("PreTrainedTokenizerFast", self)
        if return_assistant_tokens_mask and not (return_dict and tokenize):
            raise ArgumentError(
                "`return_assistant_tokens_mask=True` requires `return_dict=True` and `tokenize=True`",
                key="return_assistant_tokens_mask",
            )
        _check_continuation(continue_final_message, add_generation_prompt, return_assistant_tokens_mask)
        template = self.get_chat_template(chat_template, tools)
        batched = is_batch(conversation)
        chats = [
            [
                {key: value for key, value in message.items() if value is not None}
                for message in messages_of(chat)
            ]
            for chat in (conversation if batched else [conversation])
        ]
        if sanitize_control_tokens:
            if not tokenize or return_assistant_tokens_mask:
                raise ArgumentError(
                    "`sanitize_control_tokens=True` requires `tokenize=True` and is not compatible with "
                    "`return_assistant_tokens_mask=True`",
                    key="sanitize_control_tokens",
                )
            found = control_tokens(tokenizer, template)
            tools = None if tools is None else mark(_schemas(tools), found)
            chats, documents, kwargs = mark(chats, found), mark(documents, found), mark(kwargs, found)
        texts, spans = render_chat_template(
            chats,
            template,
            tools=tools,
            documents=documents,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            return_assistant_tokens_mask=return_assistant_tokens_mask,
            **{**tokenizer.special_tokens_map, **kwargs},
        )
        if not tokenize:
            return texts if batched else texts[0]
        options: dict[str, Any] = {
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "return_tensors": return_tensors,
            **(tokenizer_kwargs or {}),
        }
        if sanitize_control_tokens:
            result = encode_marked(tokenizer, texts, batched, options)
        else:
            options = {"add_special_tokens": False, **options}
            result = tokenizer(texts if batched else texts[0], **options)
        if return_assistant_tokens_mask:
            tensors = options["return_tensors"]
            masks = assistant_masks(result, spans)
            in_rows = batched or tensors is not None or "overflow_to_sample_mapping" in result
            result["assistant_masks"] = masks if in_rows else masks[0]
            if tensors is not None:
                result.convert_to_tensors(tensors)
        return result if return_dict else result["input_ids"]

    def encode_message_with_chat_template(
        self,
        message: Mapping[str, Any],
        conversation_history: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """The ids that a message adds to a conversation: those after the point where the two differ.

        Args:
            message: the message.
            conversation_history: the messages before it.
            **kwargs: as for `apply_chat_template`, `add_generation_prompt` apart.
        """
        if "add_generation_prompt" in kwargs:
            raise ArgumentError(
                "encode_message_with_chat_template does not support add_generation_prompt: add the prompt after "
                "the conversation",
                key="add_generation_prompt",
            )

        def ids(conversation: list[Any]) -> list[int]:
            found: list[int] = self.apply_chat_template(
                conversation, tokenize=True, return_dict=False, **kwargs
            )
            return found

        history = list(conversation_history or ())
        whole = ids([*history, message])
        if not history:
            return whole
        before = ids(history)
        shared = next(
            (index for index, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b),
            min(len(before), len(whole)),
        )
        return whole[shared:]

    def get_chat_template(self, chat_template: str | None = None, tools: Sequence[Any] | None = None) -> str:
        """The template that a conversation is rendered with.

        Args:
            chat_template: a template, or the name of one of the tokenizer's; its "default" (with `tools`:
                "tool_use", where there is one) if None.
            tools: what the model may call.

        Raises ArgumentError where the tokenizer has no template, or several without a default.
        """
        own = self.chat_template
        if isinstance(own, dict):
            if chat_template is not None:
                return own.get(chat_template, chat_template)
            name = "tool_use" if tools is not None and "tool_use" in own else "default"
            if name in own:
                return own[name]
            raise ArgumentError(
                "This model has multiple chat templates with no default specified! Please either pass a chat "
                "template or the name of the template you wish to use to the `chat_template` argument. "
                f"Available template names are {sorted(own)}.",
                key="chat_template",
                expected=f"one of {sorted(own)}",
            )
        if chat_template is not None:
            return chat_template
        if own is None:
            raise ArgumentError(
                "Cannot use chat template functions because tokenizer.chat_template is not set and no template "
                "argument was passed: the model is not made for chats, or its template has to be passed as "
                "chat_template=",
                key="chat_template",
            )
        return own


def _check_continuation(field: bool | str, add_generation_prompt: bool, with_mask: bool) -> None:
    if field and add_generation_prompt:
        raise ArgumentError(
            "continue_final_message and add_generation_prompt are not compatible: the one goes on with the final "
            "message, the other starts a new one",
            key="continue_final_message",
        )
    if field and with_mask:
        raise ArgumentError(
            "continue_final_message is not compatible with return_assistant_tokens_mask",
            key="continue_final_message",
        )


def is_batch(conversation: Any) -> bool:
    """Whether this is a list of conversations. Raises ArgumentError for an empty list."""
    if not isinstance(conversation, (list, tuple)):
        return False
    if not conversation:
        raise ArgumentError(
            "Cannot apply chat template to an empty conversation. Provide at least one message.",
            key="conversation",
            expected="at least one message",
        )
    return isinstance(conversation[0], (list, tuple)) or hasattr(conversation[0], "messages")


def assistant_masks(batch: BatchEncoding, spans: list[Spans]) -> list[list[int]]:
    """For each row of the batch, 1 at each token that holds a character of the row's spans and 0 elsewhere.

    Raises ArgumentError where the tokenizer does not say which characters its tokens come from.
    """
    if batch.encodings is None:
        raise ArgumentError.mismatch(
            "return_assistant_tokens_mask", "a tokenizer that returns offsets", "one that does not"
        )
    sources = to_python(batch.get("overflow_to_sample_mapping", range(len(batch.encodings))))
    return [
        _assistant_mask(encoding.offsets, spans[source])
        for encoding, source in zip(batch.encodings, sources, strict=True)
    ]


def _assistant_mask(offsets: Sequence[tuple[int, int]], spans: Spans) -> list[int]:
    """`offsets` are the characters of each token, `spans` ascend and do not overlap."""
    spans = [(start, end) for start, end in spans if start < end]
    ends = [end for _, end in spans]
    mask = []
    for start, end in offsets:
        # what is trimmed to nothing was the white space before; special tokens and padding lie at (0, 0)
        start -= start == end
        place = bisect_right(ends, start)  # the first span that ends after the token starts
        mask.append(int(start >= 0 and place < len(spans) and spans[place][0] < end))
    return mask
