"""Chats in which only the template writes control tokens: those that users typed become ordinary text."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from oxiformers._core import Tokenizer
from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.options import resolve_lengths

if TYPE_CHECKING:
    from oxiformers.tokenization.tokenizer import PreTrainedTokenizerFast

# private-use characters around a control token that a user typed, while the template is rendered
_START, _END = "\U000f0000", "\U000f0001"


@lru_cache(maxsize=32)
def _patterns(tokens: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """One that matches any of the tokens, the longest first, and one that matches a marked one or a lone mark."""
    any_of = "|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)"
    return re.compile(any_of), re.compile(f"{_START}({any_of}){_END}|[{_START}{_END}]")


def control_tokens(tokenizer: PreTrainedTokenizerFast, template: str) -> tuple[str, ...]:
    """The tokens that no user may write: special ones, and what the template writes of the other added ones.

    `tokenizer.chat_control_tokens` names the others in place of the template.
    """
    from oxiformers.tokenization.jinja import literal_text

    added = [token for _, token in tokenizer._core.added_tokens]
    named = tokenizer.chat_control_tokens
    if named is not None:
        return tuple(token.content for token in added if token.special or token.content in named)
    text = literal_text(template)
    return tuple(
        token.content
        for token in added
        if token.special or (token.content in text and not token.content.isspace())
    )


def mark(value: Any, tokens: tuple[str, ...]) -> Any:
    """The value with marks around each of the tokens in its strings; keys of mappings stay."""
    return _mark(value, _patterns(tokens)[0])


def _mark(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        # marks that are there already could forge a marked token
        value = value.replace(_START, "").replace(_END, "")
        return pattern.sub(f"{_START}\\g<0>{_END}", value)
    if isinstance(value, dict):
        return {key: _mark(item, pattern) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mark(item, pattern) for item in value]
    return value


def encode_marked(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], batched: bool, options: dict[str, Any]
) -> BatchEncoding:
    """Tokenizes rendered chats whose marked tokens are text, and pads them as `options` of a call say."""
    known = {"padding", "truncation", "max_length", "return_tensors", "pad_to_multiple_of", "padding_side"}
    known |= {"return_attention_mask", "verbose", "add_special_tokens"}
    further = sorted(set(options) - known)
    if further:
        raise UnsupportedError(
            f"sanitize_control_tokens=True does not go with {', '.join(further)}",
            key=further[0],
            expected=f"of {sorted(known)}",
        )
    if options.pop("add_special_tokens", False) and tokenizer.num_special_tokens_to_add():
        raise UnsupportedError(
            "sanitize_control_tokens=True needs a template that writes the special tokens",
            key="add_special_tokens",
        )
    padding, truncation = options.pop("padding"), options.pop("truncation")
    limit = options.pop("max_length")
    multiple = options.get("pad_to_multiple_of")
    _, cut, length = resolve_lengths(
        padding,
        truncation,
        limit,
        multiple,
        tokenizer.model_max_length,
        options.pop("verbose", True),
        tokenizer.deprecation_warnings,
    )
    rows = [_encode(tokenizer, text) for text in texts]
    if cut is not None and length is not None:
        right = tokenizer.truncation_side == "right"
        rows = [row[:length] if right else row[max(0, len(row) - length) :] for row in rows]
    single = not batched and options["return_tensors"] is None
    return tokenizer.pad(
        {"input_ids": rows[0] if single else rows},
        padding=padding,
        max_length=limit,
        verbose=False,
        **options,
    )


def _encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    core = tokenizer._core
    tokens = tuple(token.content for _, token in core.added_tokens)
    pieces = _patterns(tokens)[1].split(text)  # text, marked token (None for a lone mark), text, ...
    plain = without_added_tokens(core)
    newline = _ids(core, "\n")
    ids = _ids(core, pieces[0])
    for index, piece in enumerate(pieces[1:], start=1):
        if not piece:
            continue
        marked = index % 2 == 1
        found = _inside(plain if marked else core, piece, newline)
        if marked and core.token_to_id(piece) in found:
            raise ArgumentError(
                f"{piece!r} cannot become ordinary text: the vocabulary has no other tokens for it",
                key="sanitize_control_tokens",
                actual=repr(piece),
            )
        ids += found
    return ids


def _inside(core: Tokenizer, piece: str, newline: list[int]) -> list[int]:
    """The ids of a piece that does not start the text: behind a newline, whose ids are taken off again."""
    ids = _ids(core, "\n" + piece)
    return ids[len(newline) :] if ids[: len(newline)] == newline else _ids(core, piece)


def _ids(core: Tokenizer, text: str) -> list[int]:
    ids: list[int] = core.encode_batch_lists([text], add_special_tokens=False)["input_ids"][0]
    return ids


@lru_cache(maxsize=2)
def without_added_tokens(core: Tokenizer) -> Tokenizer:
    """The same tokenizer where no token is found in the text before the model sees it."""
    written = json.loads(core.to_str())
    written["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(written), "added_tokens")
