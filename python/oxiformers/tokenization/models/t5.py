"""Sentencepiece models that end each sequence with </s>: T5, and Pegasus with its own first ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from oxiformers._core import SentencePieceModel, Tokenizer
from oxiformers.errors import ArgumentError
from oxiformers.tokenization.models.components import (
    Component,
    components_of,
    metaspace,
    pre_tokenizers,
    template,
    with_components,
)
from oxiformers.tokenization.models.family import Flags, count_of, required_ids, text_or_none
from oxiformers.tokenization.models.sentencepiece import Pieces, SentencePieceTokenizer, legacy_prepend_scheme
from oxiformers.tokenization.special_tokens import text_of

_SPECIAL: Flags = {"special": True, "normalized": False}
_SENTINEL = re.compile(r"<extra_id_\d+>")


class T5Tokenizer(SentencePieceTokenizer):
    """T5's tokenizer: A </s>, or A </s> B </s>; `extra_ids` sentinel tokens at the vocabulary's end.

    Where spiece.model is read, `add_prefix_space=False` puts no space in front of a text, and `legacy=False`
    puts one in front of the text alone, not after each added token.
    """

    tokens: ClassVar[Mapping[str, str | None]] = {
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": _SPECIAL}
    options: ClassVar[Mapping[str, Any]] = {"extra_ids": 100, "add_prefix_space": None}
    file_options: ClassVar[Mapping[str, Any]] = {"legacy": True, "add_prefix_space": True}
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    prefix_tokens: list[int] = []  # noqa: RUF012 -- an instance may have its own

    def _ask_for_files(self, settings: Mapping[str, Any]) -> bool:
        return settings.get("add_prefix_space") is not None

    def _prepare(self, settings: dict[str, Any]) -> None:
        count, given = count_of(settings, "extra_ids"), settings.get("additional_special_tokens")
        sentinels = [f"<extra_id_{index}>" for index in range(count)]
        if given is None:
            settings["additional_special_tokens"] = sentinels
            return
        among = sum("<extra_id_" in text_of(token) for token in given)
        if not among:
            settings["additional_special_tokens"] = [*given, *sentinels]
        elif count > 0 and count != among:
            raise ArgumentError(
                f"Both extra_ids ({count}) and additional_special_tokens ({given}) are provided to T5Tokenizer. "
                "In this case the additional_special_tokens must include the extra_ids tokens",
                key="extra_ids",
                expected=str(among),
                actual=str(count),
            )

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        sentinels = [(f"<extra_id_{index}>", 0.0) for index in reversed(range(settings["extra_ids"]))]
        return [*super()._pieces(model, settings), *sentinels]

    def _prepend_scheme(self, settings: Mapping[str, Any]) -> str:
        return legacy_prepend_scheme(settings) if self._dummy_prefix else "never"

    def _adapted(self, core: Tokenizer, settings: Mapping[str, Any]) -> Tokenizer:
        scheme = legacy_prepend_scheme(settings)
        found = components_of(core)
        changed = {
            name: {**found[name], "prepend_scheme": scheme}
            for name in ("pre_tokenizer", "decoder")
            if (found.get(name) or {}).get("type") == "Metaspace"
        }
        return with_components(core, **changed)

    def _post_processor(self) -> Component | None:
        return template("$A </s>", "$A </s> $B </s>", self._ids("</s>"))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A eos, or A eos B eos."""
        (eos_id,) = required_ids(self, "eos_token")
        second = [] if token_ids_1 is None else [*token_ids_1, eos_id]
        return [*self.prefix_tokens, *token_ids_0, eos_id, *second]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros: this model has no token types."""
        return [0] * (len(token_ids_0) + 1 + (0 if token_ids_1 is None else len(token_ids_1) + 1))

    def get_sentinel_tokens(self) -> list[str]:
        """The tokens that stand for what was taken out of a text: <extra_id_0> and so on."""
        return [token for token in dict.fromkeys(self.extra_special_tokens) if _SENTINEL.search(token)]

    def get_sentinel_token_ids(self) -> list[int]:
        """The ids of `get_sentinel_tokens`."""
        return [self.convert_tokens_to_ids(token) for token in self.get_sentinel_tokens()]


class MT5Tokenizer(T5Tokenizer):
    """mT5's tokenizer: T5's."""


class PegasusTokenizer(SentencePieceTokenizer):
    """Pegasus' tokenizer: A </s>; `offset` tokens come before the model's own pieces."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask_2>",
    }
    options: ClassVar[Mapping[str, Any]] = {"mask_token_sent": "<mask_1>", "offset": 103}
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    mask_token_sent: str | None
    offset: int

    def _ask_for_files(self, settings: Mapping[str, Any]) -> bool:
        renamed = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        return any(text_of(settings.get(name) or usual) != usual for name, usual in renamed.items())

    def _prepare(self, settings: dict[str, Any]) -> None:
        settings.pop("added_tokens_decoder", None)  # the ids follow from offset
        given, sentence, offset = (
            settings.get("additional_special_tokens"),
            text_or_none(settings, "mask_token_sent"),
            count_of(settings, "offset"),
        )
        if given is None:
            first = [] if sentence is None else [sentence]
            settings["additional_special_tokens"] = [
                *first,
                *(f"<unk_{index}>" for index in range(2, offset)),
            ]
            return
        if not isinstance(given, list):
            kind = type(given).__name__
            raise TypeError(f"additional_special_tokens should be of type list, but is {kind}")
        tokens = list(given) if sentence is None or sentence in given else [sentence, *given]
        tokens += [f"<unk_{index}>" for index in range(len(tokens), offset - 1)]
        if len({text_of(token) for token in tokens}) != len(tokens):
            raise ArgumentError(
                "Please make sure that the provided additional_special_tokens do not contain an incorrectly "
                f"shifted list of <unk_x> tokens. Found {tokens}.",
                key="additional_special_tokens",
                expected="each token once",
            )
        settings["additional_special_tokens"] = tokens

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        sentence, offset = settings["mask_token_sent"], settings["offset"]
        first = [settings["pad_token"], settings["eos_token"]]
        if sentence is not None:
            first.append(sentence)
            if settings["mask_token"] is not None and offset > 3:
                first.append(settings["mask_token"])
        unknown = [(f"<unk_{index}>", -100.0) for index in range(2, offset)]
        own = [(text, score) for text, score, _ in model.pieces[2:]]
        return [*((text_of(token), 0.0) for token in first), *unknown, *own]

    def _unk_id(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> int:
        offset: int = settings["offset"]
        return model.unk_id + offset

    def _pre_tokenizer(self, settings: Mapping[str, Any]) -> Component | None:
        return pre_tokenizers({"type": "WhitespaceSplit"}, metaspace(self._prepend_scheme(settings)))

    def _post_processor(self) -> Component | None:
        eos = self.eos_token
        return template(f"$A {eos}", f"$A $B {eos}", self._ids(eos))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A eos, or A B eos."""
        return [*token_ids_0, *(token_ids_1 or ()), *required_ids(self, "eos_token")]


T5TokenizerFast = T5Tokenizer
MT5TokenizerFast = MT5Tokenizer
PegasusTokenizerFast = PegasusTokenizer
