"""Models whose sentencepiece model cuts the text and whose vocab.json gives the ids: Marian, M2M100, Speech2Text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from oxiformers._core import AddedToken, SentencePieceModel, Tokenizer
from oxiformers.errors import ArgumentError, FormatError
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.inputs import Inputs
from oxiformers.tokenization.models.components import METASPACE, Component, template, with_components
from oxiformers.tokenization.models.family import required_ids, text_or_none
from oxiformers.tokenization.models.languages import M2M100, WMT21
from oxiformers.tokenization.models.slow import SlowFormTokenizer, with_texts
from oxiformers.tokenization.models.sources import read_vocabulary
from oxiformers.tokenization.models.translation import language_template

_CONTROL, _BYTE = 3, 6


class Pieces:
    """The pieces of a sentencepiece model, for making text of them."""

    def __init__(self, path: str) -> None:
        model = SentencePieceModel.from_file(path)
        self._kinds = {text: kind for text, _, kind in model.pieces}
        self._unknown = model.unk_piece
        self._surface = model.unk_surface
        self._strips = model.add_dummy_prefix or model.remove_extra_whitespaces
        self._strips_all = model.remove_extra_whitespaces

    def text(self, pieces: Sequence[str]) -> str:
        """The text of pieces, without the space put in front of the first."""
        parts: list[str] = []
        run = bytearray()
        at_start = self._strips
        for piece in pieces:
            kind = self._kinds.get(piece)
            if kind == _BYTE:
                run.append(int(piece[3:-1], 16))
                continue
            if run:
                parts.append(run.decode("utf-8", errors="replace"))
                run.clear()
                at_start = False
            if kind == _CONTROL:
                continue
            if piece == self._unknown:
                parts.append(self._surface)
                at_start = False
                continue
            if kind is None:  # of another model: it stays as it is, its visible space included
                parts.append(piece)
                at_start = at_start and not piece
                continue
            shown = piece
            if at_start and shown.startswith(METASPACE):
                shown = shown[1:]
                at_start = self._strips_all and not shown
            elif shown:
                at_start = False
            parts.append(shown.replace(METASPACE, " "))
        if run:
            parts.append(run.decode("utf-8", errors="replace"))
        return "".join(parts)


class VocabularyTokenizer(SlowFormTokenizer):
    """Text cut by a sentencepiece model, ids from vocab.json."""

    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    #: The constructor's names of the vocabulary and of the sentencepiece model.
    files: ClassVar[tuple[str, str]] = ("vocab_file", "spm_file")
    #: What stands after a special token in decoded text.
    after_special: ClassVar[str] = ""
    #: The vocabulary file.
    encoder: dict[str, int]

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        vocabulary, model = (self._required(paths, name) for name in self.files)
        self._paths = dict(paths)
        self.encoder = read_vocabulary(vocabulary)
        return self._core_of(model, self.encoder, vocabulary, settings)

    def _core_of(
        self, model: str, vocabulary: dict[str, int], path: str, settings: Mapping[str, Any]
    ) -> Tokenizer:
        unknown = str(settings["unk_token"])
        if unknown not in vocabulary:
            raise FormatError(
                f"{path} has no {unknown!r}, the unknown token", path=path, key=unknown, expected="an id"
            )
        return Tokenizer.from_sentencepiece(model, vocab=vocabulary, unk_token=unknown)

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self._paths[self.files[1]])

    def __reduce__(self) -> tuple[Any, ...]:
        restore, (cls, core, state) = super().__reduce__()
        return restore, (cls, core, {key: value for key, value in state.items() if key != "_pieces"})

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of pieces, with special tokens as they are."""
        special = set(self.all_special_tokens)
        parts: list[str] = []
        run: list[str] = []
        for token in tokens:
            if token in special:
                parts += [self._run_text(run), token, self.after_special]
                run = []
            else:
                run.append(token)
        return "".join((*parts, self._run_text(run))).strip()

    def _run_text(self, pieces: Sequence[str]) -> str:
        return self._pieces.text(pieces)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or of each of several; unk_token for an id that is not in the vocabulary."""
        tokens = super().convert_ids_to_tokens(ids, skip_special_tokens)
        unknown = self.unk_token
        if isinstance(tokens, list):
            return [unknown if token is None else token for token in tokens]
        return unknown if tokens is None else tokens

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Writes vocab.json and copies the sentencepiece model; returns their paths."""
        vocabulary, model = (self.vocab_files_names[name] for name in self.files)
        copies = {model: self._paths[self.files[1]]}
        return self._save(save_directory, filename_prefix, {vocabulary: self.encoder}, copies)


class MarianTokenizer(VocabularyTokenizer):
    """Marian's tokenizer, of the OPUS-MT models: A </s>; texts and targets have a sentencepiece model each.

    Args:
        source_spm, target_spm: the sentencepiece models of texts and targets.
        vocab: a vocab.json, for both.
        target_vocab_file: with `separate_vocabs=True`, that of the targets.
        **settings: as for PreTrainedTokenizerFast; a text may start with its target's language, as in ">>fra<<".
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "source_spm": "source.spm",
        "target_spm": "target.spm",
        "vocab": "vocab.json",
        "target_vocab_file": "target_vocab.json",
    }
    positional: ClassVar[tuple[str, ...]] = ("source_spm", "target_spm", "vocab", "target_vocab_file")
    files: ClassVar[tuple[str, str]] = ("vocab", "source_spm")
    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<unk>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }
    options: ClassVar[Mapping[str, Any]] = {
        "source_lang": None,
        "target_lang": None,
        "model_max_length": 512,
        "separate_vocabs": False,
    }
    after_special: ClassVar[str] = " "
    separate_vocabs: bool
    supported_language_codes: list[str]

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        core = super()._core_from_files(paths, settings)
        target = self._required(paths, "target_spm")
        vocabulary, path = self.encoder, paths["vocab"]
        if settings["separate_vocabs"]:
            path = self._required(paths, "target_vocab_file")
            vocabulary = read_vocabulary(path)
        self.target_encoder = vocabulary
        self._second_core = self._core_of(target, vocabulary, path, settings)
        codes = [] if settings["separate_vocabs"] else self.encoder
        self.supported_language_codes = [
            code for code in codes if code.startswith(">>") and code.endswith("<<")
        ]
        return core

    def _post_processor(self) -> Component | None:
        eos = self.eos_token
        return template(f"$A {eos}", f"$A $B {eos}", self._ids(eos))

    def _target_core(self) -> Tokenizer:
        known = {token.content for _, token in self._second_core.added_tokens}
        added = [token for _, token in self._core.added_tokens if token.content not in known]
        core = self._second_core.with_added_tokens(added) if added else self._second_core
        return with_components(core, post_processor=self._post_processor())

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self._paths["target_spm"])

    def _encode(self, inputs: Inputs, call: Any, core: Tokenizer) -> BatchEncoding:
        rows = [text for text in (*inputs.texts, *(inputs.pairs or ())) if isinstance(text, str)]
        first = [text for text in rows if self._names_language(text)]
        if not first:
            return super()._encode(inputs, call, core)
        codes = [AddedToken(code, normalized=False) for code in self.supported_language_codes]
        if len(inputs.texts) > 1 and any(code.content in text[1:] for text in rows for code in codes):
            return self._encode_apart(inputs, call, core)  # a code counts at the start of a text alone
        return super()._encode(with_texts(inputs, self._known_code), call, core.with_added_tokens(codes))

    def _encode_apart(self, inputs: Inputs, call: Any, core: Tokenizer) -> BatchEncoding:
        """Each row by itself, then padded together."""
        padding = {key: value for key, value in call.core.items() if key.startswith("pad")}
        cut = {key: value for key, value in call.core.items() if key not in padding}
        pairs = inputs.pairs or [None] * len(inputs.texts)
        parts = [
            self._encode(Inputs([text], [pair], True), call._replace(core=cut, tensor_type=None), core).data
            for text, pair in zip(inputs.texts, pairs, strict=True)
        ]
        data: dict[str, Any] = {key: [row for part in parts for row in part[key]] for key in parts[0]}
        if "padding" in padding:
            side = padding.get("padding_side")
            multiple = padding.get("pad_to_multiple_of")
            kept = {
                "padding_side": side,
                "pad_to_multiple_of": multiple,
                "max_length": call.core.get("max_length"),
                "verbose": False,
            }
            data = dict(self.pad(data, padding["padding"], **kept))
        return BatchEncoding(data, tensor_type=call.tensor_type)

    def _names_language(self, text: str) -> bool:
        if not text.startswith(">>") or "<<" not in text:
            return False
        return not text.startswith(tuple(self.added_tokens_encoder))  # an added token may look like one

    def _known_code(self, text: str) -> str:
        """A language at the start that the model does not have is unknown."""
        if not self._names_language(text):
            return text
        code, _, rest = text.partition("<<")
        return text if f"{code}<<" in self.encoder else f"{self.unk_token}{rest}"

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """One: the end token."""
        return 1

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A B eos."""
        return [*token_ids_0, *(token_ids_1 or ()), *required_ids(self, "eos_token")]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of the target's pieces, with special tokens as they are."""
        return super().convert_tokens_to_string(tokens).replace(METASPACE, " ").strip()

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or of each of several, in the targets' vocabulary."""
        if not self.separate_vocabs:
            return super().convert_ids_to_tokens(ids, skip_special_tokens)
        twin = self.__copy__()
        twin.separate_vocabs, twin._core = False, self._target_core()
        return twin.convert_ids_to_tokens(ids, skip_special_tokens)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Writes the vocabularies and copies both sentencepiece models; returns their paths."""
        vocabularies: dict[str, Any] = {"vocab.json": self.encoder}
        if self.separate_vocabs:
            vocabularies["target_vocab.json"] = self.target_encoder
        copies = {
            "source.spm": self._paths["source_spm"],
            "target.spm": self._paths["target_spm"],
        }
        return self._save(save_directory, filename_prefix, vocabularies, copies)


class M2M100Tokenizer(VocabularyTokenizer):
    """M2M100's tokenizer: __en__ A </s>.

    Args:
        vocab_file: a vocab.json.
        spm_file: a sentencepiece model.
        src_lang, tgt_lang: the languages of texts and targets, as codes; setting `src_lang` takes effect at once.
        language_codes: "m2m100" or "wmt21": which languages there are.
        **settings: as for PreTrainedTokenizerFast.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "vocab.json",
        "spm_file": "sentencepiece.bpe.model",
    }
    positional: ClassVar[tuple[str, ...]] = ("vocab_file", "spm_file")
    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    options: ClassVar[Mapping[str, Any]] = {
        "src_lang": None,
        "tgt_lang": None,
        "language_codes": "m2m100",
        "num_madeup_words": 8,
    }
    own_template: ClassVar[bool] = True
    tgt_lang: str | None
    lang_code_to_token: dict[str, str]
    lang_token_to_id: dict[str, int]
    prefix_tokens: list[int]
    suffix_tokens: list[int]
    cur_lang_id: int
    _src_lang: str

    def _prepare(self, settings: dict[str, Any]) -> None:
        self._src_lang = text_or_none(settings, "src_lang") or "en"
        text_or_none(settings, "tgt_lang")
        every = {"m2m100": M2M100, "wmt21": WMT21}.get(str(settings["language_codes"]))
        if every is None:
            raise ArgumentError.mismatch(
                "language_codes", "'m2m100' or 'wmt21'", repr(settings["language_codes"])
            )
        self.lang_code_to_token = {code: f"__{code}__" for code in every}
        given = list(settings.get("additional_special_tokens") or ())
        new = [token for token in self.lang_code_to_token.values() if token not in given]
        settings["additional_special_tokens"] = [*given, *new]

    def _post_processor(self) -> Component | None:
        size = self.vocab_size
        tokens = self.lang_code_to_token.values()
        self.lang_token_to_id = {token: size + place for place, token in enumerate(tokens)}
        self.lang_code_to_id = {code: size + place for place, code in enumerate(self.lang_code_to_token)}
        self.set_tgt_lang_special_tokens(self._src_lang)
        return language_template(self, (self.prefix_tokens, self.suffix_tokens))

    @property
    def src_lang(self) -> str:
        """The language of the texts."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, value: str) -> None:
        self.set_src_lang_special_tokens(value)

    def set_src_lang_special_tokens(self, src_lang: str) -> None:
        """Special tokens of that language around the texts."""
        self._src_lang = src_lang
        self._update_post_processor()

    def set_tgt_lang_special_tokens(self, tgt_lang: str) -> None:
        """`prefix_tokens` and `suffix_tokens` become those of a target; a call with texts keeps the source's."""
        self.cur_lang_id = self.get_lang_id(tgt_lang)
        self.prefix_tokens, self.suffix_tokens = [self.cur_lang_id], list(required_ids(self, "eos_token"))

    def _target_core(self) -> Tokenizer:
        around = ([self.get_lang_id(self.tgt_lang)], list(required_ids(self, "eos_token")))
        return with_components(self._core, post_processor=language_template(self, around))

    def get_lang_token(self, lang: str | None) -> str:
        """The token of a language. Raises ArgumentError for one the model does not have."""
        token = None if lang is None else self.lang_code_to_token.get(lang)
        if token is None:
            known = ", ".join(self.lang_code_to_token)
            raise ArgumentError.mismatch("lang", f"one of {known}", repr(lang))
        return token

    def get_lang_id(self, lang: str | None) -> int:
        """The id of a language's token."""
        return self.lang_token_to_id[self.get_lang_token(lang)]

    def _build_translation_inputs(
        self, raw_inputs: Any, src_lang: str | None, tgt_lang: str | None, **arguments: Any
    ) -> BatchEncoding:
        if src_lang is None or tgt_lang is None:
            raise ArgumentError(
                "Translation requires a `src_lang` and a `tgt_lang` for this model",
                key="src_lang" if src_lang is None else "tgt_lang",
            )
        self.src_lang = src_lang
        inputs = self(raw_inputs, add_special_tokens=True, **arguments)
        inputs["forced_bos_token_id"] = self.get_lang_id(tgt_lang)
        return inputs

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """`prefix_tokens`, A, B, `suffix_tokens`."""
        return [*self.prefix_tokens, *token_ids_0, *(token_ids_1 or ()), *self.suffix_tokens]


class Speech2TextTokenizer(VocabularyTokenizer):
    """Speech2Text's tokenizer: A </s>, and with `lang_codes` <lang:de> A </s>."""

    vocab_files_names: ClassVar[dict[str, str]] = M2M100Tokenizer.vocab_files_names
    positional: ClassVar[tuple[str, ...]] = ("vocab_file", "spm_file")
    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    options: ClassVar[Mapping[str, Any]] = {
        "do_upper_case": False,
        "do_lower_case": False,
        "tgt_lang": None,
        "lang_codes": None,
    }
    after_special: ClassVar[str] = " "
    do_upper_case: bool
    do_lower_case: bool

    def _prepare(self, settings: dict[str, Any]) -> None:
        if settings["lang_codes"] is not None:
            raise ArgumentError.mismatch(
                "lang_codes",
                "None",
                repr(settings["lang_codes"]),
                "only Speech2Text models of one target language are supported",
            )

    def _post_processor(self) -> Component | None:
        eos = self.eos_token
        return template(f"$A {eos}", f"$A $B {eos}", self._ids(eos))

    def _run_text(self, pieces: Sequence[str]) -> str:
        text = super()._run_text(pieces)
        return text.upper() if self.do_upper_case else text

    build_inputs_with_special_tokens = MarianTokenizer.build_inputs_with_special_tokens
