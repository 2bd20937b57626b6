"""Tokenizers read from a sentencepiece model: Unigram or BPE over pieces that start with `▁`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from oxiformers._core import AddedToken, SentencePieceModel, Tokenizer
from oxiformers.errors import UnsupportedError
from oxiformers.tokenization.models.components import (
    METASPACE,
    Component,
    metaspace,
    normalizers,
    precompiled,
    replace,
    strip,
)
from oxiformers.tokenization.models.family import FamilyTokenizer
from oxiformers.tokenization.models.sources import is_tiktoken
from oxiformers.tokenization.models.tiktoken import core_from_tiktoken

Pieces = list[tuple[str, float]]

#: The types of pieces that are found in a text before the model sees it.
_CONTROL, _USER_DEFINED = 3, 4


class SentencePieceTokenizer(FamilyTokenizer):
    """A tokenizer read from a sentencepiece model, a class stating how pieces become ids and text pieces."""

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "spiece.model",
        "tokenizer_file": "tokenizer.json",
    }
    #: Whether characters that no piece has become tokens of their bytes.
    byte_fallback: ClassVar[bool] = False
    #: Whether a tab counts as its byte's token where merges are made, as the model itself has none.
    tab_from_byte: ClassVar[bool] = False
    #: User-defined pieces that are special tokens.
    special_pieces: ClassVar[frozenset[str]] = frozenset()
    #: The id of the unknown token; None for the one the model states.
    unk_id: ClassVar[int | None] = None
    sp_model_kwargs: dict[str, Any]
    #: Whether the sentencepiece model that was read puts a space in front of a text.
    _dummy_prefix: bool = True

    def _has_files(self, paths: Mapping[str, str]) -> bool:
        return "vocab_file" in paths

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        path = self._required(paths, "vocab_file")
        if is_tiktoken(path):
            return core_from_tiktoken(path, settings.get("additional_special_tokens") or ())
        if settings.get("sp_model_kwargs"):
            raise UnsupportedError(
                "sp_model_kwargs is not supported: sampling and options of the sentencepiece library do not exist here",
                key="sp_model_kwargs",
            )
        model = SentencePieceModel.from_file(path)
        self._dummy_prefix = model.add_dummy_prefix
        if not self._dummy_prefix and "add_prefix_space" in settings:
            settings["add_prefix_space"] = False
        pieces = self._pieces(model, settings)
        components = json.dumps(
            {
                "normalizer": self._normalizer(model, settings),
                "pre_tokenizer": self._pre_tokenizer(settings),
                "decoder": self._decoder(settings),
            }
        )
        core = self._core_from_pieces(path, model, pieces, components, settings)
        return core.with_added_tokens(
            [
                AddedToken(text, normalized=False, special=kind == _CONTROL or text in self.special_pieces)
                for text, _, kind in model.pieces
                if kind in (_CONTROL, _USER_DEFINED)
            ]
        )

    def _core_from_pieces(
        self,
        path: str,
        model: SentencePieceModel,
        pieces: Pieces,
        components: str,
        settings: Mapping[str, Any],
    ) -> Tokenizer:
        if model.model_type == "unigram":
            return Tokenizer.from_unigram(
                pieces,
                unk_id=self._unk_id(model, settings),
                byte_fallback=self.byte_fallback,
                components=components,
            )
        if model.model_type == "bpe":
            return Tokenizer.from_bpe(
                {piece: index for index, (piece, _) in enumerate(pieces)},
                model.merges(pieces, tab_from_byte=self.tab_from_byte),
                components=components,
                unk_token=model.unk_piece,
                fuse_unk=True,
                byte_fallback=self.byte_fallback,
            )
        raise UnsupportedError.mismatch(
            "trainer_spec.model_type",
            "unigram or bpe",
            model.model_type,
            f"other models are not supported by {type(self).__name__}",
            path=path,
        )

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        """The vocabulary in the order of its ids: texts and scores."""
        return [(text, score) for text, score, _ in model.pieces]

    def _unk_id(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> int:
        return model.unk_id if self.unk_id is None else self.unk_id

    def _normalizer(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Component | None:
        return normalizers(
            precompiled(model.precompiled_charsmap),
            strip(left=False, right=True),
            replace(" {2,}", METASPACE, regex=True),
        )

    def _prepend_scheme(self, settings: Mapping[str, Any]) -> str:
        """Where `▁` is put in front: "always", "first" or "never"."""
        return "always" if self._dummy_prefix else "never"

    def _pre_tokenizer(self, settings: Mapping[str, Any]) -> Component | None:
        return metaspace(self._prepend_scheme(settings))

    def _decoder(self, settings: Mapping[str, Any]) -> Component | None:
        return metaspace(self._prepend_scheme(settings))


def own_normalizers(model: SentencePieceModel) -> list[Component]:
    """What the sentencepiece model itself does to a text before it cuts it, `▁` apart."""
    charsmap = precompiled(model.precompiled_charsmap)
    found = [] if charsmap is None else [charsmap]
    if model.remove_extra_whitespaces:
        found += [replace(r"\A +| +\z", "", regex=True), replace(" {2,}", " ", regex=True)]
    return found


def legacy_prepend_scheme(settings: Mapping[str, Any]) -> str:
    """The scheme of the families that have the settings `add_prefix_space` and `legacy`."""
    if not settings.get("add_prefix_space", True):
        return "never"
    legacy = settings.get("legacy")
    return "always" if legacy is None or legacy else "first"


def without_number_commas(pieces: Pieces) -> Pieces:
    """The pieces with those that end in a digit and a comma made unlikely, so that numbers are cut before it."""
    return [
        (text, score - 100 if len(text) > 1 and text[-1] == "," and text[-2].isdigit() else score)
        for text, score in pieces
    ]


def fairseq_pieces(model: SentencePieceModel, *further: str) -> Pieces:
    """fairseq's vocabulary: <s>, <pad>, </s>, <unk>, the model's pieces without its first three, further ones."""
    first: Pieces = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces = [(text, score) for text, score, _ in model.pieces[3:]]
    return [*first, *pieces, *((token, 0.0) for token in further)]
