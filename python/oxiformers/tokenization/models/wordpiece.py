"""WordPiece in the form of BERT under other names, and with other special tokens around."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from oxiformers._core import AddedToken
from oxiformers.errors import ArgumentError
from oxiformers.tokenization.bert import BertTokenizer
from oxiformers.tokenization.models.components import Component, template, with_components
from oxiformers.tokenization.models.family import RobertaTemplate, required_ids
from oxiformers.tokenization.special_tokens import text_of


class ElectraTokenizer(BertTokenizer):
    """ELECTRA's tokenizer: BERT's."""


class ConvBertTokenizer(BertTokenizer):
    """ConvBERT's tokenizer: BERT's."""


class MobileBertTokenizer(BertTokenizer):
    """MobileBERT's tokenizer: BERT's."""


class SqueezeBertTokenizer(BertTokenizer):
    """SqueezeBERT's tokenizer: BERT's."""


class LxmertTokenizer(BertTokenizer):
    """LXMERT's tokenizer: BERT's."""


class LayoutLMTokenizer(BertTokenizer):
    """LayoutLM's tokenizer: BERT's; the words' boxes are the caller's to align."""


class RetriBertTokenizer(BertTokenizer):
    """RetriBERT's tokenizer: BERT's, without token types."""

    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base


class RealmTokenizer(BertTokenizer):
    """REALM's tokenizer: BERT's."""


class DPRContextEncoderTokenizer(BertTokenizer):
    """The tokenizer of DPR's context encoder: BERT's."""


class DPRQuestionEncoderTokenizer(BertTokenizer):
    """The tokenizer of DPR's question encoder: BERT's."""


class DPRReaderTokenizer(BertTokenizer):
    """The tokenizer of DPR's reader: [CLS] question [SEP] title [SEP] text."""

    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base

    def __call__(  # type: ignore[override]
        self,
        questions: Any,
        titles: Any = None,
        texts: Any = None,
        padding: Any = False,
        truncation: Any = False,
        max_length: int | None = None,
        return_tensors: Any = None,
        return_attention_mask: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Questions with titles and texts, a row a passage; with one of the two, as a pair; with none, alone.

        Args:
            questions: a question, which stands for one a passage, or as many as there are passages.
            titles, texts: of the passages.
            padding, truncation, max_length, return_tensors, return_attention_mask: as in a call of BertTokenizer;
                a row is cut at its end.
            **kwargs: as there; with titles and texts they are ignored.
        """
        if titles is None or texts is None:
            pair = titles if texts is None else texts
            return super().__call__(
                questions,
                pair,
                padding=padding,
                truncation=truncation,
                max_length=max_length,
                return_tensors=return_tensors,
                return_attention_mask=return_attention_mask,
                **kwargs,
            )
        titles = [titles] if isinstance(titles, str) else list(titles)
        texts = [texts] if isinstance(texts, str) else list(texts)
        if len(titles) != len(texts):
            raise ArgumentError(
                f"There should be as many titles than texts but got {len(titles)} titles and {len(texts)} texts.",
                key="texts",
                expected=f"{len(titles)} texts",
                actual=str(len(texts)),
            )
        questions = [questions] * len(titles) if isinstance(questions, str) else list(questions)
        heads = super().__call__(questions, titles)["input_ids"]
        bodies = super().__call__(texts, add_special_tokens=False)["input_ids"]
        end = max_length if truncation else None
        rows = [[*head, *body][:end] for head, body in zip(heads, bodies, strict=True)]
        encoded = {"input_ids": rows}
        if return_attention_mask is not False:
            encoded["attention_mask"] = [[int(index != self.pad_token_id) for index in row] for row in rows]
        return self.pad(encoded, padding=padding, max_length=max_length, return_tensors=return_tensors)


class _OtherTokens(BertTokenizer):
    """BERT's WordPiece with other special tokens, and other places for them."""

    #: Special tokens by name.
    tokens: ClassVar[Mapping[str, str]] = {}
    #: The names whose tokens take the space before them.
    taking_space: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        for name, default in self.tokens.items():
            token = settings.setdefault(name, default)
            if isinstance(token, str) and name in self.taking_space:
                settings[name] = AddedToken(token, lstrip=True, special=True)
        super().__init__(*arguments, **settings)

    def _template(self) -> Component:
        raise NotImplementedError

    def _set_template(self, from_vocabulary: bool) -> None:
        if from_vocabulary:
            self._core = with_components(self._core, post_processor=self._template())


class FunnelTokenizer(_OtherTokens):
    """Funnel's tokenizer: <cls> A <sep> B <sep>, the first of token type 2."""

    tokens: ClassVar[Mapping[str, str]] = {
        "unk_token": "<unk>",
        "sep_token": "<sep>",
        "pad_token": "<pad>",
        "cls_token": "<cls>",
        "mask_token": "<mask>",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    cls_token_type_id: int = 2

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("clean_text", True)
        settings.setdefault("wordpieces_prefix", "##")
        super().__init__(*arguments, **settings)

    def _template(self) -> Component:
        cls, sep = self.cls_token, self.sep_token
        first = f"{cls}:2 $A:0 {sep}:0"
        return template(first, f"{first} $B:1 {sep}:1", _ids(self, cls, sep))

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Token types: 2 for cls, 0 for A, 1 for B."""
        first = [self.cls_token_type_id, *[0] * (len(token_ids_0) + 1)]
        return first if token_ids_1 is None else first + [1] * (len(token_ids_1) + 1)


class MPNetTokenizer(RobertaTemplate, _OtherTokens):
    """MPNet's tokenizer: <s> A </s></s> B </s>, without token types in a call."""

    tokens: ClassVar[Mapping[str, str]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "[UNK]",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    taking_space: ClassVar[tuple[str, ...]] = ("mask_token",)
    enclosing: ClassVar[tuple[str, str]] = ("bos_token", "eos_token")
    _compared: ClassVar[tuple[str, ...]] = ("lowercase", "strip_accents")
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base

    def _template(self) -> Component:
        cls, sep = self.cls_token, self.sep_token
        first = f"{cls}:0 $A:0 {sep}:0"
        return template(first, f"{first} {sep}:0 $B:1 {sep}:1", _ids(self, cls, sep))


class SplinterTokenizer(_OtherTokens):
    """Splinter's tokenizer: [CLS] question [QUESTION] . [SEP] text [SEP]; padded on the left, text first."""

    _compared: ClassVar[tuple[str, ...]] = ("lowercase", "strip_accents")

    def __init__(
        self, *arguments: Any, question_token: str | AddedToken = "[QUESTION]", **settings: Any
    ) -> None:
        settings.setdefault("clean_up_tokenization_spaces", False)
        self.question_token = text_of(question_token)
        settings["additional_special_tokens"] = [question_token]
        super().__init__(*arguments, **settings)
        self.init_kwargs["question_token"] = question_token

    @property
    def question_token_id(self) -> int | None:
        """The id of the token that stands for the question's answer."""
        index: int | None = self.convert_tokens_to_ids(self.question_token)
        return index

    def _template(self) -> Component:
        cls, sep, question = self.cls_token, self.sep_token, self.question_token
        pair = f"{cls}:0 $A:0 {question} . {sep}:0 $B:1 {sep}:1"
        if self.padding_side != "right":
            pair = f"{cls}:0 $A:0 {sep}:0 $B:1 {question} . {sep}:1"
        return template(f"{cls}:0 $A:0 {sep}:0", pair, _ids(self, cls, sep, question, "."))

    def _question(self) -> list[int]:
        return [int(self.convert_tokens_to_ids(token)) for token in (self.question_token, ".")]

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """cls A sep, or cls A question . sep B sep; padded on the left, cls A sep B question . sep."""
        cls_id, sep_id = required_ids(self, "cls_token", "sep_token")
        if token_ids_1 is None:
            return [cls_id, *token_ids_0, sep_id]
        first, second = (self._question(), []) if self.padding_side == "right" else ([], self._question())
        return [cls_id, *token_ids_0, *first, sep_id, *token_ids_1, *second, sep_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Token types: 0 for A, 1 for B, with the question's tokens where they stand."""
        if token_ids_1 is None:
            return [0] * (len(token_ids_0) + 2)
        first, second = (2, 0) if self.padding_side == "right" else (0, 2)
        return [0] * (len(token_ids_0) + first + 2) + [1] * (len(token_ids_1) + second + 1)


def _ids(tokenizer: BertTokenizer, *tokens: str | None) -> dict[str, int | None]:
    return {token: tokenizer.convert_tokens_to_ids(token) for token in tokens if token is not None}


ElectraTokenizerFast = ElectraTokenizer
ConvBertTokenizerFast = ConvBertTokenizer
MobileBertTokenizerFast = MobileBertTokenizer
SqueezeBertTokenizerFast = SqueezeBertTokenizer
LxmertTokenizerFast = LxmertTokenizer
LayoutLMTokenizerFast = LayoutLMTokenizer
RetriBertTokenizerFast = RetriBertTokenizer
RealmTokenizerFast = RealmTokenizer
DPRContextEncoderTokenizerFast = DPRContextEncoderTokenizer
DPRQuestionEncoderTokenizerFast = DPRQuestionEncoderTokenizer
DPRReaderTokenizerFast = DPRReaderTokenizer
FunnelTokenizerFast = FunnelTokenizer
MPNetTokenizerFast = MPNetTokenizer
SplinterTokenizerFast = SplinterTokenizer
