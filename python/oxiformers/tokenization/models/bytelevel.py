"""Tokenizers without a vocabulary file: a token a byte of UTF-8."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oxiformers._core import Tokenizer
from oxiformers.errors import ArgumentError
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.inputs import Inputs
from oxiformers.tokenization.models.components import Component, byte_level, template
from oxiformers.tokenization.models.family import PLAIN, Flags, count_of, plain_flags, required_ids
from oxiformers.tokenization.models.slow import SlowFormTokenizer, with_texts
from oxiformers.tokenization.special_tokens import text_of


def _alphabet() -> dict[int, str]:
    """The characters that stand for bytes inside the core: printable ones for themselves, others from U+0100 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(shown)]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + place) for place, byte in enumerate(others)}


_SHOWN = _alphabet()
_BYTES = {character: byte for byte, character in _SHOWN.items()}


class ByteTokenizer(SlowFormTokenizer):
    """A token a byte, after the special tokens; the token of a byte is the character of that number."""

    vocab_files_names: ClassVar[dict[str, str]] = {}
    positional: ClassVar[tuple[str, ...]] = ()
    #: The special tokens that come before the bytes, in the order of their ids.
    first: ClassVar[tuple[str, ...]] = ()
    #: What happens to bytes that are not UTF-8 in decoded text, as `bytes.decode` names it.
    errors: ClassVar[str] = "replace"

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        special = list(dict.fromkeys(text_of(settings[name]) for name in self.first))
        offset = len(self.first)
        vocabulary = {token: index for index, token in enumerate(special)}
        vocabulary |= {_SHOWN[byte]: byte + offset for byte in range(256)}
        components = {"pre_tokenizer": byte_level(False, use_regex=False), "decoder": byte_level()}
        return Tokenizer.from_bpe(vocabulary, [], components=json.dumps(components))

    @property
    def vocab_size(self) -> int:
        """The number of bytes; `len(tokenizer)` counts the special tokens."""
        return 256

    def get_vocab(self) -> dict[str, int]:
        """Ids by token, special tokens included."""
        bytes_first = {chr(byte): byte + len(self.first) for byte in range(256)}
        return {**bytes_first, **self.added_tokens_encoder}

    def _id_of(self, token: str) -> int | None:
        index = self.added_tokens_encoder.get(token)
        if index is None and len(token) == 1 and ord(token) < 256:
            index = ord(token) + len(self.first)
        return index

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or of each of several: a special token, or the character of a byte's number."""
        tokens = super().convert_ids_to_tokens(ids, skip_special_tokens)
        return _shown(tokens) if isinstance(tokens, str) else [_shown(token) for token in tokens]

    def tokenize(
        self, text: Any, pair: Any = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """The tokens of a text: a character a byte."""
        ids = self(text, pair, add_special_tokens=add_special_tokens, **kwargs)["input_ids"]
        return list(self.convert_ids_to_tokens(ids))

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text that the tokens' bytes are in UTF-8."""
        added = self.added_tokens_encoder
        data = b"".join(token.encode() if token in added else bytes([ord(token)]) for token in tokens)
        return data.decode("utf-8", errors=self.errors)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Nothing: there is no vocabulary file."""
        return ()


def _shown(token: Any) -> Any:
    return chr(_BYTES[token]) if token in _BYTES else token


class ByT5Tokenizer(ByteTokenizer):
    """ByT5's tokenizer: A </s>, or A </s> B </s>; `extra_ids` sentinel tokens after the bytes."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": plain_flags(lstrip=True, rstrip=True)}
    options: ClassVar[Mapping[str, Any]] = {"extra_ids": 125}
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    first: ClassVar[tuple[str, ...]] = ("pad_token", "eos_token", "unk_token")
    errors: ClassVar[str] = "ignore"

    def _prepare(self, settings: dict[str, Any]) -> None:
        count, given = count_of(settings, "extra_ids"), settings.get("additional_special_tokens")
        if count > 0 and given is None:
            settings["additional_special_tokens"] = [f"<extra_id_{index}>" for index in range(count)]
        elif count > 0 and given:
            among = len({text_of(token) for token in given if "extra_id" in text_of(token)})
            if among != count:
                raise ArgumentError(
                    f"Both extra_ids ({count}) and additional_special_tokens ({given}) are provided to "
                    "ByT5Tokenizer. In this case the additional_special_tokens must include the extra_ids tokens",
                    key="extra_ids",
                    expected=str(among),
                    actual=str(count),
                )
        settings["extra_ids"] = 0  # they are among the tokens now

    def _encode(self, inputs: Inputs, call: Any, core: Tokenizer) -> BatchEncoding:
        if call.core.get("add_special_tokens", True) and "is_pretokenized" not in call.core:
            inputs = with_texts(inputs, self._without_end)
        return super()._encode(inputs, call, core)

    def _without_end(self, text: str) -> str:
        """A text that ends in the end token gets no second one."""
        end = self.eos_token
        stripped = text.rstrip()
        return stripped.removesuffix(end) if end and stripped.endswith(end) else text

    def _post_processor(self) -> Component | None:
        eos = self.eos_token
        return template(f"$A {eos}", f"$A {eos} $B {eos}", self._ids(eos))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A eos, or A eos B eos; what ends in eos already stays."""
        (eos_id,) = required_ids(self, "eos_token")
        rows = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
        return [index for row in rows for index in (row if row and row[-1] == eos_id else [*row, eos_id])]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros: this model has no token types."""
        return [0] * (len(token_ids_0) + 1 + (0 if token_ids_1 is None else len(token_ids_1) + 1))


class PerceiverTokenizer(ByteTokenizer):
    """Perceiver's tokenizer: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "pad_token": "[PAD]",
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "mask_token": "[MASK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": PLAIN}
    options: ClassVar[Mapping[str, Any]] = {"model_max_length": 2048}
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    first: ClassVar[tuple[str, ...]] = (
        "pad_token",
        "bos_token",
        "eos_token",
        "mask_token",
        "cls_token",
        "sep_token",
    )

    def _post_processor(self) -> Component | None:
        cls, sep = self.cls_token, self.sep_token
        first = f"{cls}:0 $A:0 {sep}:0"
        return template(first, f"{first} $B:1 {sep}:1", self._ids(cls, sep))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """cls A sep, or cls A sep B sep."""
        cls_id, sep_id = required_ids(self, "cls_token", "sep_token")
        first = [cls_id, *token_ids_0, sep_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, sep_id]
