"""BPE over words that end in `</w>`: CLIP, the first GPT, and HerBERT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oxiformers._core import Tokenizer
from oxiformers.errors import FormatError
from oxiformers.tokenization.models.components import (
    BERT_PRE_TOKENIZER,
    Component,
    bert_normalizer,
    byte_level,
    components_of,
    normalizers,
    pre_tokenizers,
    replace,
    split,
)
from oxiformers.tokenization.models.family import PLAIN, BertTemplate, Flags, RobertaTemplate, required_ids
from oxiformers.tokenization.models.gpt2 import ByteLevelTokenizer

_WORD_END = "</w>"
_BPE_DECODER: Component = {"type": "BPEDecoder", "suffix": _WORD_END}


class CLIPTokenizer(RobertaTemplate, ByteLevelTokenizer):
    """CLIP's tokenizer: lowercased words; padding is the end token."""

    enclosing: ClassVar[tuple[str, str]] = ("bos_token", "eos_token")
    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<|endoftext|>",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": PLAIN, "pad_token": None}
    file_options: ClassVar[Mapping[str, Any]] = {"errors": "replace"}
    #: CLIP's merges.txt is that of a larger vocabulary, of which it uses the start.
    most_merges: ClassVar[int | None] = 49152 - 256 - 2

    def _core_from_bpe(
        self, vocabulary: dict[str, int], merges: Sequence[tuple[str, str]], settings: Mapping[str, Any]
    ) -> Tokenizer:
        return self._build(
            vocabulary,
            merges,
            settings,
            continuing_subword_prefix="",
            end_of_word_suffix=_WORD_END,
            unk_token=str(settings["unk_token"]),
        )

    def _components(self, settings: Mapping[str, Any]) -> dict[str, Component | None]:
        pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
        return {
            "normalizer": normalizers(
                {"type": "NFC"}, replace(r"\s+", " ", regex=True), {"type": "Lowercase"}
            ),
            "pre_tokenizer": pre_tokenizers(split(pattern, "Removed", invert=True), byte_level(False)),
            "decoder": byte_level(),
        }

    def _check_core(self, core: Tokenizer, path: str | None) -> None:
        kind = (components_of(core)["pre_tokenizer"] or {}).get("type")
        if kind != "Sequence":
            raise FormatError.mismatch(
                "pre_tokenizer.type",
                "Sequence",
                str(kind),
                "CLIP's older form cuts words otherwise: load it from vocab.json and merges.txt (from_slow=True)",
                path=path,
            )

    def _post_processor(self) -> Component | None:
        bos_id, eos_id = required_ids(self, "bos_token", "eos_token")
        return {
            "type": "RobertaProcessing",
            "sep": [self.eos_token, eos_id],
            "cls": [self.bos_token, bos_id],
            "trim_offsets": False,
            "add_prefix_space": False,
        }

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool, **kwargs: Any) -> str:
        text = super()._decode_ids(ids, skip_special_tokens, **kwargs)
        return text.replace(_WORD_END, " ").strip()


class OpenAIGPTTokenizer(ByteLevelTokenizer):
    """The first GPT's tokenizer: lowercased words, no special tokens around."""

    tokens: ClassVar[Mapping[str, str | None]] = {"unk_token": "<unk>"}

    @property
    def do_lower_case(self) -> bool:
        """Always true: text is lowercased."""
        return True

    def _core_from_bpe(
        self, vocabulary: dict[str, int], merges: Sequence[tuple[str, str]], settings: Mapping[str, Any]
    ) -> Tokenizer:
        unk_token = str(settings["unk_token"])
        return self._build(vocabulary, merges, settings, end_of_word_suffix=_WORD_END, unk_token=unk_token)

    def _components(self, settings: Mapping[str, Any]) -> dict[str, Component | None]:
        return {
            "normalizer": bert_normalizer(lowercase=True),
            "pre_tokenizer": BERT_PRE_TOKENIZER,
            "decoder": _BPE_DECODER,
        }

    def _post_processor(self) -> Component | None:
        return None


class HerbertTokenizer(BertTemplate, ByteLevelTokenizer):
    """HerBERT's tokenizer: <s> A </s> B </s>, with token types."""

    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    tokens: ClassVar[Mapping[str, str | None]] = {
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        "sep_token": "</s>",
    }
    file_tokens: ClassVar[Mapping[str, str | None]] = {"bos_token": "<s>"}
    file_options: ClassVar[Mapping[str, Any]] = {
        "additional_special_tokens": [f"<special{index}>" for index in range(10)]
    }

    def _core_from_bpe(
        self, vocabulary: dict[str, int], merges: Sequence[tuple[str, str]], settings: Mapping[str, Any]
    ) -> Tokenizer:
        unk_token = str(settings["unk_token"])
        return self._build(vocabulary, merges, settings, end_of_word_suffix=_WORD_END, unk_token=unk_token)

    def _components(self, settings: Mapping[str, Any]) -> dict[str, Component | None]:
        return {
            "normalizer": bert_normalizer(lowercase=False, strip_accents=False),
            "pre_tokenizer": BERT_PRE_TOKENIZER,
            "decoder": _BPE_DECODER,
        }

    def _post_processor(self) -> Component | None:
        cls_id, sep_id = required_ids(self, "cls_token", "sep_token")
        return {"type": "BertProcessing", "sep": [self.sep_token, sep_id], "cls": [self.cls_token, cls_id]}


CLIPTokenizerFast = CLIPTokenizer
OpenAIGPTTokenizerFast = OpenAIGPTTokenizer
HerbertTokenizerFast = HerbertTokenizer
