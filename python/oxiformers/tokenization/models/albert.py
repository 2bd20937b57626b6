"""Sentencepiece models in the form of ALBERT: quotes made alike, accents taken off, [CLS] A [SEP] B [SEP]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from oxiformers._core import SentencePieceModel
from oxiformers.tokenization.models.components import (
    Component,
    metaspace,
    normalizers,
    pre_tokenizers,
    precompiled,
    replace,
    strip,
    template,
)
from oxiformers.tokenization.models.family import (
    PLAIN,
    TAKES_SPACE,
    BertTemplate,
    Flags,
    plain_flags,
    required_ids,
)
from oxiformers.tokenization.models.sentencepiece import Pieces, SentencePieceTokenizer, without_number_commas

_SPECIAL: Flags = {"special": True, "normalized": False}
_SPECIAL_MASK: Flags = {**_SPECIAL, "lstrip": True}
_MASK: Flags = {"lstrip": True}


class ClsSepTemplate(BertTemplate):
    """[CLS] A [SEP] and [CLS] A [SEP] B [SEP], under these names whatever the settings say."""

    def _post_processor(self) -> Component | None:
        return template(
            "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", self._ids("[CLS]", "[SEP]")
        )


class FoldingTokenizer(SentencePieceTokenizer):
    """Quotes made alike, and accents and case folded as the settings say; numbers are cut before a comma."""

    def _pieces(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Pieces:
        return without_number_commas(super()._pieces(model, settings))

    def _normalizer(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Component | None:
        charsmap = precompiled(model.precompiled_charsmap)
        return normalizers(*_quotes(), *_folding(settings), charsmap, _single_spaces())


class AlbertTokenizer(ClsSepTemplate, FoldingTokenizer):
    """ALBERT's tokenizer.

    `do_lower_case` lowercases, and `keep_accents=False` takes accents off, where spiece.model is read.
    """

    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "unk_token": "<unk>",
        "sep_token": "[SEP]",
        "pad_token": "<pad>",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": plain_flags(lstrip=True, normalized=False)}
    options: ClassVar[Mapping[str, Any]] = {
        "do_lower_case": True,
        "remove_space": True,
        "keep_accents": False,
    }
    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 -- as in the base


def _quotes() -> list[Component]:
    return [replace("``", '"'), replace("''", '"')]


def _folding(settings: Mapping[str, Any]) -> list[Component]:
    parts: list[Component] = []
    if not settings["keep_accents"]:
        parts += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if settings["do_lower_case"]:
        parts.append({"type": "Lowercase"})
    return parts


def _single_spaces() -> Component:
    return replace(" {2,}", " ", regex=True)


class FNetTokenizer(AlbertTokenizer):
    """FNet's tokenizer: ALBERT's, with accents kept."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<unk>",
        "sep_token": "[SEP]",
        "pad_token": "<pad>",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": _MASK, "cls_token": {}, "sep_token": {}}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {
        "mask_token": _SPECIAL_MASK,
        "cls_token": _SPECIAL,
        "sep_token": _SPECIAL,
    }
    options: ClassVar[Mapping[str, Any]] = {
        "do_lower_case": False,
        "remove_space": True,
        "keep_accents": True,
    }
    model_input_names: list[str] = ["input_ids", "token_type_ids"]  # noqa: RUF012 -- as in the base


class RemBertTokenizer(ClsSepTemplate, SentencePieceTokenizer):
    """RemBERT's tokenizer."""

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "sentencepiece.model",
        "tokenizer_file": "tokenizer.json",
    }
    tokens: ClassVar[Mapping[str, str | None]] = AlbertTokenizer.tokens
    file_tokens: ClassVar[Mapping[str, str | None]] = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": _MASK}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": TAKES_SPACE}
    options: ClassVar[Mapping[str, Any]] = AlbertTokenizer.options
    file_options: ClassVar[Mapping[str, Any]] = {"do_lower_case": False, "keep_accents": True}
    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 -- as in the base

    def _normalizer(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Component | None:
        return normalizers(
            *_quotes(), _single_spaces(), *_folding(settings), precompiled(model.precompiled_charsmap)
        )


class BigBirdTokenizer(ClsSepTemplate, SentencePieceTokenizer):
    """BigBird's tokenizer."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
        "cls_token": "[CLS]",
    }
    flags: ClassVar[Mapping[str, Flags | None]] = {"*": {}, "mask_token": _MASK}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": PLAIN, "mask_token": TAKES_SPACE}
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base


class ReformerTokenizer(SentencePieceTokenizer):
    """Reformer's tokenizer: no special tokens around."""

    tokens: ClassVar[Mapping[str, str | None]] = {"eos_token": "</s>", "unk_token": "<unk>"}
    options: ClassVar[Mapping[str, Any]] = {"additional_special_tokens": []}
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base


class DebertaV2Tokenizer(ClsSepTemplate, SentencePieceTokenizer):
    """The tokenizer of DeBERTa v2 and v3.

    `do_lower_case` lowercases, and `split_by_punct` makes punctuation words of their own, where spm.model is read.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "spm.model",
        "tokenizer_file": "tokenizer.json",
    }
    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"unk_token": {"special": True, "normalized": True}}
    options: ClassVar[Mapping[str, Any]] = {"do_lower_case": False, "split_by_punct": False}
    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 -- as in the base

    def _normalizer(self, model: SentencePieceModel, settings: Mapping[str, Any]) -> Component | None:
        lowercase: Component | None = {"type": "Lowercase"} if settings["do_lower_case"] else None
        charsmap = precompiled(model.precompiled_charsmap)
        return normalizers(lowercase, strip(left=True, right=True), charsmap, _single_spaces())

    def _pre_tokenizer(self, settings: Mapping[str, Any]) -> Component | None:
        punctuation: list[Component] = []
        if settings["split_by_punct"]:
            punctuation = [{"type": "Punctuation", "behavior": "Isolated"}]
        return pre_tokenizers(*punctuation, metaspace(self._prepend_scheme(settings)))


class XLNetTokenizer(FoldingTokenizer):
    """XLNet's tokenizer: A <sep> B <sep> <cls>, the last of token type 2; padded on the left, with type 3."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "<sep>",
        "pad_token": "<pad>",
        "cls_token": "<cls>",
        "mask_token": "<mask>",
    }
    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": _MASK}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": _SPECIAL_MASK}
    options: ClassVar[Mapping[str, Any]] = {
        "do_lower_case": False,
        "remove_space": True,
        "keep_accents": False,
        "additional_special_tokens": ["<eop>", "<eod>"],
    }
    padding_side: str = "left"
    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 -- as in the base

    @property
    def pad_token_type_id(self) -> int:
        """The token type of padding."""
        return 3

    def _post_processor(self) -> Component | None:
        pair = "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2"
        return template("$A:0 <sep>:0 <cls>:2", pair, self._ids("<sep>", "<cls>"))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A sep cls, or A sep B sep cls."""
        sep_id, cls_id = required_ids(self, "sep_token", "cls_token")
        second = [] if token_ids_1 is None else [*token_ids_1, sep_id]
        return [*token_ids_0, sep_id, *second, cls_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Token types: 0 for A, 1 for B, 2 for cls."""
        second = [] if token_ids_1 is None else [1] * (len(token_ids_1) + 1)
        return [0] * (len(token_ids_0) + 1) + second + [2]


AlbertTokenizerFast = AlbertTokenizer
FNetTokenizerFast = FNetTokenizer
RemBertTokenizerFast = RemBertTokenizer
BigBirdTokenizerFast = BigBirdTokenizer
ReformerTokenizerFast = ReformerTokenizer
DebertaV2TokenizerFast = DebertaV2Tokenizer
XLNetTokenizerFast = XLNetTokenizer
