"""What a caller may pass as text, brought to the core's form: a list of texts and a list of their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from oxiformers.errors import ArgumentError, InputTypeError

Words = list[str]
Text = str | Words
"""One sequence: a string, or a list of words."""


class Inputs(NamedTuple):
    """The texts of one call.

    Attributes:
        texts: the sequences, or the first ones of the pairs.
        pairs: the second sequences, None in place of those a row does not have; None where no row has one.
        batched: whether the caller passed a batch, so that rows are returned and not a single row's values.
    """

    texts: list[Any]
    pairs: list[Any] | None
    batched: bool


def gather(text: Any, text_pair: Any, is_split_into_words: bool) -> Inputs:
    """Reads `text` and `text_pair` as a single row or a batch, by transformers' rules.

    The elements of a batch of plain strings are not looked at here: the core refuses what is not text.

    Raises:
        InputTypeError: neither text nor a batch of text, with the index of the row.
        ArgumentError: `text` and `text_pair` differ in length.
    """
    if text_pair is None and type(text) is str and not is_split_into_words:
        return Inputs([text], None, False)
    if isinstance(text, str):
        if is_split_into_words:
            raise InputTypeError.mismatch(
                "text", "a list of words or a batch of them", "str", "is_split_into_words is True"
            )
        if not text_pair and (text_pair is None or isinstance(text_pair, str)):
            return Inputs([text], None, False)
        if not isinstance(text_pair, str):
            raise _not_text(text_pair, "text_pair", "a str, as text is")
        return Inputs([text], [text_pair], False)
    if not isinstance(text, (list, tuple)):
        raise _not_text(text, "text", "a str, a list of str, or a list of lists of words")
    if is_split_into_words and not (text and isinstance(text[0], (list, tuple))):
        return Inputs([_words(text, "text")], [_words(text_pair, "text_pair")] if text_pair else None, False)
    if text_pair is None:
        if text and not isinstance(text[0], str):
            return split_pairs(text, is_split_into_words)
        return Inputs(list(text), None, True)
    if not isinstance(text_pair, (list, tuple)):
        raise InputTypeError(
            "when tokenizing batches of text, `text_pair` must be a list or tuple with the same length as "
            f"`text`, not {type(text_pair).__name__}",
            key="text_pair",
            expected=f"a list of length {len(text)}",
            actual=type(text_pair).__name__,
        )
    if len(text) != len(text_pair):
        raise ArgumentError(
            f"batch length of `text`: {len(text)} does not match batch length of `text_pair`: "
            f"{len(text_pair)}.",
            key="text_pair",
            expected=f"{len(text)} texts",
            actual=f"{len(text_pair)} texts",
        )
    if is_split_into_words:
        return Inputs(
            [_words(words, f"text[{row}]") for row, words in enumerate(text)],
            [_words(words, f"text_pair[{row}]") for row, words in enumerate(text_pair)],
            True,
        )
    return Inputs(list(text), list(text_pair), True)


def split_pairs(batch: Sequence[Any], is_split_into_words: bool) -> Inputs:
    """A batch whose rows may be pairs: (text, text), or (words, words) where the text is split into words.

    Raises InputTypeError for a row that is neither a text nor a pair.
    """
    texts: list[Any] = []
    pairs: list[Any] = []
    for row, item in enumerate(batch):
        first, second = item, None
        if is_split_into_words:
            if _is_word_list_pair(item):
                first, second = item
                second = _words(second, f"text[{row}][1]")
                first = _words(first, f"text[{row}][0]")
            else:
                first = _words(item, f"text[{row}]")
        elif isinstance(item, (list, tuple)) and len(item) == 2:
            first, second = item
            if not isinstance(second, str):
                raise _not_text(second, f"text[{row}][1]", "a str")
            if not isinstance(first, str):
                raise _not_text(first, f"text[{row}][0]", "a str")
        elif not isinstance(item, str):
            raise _not_text(item, f"text[{row}]", "a str or a pair of str")
        texts.append(first)
        pairs.append(second)
    return Inputs(texts, pairs if any(pair is not None for pair in pairs) else None, True)


def _is_word_list_pair(item: Any) -> bool:
    return (
        isinstance(item, (list, tuple))
        and len(item) == 2
        and all(isinstance(part, (list, tuple)) for part in item)
    )


def _words(words: Any, name: str) -> Words:
    if not isinstance(words, (list, tuple)):
        raise _not_text(words, name, "a list of words")
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise _not_text(word, f"{name}[{index}]", "a str (a word)")
    return list(words)


def _not_text(value: Any, name: str, expected: str) -> InputTypeError:
    kind = type(value).__name__
    if isinstance(value, (list, tuple)):
        kind = f"a {kind} of {len(value)} elements"
    return InputTypeError.mismatch(name, expected, kind)
