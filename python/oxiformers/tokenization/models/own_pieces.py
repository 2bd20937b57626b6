"""Models whose sentencepiece model gives the ids as well: SpeechT5, BertGeneration and GPT-SW3."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oxiformers._core import SentencePieceModel, Tokenizer
from oxiformers.errors import UnsupportedError
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.inputs import Inputs
from oxiformers.tokenization.models.components import Component, template
from oxiformers.tokenization.models.family import required_ids
from oxiformers.tokenization.models.marian import VocabularyTokenizer
from oxiformers.tokenization.models.slow import with_texts

#: Characters that GPT-SW3 takes for a space, and those it leaves out.
_SPACES = str.maketrans(dict.fromkeys("\u2009\u200a\u202f\u2005\u3000\u2002\u2008\u2003\ufffc\x84", " "))
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xa0\xad\u200b]")


class OwnPiecesTokenizer(VocabularyTokenizer):
    """Text cut by a sentencepiece model, whose ids count."""

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "spiece.model"}
    positional: ClassVar[tuple[str, ...]] = ("vocab_file",)
    files: ClassVar[tuple[str, str]] = ("vocab_file", "vocab_file")

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        path = self._required(paths, "vocab_file")
        self._paths = dict(paths)
        return Tokenizer.from_sentencepiece(path, unk_token=SentencePieceModel.from_file(path).unk_piece)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Copies the sentencepiece model; returns its path."""
        name = self.vocab_files_names["vocab_file"]
        return self._save(save_directory, filename_prefix, {}, {name: self._paths["vocab_file"]})


class BertGenerationTokenizer(OwnPiecesTokenizer):
    """The tokenizer of BERT as encoder and decoder: no special tokens around."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "sep_token": "<::::>",
    }


class SpeechT5Tokenizer(OwnPiecesTokenizer):
    """SpeechT5's tokenizer: characters, and </s> at the end."""

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "spm_char.model"}
    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    options: ClassVar[Mapping[str, Any]] = {"normalize": False}

    def _prepare(self, settings: dict[str, Any]) -> None:
        if settings["normalize"]:
            raise UnsupportedError.mismatch(
                "normalize", "False", "True", "numbers are not spelled out in words here"
            )

    def _encode(self, inputs: Inputs, call: Any, core: Tokenizer) -> BatchEncoding:
        if "is_pretokenized" in call.core:
            inputs = with_texts(inputs, lambda word: f" {word}")
        return super()._encode(inputs, call, core)

    def _post_processor(self) -> Component | None:
        eos = self.eos_token
        return template(f"$A {eos}", f"$A $B {eos}", self._ids(eos))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A B eos."""
        return [*token_ids_0, *(token_ids_1 or ()), *required_ids(self, "eos_token")]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of pieces, with a space before special tokens."""
        return spaced_before_special(self, tokens).strip()


class GPTSw3Tokenizer(OwnPiecesTokenizer):
    """GPT-SW3's tokenizer: characters that are not seen are left out, and all spaces are alike."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "<s>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    options: ClassVar[Mapping[str, Any]] = {
        "do_lower_case": False,
        "remove_space": False,
        "keep_accents": False,
    }

    def _fill_in(self, settings: dict[str, Any], from_files: bool) -> None:
        named = ("pad_token", "unk_token", "eos_token", "bos_token")
        for name in [name for name in named if name in settings and settings[name] is None]:
            del settings[name]
        if "gpt-sw3-7b" in str(settings.get("name_or_path", "")):  # its model has fewer tokens
            settings.setdefault("pad_token", settings.get("unk_token", "<unk>"))
            settings.setdefault("bos_token", settings.get("eos_token", "<|endoftext|>"))
        super()._fill_in(settings, from_files)

    @staticmethod
    def preprocess_text(text: str) -> str:
        """The text without characters that are not seen, with plain spaces, composed (NFC)."""
        return unicodedata.normalize("NFC", _UNSEEN.sub("", text).translate(_SPACES))

    def _encode(self, inputs: Inputs, call: Any, core: Tokenizer) -> BatchEncoding:
        return super()._encode(with_texts(inputs, self.preprocess_text), call, core)

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """The text as it is."""
        return out_string

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of pieces, with a space before special tokens."""
        return spaced_before_special(self, tokens)


def spaced_before_special(tokenizer: VocabularyTokenizer, tokens: Sequence[str]) -> str:
    """The text of pieces; a special token that follows none has a space before what comes before it."""
    special = set(tokenizer.all_special_tokens)
    parts: list[str] = []
    run: list[str] = []
    after_special = False
    for token in tokens:
        if token in special:
            parts += ["" if after_special else " ", tokenizer._run_text(run), token]
            run = []
        else:
            run.append(token)
        after_special = token in special
    return "".join((*parts, tokenizer._run_text(run)))
