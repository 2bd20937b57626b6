"""What the tokenizers share that transformers has in Python alone: how their tokens become text."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any, ClassVar

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.files import make_folder, write_text
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.inputs import Inputs
from oxiformers.tokenization.models.family import FamilyTokenizer
from oxiformers.tokenization.models.sources import json_text
from oxiformers.tokenization.special_tokens import token_state


class SlowFormTokenizer(FamilyTokenizer):
    """A tokenizer without tokenizer.json: it is saved in the family's own files, and decodes token by token."""

    saves_tokenizer_json: ClassVar[bool] = False
    #: Whether texts are made lower case, but for added tokens.
    do_lower_case: bool = False

    @property
    def is_fast(self) -> bool:
        """False: transformers has it in Python alone, and no offsets with it."""
        return False

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        if self.do_lower_case:
            tokens = [
                token
                if token.special or not token.normalized
                else AddedToken(**{**token_state(token), "content": token.content.lower()})
                for token in tokens
            ]
        return super()._add(tokens)

    def _encode(self, inputs: Inputs, call: Any, core: Tokenizer) -> BatchEncoding:
        if self.do_lower_case:
            inputs = with_texts(inputs, self._lowered)
        return super()._encode(inputs, call, core)

    def _lowered(self, text: str) -> str:
        """Each character made lower case by itself, but for added tokens."""
        return self._between_added(text, str.lower)

    def _between_added(self, text: str, change: Callable[[str], str]) -> str:
        parts = self._split_at_added(text)
        return "".join(part if place % 2 else "".join(map(change, part)) for place, part in enumerate(parts))

    def _split_at_added(self, text: str) -> list[str]:
        """Ordinary text and added tokens in turn; of tokens that start at one place the longest."""
        tokens = sorted(map(re.escape, self.added_tokens_encoder), key=len, reverse=True)
        return re.split(f"({'|'.join(tokens)})", text) if tokens else [text]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""
        return "".join(tokens)

    def _decode_ids(
        self,
        ids: list[int],
        skip_special_tokens: bool,
        spaces_between_special_tokens: bool = True,
        **kwargs: Any,
    ) -> str:
        """Text of the ordinary tokens, with added tokens as they are in between, separated by spaces."""
        special = set(self.all_special_tokens)
        further = {token for token in self.extra_special_tokens if self._is_beyond(token)}
        apart = (set(self.added_tokens_encoder) - special) | further
        texts: list[str] = []
        run: list[str] = []
        for token in self.convert_ids_to_tokens(ids, skip_special_tokens=skip_special_tokens):
            if token is None or (skip_special_tokens and token in special):
                continue
            if token not in apart:
                run.append(token)
                continue
            if run and (text := self.convert_tokens_to_string(run)):
                texts.append(text)
            run = []
            texts.append(token)
        if run:
            texts.append(self.convert_tokens_to_string(run))
        return (" " if spaces_between_special_tokens else "").join(texts)

    def _is_beyond(self, token: str) -> bool:
        index = self.convert_tokens_to_ids(token)
        return index is not None and index >= self.vocab_size

    def _save(
        self,
        folder: str | os.PathLike[str],
        prefix: str | None,
        vocabularies: Mapping[str, Any],
        copies: Mapping[str, str],
    ) -> tuple[str, ...]:
        """Writes vocabularies as JSON and copies models, by the names of their files; returns the paths."""
        make_folder(Path(folder))
        paths = []
        for name, vocabulary in vocabularies.items():
            path = Path(folder) / (f"{prefix}-{name}" if prefix else name)
            write_text(path, json_text(vocabulary, indent=2) + "\n")
            paths.append(str(path))
        for name, source in copies.items():
            path = Path(folder) / (f"{prefix}-{name}" if prefix else name)
            if Path(source).resolve() != path.resolve():
                copyfile(source, path)
            paths.append(str(path))
        return tuple(paths)


def with_texts(inputs: Inputs, change: Callable[[str], str]) -> Inputs:
    """The inputs of a call with each text, or each word, changed."""
    pairs = None if inputs.pairs is None else _changed(inputs.pairs, change)
    return inputs._replace(texts=_changed(inputs.texts, change), pairs=pairs)


def _changed(texts: Iterable[Any], change: Callable[[str], str]) -> list[Any]:
    return [
        change(text)
        if isinstance(text, str)
        else _changed(text, change)
        if isinstance(text, (list, tuple))
        else text  # None where a row has no second text; anything else the core refuses
        for text in texts
    ]
