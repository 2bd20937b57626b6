"""The compiled core: tokenization, collation and weight files; it works without the interpreter lock."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypedDict, final, type_check_only

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer, disjoint_base

__version__: str
__all__ = [
    "AddedToken",
    "Component",
    "DecodeStream",
    "Decoder",
    "Encoding",
    "Normalizer",
    "PostProcessor",
    "PreTokenizer",
    "SafetensorsFile",
    "SentencePieceModel",
    "Tokenizer",
    "__version__",
    "pack_sequences",
    "pad_sequences",
    "plan_batches",
    "read_merges",
    "read_shard_index",
    "read_tiktoken",
    "save_safetensors",
]

# --- tokenizer ----------------------------------------------------------------------------------------------

_TruncationStrategy = Literal["longest_first", "only_first", "only_second"]
_PaddingStrategy = Literal["longest", "max_length"]
_Side = Literal["left", "right"]
_Text = str | Sequence[str]
_Ids = Sequence[int]
"""One sequence: a string, or a list of words where `is_pretokenized` is true."""

@type_check_only
class _SavedTruncation(TypedDict):
    max_length: int
    strategy: _TruncationStrategy
    stride: int
    direction: _Side

@type_check_only
class _SavedPadding(TypedDict):
    strategy: _PaddingStrategy
    length: int | None
    direction: _Side
    pad_to_multiple_of: int | None
    pad_id: int
    pad_type_id: int
    pad_token: str

@final
class AddedToken:
    """A token found in the text before the model sees it. `normalized` defaults to `not special`."""

    def __new__(
        cls,
        content: str = "",
        single_word: bool = False,
        lstrip: bool = False,
        rstrip: bool = False,
        normalized: bool | None = None,
        special: bool = False,
    ) -> AddedToken: ...
    @property
    def content(self) -> str: ...
    @property
    def single_word(self) -> bool: ...
    @property
    def lstrip(self) -> bool: ...
    @property
    def rstrip(self) -> bool: ...
    @property
    def normalized(self) -> bool: ...
    @property
    def special(self) -> bool: ...
    def as_special(self) -> AddedToken:
        """The same token with `special=True`, and not normalized unless the constructor said otherwise."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[AddedToken], tuple[str, bool, bool, bool, bool | None, bool]]: ...

@final
class Encoding:
    """What one sequence or pair became. Offsets count characters; lists are built when asked for."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def type_ids(self) -> list[int]: ...
    @property
    def tokens(self) -> list[str]: ...
    @property
    def offsets(self) -> list[tuple[int, int]]: ...
    @property
    def attention_mask(self) -> list[int]: ...
    @property
    def special_tokens_mask(self) -> list[int]: ...
    @property
    def word_ids(self) -> list[int | None]: ...
    @property
    def words(self) -> list[int | None]: ...
    @property
    def sequence_ids(self) -> list[int | None]: ...
    @property
    def n_sequences(self) -> int: ...
    @property
    def overflowing(self) -> list[Encoding]: ...
    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None: ...
    def char_to_word(self, char_pos: int, sequence_index: int = 0) -> int | None: ...
    def token_to_chars(self, token_index: int) -> tuple[int, int] | None: ...
    def token_to_word(self, token_index: int) -> int | None: ...
    def token_to_sequence(self, token_index: int) -> int | None: ...
    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> tuple[int, int] | None: ...
    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> tuple[int, int] | None: ...
    def __len__(self) -> int: ...
    @staticmethod
    def _restore(state: tuple[Any, ...]) -> Encoding: ...
    def __reduce__(self) -> tuple[Callable[..., Encoding], tuple[tuple[Any, ...]]]: ...

@final
class DecodeStream:
    """The text of a growing list of ids, made by `Tokenizer.stream`. A step costs the same however long it grows."""

    def step(self, id: int | list[int] | tuple[int, ...]) -> str | None:
        """The text that the ids complete: never a part of a character. None: more tokens are needed, or there is
        no new text.

        Raises ArgumentError where the ids change text that was given out before.
        """

    def __copy__(self) -> DecodeStream: ...
    def __deepcopy__(self, _memo: dict[int, Any], /) -> DecodeStream: ...

@disjoint_base
class Component:
    """A component of a tokenizer, which cannot be changed. Its settings are attributes, by the names that
    tokenizer.json has for them; `type` is its kind."""

    def __getattribute__(self, name: str, /) -> Any: ...
    def __getstate__(self) -> bytes:
        """The settings as JSON."""

@final
class Normalizer(Component):
    """What changes a text before it is cut into words."""

    def normalize_str(self, sequence: str) -> str:
        """The text as the normalizer makes it."""

@final
class PreTokenizer(Component):
    """What cuts a text into words."""

    def pre_tokenize_str(self, sequence: str) -> list[tuple[str, tuple[int, int]]]:
        """The words with the characters of the text each was made of; the normalizer is not applied."""

@final
class PostProcessor(Component):
    """What puts special tokens around and between sequences."""

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many special tokens a text, or a pair, gets."""

@final
class Decoder(Component):
    """What makes text of tokens."""

    def decode(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""

@final
class Tokenizer:
    """An immutable tokenizer. Truncation, padding and special tokens are arguments of a call, never state."""

    @staticmethod
    def from_file(path: str) -> Tokenizer: ...
    @staticmethod
    def from_str(json: str, source: str = "<string>") -> Tokenizer: ...
    @staticmethod
    def from_vocab(
        path: str,
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        handle_chinese_chars: bool = True,
        unk_token: str = "[UNK]",
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        mask_token: str = "[MASK]",
    ) -> Tokenizer: ...
    @staticmethod
    def from_bpe(
        vocab: dict[str, int],
        merges: Iterable[tuple[str, str]],
        *,
        components: str = "{}",
        unk_token: str | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        fuse_unk: bool = False,
        byte_fallback: bool = False,
        ignore_merges: bool = False,
    ) -> Tokenizer:
        """Merges in the order they were learned; ``components`` as in ``with_components``."""

    @staticmethod
    def from_unigram(
        vocab: Iterable[tuple[str, float]],
        *,
        unk_id: int | None,
        byte_fallback: bool = False,
        components: str = "{}",
    ) -> Tokenizer:
        """Pieces with their scores in the order of their ids."""

    @staticmethod
    def from_sentencepiece(
        path: str,
        *,
        vocab: dict[str, int] | None = None,
        unk_token: str | None = None,
        components: str = "{}",
    ) -> Tokenizer:
        """What sentencepiece itself makes of a text, its normalization included.

        Args:
            path: The model file.
            vocab: Where ids come from, pieces that it lacks getting that of ``unk_token``; None: the file.
            unk_token: The unknown token; None: the file's.
            components: As in ``with_components``.
        """

    @staticmethod
    def from_wordlevel(vocab: dict[str, int], *, unk_token: str, components: str = "{}") -> Tokenizer: ...
    @staticmethod
    def from_wordpiece(
        vocab: dict[str, int],
        *,
        unk_token: str,
        continuing_subword_prefix: str = "##",
        max_input_chars_per_word: int = 100,
        components: str = "{}",
    ) -> Tokenizer: ...
    def with_components(self, components: str) -> Tokenizer:
        """The same tokenizer with other components: a JSON object with any of ``normalizer``, ``pre_tokenizer``,
        ``post_processor``, ``decoder`` (null removes it) and ``added_tokens`` (added to those that are there), each
        written as in tokenizer.json.
        """

    def to_str(self, pretty: bool = False) -> str: ...
    def with_added_tokens(self, tokens: Sequence[AddedToken]) -> Tokenizer: ...
    def with_bert_normalizer(
        self,
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        handle_chinese_chars: bool = True,
        clean_text: bool = True,
    ) -> Tokenizer: ...
    def with_bert_template(self, *, cls_token: str, sep_token: str) -> Tokenizer: ...
    def vocab_size(self, with_added: bool = True) -> int: ...
    def vocab(self, with_added: bool = True) -> dict[str, int]: ...
    def token_to_id(self, token: str) -> int | None: ...
    def id_to_token(self, id: int) -> str | None: ...
    def num_special_tokens(self, pair: bool) -> int: ...
    @property
    def added_tokens(self) -> list[tuple[int, AddedToken]]:
        """Sorted by id."""
    @property
    def saved_truncation(self) -> _SavedTruncation | None: ...
    @property
    def saved_padding(self) -> _SavedPadding | None: ...
    @property
    def model_type(self) -> str:
        """The name in tokenizer.json: "WordPiece" or "WordLevel"."""
    @property
    def unk_token(self) -> str: ...
    @property
    def normalizer(self) -> Normalizer | None: ...
    @property
    def pre_tokenizer(self) -> PreTokenizer | None: ...
    @property
    def model(self) -> Component:
        """The model's settings, without its vocabulary and merges."""

    @property
    def post_processor(self) -> PostProcessor | None: ...
    @property
    def decoder(self) -> Decoder | None:
        """None where tokens are joined by spaces."""

    def components(self) -> str:
        """A JSON object of `normalizer`, `pre_tokenizer`, `post_processor` and `decoder` as in tokenizer.json,
        null where there is none, and of `model` without its vocabulary and merges."""

    def encode_batch(
        self,
        inputs: Sequence[_Text],
        pairs: Sequence[_Text | None] | None = None,
        *,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        truncation: _TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        truncation_side: _Side = "right",
        padding: _PaddingStrategy | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: _Side = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        return_overflowing: bool = False,
    ) -> list[Encoding]:
        """Full detail. With `return_overflowing` the parts cut off are in `Encoding.overflowing`.

        Raises ArgumentError (a strategy without max_length, a stride that leaves no room, a text with lone
        surrogates) and InputTypeError (an input that is no text), each with the input's index.
        """

    def encode_batch_arrays(
        self,
        inputs: Sequence[_Text],
        pairs: Sequence[_Text | None] | None = None,
        *,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        truncation: _TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        truncation_side: _Side = "right",
        padding: _PaddingStrategy | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: _Side = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        return_overflowing: bool = False,
        type_ids: bool = True,
        attention_mask: bool = True,
        special_tokens_mask: bool = False,
        offsets: bool = False,
    ) -> dict[str, npt.NDArray[np.int64]]:
        """`input_ids [B, S]` and, as asked, `token_type_ids`, `attention_mask`, `special_tokens_mask`,
        all [B, S], `offset_mapping [B, S, 2]` (characters) and `overflow_to_sample_mapping [B]`.

        Raises ArgumentError where the rows differ in length: ask for padding then.
        """

    def encode_batch_lists(
        self,
        inputs: Sequence[_Text],
        pairs: Sequence[_Text | None] | None = None,
        *,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        truncation: _TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        truncation_side: _Side = "right",
        padding: _PaddingStrategy | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: _Side = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        return_overflowing: bool = False,
        type_ids: bool = True,
        attention_mask: bool = True,
        special_tokens_mask: bool = False,
        offsets: bool = False,
    ) -> dict[str, list[Any]]:
        """The same keys as `encode_batch_arrays`, as lists, a row as long as its text."""

    def encode_batch_packed(
        self,
        inputs: Sequence[_Text],
        pairs: Sequence[_Text | None] | None = None,
        *,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        truncation: _TruncationStrategy | None = None,
        max_length: int | None = None,
        stride: int = 0,
        truncation_side: _Side = "right",
        return_overflowing: bool = False,
    ) -> dict[str, npt.NDArray[np.int64]]:
        """`input_ids`, `token_type_ids`, `position_ids` (from 0 in each row), all [T], `cu_seqlens [B + 1]`
        and, with `return_overflowing`, `overflow_to_sample_mapping [B]`."""

    def encode_batch_flat(
        self, texts: Sequence[str], add_special_tokens: bool = True
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """All ids after one another, and where each text starts: `ids[offsets[i]:offsets[i + 1]]`."""

    def decode(self, ids: _Ids, skip_special_tokens: bool = True) -> str: ...
    def decode_batch(self, batch: Sequence[_Ids], skip_special_tokens: bool = True) -> list[str]: ...
    def normalize(self, text: str) -> str:
        """What the normalizer makes of a text; the text itself where there is none."""

    def decode_tokens(self, tokens: Sequence[str]) -> str: ...
    def stream(self, skip_special_tokens: bool = False, *, prompt: _Ids | None = None) -> DecodeStream:
        """Decodes ids as a model generates them; a prompt gives them context and is not given out itself."""

    def __reduce__(self) -> tuple[Callable[..., Tokenizer], tuple[str]]: ...

@final
class SentencePieceModel:
    """A sentencepiece model file: what it holds, with the format's defaults for what it leaves out."""

    @staticmethod
    def from_file(path: str) -> SentencePieceModel: ...
    @property
    def pieces(self) -> list[tuple[str, float, int]]:
        """Text, score and type in the order of the ids; types are 1 normal, 2 unknown, 3 control, 4 user-defined,
        5 unused and 6 byte.
        """

    @property
    def model_type(self) -> Literal["unigram", "bpe", "word", "char"]: ...
    @property
    def unk_id(self) -> int: ...
    @property
    def bos_id(self) -> int: ...
    @property
    def eos_id(self) -> int: ...
    @property
    def pad_id(self) -> int: ...
    @property
    def unk_piece(self) -> str: ...
    @property
    def bos_piece(self) -> str: ...
    @property
    def eos_piece(self) -> str: ...
    @property
    def pad_piece(self) -> str: ...
    @property
    def unk_surface(self) -> str:
        """What decoding makes of the unknown piece."""

    @property
    def byte_fallback(self) -> bool: ...
    @property
    def treat_whitespace_as_suffix(self) -> bool: ...
    @property
    def user_defined_symbols(self) -> list[str]: ...
    @property
    def add_dummy_prefix(self) -> bool: ...
    @property
    def remove_extra_whitespaces(self) -> bool: ...
    @property
    def escape_whitespaces(self) -> bool: ...
    @property
    def normalizer_name(self) -> str: ...
    @property
    def precompiled_charsmap(self) -> bytes: ...
    def merges(
        self, scores: Iterable[tuple[str, float]] | None = None, *, tab_from_byte: bool = False
    ) -> list[tuple[str, str]]:
        """The merges that build each piece of two others, those of higher score first.

        Args:
            scores: The pieces to be built with their scores, where they are not the model's own.
            tab_from_byte: A tab is a part with the id of ``<0x09>`` where it is no piece.
        """

# --- weights ------------------------------------------------------------------------------------------------

@final
class SafetensorsFile:
    """A safetensors file: a checked header, and the whole file as one private writable buffer.

    Writes to the buffer never reach the file. It lives as long as this object or anything made over it.

    Raises:
        MissingFileError, FileError: it cannot be opened or mapped.
        FormatError: it is not a safetensors file; ``key`` names the tensor and field.
    """

    def __new__(cls, path: str) -> SafetensorsFile: ...
    @property
    def path(self) -> str: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    def keys(self) -> list[str]:
        """The tensors' names, in the order of their bytes."""

    def info(self, name: str) -> tuple[str, list[int], int, int]:
        """A tensor's dtype, shape, first byte and the byte after its last in the buffer."""

    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

def read_shard_index(path: str) -> dict[str, str]:
    """Which shard holds which tensor: the checked ``weight_map`` of a ``*.safetensors.index.json``."""

def save_safetensors(
    path: str,
    entries: Sequence[tuple[str, str, Sequence[int], Buffer | Callable[[], Buffer]]],
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes a safetensors file that appears whole or not at all; an older one stays until then.

    An entry is (name, dtype, shape, source). A source is a contiguous buffer, or a function that returns one,
    called when its turn has come.
    """

# --- collate ------------------------------------------------------------------------------------------------

def pad_sequences(
    features: Iterable[Iterable[int] | npt.NDArray[np.integer[Any]]],
    pad_value: int,
    *,
    multiple_of: int | None = None,
    max_length: int | None = None,
    side: _Side = "right",
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pads features to one rectangle: values and mask (1 at values, 0 at padding), both ``[B, S]``."""

def read_merges(path: str) -> list[tuple[str, str]]:
    """The merges of a merges.txt, in the order they were learned."""

def read_tiktoken(path: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary of a tiktoken file in byte-level characters, and the merges that follow from it."""

def pack_sequences(
    features: Iterable[Iterable[int] | npt.NDArray[np.integer[Any]]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Packs features one after another: values ``[T]``, positions in each ``[T]``, cu_seqlens ``[B + 1]``."""

def plan_batches(
    lengths: Iterable[int] | npt.NDArray[np.integer[Any]], token_budget: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sorts by length, longest first, and cuts where a batch would exceed the budget.

    Returns:
        order ``[N]``: batch ``k`` is ``order[boundaries[k]:boundaries[k + 1]]``, and what is computed for
        place ``i`` belongs to feature ``order[i]``.
        boundaries ``[batches + 1]``. A feature longer than the budget is a batch of its own.
    """
