"""What the tokenizers of all families share: one constructor, driven by what each class states about itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any, ClassVar

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import ArgumentError, MissingFileError, UnsupportedError
from oxiformers.files import make_folder, refuse_foreign, write_text
from oxiformers.tokenization.loading import FLAGS_FROM_FILE
from oxiformers.tokenization.models.components import Component, template, with_components
from oxiformers.tokenization.models.sources import json_text
from oxiformers.tokenization.special_tokens import NAMED_TOKENS, keep_flags, text_of
from oxiformers.tokenization.tokenizer import PreTrainedTokenizerFast, core_of

#: The flags a special token is given where it is named by its text alone.
Flags = Mapping[str, bool]


def plain_flags(**flags: bool) -> Flags:
    """Flags of an AddedToken that is not special by itself, and so normalized unless stated otherwise."""
    return {"normalized": True, **flags}


#: An AddedToken without any flag, as the slow tokenizers of transformers make of most special tokens.
PLAIN = plain_flags()
#: The mask token of most models takes the space before it.
TAKES_SPACE = plain_flags(lstrip=True)


class FamilyTokenizer(PreTrainedTokenizerFast):
    """A tokenizer that is read from tokenizer.json, or else from the files of its own family.

    A class states its special tokens, its settings and how its files are read; the constructor is the same for all.

    Args:
        *files: the paths of the family's files, in the order of `positional`.
        tokenizer_file, tokenizer_object: a whole tokenizer; it is preferred to the family's files.
        from_slow: whether the family's files are preferred to tokenizer_file.
        **settings: special tokens, the class's `options`, and the settings of PreTrainedTokenizerFast.
    """

    #: Positional arguments of the constructor.
    positional: ClassVar[tuple[str, ...]] = ("vocab_file", "tokenizer_file")
    #: Special tokens by name.
    tokens: ClassVar[Mapping[str, str | None]] = {}
    #: Those that differ where the family's own files are read.
    file_tokens: ClassVar[Mapping[str, str | None]] = {}
    #: Flags of special tokens named by their text; "*" stands for all that are not listed.
    flags: ClassVar[Mapping[str, Flags | None]] = {}
    #: The same where the family's own files are read.
    file_flags: ClassVar[Mapping[str, Flags | None]] = {}
    #: Further settings and their defaults; each becomes an attribute.
    options: ClassVar[Mapping[str, Any]] = {}
    #: Those that differ, or count only, where the family's own files are read.
    file_options: ClassVar[Mapping[str, Any]] = {}
    #: Whether special tokens are put around the sequences anew where tokenizer.json says how.
    own_template: ClassVar[bool] = False
    #: Whether the family has vocabulary files of its own to save.
    has_own_files: ClassVar[bool] = True
    #: Whether words have to be given with `add_prefix_space=True`.
    words_need_prefix_space: ClassVar[bool] = False

    vocab_file: str | None

    def __init__(self, *files: Any, **settings: Any) -> None:
        if len(files) > len(self.positional):
            raise TypeError(
                f"{type(self).__name__} takes at most {len(self.positional)} positional arguments: "
                f"{', '.join(self.positional)}"
            )
        for name, value in zip(self.positional, files, strict=False):
            if settings.setdefault(name, value) is not value:
                raise TypeError(f"{type(self).__name__} got multiple values for argument {name!r}")
        if isinstance(settings.get("vocab_file"), Mapping):  # transformers 5 names and places them so
            settings["vocab"] = settings.pop("vocab_file")
            settings["merges"] = settings.pop("merges_file", None)
        whole = settings.pop("tokenizer_object", None)
        tokenizer_file = settings.pop("tokenizer_file", None)
        paths = {
            name: os.fspath(path)
            for name in self.vocab_files_names
            if (path := settings.pop(name, None)) is not None and name != "tokenizer_file"
        }
        for name, path in paths.items():
            refuse_foreign(path, f"the {name} of {type(self).__name__}")
        from_slow = bool(settings.pop("from_slow", False)) or self._ask_for_files(settings)
        from_files = whole is None and (tokenizer_file is None or (from_slow and self._has_files(paths)))
        self.vocab_file = paths.get("vocab_file")
        core = None if from_files else core_of(whole, tokenizer_file, type(self).__name__)
        listed = [token for _, token in sorted((settings.get("added_tokens_decoder") or {}).items())]
        if settings.pop(FLAGS_FROM_FILE, False) and core is not None:
            _take_flags(core, settings)
            listed += [token for _, token in core.added_tokens]
        self._fill_in(settings, from_files)
        self._prepare(settings)
        if core is None:
            core = self._core_from_files(paths, settings)
        else:
            self._check_core(core, None if tokenizer_file is None else os.fspath(tokenizer_file))
            core = self._adapted(core, settings) if from_slow else core
        attributes = {
            name: settings[name] for name in (*self.options, *self.file_options) if name in settings
        }
        for name, value in attributes.items():
            if not isinstance(getattr(type(self), name, None), property):
                setattr(self, name, value)
        super().__init__(tokenizer_object=core, **settings)
        keep_flags(self, listed)
        if from_files or self.own_template:
            self._update_post_processor()
        self._finish(settings)

    def _fill_in(self, settings: dict[str, Any], from_files: bool) -> None:
        """Defaults for what the caller and the config leave open, and flags for tokens named by their text."""
        defaults: dict[str, Any] = {**self.tokens, **self.options}
        flags: dict[str, Flags | None] = dict(self.flags)
        if from_files:
            defaults.update(self.file_tokens)
            defaults.update(self.file_options)
            flags.update(self.file_flags)
        for name, value in defaults.items():
            settings.setdefault(name, value.copy() if isinstance(value, list) else value)
        for name in NAMED_TOKENS:
            wanted = flags.get(name, flags.get("*")) if name in defaults else None
            if wanted is not None and isinstance(settings[name], str):
                settings[name] = AddedToken(settings[name], **wanted)

    def _ask_for_files(self, settings: Mapping[str, Any]) -> bool:
        """Whether these settings cannot be had from tokenizer.json, but from the family's files."""
        return False

    def _has_files(self, paths: Mapping[str, str]) -> bool:
        return bool(paths)

    def _prepare(self, settings: dict[str, Any]) -> None:
        """Settings that follow from others; called before anything is read."""

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        """The core that the family's files describe, without special tokens around the sequences."""
        raise MissingFileError(f"{type(self).__name__} needs a tokenizer.json", key="tokenizer_file")

    def _check_core(self, core: Tokenizer, path: str | None) -> None:
        """Refuses a tokenizer.json that is not one of this family."""

    def _adapted(self, core: Tokenizer, settings: Mapping[str, Any]) -> Tokenizer:
        """The core of a tokenizer.json changed to settings that the family's files would be read with."""
        return core

    def _post_processor(self) -> Component | None:
        """What puts special tokens around the sequences; None for nothing."""
        return None

    def _update_post_processor(self) -> None:
        self._core = with_components(self._core, post_processor=self._post_processor())

    def _finish(self, settings: Mapping[str, Any]) -> None:
        """What is done once tokens have their ids."""

    def _required(self, paths: Mapping[str, str], name: str) -> str:
        """The path of a file that the family cannot be read without."""
        path = paths.get(name)
        if path is None:
            file = self.vocab_files_names[name]
            file = file if isinstance(file, str) else " or ".join(file)
            raise MissingFileError(
                f"{type(self).__name__} needs {name}= (the path of a {file}) or tokenizer_file=; "
                f"{type(self).__name__}.from_pretrained loads one by its name",
                key=name,
            )
        return path

    def _ids(self, *tokens: str | None) -> dict[str, int | None]:
        """Ids of special tokens, for a template."""
        return {token: self.convert_tokens_to_ids(token) for token in tokens if token is not None}

    # --- words

    def _check_words(self, is_split_into_words: bool) -> None:
        if is_split_into_words and self.words_need_prefix_space and not self.add_prefix_space:
            raise ArgumentError(
                f"You need to instantiate {type(self).__name__} with add_prefix_space=True to use it with "
                "pretokenized inputs.",
                key="is_split_into_words",
                expected="add_prefix_space=True",
            )

    # --- files

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Writes the family's own files, and returns their paths; () where it was not read from any.

        They are vocab.txt, vocab.json and merges.txt made from the model, or a copy of the sentencepiece model.
        """
        folder = Path(save_directory)
        make_folder(folder)
        name = self.vocab_files_names.get("vocab_file", "")
        if isinstance(name, str) and name.endswith(".model"):
            return self._copy_model(folder / _prefixed(name, filename_prefix))
        writer = _WRITERS.get(self._core.model_type)
        if writer is None:
            raise UnsupportedError.mismatch(
                "model.type",
                f"one of {sorted(_WRITERS)}",
                self._core.model_type,
                f"{type(self).__name__} has no files for it, and tokenizer.json holds it",
            )
        return writer(self._core, folder, filename_prefix)

    def _copy_model(self, target: Path) -> tuple[str, ...]:
        source = self.vocab_file
        if source is None or not Path(source).is_file():
            return ()
        if Path(source).resolve() != target.resolve():
            copyfile(source, target)
        return (str(target),)

    @property
    def can_save_slow_tokenizer(self) -> bool:
        """Whether the vocabulary can be saved in the family's own files."""
        name = self.vocab_files_names.get("vocab_file", "")
        if not self.has_own_files:
            return False
        if isinstance(name, str) and name.endswith(".model"):
            return self.vocab_file is not None and Path(self.vocab_file).is_file()
        return self._core.model_type in _WRITERS


def _take_flags(core: Tokenizer, settings: dict[str, Any]) -> None:
    """Named special tokens become those of tokenizer.json, flags and all."""
    found = {token.content: token for _, token in core.added_tokens}
    for name in NAMED_TOKENS:
        value = settings.get(name)
        if isinstance(value, (str, AddedToken)):
            settings[name] = found.get(text_of(value), value)


def _prefixed(name: str, prefix: str | None) -> str:
    return f"{prefix}-{name}" if prefix else name


def _write_wordpiece(core: Tokenizer, folder: Path, prefix: str | None) -> tuple[str, ...]:
    vocabulary = core.vocab(False)
    path = folder / _prefixed("vocab.txt", prefix)
    write_text(path, "".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.__getitem__)))
    return (str(path),)


def _write_wordlevel(core: Tokenizer, folder: Path, prefix: str | None) -> tuple[str, ...]:
    vocabulary = core.vocab(False)
    path = folder / _prefixed("vocab.json", prefix)
    ordered = {token: vocabulary[token] for token in sorted(vocabulary, key=vocabulary.__getitem__)}
    write_text(path, json_text(ordered))
    return (str(path),)


def _write_bpe(core: Tokenizer, folder: Path, prefix: str | None) -> tuple[str, ...]:
    vocabulary = _write_wordlevel(core, folder, prefix)
    path = folder / _prefixed("merges.txt", prefix)
    model = json.loads(core.to_str())["model"]
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    write_text(path, f"#version: 0.2\n{merges}")
    return (*vocabulary, str(path))


_Writer = Callable[[Tokenizer, Path, "str | None"], tuple[str, ...]]
_WRITERS: dict[str, _Writer] = {
    "WordPiece": _write_wordpiece,
    "WordLevel": _write_wordlevel,
    "BPE": _write_bpe,
}


# --- ids around sequences, by the names of the families that have them so


class BertTemplate(FamilyTokenizer):
    """[CLS] A [SEP], and [CLS] A [SEP] B [SEP] with token type 1 from B on."""

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """cls A sep, or cls A sep B sep."""
        cls_id, sep_id = required_ids(self, "cls_token", "sep_token")
        first = [cls_id, *token_ids_0, sep_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, sep_id]


#: RoBERTa's special tokens, and those of the many models that took them over.
ROBERTA_TOKENS: Mapping[str, str | None] = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


class RobertaTemplate(PreTrainedTokenizerFast):
    """<s> A </s>, and <s> A </s></s> B </s>; all token types 0. Stands before a class that reads the files."""

    #: The names of the two tokens.
    enclosing: ClassVar[tuple[str, str]] = ("cls_token", "sep_token")

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """bos A eos, or bos A eos eos B eos."""
        first_id, last_id = required_ids(self, *self.enclosing)
        first = [first_id, *token_ids_0, last_id]
        return first if token_ids_1 is None else [*first, last_id, *token_ids_1, last_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros: these models have no token types."""
        return [0] * len(self.build_inputs_with_special_tokens(list(token_ids_0), token_ids_1))


class BosEosTemplate(FamilyTokenizer):
    """bos A eos, and bos A eos bos B eos, each of the two as `add_bos_token` and `add_eos_token` say."""

    own_template: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {"add_bos_token": True, "add_eos_token": False}

    def _prepare(self, settings: dict[str, Any]) -> None:
        self._add_bos_token = bool(settings["add_bos_token"])
        self._add_eos_token = bool(settings["add_eos_token"])

    def update_post_processor(self) -> None:
        """Puts special tokens around the sequences as the settings are now."""
        self._update_post_processor()

    @property
    def add_bos_token(self) -> bool:
        """Whether sequences start with bos_token; setting it takes effect at once."""
        return self._add_bos_token

    @add_bos_token.setter
    def add_bos_token(self, value: bool) -> None:
        self._add_bos_token = value
        self._update_post_processor()

    @property
    def add_eos_token(self) -> bool:
        """Whether sequences end with eos_token; setting it takes effect at once."""
        return self._add_eos_token

    @add_eos_token.setter
    def add_eos_token(self, value: bool) -> None:
        self._add_eos_token = value
        self._update_post_processor()

    def _post_processor(self) -> Component | None:
        bos = self._around("bos_token", self._add_bos_token)
        eos = self._around("eos_token", self._add_eos_token)
        sides = [(f"{bos}:{kind} " if bos else "", f" {eos}:{kind}" if eos else "") for kind in (0, 1)]
        first, second = (
            f"{before}${name}:{kind}{after}"
            for kind, name, (before, after) in zip("01", "AB", sides, strict=True)
        )
        return template(first, f"{first} {second}", self._ids(bos, eos))

    def _around(self, name: str, wanted: bool) -> str | None:
        if not wanted:
            return None
        token = self._named_tokens().get(name)
        if token is None:
            raise ArgumentError(f"add_{name} is true, and {name} is not set", key=name, expected="a token")
        return token

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """bos A eos, or bos A eos bos B eos."""
        before = list(required_ids(self, "bos_token")) if self._add_bos_token else []
        after = list(required_ids(self, "eos_token")) if self._add_eos_token else []
        first = [*before, *token_ids_0, *after]
        return first if token_ids_1 is None else [*first, *before, *token_ids_1, *after]


def required_ids(tokenizer: PreTrainedTokenizerFast, *names: str) -> Sequence[int]:
    """The ids of special tokens that have to be set."""
    ids = []
    for name in names:
        index = getattr(tokenizer, f"{name}_id")
        if index is None:
            raise ArgumentError(f"{name} has to be set", key=name)
        ids.append(index)
    return ids


#: A tokenizer with more numbered tokens than this is no tokenizer that exists.
_MOST_NUMBERED = 1 << 20


def count_of(settings: Mapping[str, Any], name: str) -> int:
    """A setting that counts tokens. Raises ArgumentError for what is no such number."""
    value = settings[name]
    if type(value) is not int or not 0 <= value <= _MOST_NUMBERED:
        raise ArgumentError.mismatch(name, f"an integer from 0 to {_MOST_NUMBERED}", f"{value!r:.80}")
    return value


def text_or_none(settings: Mapping[str, Any], name: str) -> str | None:
    """A setting that is a text or a token, as its text. Raises ArgumentError for anything else."""
    value = settings[name]
    if value is None or isinstance(value, (str, AddedToken)):
        return named(value)
    kind = type(value).__name__
    raise ArgumentError.mismatch(name, "a str or None", kind)


def named(value: str | AddedToken | None) -> str | None:
    """The text of a token that may be missing."""
    return None if value is None else text_of(value)
