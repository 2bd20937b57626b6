"""The tokenizer of CTC speech models: characters, words that end in `|`, and padding as the blank between them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import ArgumentError, FormatError
from oxiformers.files import json_type, read_json
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.inputs import Inputs
from oxiformers.tokenization.models.components import Component, replace, split
from oxiformers.tokenization.models.family import text_or_none
from oxiformers.tokenization.models.slow import SlowFormTokenizer, with_texts
from oxiformers.tokenization.tensors import as_ids

Offsets = list[dict[str, Any]]


@dataclass
class Wav2Vec2CTCTokenizerOutput(Mapping[str, Any]):
    """Decoded text and the places of its characters or words, as time steps of the model's output.

    Attributes:
        text: the text, or those of a batch.
        char_offsets: `char`, `start_offset` and `end_offset` of each character.
        word_offsets: `word`, `start_offset` and `end_offset` of each word.
    """

    text: Any
    char_offsets: Any = None
    word_offsets: Any = None

    def __getitem__(self, key: str) -> Any:
        if key not in _ATTRIBUTES:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (name for name in _ATTRIBUTES if getattr(self, name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_ATTRIBUTES = ("text", "char_offsets", "word_offsets")


class Wav2Vec2CTCTokenizer(SlowFormTokenizer):
    """The tokenizer of wav2vec 2.0 and other CTC models: each character of a text is a token.

    Args:
        vocab_file: a vocab.json, of ids by character, or of such vocabularies by language.
        word_delimiter_token: the token that stands for a space.
        replace_word_delimiter_char: what it becomes in decoded text.
        do_lower_case: whether text is made upper case, and decoded text lower case.
        target_lang: which of the vocabularies by language counts.
        **settings: as for PreTrainedTokenizerFast.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.json"}
    positional: ClassVar[tuple[str, ...]] = ("vocab_file",)
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    tokens: ClassVar[Mapping[str, str | None]] = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    options: ClassVar[Mapping[str, Any]] = {
        "do_lower_case": False,
        "replace_word_delimiter_char": " ",
        "target_lang": None,
    }
    do_lower_case: bool
    replace_word_delimiter_char: str
    target_lang: str | None
    #: The whole vocabulary file, by language where it is so.
    vocabularies: dict[str, Any]

    def _prepare(self, settings: dict[str, Any]) -> None:
        given = {"word_delimiter_token": settings.pop("word_delimiter_token", "|")}
        self._delimiter = text_or_none(given, "word_delimiter_token")
        text_or_none(settings, "target_lang")
        if text_or_none(settings, "replace_word_delimiter_char") is None:
            settings["replace_word_delimiter_char"] = " "

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        path = self._required(paths, "vocab_file")
        self.vocabularies = read_json(Path(path))
        return self._core_of(settings["target_lang"], path, str(settings["unk_token"]))

    def _core_of(self, language: str | None, path: str | None, unk_token: str) -> Tokenizer:
        vocabulary: Any = self.vocabularies
        if language is not None:
            if not isinstance(vocabulary.get(language), dict):
                known = ", ".join(self.vocabularies)
                raise ArgumentError(
                    f"{language} does not exist. Choose one of {known}.",
                    key="target_lang",
                    expected=f"one of {known}",
                    actual=repr(language),
                )
            vocabulary = vocabulary[language]
        for token, index in vocabulary.items():
            if type(index) is not int or index < 0:
                raise FormatError.mismatch(
                    token,
                    "an integer of at least 0",
                    json_type(index),
                    ("state target_lang= for a vocabulary by language" if isinstance(index, dict) else ""),
                    path=path,
                )
        components: dict[str, Component] = {"pre_tokenizer": split(r"[\s\S]")}
        if self._delimiter is not None:
            components["normalizer"] = replace(" ", self._delimiter)
        return Tokenizer.from_wordlevel(vocabulary, unk_token=unk_token, components=json.dumps(components))

    def _finish(self, settings: Mapping[str, Any]) -> None:
        self.init_kwargs["word_delimiter_token"] = self._delimiter
        self._add_long_tokens()

    def _add_long_tokens(self) -> None:
        """Tokens of several characters are found before the text is cut into characters."""
        long = [token for token in self._core.vocab(False) if len(token) > 1]
        self._add([AddedToken(token, rstrip=True, lstrip=True, normalized=False) for token in long])

    def _post_processor(self) -> Component | None:
        return None

    def set_target_lang(self, target_lang: str) -> None:
        """The vocabulary becomes that of the language. Raises ArgumentError where there is none of it."""
        if not any(isinstance(value, dict) for value in self.vocabularies.values()):
            raise ArgumentError(
                f"{self.vocab_file} is not a multi-lingual, nested tokenizer. Cannot set target language.",
                key="target_lang",
            )
        added = [token for _, token in self._core.added_tokens]
        core = self._core_of(target_lang, self.vocab_file, str(self.unk_token))
        self._core = core.with_added_tokens(added)
        self.target_lang = self.init_kwargs["target_lang"] = target_lang
        self._add_long_tokens()

    @property
    def word_delimiter_token(self) -> str | None:
        """The token that stands for a space."""
        return self._delimiter

    @word_delimiter_token.setter
    def word_delimiter_token(self, value: str | None) -> None:
        self._delimiter = self.init_kwargs["word_delimiter_token"] = value

    @property
    def word_delimiter_token_id(self) -> int | None:
        """The id of `word_delimiter_token`."""
        return None if self._delimiter is None else self.convert_tokens_to_ids(self._delimiter)

    # --- text to ids

    def _encode(self, inputs: Inputs, call: Any, core: Tokenizer) -> BatchEncoding:
        if "is_pretokenized" in call.core:
            inputs = with_texts(inputs, lambda word: f" {word}")
        return super()._encode(inputs, call, core)

    def _lowered(self, text: str) -> str:
        """Lower case, in which added tokens are found; all else becomes upper case, as the vocabulary is."""
        return self._between_added(super()._lowered(text), str.upper)

    def tokenize(
        self, text: Any, pair: Any = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """The tokens of a text: added tokens and characters, those not in the vocabulary included."""
        if pair is not None or not isinstance(text, str):
            return super().tokenize(text, pair, add_special_tokens, **kwargs)
        text = self._lowered(text) if self.do_lower_case else text
        (encoding,) = self._core.encode_batch([text], add_special_tokens=add_special_tokens)
        tokens = []
        for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            token, shown = self._core.id_to_token(index) or "", text[start:end]
            unknown = token == self.unk_token and shown.strip() != token
            tokens.append(shown.replace(" ", self._delimiter or " ") if unknown else token)
        return tokens

    # --- ids to text

    def convert_tokens_to_string(  # type: ignore[override]
        self,
        tokens: Sequence[str],
        group_tokens: bool = True,
        spaces_between_special_tokens: bool = False,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
    ) -> dict[str, Any]:
        """Text of tokens: repeated ones are one, blanks and then word delimiters are replaced.

        Args:
            tokens: one a time step.
            group_tokens: whether equal tokens in a row are one.
            spaces_between_special_tokens: whether tokens are separated by spaces.
            output_char_offsets, output_word_offsets: whether the places of characters and words are given.

        Returns:
            `text`, `char_offsets` and `word_offsets`; offsets that were not asked for are None.
        """
        if not tokens:
            return {"text": "", "char_offsets": [], "word_offsets": []}
        if group_tokens:
            runs = [(token, sum(1 for _ in group)) for token, group in groupby(tokens)]
        else:
            runs = [(token, 1) for token in tokens]
        characters: Offsets = []
        step = 0
        for token, length in runs:
            if token != self.pad_token:
                shown = self.replace_word_delimiter_char if token == self._delimiter else token
                characters.append({"char": shown, "start_offset": step, "end_offset": step + length})
            step += length
        between = " " if spaces_between_special_tokens else ""
        text = between.join(one["char"] for one in characters).strip()
        return {
            "text": text.lower() if self.do_lower_case else text,
            "char_offsets": characters if output_char_offsets else None,
            "word_offsets": self._word_offsets(characters) if output_word_offsets else None,
        }

    def _word_offsets(self, characters: Offsets) -> Offsets:
        words: Offsets = []
        current: dict[str, Any] | None = None
        for one in characters:
            if one["char"] == self.replace_word_delimiter_char:
                current = None
            elif current is None:
                current = {
                    "word": one["char"],
                    "start_offset": one["start_offset"],
                    "end_offset": one["end_offset"],
                }
                words.append(current)
            else:
                current["word"] += one["char"]
                current["end_offset"] = one["end_offset"]
        return words

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
        group_tokens: bool = True,
        spaces_between_special_tokens: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The text of ids, one a time step of the model's output, as `convert_tokens_to_string` makes it.

        Args:
            token_ids: ids `[T]`, or rows of ids.
            skip_special_tokens: whether special tokens are left out; the blank is left out in any case.
            clean_up_tokenization_spaces: as of `PreTrainedTokenizerFast.decode`.
            output_char_offsets, output_word_offsets: a Wav2Vec2CTCTokenizerOutput with places comes back.
            group_tokens, spaces_between_special_tokens: as there.
        """
        ids = as_ids(token_ids)
        if ids and isinstance(ids[0], list):
            return self.batch_decode(
                ids,
                skip_special_tokens,
                clean_up_tokenization_spaces,
                output_char_offsets=output_char_offsets,
                output_word_offsets=output_word_offsets,
                group_tokens=group_tokens,
                spaces_between_special_tokens=spaces_between_special_tokens,
            )
        special = set(self.all_special_tokens) - {self.pad_token} if skip_special_tokens else set()
        tokens = [
            token for token in self.convert_ids_to_tokens(ids, skip_special_tokens) if token not in special
        ]
        found = self.convert_tokens_to_string(
            tokens, group_tokens, spaces_between_special_tokens, output_char_offsets, output_word_offsets
        )
        clean = clean_up_tokenization_spaces
        if self.clean_up_tokenization_spaces if clean is None else clean:
            found["text"] = self.clean_up_tokenization(found["text"])
        if output_char_offsets or output_word_offsets:
            return Wav2Vec2CTCTokenizerOutput(**found)
        return found["text"]

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
        **kwargs: Any,
    ) -> Any:
        """`decode` of each row; with offsets, one Wav2Vec2CTCTokenizerOutput of lists."""
        found = [
            self.decode(
                row,
                skip_special_tokens,
                clean_up_tokenization_spaces,
                output_char_offsets,
                output_word_offsets,
                **kwargs,
            )
            for row in sequences
        ]
        if not (output_char_offsets or output_word_offsets):
            return found
        asked = [name for name in _ATTRIBUTES if found and found[0][name] is not None]
        return Wav2Vec2CTCTokenizerOutput(**{name: [one[name] for one in found] for name in asked})

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or of each of several; unk_token for an id that is not in the vocabulary."""
        if isinstance(ids, int):
            token = self._core.id_to_token(ids)
            return self.unk_token if token is None else token
        left_out = set(self.all_special_ids) if skip_special_tokens else ()
        return [self.convert_ids_to_tokens(int(index)) for index in ids if int(index) not in left_out]

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Writes vocab.json, all languages included."""
        return self._save(save_directory, filename_prefix, {"vocab.json": self.vocabularies}, {})
