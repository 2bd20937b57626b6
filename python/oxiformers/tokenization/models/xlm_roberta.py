"""Sentencepiece models with fairseq's ids: <s> A </s>, and <s> A </s></s> B </s>."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from oxiformers._core import SentencePieceModel
from oxiformers.tokenization.models.components import Component, template
from oxiformers.tokenization.models.family import ROBERTA_TOKENS, Flags, RobertaTemplate, required_ids
from oxiformers.tokenization.models.sentencepiece import Pieces, SentencePieceTokenizer, fairseq_pieces

FAIRSEQ_FILES: dict[str, str] = {
    "vocab_file": "sentencepiece.bpe.model",
    "tokenizer_file": "tokenizer.json",
}
_SPECIAL_MASK: Flags = {"special": True, "normalized": False, "lstrip": True}


class XLMRobertaTokenizer(RobertaTemplate, SentencePieceTokenizer):
    """XLM-RoBERTa's tokenizer: <s> A </s>, and <s> A </s></s> B </s>."""

    vocab_files_names: ClassVar[dict[str, str]] = FAIRSEQ_FILES
    tokens: ClassVar[Mapping[str, str | None]] = ROBERTA_TOKENS
    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": {"lstrip": True}}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": _SPECIAL_MASK}
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    unk_id: ClassVar[int | None] = 3

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        return fairseq_pieces(model, "<mask>")

    def _post_processor(self) -> Component | None:
        return template("<s> $A </s>", "<s> $A </s> </s> $B </s>", self._ids("<s>", "</s>"))


class CamembertTokenizer(XLMRobertaTokenizer):
    """CamemBERT's tokenizer: five tokens come before the model's own pieces."""

    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": _SPECIAL_MASK}
    options: ClassVar[Mapping[str, Any]] = {
        "additional_special_tokens": ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]
    }

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        first: Pieces = [(token, 0.0) for token in ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>")]
        own = [(text, score) for text, score, _ in model.pieces[1:]]
        return [*first, ("<unk>NOTUSED", -100.0), *own, ("<mask>", 0.0)]


class BarthezTokenizer(XLMRobertaTokenizer):
    """BARThez's tokenizer: the model's own pieces and ids."""

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        return SentencePieceTokenizer._pieces(self, model, settings)


class XGLMTokenizer(SentencePieceTokenizer):
    """XGLM's tokenizer: </s> A, and </s> A </s></s> B."""

    vocab_files_names: ClassVar[dict[str, str]] = FAIRSEQ_FILES
    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    unk_id: ClassVar[int | None] = 3
    num_madeup_words: ClassVar[int] = 7

    def _prepare(self, settings: dict[str, Any]) -> None:
        given = list(settings.get("additional_special_tokens") or ())
        settings["additional_special_tokens"] = [
            *given,
            *(word for word in self._madeup() if word not in given),
        ]

    def _madeup(self) -> list[str]:
        return [f"<madeupword{index}>" for index in range(self.num_madeup_words)]

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        return fairseq_pieces(model, *self._madeup())

    def _post_processor(self) -> Component | None:
        return template("</s> $A", "</s> $A </s> </s> $B", self._ids("<s>", "</s>"))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """sep A, or sep A sep sep B."""
        (sep_id,) = required_ids(self, "sep_token")
        first = [sep_id, *token_ids_0]
        return first if token_ids_1 is None else [*first, sep_id, sep_id, *token_ids_1]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros: this model has no token types."""
        return [0] * len(self.build_inputs_with_special_tokens(list(token_ids_0), token_ids_1))


XLMRobertaTokenizerFast = XLMRobertaTokenizer
CamembertTokenizerFast = CamembertTokenizer
BarthezTokenizerFast = BarthezTokenizer
XGLMTokenizerFast = XGLMTokenizer
