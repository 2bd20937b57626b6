"""Whisper's tokenizer: GPT-2's, with tokens that state the language, the task and the time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oxiformers._core import Tokenizer
from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.tokenization.models.components import Component, byte_level, template, with_components
from oxiformers.tokenization.models.family import Flags, required_ids
from oxiformers.tokenization.models.gpt2 import ByteLevelTokenizer
from oxiformers.tokenization.models.languages import WHISPER, WHISPER_CODES
from oxiformers.tokenization.models.sources import is_tiktoken
from oxiformers.tokenization.models.tiktoken import GPT2_PATTERN, core_from_tiktoken
from oxiformers.tokenization.tensors import as_ids

_SPECIAL: Flags = {"special": True, "normalized": False}
_TASKS = ("translate", "transcribe")
_TIMESTAMP = re.compile(r"<\|\d+\.\d+\|>")
#: Letters with a mark that Unicode does not take apart, and what they become without it.
_LETTERS = {
    "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ß": "ss", "ẞ": "SS", "đ": "d",
    "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "th", "ł": "l", "Ł": "L",
}  # fmt: skip


class WhisperTokenizer(ByteLevelTokenizer):
    """Whisper's tokenizer: <|startoftranscript|> <|en|> <|transcribe|> <|notimestamps|> A <|endoftext|>.

    Args:
        language: the language of the speech, as a name or code; None leaves its token out.
        task: "transcribe" or "translate"; None leaves its token out.
        predict_timestamps: whether timestamps are wanted, which leaves <|notimestamps|> out.

    They count once `set_prefix_tokens` was called, or where tokenizer.json is not read.
    """

    vocab_files_names: ClassVar[dict[str, Any]] = {
        "vocab_file": ("vocab.json", "multilingual.tiktoken", "gpt2.tiktoken"),
        "merges_file": "merges.txt",
        "tokenizer_file": "tokenizer.json",
        "normalizer_file": "normalizer.json",
    }
    positional: ClassVar[tuple[str, ...]] = (
        "vocab_file",
        "merges_file",
        "normalizer_file",
        "tokenizer_file",
    )
    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<|endoftext|>",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
    }
    file_tokens: ClassVar[Mapping[str, str | None]] = {"pad_token": None}
    flags: ClassVar[Mapping[str, Flags | None]] = {"*": _SPECIAL}
    options: ClassVar[Mapping[str, Any]] = {"add_prefix_space": False}
    file_options: ClassVar[Mapping[str, Any]] = {"errors": "replace"}
    words_need_prefix_space: ClassVar[bool] = True

    language: str | None
    task: str | None
    predict_timestamps: bool

    def _prepare(self, settings: dict[str, Any]) -> None:
        self.language = settings.pop("language", None)
        self.task = settings.pop("task", None)
        self.predict_timestamps = bool(settings.pop("predict_timestamps", False))
        self.add_bos_token = bool(settings.get("add_bos_token", False))

    def _has_files(self, paths: Mapping[str, str]) -> bool:
        return "vocab_file" in paths

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        path = self._required(paths, "vocab_file")
        if not is_tiktoken(path):
            return super()._core_from_files(paths, settings)
        core = core_from_tiktoken(path, pattern=GPT2_PATTERN)
        return with_components(core, pre_tokenizer=byte_level(bool(settings.get("add_prefix_space"))))

    def _post_processor(self) -> Component | None:
        ids = self.prefix_tokens
        tokens = self.convert_ids_to_tokens(ids)
        eos = self.eos_token
        before = " ".join(f"{token}:0" for token in tokens)
        around: dict[str, int | None] = {str(token): index for token, index in zip(tokens, ids, strict=True)}
        around.update(self._ids(eos))
        return template(f"{before} $A:0 {eos}:0", f"{before} $A:0 $B:1 {eos}:1", around)

    @property
    def prefix_tokens(self) -> list[int]:
        """The ids before a text, as language, task and predict_timestamps are."""
        start = self._known_id("<|startoftranscript|>")
        ids = [start]
        if self.language is not None:
            ids.append(start + 1 + list(WHISPER).index(self._language_code(self.language)))
        if self.task is not None:
            if self.task not in _TASKS:
                raise ArgumentError(
                    f"Unsupported task: {self.task}. Task should be in: {list(_TASKS)}",
                    key="task",
                    expected=" or ".join(_TASKS),
                    actual=repr(self.task),
                )
            ids.append(self._known_id(f"<|{self.task}|>"))
        if not self.predict_timestamps:
            ids.append(self._known_id("<|notimestamps|>"))
        return ids

    def _known_id(self, token: str) -> int:
        (index,) = self.convert_tokens_to_ids([token])
        return int(index)

    @staticmethod
    def _language_code(name: str) -> str:
        name = name.lower()
        code = WHISPER_CODES.get(name, name if name in WHISPER else None)
        if code is None:
            known = list(WHISPER) if len(name) == 2 else list(WHISPER_CODES)
            raise ArgumentError(
                f"Unsupported language: {name}. Language should be one of: {known}.",
                key="language",
                expected="a language of the model",
                actual=repr(name),
            )
        return code

    def set_prefix_tokens(
        self, language: str | None = None, task: str | None = None, predict_timestamps: bool | None = None
    ) -> None:
        """The special tokens before a text become those of language and task; None keeps what is set."""
        self.language = self.language if language is None else language
        self.task = self.task if task is None else task
        if predict_timestamps is not None:
            self.predict_timestamps = predict_timestamps
        self._update_post_processor()

    def get_decoder_prompt_ids(
        self, task: str | None = None, language: str | None = None, no_timestamps: bool = True
    ) -> list[tuple[int, int]]:
        """The tokens a model is made to start with, as (place, id); sets them as `set_prefix_tokens` does."""
        self.set_prefix_tokens(task=task, language=language, predict_timestamps=not no_timestamps)
        return list(enumerate(self.prefix_tokens[1:], start=1))

    def get_prompt_ids(self, text: str, return_tensors: str = "np") -> Any:
        """The ids of a text that stands for what was said before.

        Raises ArgumentError for a text that holds special tokens.
        """
        batch = self("<|startofprev|>", " " + text.strip(), add_special_tokens=False)
        first_special = self.all_special_ids[0]
        special = next((index for index in batch["input_ids"][1:] if index >= first_special), None)
        if special is not None:
            raise ArgumentError(
                "Encountered text in the prompt corresponding to disallowed special token: "
                f"{self.convert_ids_to_tokens(special)}.",
                key="text",
            )
        batch.convert_to_tensors(tensor_type=return_tensors)
        return batch["input_ids"]

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """`prefix_tokens`, A, B, eos."""
        (eos_id,) = required_ids(self, "eos_token")
        return [*self.prefix_tokens, *token_ids_0, *(token_ids_1 or ()), eos_id]

    # --- ids to text

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        output_offsets: bool = False,
        time_precision: float = 0.02,
        decode_with_timestamps: bool = False,
        normalize: bool = False,
        basic_normalize: bool = False,
        remove_diacritics: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The text of ids, without timestamps unless they are asked for.

        Args:
            token_ids: ids, or rows of ids.
            skip_special_tokens: whether special tokens, and what stands before <|startoftranscript|>, are left out.
            clean_up_tokenization_spaces: as of `PreTrainedTokenizerFast.decode`.
            output_offsets: a dictionary comes back: `text`, and `offsets`, a list of `text` and `timestamp`
                (start and end in seconds).
            time_precision: the seconds between two timestamps.
            decode_with_timestamps: whether timestamps stay in the text, each counted from the start of the audio.
            normalize: not supported: English spelling and numbers made alike.
            basic_normalize: whether case, punctuation and brackets are taken out; with `remove_diacritics`,
                accents too.
        """
        if normalize:
            raise UnsupportedError.mismatch(
                "normalize", "False", "True", "basic_normalize=True takes out case and punctuation alone"
            )
        ids = as_ids(token_ids)
        if ids and isinstance(ids[0], list):
            options = {key: value for key, value in locals().items() if key in _DECODE_OPTIONS}
            return [self.decode(row, **options, **kwargs) for row in ids]
        kept = self._without_prompt(ids) if skip_special_tokens else ids
        if decode_with_timestamps:
            text = self._with_timestamps(kept, skip_special_tokens, time_precision)
        else:
            text = super().decode(kept, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
            text = self.basic_normalize(text, remove_diacritics) if basic_normalize else text
            text = _TIMESTAMP.sub("", text)
        return {"text": text, "offsets": self._offsets(ids, time_precision)} if output_offsets else text

    def _without_prompt(self, ids: list[int]) -> list[int]:
        if not ids or ids[0] != self._known_id("<|startofprev|>"):
            return ids
        start = self._known_id("<|startoftranscript|>")
        return ids[ids.index(start) :] if start in ids else []

    @property
    def _first_timestamp(self) -> int:
        return int(self.all_special_ids[-1]) + 1

    def _with_timestamps(self, ids: Sequence[int], skip_special_tokens: bool, time_precision: float) -> str:
        """Text with its timestamps, those of a later part of the audio counted from where that starts."""
        first, segment = self._first_timestamp, 1500
        parts: list[str | list[int]] = [[]]
        latest = earlier_parts = one_before = 0.0
        for place, index in enumerate(ids):
            if index < first:
                last = parts[-1]
                assert isinstance(last, list)
                last.append(index)
                continue
            time = float((index - first) * time_precision)
            if time < latest:
                single_ending = place >= 2 and not (ids[place - 1] >= first and ids[place - 2] >= first)
                if single_ending:
                    earlier_parts += time_precision * segment
                else:
                    latest = one_before
                    earlier_parts += one_before
                    parts = parts[:-2]
            one_before, latest = latest, time
            parts += [f"<|{time + earlier_parts:.2f}|>", []]
        texts = [
            part if isinstance(part, str) else self.decode(part, skip_special_tokens=skip_special_tokens)
            for part in parts
        ]
        return "".join(texts)

    def _offsets(self, ids: Sequence[int], time_precision: float) -> list[dict[str, Any]]:
        """The texts between two timestamps each, with those."""
        first, segment = self._first_timestamp, 1500
        places = [place for place, index in enumerate(ids) if index >= first]
        ends = [place for place in places if place > 0 and ids[place - 1] >= first]
        if not ends and len(places) <= 1:
            return []
        if places[-1] + 1 not in ends:
            ends.append(places[-1] + 1)
        found = []
        begin, latest, earlier_parts = places[0], 0, 0
        for end in ends:
            part = ids[begin:end]
            if len(part) > 1:
                start, stop = part[0] - first, part[-1] - first
                if start < latest:
                    single_ending = begin >= 2 and not (ids[begin - 2] >= first and ids[begin - 1] >= first)
                    earlier_parts += segment if single_ending else latest
                latest = stop
                text = _TIMESTAMP.sub("", super().decode(list(part)))
                before = earlier_parts * time_precision
                times = (start * time_precision + before, stop * time_precision + before)
                found.append({"text": text, "timestamp": times})
            begin = end
        return found

    def timestamp_ids(self, time_precision: float = 0.02) -> list[int]:
        """The ids of the 1501 timestamps."""
        ids: list[int] = self.convert_tokens_to_ids(
            [f"<|{place * time_precision:.2f}|>" for place in range(1501)]
        )
        return ids

    @staticmethod
    def basic_normalize(text: str, remove_diacritics: bool = False) -> str:
        """The text in lower case, without brackets and what they hold, and without punctuation."""
        text = re.sub(r"[<\[][^>\]]*[>\]]", "", text.lower())
        text = re.sub(r"\(([^)]+?)\)", "", text)
        if remove_diacritics:
            text = "".join(map(_bare, unicodedata.normalize("NFKD", text)))
        else:
            text = unicodedata.normalize("NFKC", text)
            text = "".join(" " if unicodedata.category(one)[0] in "MSP" else one for one in text)
        return re.sub(r"\s+", " ", text.lower())

    def normalize(self, text: str) -> str:
        """Not supported: English spelling and numbers made alike."""
        raise UnsupportedError("Whisper's English normalizer is not supported", key="normalize")


_DECODE_OPTIONS = frozenset(
    (
        "skip_special_tokens",
        "clean_up_tokenization_spaces",
        "output_offsets",
        "time_precision",
        "decode_with_timestamps",
        "basic_normalize",
        "remove_diacritics",
    )
)


def _bare(character: str) -> str:
    if character in _LETTERS:
        return _LETTERS[character]
    category = unicodedata.category(character)
    if category == "Mn":
        return ""
    return " " if category[0] in "MSP" else character


WhisperTokenizerFast = WhisperTokenizer
