"""ESM's tokenizer: amino acids, a token each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from oxiformers._core import Tokenizer
from oxiformers.errors import ArgumentError, FormatError
from oxiformers.files import make_folder, write_text
from oxiformers.tokenization.models.components import Component, pre_tokenizers, split, template
from oxiformers.tokenization.models.family import required_ids
from oxiformers.tokenization.models.slow import SlowFormTokenizer
from oxiformers.tokenization.models.sources import read_text


class EsmTokenizer(SlowFormTokenizer):
    """ESM's tokenizer: <cls> A <eos>; what vocab.txt does not list is unknown, up to the next token or space."""

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.txt"}
    positional: ClassVar[tuple[str, ...]] = ("vocab_file",)
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<unk>",
        "cls_token": "<cls>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        "eos_token": "<eos>",
    }
    #: The tokens of vocab.txt, in the order of their ids.
    all_tokens: list[str]

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        path = self._required(paths, "vocab_file")
        self.all_tokens = [line.strip() for line in read_text(path).splitlines()]
        vocabulary = {token: index for index, token in enumerate(self.all_tokens)}
        unknown = str(settings["unk_token"])
        if unknown not in vocabulary:
            raise FormatError(f"{path} has no {unknown!r}, the unknown token", path=path, key=unknown)
        longest_first = sorted((token for token in vocabulary if token), key=len, reverse=True)
        tokens = split("|".join(map(re.escape, longest_first)))
        components = {"pre_tokenizer": pre_tokenizers(tokens, {"type": "WhitespaceSplit"})}
        return Tokenizer.from_wordlevel(vocabulary, unk_token=unknown, components=json.dumps(components))

    def _post_processor(self) -> Component | None:
        cls, eos = self.cls_token, self.eos_token
        if eos is None:
            return template(f"{cls} $A", f"{cls} $A $B", self._ids(cls))
        return template(f"{cls} $A {eos}", f"{cls} $A {eos} $B {eos}", self._ids(cls, eos))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """cls A eos, or cls A eos B eos; without eos where there is none, and then of one sequence alone."""
        (cls_id,) = required_ids(self, "cls_token")
        end = [] if self.eos_token is None else list(required_ids(self, "eos_token"))
        if token_ids_1 is None:
            return [cls_id, *token_ids_0, *end]
        if not end:
            raise ArgumentError(
                "Cannot tokenize multiple sequences when EOS token is not set!", key="eos_token"
            )
        return [cls_id, *token_ids_0, *end, *token_ids_1, *end]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The tokens, separated by spaces."""
        return " ".join(tokens)

    def token_to_id(self, token: str) -> int | None:
        """The id of a token of vocab.txt; unk_token's for any other."""
        index: int | None = self.convert_tokens_to_ids(token)
        return index

    def id_to_token(self, index: int) -> str | None:
        """The token of an id; unk_token for an id that vocab.txt does not have."""
        return self.all_tokens[index] if 0 <= index < len(self.all_tokens) else self.unk_token

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Writes vocab.txt; returns its path."""
        make_folder(Path(save_directory))
        path = Path(save_directory) / (f"{filename_prefix}-vocab.txt" if filename_prefix else "vocab.txt")
        write_text(path, "\n".join(self.all_tokens))
        return (str(path),)
