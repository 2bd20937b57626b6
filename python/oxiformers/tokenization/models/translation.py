"""Multilingual models whose special tokens name the language: mBART, mBART-50, NLLB and SeamlessM4T."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from oxiformers._core import SentencePieceModel, Tokenizer
from oxiformers.errors import ArgumentError
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.models.components import Component, template, with_components
from oxiformers.tokenization.models.family import ROBERTA_TOKENS, Flags, required_ids, text_or_none
from oxiformers.tokenization.models.languages import MBART, MBART50, NLLB
from oxiformers.tokenization.models.sentencepiece import (
    Pieces,
    SentencePieceTokenizer,
    fairseq_pieces,
    legacy_prepend_scheme,
)
from oxiformers.tokenization.models.xlm_roberta import FAIRSEQ_FILES

_SPECIAL: Flags = {"special": True, "normalized": False}
_SPECIAL_MASK: Flags = {"special": True, "normalized": True, "lstrip": True}
Around = tuple[list[int], list[int]]


class LanguageTokenizer(SentencePieceTokenizer):
    """A tokenizer whose special tokens name the language of the text: `src_lang`, and `tgt_lang` for targets.

    Setting `src_lang` takes effect at once; `text_target=` uses `tgt_lang`.
    """

    vocab_files_names: ClassVar[dict[str, str]] = FAIRSEQ_FILES
    tokens: ClassVar[Mapping[str, str | None]] = ROBERTA_TOKENS
    options: ClassVar[Mapping[str, Any]] = {"src_lang": None, "tgt_lang": None}
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    own_template: ClassVar[bool] = True
    unk_id: ClassVar[int | None] = 3
    default_language: ClassVar[str] = "en_XX"

    prefix_tokens: list[int]
    suffix_tokens: list[int]
    cur_lang_code: int | None
    tgt_lang: str | None
    _src_lang: str

    def _prepare(self, settings: dict[str, Any]) -> None:
        self._src_lang = self._language(text_or_none(settings, "src_lang") or self.default_language)
        text_or_none(settings, "tgt_lang")

    def _language(self, name: str) -> str:
        return name

    @property
    def src_lang(self) -> str:
        """The language of the texts."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, value: str) -> None:
        self._src_lang = self._language(value)
        self._update_post_processor()

    def _around(self, language: int) -> Around:
        """The special tokens' ids before and after a text of that language."""
        return [language], list(required_ids(self, "eos_token"))

    def _around_target(self, language: int) -> Around:
        """The special tokens' ids before and after a target of that language."""
        return self._around(language)

    def _post_processor(self) -> Component | None:
        self.cur_lang_code = self.convert_tokens_to_ids(self._src_lang)
        return self._template(self._around(self._language_id(self._src_lang)))

    def _template(self, around: Around) -> Component:
        self.prefix_tokens, self.suffix_tokens = around
        return language_template(self, around)

    def _language_id(self, language: str | None) -> int:
        index = None if language is None else self.convert_tokens_to_ids(language)
        if index is None:
            raise ArgumentError.mismatch("language", "a language of the model", repr(language))
        return int(index)

    def set_src_lang_special_tokens(self, src_lang: str) -> None:
        """Special tokens of that language around the texts."""
        self._src_lang = self._language(src_lang)
        self._update_post_processor()

    def set_tgt_lang_special_tokens(self, lang: str) -> None:
        """`prefix_tokens` and `suffix_tokens` become those of a target; a call with texts keeps the source's."""
        self.cur_lang_code = self.convert_tokens_to_ids(lang)
        self.prefix_tokens, self.suffix_tokens = self._around_target(self._language_id(lang))

    def _target_core(self) -> Tokenizer:
        around = self._around_target(self._language_id(self.tgt_lang))
        return with_components(self._core, post_processor=language_template(self, around))

    def _build_translation_inputs(
        self,
        raw_inputs: Any,
        return_tensors: Any,
        src_lang: str | None,
        tgt_lang: str | None,
        **arguments: Any,
    ) -> BatchEncoding:
        if src_lang is None or tgt_lang is None:
            raise ArgumentError(
                "Translation requires a `src_lang` and a `tgt_lang` for this model",
                key="src_lang" if src_lang is None else "tgt_lang",
            )
        self.src_lang = src_lang
        inputs = self(raw_inputs, add_special_tokens=True, return_tensors=return_tensors, **arguments)
        inputs["forced_bos_token_id"] = self.convert_tokens_to_ids(self._language(tgt_lang))
        return inputs

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """`prefix_tokens`, A, B, `suffix_tokens`."""
        return [*self.prefix_tokens, *token_ids_0, *(token_ids_1 or ()), *self.suffix_tokens]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros, as many as RoBERTa's special tokens would make it."""
        return [0] * (len(token_ids_0) + 2 + (0 if token_ids_1 is None else len(token_ids_1) + 2))


def language_template(tokenizer: Any, around: Around) -> Component:
    """A, or A and B, between the special tokens of those ids."""
    ids = [*around[0], *around[1]]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    before, after = " ".join(tokens[: len(around[0])]), " ".join(tokens[len(around[0]) :])
    single, pair = (f"{before} {text} {after}".strip() for text in ("$A", "$A $B"))
    return template(single, pair, dict(zip(tokens, ids, strict=True)))


class MBartTokenizer(LanguageTokenizer):
    """mBART's tokenizer: A </s> en_XX."""

    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": {"lstrip": True}}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": {"lstrip": True, "normalized": False}}
    languages: ClassVar[tuple[str, ...]] = MBART
    lang_code_to_id: dict[str, int]

    def _prepare(self, settings: dict[str, Any]) -> None:
        super()._prepare(settings)
        given = settings.get("additional_special_tokens") or ()
        further = [token for token in given if token not in self.languages]
        settings["additional_special_tokens"] = [*self.languages, *further]

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        return fairseq_pieces(model, *self.languages, "<mask>")

    def _finish(self, settings: Mapping[str, Any]) -> None:
        self.lang_code_to_id = {code: self.convert_tokens_to_ids(code) for code in self.languages}

    def _around(self, language: int) -> Around:
        return [], [*required_ids(self, "eos_token"), language]


class MBart50Tokenizer(MBartTokenizer):
    """mBART-50's tokenizer: en_XX A </s>."""

    positional: ClassVar[tuple[str, ...]] = ("vocab_file", "src_lang", "tgt_lang", "tokenizer_file")
    tokens: ClassVar[Mapping[str, str | None]] = {
        name: token for name, token in LanguageTokenizer.tokens.items() if name != "bos_token"
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": {"lstrip": True, "normalized": True}}
    languages: ClassVar[tuple[str, ...]] = MBART50

    def _prepare(self, settings: dict[str, Any]) -> None:
        LanguageTokenizer._prepare(self, settings)
        given = list(settings.get("additional_special_tokens") or ())
        settings["additional_special_tokens"] = [
            *given,
            *(code for code in self.languages if code not in given),
        ]

    def _around(self, language: int) -> Around:
        return [language], list(required_ids(self, "eos_token"))

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Token types as of any model: 0 for a first sequence, 1 for a second one."""
        return SentencePieceTokenizer.create_token_type_ids_from_sequences(self, token_ids_0, token_ids_1)


class NllbTokenizer(LanguageTokenizer):
    """NLLB's tokenizer: eng_Latn A </s>; with `legacy_behaviour=True` A </s> eng_Latn."""

    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": _SPECIAL_MASK}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {
        "*": _SPECIAL,
        "mask_token": _SPECIAL_MASK,
        "sep_token": None,
        "cls_token": None,
    }
    options: ClassVar[Mapping[str, Any]] = {"src_lang": None, "tgt_lang": None, "legacy_behaviour": False}
    default_language: ClassVar[str] = "eng_Latn"
    legacy_behaviour: bool

    def _prepare(self, settings: dict[str, Any]) -> None:
        super()._prepare(settings)
        if settings.get("additional_special_tokens") is None:
            settings["additional_special_tokens"] = list(NLLB)

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        return fairseq_pieces(model)

    def _around(self, language: int) -> Around:
        end = list(required_ids(self, "eos_token"))
        return ([], [*end, language]) if self.legacy_behaviour else ([language], end)


class SeamlessM4TTokenizer(LanguageTokenizer):
    """SeamlessM4T's tokenizer: __eng__ A </s>, and for targets </s> __fra__ A </s>.

    A call pads by default, to a multiple of 2, and takes `src_lang` and `tgt_lang`, which stay.
    """

    tokens: ClassVar[Mapping[str, str | None]] = {
        name: token for name, token in LanguageTokenizer.tokens.items() if name != "mask_token"
    }
    options: ClassVar[Mapping[str, Any]] = {"src_lang": "eng", "tgt_lang": "fra"}
    file_options: ClassVar[Mapping[str, Any]] = {"add_prefix_space": True}
    unk_id: ClassVar[int | None] = 1
    _tgt_lang: str

    def _prepare(self, settings: dict[str, Any]) -> None:
        super()._prepare(settings)
        self._tgt_lang = self._language(settings["tgt_lang"])

    def _language(self, name: str) -> str:
        return name if "__" in name else f"__{name}__"

    @property
    def tgt_lang(self) -> str:
        """The language of the targets."""
        return self._tgt_lang

    @tgt_lang.setter
    def tgt_lang(self, value: str) -> None:
        self._tgt_lang = self._language(value)

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        first: Pieces = [(token, 0.0) for token in ("<pad>", "<unk>", "<s>", "</s>")]
        return [*first, *((text, score) for text, score, _ in model.pieces[3:])]

    def _prepend_scheme(self, settings: Mapping[str, Any]) -> str:
        return legacy_prepend_scheme({**settings, "legacy": False}) if self._dummy_prefix else "never"

    def _around_target(self, language: int) -> Around:
        end = list(required_ids(self, "eos_token"))
        return [*end, language], end

    def __call__(  # type: ignore[override]
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        padding: Any = True,
        pad_to_multiple_of: int | None = 2,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """As of `PreTrainedTokenizerFast`, padded by default; `src_lang` and `tgt_lang` are set first."""
        if src_lang is not None:
            self.src_lang = src_lang
        if tgt_lang is not None:
            self.tgt_lang = tgt_lang
        return super().__call__(
            text,
            text_pair,
            text_target=text_target,
            text_pair_target=text_pair_target,
            padding=padding,
            pad_to_multiple_of=pad_to_multiple_of,
            **kwargs,
        )


MBartTokenizerFast = MBartTokenizer
MBart50TokenizerFast = MBart50Tokenizer
NllbTokenizerFast = NllbTokenizer
SeamlessM4TTokenizerFast = SeamlessM4TTokenizer
