"""Sentencepiece BPE with byte fallback: Llama, Code Llama and Gemma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oxiformers._core import SentencePieceModel, Tokenizer
from oxiformers.errors import ArgumentError
from oxiformers.logging import get_logger
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.models.components import (
    BYTE_FALLBACK_DECODERS,
    METASPACE,
    STRIP_FIRST_SPACE,
    Component,
    components_of,
    decoders,
    metaspace,
    normalizers,
    prepend,
    replace,
    split,
    template,
    with_components,
)
from oxiformers.tokenization.models.family import BosEosTemplate, Flags, text_or_none
from oxiformers.tokenization.models.sentencepiece import (
    Pieces,
    SentencePieceTokenizer,
    legacy_prepend_scheme,
    own_normalizers,
)
from oxiformers.tokenization.special_tokens import text_of

logger = get_logger(__name__)

_SPECIAL: Flags = {"special": True, "normalized": False}
_FILES: dict[str, str] = {"vocab_file": "tokenizer.model", "tokenizer_file": "tokenizer.json"}
_ENDS: Mapping[str, str | None] = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


class LlamaTokenizer(BosEosTemplate, SentencePieceTokenizer):
    """Llama's tokenizer, and Mistral's and many others': <s> A.

    `add_bos_token` and `add_eos_token` say what stands around a text, whatever tokenizer.json says. Where
    tokenizer.model is read, and where `add_prefix_space` is given, `add_prefix_space` says whether a space is put
    in front, and `legacy=False` puts it in front of the text alone, not after each added token.
    """

    vocab_files_names: ClassVar[dict[str, str]] = _FILES
    padding_side: str = "left"
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    tokens: ClassVar[Mapping[str, str | None]] = _ENDS
    file_tokens: ClassVar[Mapping[str, str | None]] = {"pad_token": None}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": _SPECIAL}
    options: ClassVar[Mapping[str, Any]] = {
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "use_default_system_prompt": False,
        "legacy": None,
        "add_prefix_space": None,
    }
    file_options: ClassVar[Mapping[str, Any]] = {
        "add_prefix_space": True,
        "spaces_between_special_tokens": False,
    }
    byte_fallback: ClassVar[bool] = True
    unk_id: ClassVar[int | None] = 0
    legacy: bool

    def _ask_for_files(self, settings: Mapping[str, Any]) -> bool:
        return settings.get("add_prefix_space") is not None

    def _prepare(self, settings: dict[str, Any]) -> None:
        super()._prepare(settings)
        if settings.get("legacy") is None:
            settings["legacy"] = True

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        own = [(text, score) for text, score, _ in model.pieces]
        added = settings.get("added_tokens_decoder") or {}
        first = [(text_of(added.get(index, own[index][0])), 0.0) for index in range(min(3, len(own)))]
        return [*first, *own[3:]]

    def _normalizer(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Component | None:
        return self._with_spaces(own_normalizers(model), settings)

    def _with_spaces(self, own: Sequence[Component], settings: Mapping[str, Any]) -> Component | None:
        """The model's own normalizers, and what is done about spaces as the settings say."""
        if not settings["legacy"]:
            return normalizers(*own) if own else None
        return normalizers(
            *own, prepend(METASPACE) if settings["add_prefix_space"] else None, replace(" ", METASPACE)
        )

    def _prepend_scheme(self, settings: Mapping[str, Any]) -> str:
        return legacy_prepend_scheme(settings)

    def _pre_tokenizer(self, settings: Mapping[str, Any]) -> Component | None:
        return None if settings["legacy"] else metaspace(self._prepend_scheme(settings), split=False)

    def _decoder(self, settings: Mapping[str, Any]) -> Component | None:
        last = [STRIP_FIRST_SPACE] if settings["add_prefix_space"] else []
        return decoders(*BYTE_FALLBACK_DECODERS, *last)

    def _adapted(self, core: Tokenizer, settings: Mapping[str, Any]) -> Tokenizer:
        if not components_of(core)["model"].get("byte_fallback"):
            return core  # another family's tokenizer under Llama's name: it has no `▁` to put in front
        known = components_of(core)["normalizer"] or {}
        parts = known["normalizers"] if known.get("type") == "Sequence" else [known] if known else []
        own = [part for part in parts if part not in (prepend(METASPACE), replace(" ", METASPACE))]
        return with_components(
            core,
            normalizer=self._with_spaces(own, settings),
            pre_tokenizer=self._pre_tokenizer(settings),
            decoder=self._decoder(settings),
        )


class CodeLlamaTokenizer(LlamaTokenizer):
    """Code Llama's tokenizer: Llama's, which can ask for what is missing between two parts of a program.

    A text that holds `fill_token`, or a text with a second one, becomes <s> ▁<PRE> A ▁<SUF> B ▁<MID>.
    """

    file_tokens: ClassVar[Mapping[str, str | None]] = {}
    options: ClassVar[Mapping[str, Any]] = {
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "use_default_system_prompt": False,
    }
    file_options: ClassVar[Mapping[str, Any]] = {"suffix_first": False}
    #: Tokens around the parts of a text with a gap, and the text that stands for the gap.
    infilling: ClassVar[Mapping[str, str]] = {
        "prefix_token": "▁<PRE>",
        "middle_token": "▁<MID>",
        "suffix_token": "▁<SUF>",
        "eot_token": "▁<EOT>",
        "fill_token": "<FILL_ME>",
    }
    _infilling: dict[str, str | None]

    def _ask_for_files(self, settings: Mapping[str, Any]) -> bool:
        return False

    def _prepare(self, settings: dict[str, Any]) -> None:
        super()._prepare(settings)
        del settings["legacy"]
        given = {name: settings.pop(name, default) for name, default in self.infilling.items()}
        self._infilling = {name: text_or_none(given, name) for name in given}
        tokens = [
            token for name, token in self._infilling.items() if token is not None and name != "fill_token"
        ]
        settings["additional_special_tokens"] = [*(settings.get("additional_special_tokens") or ()), *tokens]

    def _finish(self, settings: Mapping[str, Any]) -> None:
        self.init_kwargs.update(self._infilling)

    def _normalizer(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Component | None:
        own = own_normalizers(model)
        return normalizers(*own, prepend(METASPACE) if self._dummy_prefix else None, replace(" ", METASPACE))

    def _pre_tokenizer(self, settings: Mapping[str, Any]) -> Component | None:
        return None

    def _decoder(self, settings: Mapping[str, Any]) -> Component | None:
        return decoders(*BYTE_FALLBACK_DECODERS, *([STRIP_FIRST_SPACE] if self._dummy_prefix else []))

    @property
    def prefix_token(self) -> str | None:
        """The token before what comes before the gap."""
        return self._infilling["prefix_token"]

    @property
    def middle_token(self) -> str | None:
        """The token after which the gap is filled."""
        return self._infilling["middle_token"]

    @property
    def suffix_token(self) -> str | None:
        """The token before what comes after the gap."""
        return self._infilling["suffix_token"]

    @property
    def eot_token(self) -> str | None:
        """The token that ends what fills the gap."""
        return self._infilling["eot_token"]

    @property
    def fill_token(self) -> str | None:
        """The text that stands for the gap."""
        return self._infilling["fill_token"]

    @property
    def prefix_id(self) -> int | None:
        """The id of `prefix_token`."""
        return self._infilling_id("prefix_token")

    @property
    def middle_id(self) -> int | None:
        """The id of `middle_token`."""
        return self._infilling_id("middle_token")

    @property
    def suffix_id(self) -> int | None:
        """The id of `suffix_token`."""
        return self._infilling_id("suffix_token")

    @property
    def eot_id(self) -> int | None:
        """The id of `eot_token`."""
        return self._infilling_id("eot_token")

    def _infilling_id(self, name: str) -> int | None:
        token = self._infilling[name]
        return None if token is None else self.convert_tokens_to_ids(token)

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        *further: Any,
        suffix_first: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        """A call as of `PreTrainedTokenizerFast`; a single text may have a gap.

        Args:
            text: a text or a batch; where a single text holds `fill_token`, that is the gap.
            text_pair: what comes after the gap, for a single text; `suffix` is another name.
            *further: as there.
            suffix_first: whether what comes after the gap is put first.
            **kwargs: as there.
        """
        text_pair = kwargs.pop("suffix", text_pair)
        if not isinstance(text, str) or further or kwargs.get("is_split_into_words"):
            return super().__call__(text, text_pair, *further, **kwargs)
        if self.fill_token is not None and text_pair is None and self.fill_token in text:
            parts = text.split(self.fill_token)
            if len(parts) > 2:
                raise ArgumentError.mismatch(
                    "text", f"{self.fill_token!r} once", f"{len(parts) - 1} times", "a text may have one gap"
                )
            text, text_pair = parts
        if not text_pair:
            return super().__call__(text, text_pair, **kwargs)
        twin = self.__copy__()
        twin._core = self._infilling_core(suffix_first, kwargs.pop("add_special_tokens", True))
        return LlamaTokenizer.__call__(twin, " " + text, text_pair, **kwargs)

    def _infilling_core(self, suffix_first: bool, add_special_tokens: bool) -> Tokenizer:
        prefix, suffix, middle = self.prefix_token, self.suffix_token, self.middle_token
        if prefix is None or suffix is None or middle is None:
            raise ArgumentError(
                "a text with a gap needs prefix_token, middle_token and suffix_token", key="prefix_token"
            )
        bos = self._around("bos_token", self._add_bos_token and add_special_tokens)
        eos = self._around("eos_token", self._add_eos_token and add_special_tokens)
        parts = [prefix, suffix, "$B", middle, "$A"] if suffix_first else [prefix, "$A", suffix, "$B", middle]
        pair = " ".join(part for part in (bos, *parts, eos) if part is not None)
        return with_components(
            self._core,
            normalizer=replace(" ", METASPACE),
            post_processor=template("$A", pair, self._ids(bos, prefix, suffix, middle, eos)),
        )


class GemmaTokenizer(BosEosTemplate, SentencePieceTokenizer):
    """Gemma's tokenizer: <bos> A; spaces become `▁`, and none is put in front."""

    vocab_files_names: ClassVar[dict[str, str]] = _FILES
    padding_side: str = "left"
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<unk>",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": _SPECIAL}
    options: ClassVar[Mapping[str, Any]] = {
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
    }
    file_options: ClassVar[Mapping[str, Any]] = {
        "use_default_system_prompt": False,
        "spaces_between_special_tokens": False,
    }
    byte_fallback: ClassVar[bool] = True
    tab_from_byte: ClassVar[bool] = True
    special_pieces: ClassVar[frozenset[str]] = frozenset(("<start_of_turn>", "<end_of_turn>"))
    unk_id: ClassVar[int | None] = 3

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        first = [(text_of(settings[name]), 0.0) for name in ("pad_token", "eos_token", "bos_token")]
        pieces = [*first, *((text, score) for text, score, _ in model.pieces[3:])]
        texts = [text for text, _ in pieces]
        if "\t" not in texts and "<0x09>" in texts:
            pieces[texts.index("<0x09>")] = ("\t", 0.0)
        return pieces

    def _normalizer(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Component | None:
        return replace(" ", METASPACE)

    def _pre_tokenizer(self, settings: Mapping[str, Any]) -> Component | None:
        return split(" ", "MergedWithPrevious", regex=False)

    def _decoder(self, settings: Mapping[str, Any]) -> Component | None:
        return decoders(*BYTE_FALLBACK_DECODERS)


LlamaTokenizerFast = LlamaTokenizer
CodeLlamaTokenizerFast = CodeLlamaTokenizer
GemmaTokenizerFast = GemmaTokenizer
