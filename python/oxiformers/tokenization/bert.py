"""The tokenizers of BERT and DistilBERT: WordPiece with BERT's normalization and [CLS] A [SEP] B [SEP]."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar, TypedDict

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import ArgumentError, FormatError, InputTypeError
from oxiformers.files import refuse_foreign
from oxiformers.tokenization.special_tokens import keep_flags, text_of
from oxiformers.tokenization.tokenizer import PreTrainedTokenizerFast, core_of


class _Normalization(TypedDict):
    lowercase: bool
    strip_accents: bool | None
    handle_chinese_chars: bool


class BertTokenizer(PreTrainedTokenizerFast):
    """BERT's WordPiece tokenizer.

    Args:
        vocab: the path of a vocab.txt, or ids by token; the five special tokens alone by default.
        vocab_file: the path of a vocab.txt.
        tokenizer_file, tokenizer_object: a whole tokenizer; the arguments below are applied to it.
        do_lower_case: whether text is lowercased.
        tokenize_chinese_chars: whether Chinese characters are words each.
        strip_accents: whether accents are taken off; None: where text is lowercased.
        **settings: as for PreTrainedTokenizerFast.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "tokenizer_file": "tokenizer.json",
        "vocab_file": "vocab.txt",
    }
    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    #: The options that a tokenizer.json's normalizer is changed for.
    _compared: ClassVar[tuple[str, ...]] = ("lowercase", "strip_accents", "handle_chinese_chars")

    def __init__(
        self,
        vocab: str | os.PathLike[str] | Mapping[str, int] | None = None,
        do_lower_case: bool = True,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        vocab_file: str | os.PathLike[str] | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        tokenizer_object: Any = None,
        **settings: Any,
    ) -> None:
        normalization: _Normalization = {
            "lowercase": do_lower_case,
            "strip_accents": strip_accents,
            "handle_chinese_chars": tokenize_chinese_chars,
        }
        tokens: dict[str, Any] = {
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        if settings.pop("from_slow", False) and vocab_file is not None:
            tokenizer_file = None
        whole = tokenizer_object is not None or tokenizer_file is not None
        for name, token in tokens.items():
            if not isinstance(token, (str, AddedToken)) and (
                token is not None or (not whole and (vocab_file or vocab))
            ):
                raise InputTypeError.mismatch(name, "a str or an AddedToken", type(token).__name__)
        names = {name: text_of(token) for name, token in tokens.items() if token is not None}
        if isinstance(vocab, (str, os.PathLike)):
            vocab_file, vocab = vocab_file or vocab, None
        if whole:
            core = core_of(tokenizer_object, tokenizer_file, type(self).__name__)
        elif vocab_file is not None:
            settings.setdefault("clean_up_tokenization_spaces", True)
            refuse_foreign(vocab_file, "a vocab.txt")
            core = _without_added(Tokenizer.from_vocab(os.fspath(vocab_file), **normalization, **names))
        else:
            if vocab is None:
                order = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
                vocab = {names[name]: index for index, name in enumerate(order)}
            core = Tokenizer.from_str(_wordpiece_json(vocab, names["unk_token"]), "vocab")
        if core.model_type != "WordPiece":
            path = None if tokenizer_file is None else os.fspath(tokenizer_file)
            raise FormatError.mismatch(
                "model.type",
                "WordPiece",
                core.model_type,
                "load it with AutoTokenizer or PreTrainedTokenizerFast",
                path=path,
            )
        normalizer = json.loads(core.components())["normalizer"] or {}
        wanted = {key: value for key, value in normalization.items() if key in self._compared}
        if any(normalizer.get(key, value) != value for key, value in wanted.items()):
            del normalizer["type"]
            core = core.with_bert_normalizer(**{**normalizer, **wanted})
        self.do_lower_case = do_lower_case
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        super().__init__(
            tokenizer_object=core,
            do_lower_case=do_lower_case,
            tokenize_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            **tokens,
            **settings,
        )
        keep_flags(self, named_only=True)
        self._set_template(not whole)

    def _set_template(self, from_vocabulary: bool) -> None:
        """Special tokens around the sequences."""
        if self.cls_token is not None and self.sep_token is not None:
            self._core = self._core.with_bert_template(cls_token=self.cls_token, sep_token=self.sep_token)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """[CLS] A [SEP], or [CLS] A [SEP] B [SEP], from the ids of A and B."""
        cls_id, sep_id = self.cls_token_id, self.sep_token_id
        if cls_id is None or sep_id is None:
            raise ArgumentError(
                "cls_token and sep_token have to be set", key="cls_token" if cls_id is None else "sep_token"
            )
        first = [cls_id, *token_ids_0, sep_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, sep_id]


class DistilBertTokenizer(BertTokenizer):
    """DistilBERT's tokenizer: BERT's, without token types."""

    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base


BertTokenizerFast = BertTokenizer
DistilBertTokenizerFast = DistilBertTokenizer


def _without_added(core: Tokenizer) -> Tokenizer:
    """The core without special tokens, where some are not in its vocabulary: their ids follow their names' order."""
    if core.vocab_size(True) == core.vocab_size(False):
        return core
    parts = json.loads(core.components())
    return Tokenizer.from_wordpiece(
        core.vocab(False),
        unk_token=parts["model"]["unk_token"],
        components=json.dumps({name: parts[name] for name in ("normalizer", "pre_tokenizer", "decoder")}),
    )


def _wordpiece_json(vocab: Mapping[str, int], unk_token: str) -> str:
    """A tokenizer.json of BERT's form over that vocabulary, without added tokens and template."""
    for token, index in vocab.items():
        if not isinstance(token, str) or not isinstance(index, int):
            raise InputTypeError.mismatch("vocab", "ids by token, str to int", f"{token!r}: {index!r}")
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": None,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece",
                "unk_token": unk_token,
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": dict(vocab),
            },
        }
    )
