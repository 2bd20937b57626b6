"""Byte-level BPE in the form of RoBERTa: GPT-2's, with special tokens around the sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.models.components import Component, components_of, template, with_components
from oxiformers.tokenization.models.family import (
    PLAIN,
    ROBERTA_TOKENS,
    TAKES_SPACE,
    BertTemplate,
    Flags,
    RobertaTemplate,
    plain_flags,
    required_ids,
)
from oxiformers.tokenization.models.gpt2 import ByteLevelTokenizer
from oxiformers.tokenization.padding import columns_of
from oxiformers.tokenization.tensors import to_python

#: A mask token that takes the space before it, and is looked for in the text as it is.
_MASK: Flags = plain_flags(lstrip=True, normalized=False)
_SPECIAL: Flags = {"special": True, "normalized": False}


class RobertaTokenizer(RobertaTemplate, ByteLevelTokenizer):
    """RoBERTa's tokenizer.

    `add_prefix_space` puts a space in front of a text, and `trim_offsets` leaves spaces out of the offsets.
    """

    tokens: ClassVar[Mapping[str, str | None]] = ROBERTA_TOKENS
    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": _MASK}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": PLAIN, "mask_token": _MASK}
    options: ClassVar[Mapping[str, Any]] = {
        "errors": "replace",
        "add_prefix_space": False,
        "trim_offsets": True,
    }
    words_need_prefix_space: ClassVar[bool] = True
    trim_offsets: bool

    def _post_processor(self) -> Component | None:
        named = self._named_tokens()
        cls_token, sep_token = named["cls_token"], named["sep_token"]
        cls_id, sep_id = required_ids(self, "cls_token", "sep_token")
        return {
            "type": "RobertaProcessing",
            "sep": [sep_token, sep_id],
            "cls": [cls_token, cls_id],
            "trim_offsets": True,
            "add_prefix_space": self.add_prefix_space,
        }

    def _finish(self, settings: Mapping[str, Any]) -> None:
        processor = components_of(self._core).get("post_processor") or {}
        wanted = {"add_prefix_space": self.add_prefix_space, "trim_offsets": bool(self.trim_offsets)}
        changed = {key: value for key, value in wanted.items() if processor.get(key, value) != value}
        if changed:
            self._core = with_components(self._core, post_processor={**processor, **changed})


class BartTokenizer(RobertaTokenizer):
    """BART's tokenizer: RoBERTa's."""

    flags: ClassVar[Mapping[str, Flags | None]] = {
        "mask_token": {"special": True, "lstrip": True, "normalized": True}
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": PLAIN, "mask_token": TAKES_SPACE}


class LongformerTokenizer(RobertaTokenizer):
    """Longformer's tokenizer: RoBERTa's."""


class MvpTokenizer(RobertaTokenizer):
    """MVP's tokenizer: BART's."""

    flags: ClassVar[Mapping[str, Flags | None]] = {"mask_token": {"lstrip": True}}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {
        "*": _SPECIAL,
        "mask_token": {**_SPECIAL, "lstrip": True},
    }


class LEDTokenizer(BartTokenizer):
    """LED's tokenizer: BART's; `pad` pads a `global_attention_mask` too, with -1."""

    def pad(  # type: ignore[override]
        self, encoded_inputs: Any, padding: Any = True, *, return_tensors: Any = None, **kwargs: Any
    ) -> BatchEncoding:
        """As of `PreTrainedTokenizerFast`; -1 in `global_attention_mask` stands for padding."""
        name = "global_attention_mask"
        columns = columns_of(encoded_inputs, self.model_input_names[0])
        if name not in columns:
            return super().pad(encoded_inputs, padding, return_tensors=return_tensors, **kwargs)
        masks = to_python(columns.pop(name))
        batch = super().pad(columns, padding, **kwargs)
        lengths = [len(row) for row in batch["input_ids"]] if masks and isinstance(masks[0], list) else None
        rows = masks if lengths is not None else [masks]
        wanted = lengths if lengths is not None else [len(batch["input_ids"])]
        padded = []
        for row, length in zip(rows, wanted, strict=True):
            further = [-1] * (length - len(row))
            padded.append([*row, *further] if self.padding_side == "right" else [*further, *row])
        batch[name] = padded if lengths is not None else padded[0]
        return BatchEncoding(dict(batch), tensor_type=return_tensors)


class BlenderbotTokenizer(RobertaTokenizer):
    """Blenderbot's tokenizer: A </s>."""

    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": PLAIN, "mask_token": _MASK}

    def _post_processor(self) -> Component | None:
        eos = self._named_tokens()["eos_token"]
        return template(f"$A:0 {eos}:0", None, self._ids(eos))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A eos; a second sequence is left out."""
        return [*token_ids_0, *required_ids(self, "eos_token")]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros: this model has no token types."""
        return [0] * len(RobertaTemplate.build_inputs_with_special_tokens(self, token_ids_0, token_ids_1))


class DebertaTokenizer(BertTemplate, ByteLevelTokenizer):
    """DeBERTa's tokenizer: [CLS] A [SEP] B [SEP], with token types."""

    model_input_names: list[str] = ["input_ids", "attention_mask", "token_type_ids"]  # noqa: RUF012 -- as in the base
    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "sep_token": "[SEP]",
        "cls_token": "[CLS]",
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": _SPECIAL, "mask_token": TAKES_SPACE}
    options: ClassVar[Mapping[str, Any]] = {"errors": "replace", "add_prefix_space": False}
    file_options: ClassVar[Mapping[str, Any]] = {"add_bos_token": False}

    def _post_processor(self) -> Component | None:
        return template(
            "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", self._ids("[CLS]", "[SEP]")
        )


RobertaTokenizerFast = RobertaTokenizer
BartTokenizerFast = BartTokenizer
LongformerTokenizerFast = LongformerTokenizer
MvpTokenizerFast = MvpTokenizer
LEDTokenizerFast = LEDTokenizer
BlenderbotTokenizerFast = BlenderbotTokenizer
DebertaTokenizerFast = DebertaTokenizer
