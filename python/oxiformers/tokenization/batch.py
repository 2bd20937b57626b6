"""The result of a tokenizer call: model inputs by name, and the way between tokens, words and characters."""

from __future__ import annotations

from collections import UserDict
from collections.abc import ItemsView, KeysView, Sequence, ValuesView
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

from oxiformers._core import Encoding, Tokenizer
from oxiformers.errors import ArgumentError
from oxiformers.logging import get_logger
from oxiformers.tokenization.options import CoreOptions, TensorType, resolve_tensor_type
from oxiformers.tokenization.tensors import convert, is_tensor

if TYPE_CHECKING:
    import torch

logger = get_logger(__name__)


class CharSpan(NamedTuple):
    """Characters `start` to `end` (exclusive) of the original text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end` (exclusive) of an encoded text."""

    start: int
    end: int


class Recipe(NamedTuple):
    """How a batch was encoded, so that words, offsets and tokens can be had when they are asked for."""

    core: Tokenizer
    texts: Sequence[Any]
    pairs: Sequence[Any] | None
    options: CoreOptions
    with_overflow: bool

    def encode(self) -> list[Encoding]:
        """The encodings in full detail; each followed by what was cut off, where that was asked for."""
        found = self.core.encode_batch(self.texts, self.pairs, return_overflowing=True, **self.options)
        if not self.with_overflow:
            return found
        return [part for encoding in found for part in (encoding, *encoding.overflowing)]


class BatchEncoding(UserDict[str, Any]):
    """A mapping of model inputs (`input_ids`, `attention_mask`, ...), whose keys are attributes as well.

    Args:
        data: the values, lists or tensors.
        encoding: the encodings in full detail, one a row, or a single one.
        tensor_type: "pt" or "np" to convert the lists.
        prepend_batch_axis: whether the conversion adds a batch axis in front.
        n_sequences: 1 for texts, 2 for pairs, None where unknown.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | TensorType | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        self.data: dict[str, Any] = dict(data) if data is not None else {}
        if isinstance(encoding, Encoding):
            encoding = [encoding]
        self._encodings: list[Encoding] | None = list(encoding) if encoding is not None else None
        self._recipe: Recipe | None = None
        self._n_sequences = n_sequences
        if n_sequences is None and self._encodings:
            self._n_sequences = self._encodings[0].n_sequences
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @classmethod
    def from_recipe(cls, data: dict[str, Any], recipe: Recipe, n_sequences: int) -> Self:
        """A batch whose encodings are made when they are first asked for. `data` is kept, not copied."""
        batch = cls.__new__(cls)
        batch.data = data
        batch._encodings = None
        batch._recipe = recipe
        batch._n_sequences = n_sequences
        return batch

    # --- mapping

    @overload
    def __getitem__(self, item: str) -> Any: ...
    @overload
    def __getitem__(self, item: int) -> Encoding: ...
    @overload
    def __getitem__(self, item: slice) -> Any: ...
    def __getitem__(self, item: str | int | slice) -> Any:
        """The value of a key; for an integer, the encoding of that row.

        For a slice, those encodings; where there are none, each value cut by the slice.
        """
        if isinstance(item, str):
            return self.data[item]
        encodings = self.encodings
        if encodings is not None:
            return encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(
            f"{item!r}: a batch is indexed by name or slice; by a row's number only where a tokenizer made it"
        )

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") and name != "data":
            data = self.__dict__.get("data", {})
            if name in data:
                return data[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def keys(self) -> KeysView[str]:
        """The names of the values."""
        return self.data.keys()

    def values(self) -> ValuesView[Any]:
        """The values."""
        return self.data.values()

    def items(self) -> ItemsView[str, Any]:
        """Names and values."""
        return self.data.items()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(self.__dict__)  # encodings are immutable: shared
        twin.data = deepcopy(self.data, memo)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.data, self.encodings, self._n_sequences)

    # --- tensors

    def convert_to_tensors(
        self, tensor_type: str | TensorType | None = None, prepend_batch_axis: bool = False
    ) -> Self:
        """Converts the values in place, and returns the batch; values that are such tensors already stay.

        Raises ArgumentError (a ValueError) where a value's rows differ in length.
        """
        wanted = resolve_tensor_type(tensor_type)
        if wanted is not None:
            for key, value in self.data.items():
                self.data[key] = convert([value] if prepend_batch_axis else value, key, wanted)
        return self

    def to(self, device: str | torch.device | int, *, non_blocking: bool = False) -> Self:
        """Moves the tensors to the device, and returns the batch. Values that are no tensors stay.

        A dtype in place of a device is refused with a warning, as token ids are integers.
        """
        import torch

        if isinstance(device, (str, int, torch.device)):
            self.data = {
                key: value.to(device=device, non_blocking=non_blocking) if is_tensor(value) else value
                for key, value in self.data.items()
            }
        else:
            logger.warning("Attempting to cast a BatchEncoding to type %s. This is not supported.", device)
        return self

    # --- words, tokens and characters

    @property
    def encodings(self) -> list[Encoding] | None:
        """The encodings in full detail, one a row; None where no tokenizer made this batch."""
        if self._encodings is None and self._recipe is not None:
            self._encodings = self._recipe.encode()
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether the methods that map words, tokens and characters are available."""
        return self._encodings is not None or self._recipe is not None

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs, None where unknown."""
        return self._n_sequences

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row."""
        return self._row(batch_index, "tokens").tokens

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row: 0 or 1 for the first or second text, None for special tokens."""
        return self._row(batch_index, "sequence_ids").sequence_ids

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of a row: the index of its word, None for special tokens."""
        return self._row(batch_index, "word_ids").word_ids

    def words(self, batch_index: int = 0) -> list[int | None]:
        """The older name of `word_ids`."""
        return self._row(batch_index, "words").word_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which text (0 or 1) a token belongs to: `(token)` in the first row, or `(row, token)`."""
        encoding, token = self._locate(batch_or_token_index, token_index, "token_to_sequence")
        return encoding.token_to_sequence(_from_end(token, len(encoding)))

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The index of the word a token belongs to: `(token)` in the first row, or `(row, token)`."""
        encoding, token = self._locate(batch_or_token_index, token_index, "token_to_word")
        return encoding.token_to_word(_from_end(token, len(encoding)))

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word, None where it has none: `(word)` in the first row, or `(row, word)`."""
        encoding, word = self._locate(batch_or_word_index, word_index, "word_to_tokens")
        span = encoding.word_to_tokens(word, sequence_index)
        return TokenSpan(*span) if span is not None else None

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of a token, None for a special one: `(token)` in row 0, or `(row, token)`."""
        encoding, token = self._locate(batch_or_token_index, token_index, "token_to_chars")
        span = encoding.token_to_chars(_from_end(token, len(encoding)))
        return CharSpan(*span) if span is not None else None

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token of a character, None where it has none: `(char)` in the first row, or `(row, char)`."""
        encoding, char = self._locate(batch_or_char_index, char_index, "char_to_token")
        return encoding.char_to_token(char, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan:
        """The characters of a word: `(word)` in the first row, or `(row, word)`.

        Raises ArgumentError where the row has no such word.
        """
        encoding, word = self._locate(batch_or_word_index, word_index, "word_to_chars")
        span = encoding.word_to_chars(word, sequence_index)
        if span is None:
            raise ArgumentError(
                f"text {sequence_index} of this row has no word {word}", key="word_index", actual=str(word)
            )
        return CharSpan(*span)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word of a character, None where it has none: `(char)` in the first row, or `(row, char)`."""
        encoding, char = self._locate(batch_or_char_index, char_index, "char_to_word")
        return encoding.char_to_word(char, sequence_index)

    def _locate(self, first: int, second: int | None, method: str) -> tuple[Encoding, int]:
        """The encoding and the position in it: a lone index is a position in the first row."""
        return (self._row(0, method), first) if second is None else (self._row(first, method), second)

    def _row(self, index: int, method: str) -> Encoding:
        encodings = self.encodings
        if not encodings:
            raise ArgumentError(f"{method}() is only available on what a tokenizer call returned", key=method)
        return encodings[index]


def _from_end(index: int, length: int) -> int:
    return index + length if index < 0 else index


def _restore(
    cls: type[BatchEncoding], data: dict[str, Any], encodings: list[Encoding] | None, n_sequences: int | None
) -> BatchEncoding:
    return cls(data, encodings, n_sequences=n_sequences)
