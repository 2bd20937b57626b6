"""What a pipeline of texts is called with: which kind of container it is, and what one input in it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from oxiformers.errors import InputTypeError
from oxiformers.pipelines.inputs import Numbered, Source, Window

CONTAINERS = 'a str, a dict {"text", "text_pair"}, or a list, generator or dataset of those'


def find_text_source(inputs: Any) -> Source:
    """What the inputs are: one text, a list, or something to stream.

    Anything with a length and rows by number is a dataset. Raises InputTypeError for what is none of them.
    """
    if isinstance(inputs, (str, Mapping)):
        return Source([inputs], 1, single=True)
    if isinstance(inputs, tuple):
        _refuse(inputs, "for several texts pass a list, for a pair a dict")
    if isinstance(inputs, (bytes, bytearray)) or not isinstance(inputs, Iterable | Numbered):
        _refuse(inputs)
    if hasattr(inputs, "iloc") and hasattr(inputs, "columns"):
        _refuse(inputs, "of a data frame pass one column")  # it would give out the names of its columns
    if isinstance(inputs, Sequence):
        return Source(inputs, len(inputs))
    if isinstance(inputs, Iterator):
        return Source(inputs, None, streamed=True)
    total = len(inputs) if isinstance(inputs, Numbered) else None
    return Source(inputs, total, streamed=True, from_dataset=True)


def _refuse(inputs: Any, hint: str = "") -> NoReturn:
    raise InputTypeError.mismatch("inputs", CONTAINERS, type(inputs).__name__, hint)


class Texts(NamedTuple):
    """A window of inputs, read: texts, and the pairs of those that have one (None where no input has)."""

    texts: list[Any]
    pairs: list[str | None] | None


def read_texts(window: Window, words: bool = False) -> Texts:
    """Reads a window of inputs: str, dicts with "text" and perhaps "text_pair", or the older [[text, text_pair]].

    Args:
        window: the inputs; dicts from a dataset may have further keys.
        words: each input is a list of words.

    Raises:
        InputTypeError: an input is none of these; names its index.
    """
    if not words and all(type(item) is str for item in window.items):
        return Texts(window.items, None)
    texts: list[Any] = []
    pairs: list[str | None] = []
    for index, item in enumerate(window.items, window.first):
        text, pair = item, None
        if isinstance(item, Mapping):
            text, pair = _read_mapping(item, index, window.from_dataset)
        elif not words and isinstance(item, (list, tuple)):
            text, pair = _read_nested(item, index)
        if words:
            _check_words(text, index)
        elif not isinstance(text, str):
            _refuse_item(text, f"inputs[{index}]", 'a str or a dict {"text", "text_pair"}')
        if pair is not None and not isinstance(pair, str):
            _refuse_item(pair, f"inputs[{index}]['text_pair']", "a str")
        texts.append(text)
        pairs.append(pair)
    return Texts(texts, pairs if any(pair is not None for pair in pairs) else None)


def _read_mapping(item: Mapping[str, Any], index: int, from_dataset: bool) -> tuple[Any, Any]:
    unknown = item.keys() - {"text", "text_pair"}
    if "text" not in item or (unknown and not from_dataset):
        raise InputTypeError.mismatch(
            f"inputs[{index}]",
            'a dict with the keys "text" and, for a pair, "text_pair"',
            ", ".join(repr(key) for key in item) or "none",
            "name the column with KeyDataset(dataset, column)" if from_dataset else "",
        )
    return item["text"], item.get("text_pair")


def _read_nested(item: Sequence[Any], index: int) -> tuple[Any, Any]:
    if not isinstance(item, list) or len(item) != 1 or not isinstance(item[0], list) or len(item[0]) != 2:
        hint = 'a pair of texts is passed as {"text": first, "text_pair": second}'
        _refuse_item(item, f"inputs[{index}]", 'a str or a dict {"text", "text_pair"}', hint)
    return item[0][0], item[0][1]


def _check_words(text: Any, index: int) -> None:
    if not isinstance(text, (list, tuple)):
        _refuse_item(text, f"inputs[{index}]", "a list of words, as is_split_into_words=True says")
    for place, word in enumerate(text):
        if not isinstance(word, str):
            _refuse_item(word, f"inputs[{index}][{place}]", "a str (a word)")


def _refuse_item(value: Any, name: str, expected: str, hint: str = "") -> NoReturn:
    raise InputTypeError.mismatch(name, expected, _kind(value), hint)


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, (list, tuple)) else kind
