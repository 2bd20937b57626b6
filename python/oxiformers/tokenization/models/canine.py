"""CANINE's tokenizer: a token a character, whose id is the character's number in Unicode."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import InputTypeError, UnsupportedError
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.inputs import Inputs
from oxiformers.tokenization.models.components import Component
from oxiformers.tokenization.models.family import PLAIN, TAKES_SPACE, BertTemplate, Flags
from oxiformers.tokenization.models.slow import SlowFormTokenizer

#: The characters of the Private Use Area that are special tokens, and how they are shown.
_SHOWN = {
    0: "[PAD]",
    0xE000: "[CLS]",
    0xE001: "[SEP]",
    0xE002: "[BOS]",
    0xE003: "[MASK]",
    0xE004: "[RESERVED]",
}
_CHARACTERS = 0x110000


class CanineTokenizer(SlowFormTokenizer, BertTemplate):
    """CANINE's tokenizer: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]; the special tokens are private characters.

    It has no vocabulary file, and gives no offsets: the place of a token is that of its character.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {}
    positional: ClassVar[tuple[str, ...]] = ()
    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": chr(0xE000),
        "eos_token": chr(0xE001),
        "sep_token": chr(0xE001),
        "cls_token": chr(0xE000),
        "pad_token": chr(0),
        "mask_token": chr(0xE003),
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": PLAIN, "mask_token": TAKES_SPACE}
    options: ClassVar[Mapping[str, Any]] = {"add_prefix_space": False, "model_max_length": 2048}
    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 -- as in the base

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        return Tokenizer.from_wordlevel({chr(index): index for index in _SHOWN}, unk_token=chr(0))

    def _post_processor(self) -> Component | None:
        return None

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Two for a text, three for a pair."""
        return 3 if pair else 2

    @property
    def vocab_size(self) -> int:
        """The number of characters of Unicode."""
        return _CHARACTERS

    def __len__(self) -> int:
        return _CHARACTERS + sum(index >= _CHARACTERS for index in self.added_tokens_decoder)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id; those that are no characters follow all characters."""
        further = count(_CHARACTERS)
        return {
            ord(token.content) if len(token.content) == 1 else next(further): token
            for _, token in self._core.added_tokens
        }

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the added tokens, by their text."""
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    def get_vocab(self) -> dict[str, int]:
        """Ids by character, all 1,114,112 of them."""
        return {**{chr(index): index for index in range(_CHARACTERS)}, **self.added_tokens_encoder}

    def _id_of(self, token: str) -> int | None:
        index = self.added_tokens_encoder.get(token)
        return ord(token) if index is None and len(token) == 1 else index

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The character of an id, or of each of several."""
        if isinstance(ids, int):
            return self._character(ids)
        left_out = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._character(int(index)) for index in ids if int(index) not in left_out]

    def _character(self, index: int) -> str:
        added = self.added_tokens_decoder.get(index)
        return _SHOWN.get(index, chr(index)) if added is None else added.content

    def _ids_of(self, text: str) -> list[int]:
        """The ids of added tokens, with the spaces they take, and the numbers of the characters between."""
        added = {token.content: (index, token) for index, token in self.added_tokens_decoder.items()}
        ids: list[int] = []
        parts = self._split_at_added(text)
        for place, part in enumerate(parts):
            before, after = parts[place - 1 : place], parts[place + 1 : place + 2]
            if place % 2 == 0:
                part = part.lstrip() if before and added[before[0]][1].rstrip else part
                part = part.rstrip() if after and added[after[0]][1].lstrip else part
            elif not (added[part][1].single_word and (before[0][-1:].strip(" ") or after[0][:1].strip(" "))):
                ids.append(added[part][0])
                continue
            ids += map(ord, part)
        return ids

    def tokenize(
        self, text: Any, pair: Any = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """The characters of a text."""
        ids = self(text, pair, add_special_tokens=add_special_tokens, **kwargs)["input_ids"]
        return [chr(index) if index < _CHARACTERS else self._character(index) for index in ids]

    def _encode(self, inputs: Inputs, call: Any, core: Tokenizer) -> BatchEncoding:
        if call.columns.get("offsets"):
            raise UnsupportedError(
                "return_offsets_mapping is not available for CANINE: token i is the text's character i",
                key="return_offsets_mapping",
            )
        asked, columns = call.core, call.columns
        rows = [
            self.prepare_for_model(
                self._row_ids(text, place),
                None if pair is None else self._row_ids(pair, place),
                add_special_tokens=asked.get("add_special_tokens", True),
                truncation=asked.get("truncation") or False,
                max_length=asked.get("max_length") if "truncation" in asked else None,
                stride=asked.get("stride", 0),
                return_token_type_ids=None if columns.get("type_ids", True) else False,
                return_attention_mask=False,
                return_overflowing_tokens=columns.get("return_overflowing", False),
                return_special_tokens_mask=columns.get("special_tokens_mask", False),
                return_length=call.with_length,
                verbose=call.verbose,
            ).data
            for place, (text, pair) in enumerate(zip(inputs.texts, _paired(inputs), strict=True))
        ]
        batch = self.pad(
            {key: [row[key] for row in rows] for key in rows[0]} if rows else {"input_ids": []},
            padding=asked.get("padding") or False,
            max_length=asked.get("max_length"),
            pad_to_multiple_of=asked.get("pad_to_multiple_of"),
            padding_side=asked.get("padding_side"),
            return_attention_mask=columns.get("attention_mask", True),
            verbose=False,
        )
        data = dict(batch)
        if not inputs.batched and call.tensor_type is None:
            data = {key: value[0] for key, value in data.items()}
        return BatchEncoding(data, tensor_type=call.tensor_type)

    def _row_ids(self, text: Any, place: int) -> list[int]:
        if isinstance(text, str):
            return self._ids_of(text)
        if not isinstance(text, Sequence) or not all(isinstance(word, str) for word in text):
            kind = type(text).__name__
            raise InputTypeError(
                f"row {place} should be a str or a list of words, not {kind}",
                key=f"text[{place}]",
                actual=kind,
            )
        return [index for word in text for index in self._ids_of(word)]

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Nothing: there is no vocabulary file."""
        return ()


def _paired(inputs: Inputs) -> Iterable[Any]:
    return inputs.pairs if inputs.pairs is not None else [None] * len(inputs.texts)
