"""The tokenizer users hold: a compiled core, special tokens, and the settings of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from oxiformers._core import DecodeStream, Tokenizer
from oxiformers.errors import ArgumentError, AttributeConflictError, InputTypeError
from oxiformers.files import refuse_foreign
from oxiformers.logging import get_logger
from oxiformers.tokenization import loading, saving
from oxiformers.tokenization.batch import BatchEncoding
from oxiformers.tokenization.calls import TextCalls
from oxiformers.tokenization.chat import ChatTemplates
from oxiformers.tokenization.legacy import LegacyCalls
from oxiformers.tokenization.models.components import with_prefix_space
from oxiformers.tokenization.options import (
    VERY_LARGE_INTEGER,
    PaddingStrategy,
    TensorType,
    resolve_lengths,
    resolve_side,
    resolve_tensor_type,
)
from oxiformers.tokenization.padding import PadOptions, columns_of, pad_columns
from oxiformers.tokenization.prepare import PreparesIds
from oxiformers.tokenization.pushing import PushesToHub, push_arguments, upload
from oxiformers.tokenization.special_tokens import as_added_token, text_of
from oxiformers.tokenization.vocabulary import Vocabulary

logger = get_logger(__name__)


class PreTrainedTokenizerFast(Vocabulary, TextCalls, PreparesIds, ChatTemplates, PushesToHub, LegacyCalls):
    """A tokenizer with the interface of transformers' fast tokenizers, over the compiled core.

    The core is immutable: truncation, padding and special tokens are arguments of a call, and adding tokens replaces
    the core as a whole. One tokenizer may serve any number of threads.

    Args:
        tokenizer_file: the path of a tokenizer.json.
        vocab_file: the path of a tiktoken file, which counts where there is no tokenizer.json.
        tokenizer_object: in its place, a core `Tokenizer`, a tokenizer of this class, or a
            `tokenizers.Tokenizer`.
        bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens, str
            or AddedToken; those that are not in the vocabulary are added to it.
        extra_special_tokens: further special tokens: a list, or a mapping of attribute names to tokens.
        added_tokens_decoder: further tokens by id.
        add_prefix_space: whether a byte-level pre-tokenizer puts a space in front of a text; False by default,
            whatever tokenizer.json says.
        model_max_length: the most tokens the model takes; unlimited by default.
        padding_side, truncation_side: "right" or "left".
        clean_up_tokenization_spaces: whether decoding takes the spaces before punctuation and contractions
            out.
        split_special_tokens: whether special tokens in a text are taken as ordinary text.
        model_input_names: which inputs a call returns.
        chat_template: the model's Jinja template, kept and saved.
        name_or_path: where the tokenizer came from.
    """

    #: File names by constructor argument.
    vocab_files_names: ClassVar[dict[str, Any]] = {
        "tokenizer_file": "tokenizer.json",
        "vocab_file": "tokenizer.model",
    }
    #: Whether the tokenizer is saved as a tokenizer.json, as others read it.
    saves_tokenizer_json: ClassVar[bool] = True
    slow_tokenizer_class: ClassVar[type | None] = None

    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- an instance has its own
    padding_side: str = "right"
    truncation_side: str = "right"

    def __init__(
        self,
        *,
        tokenizer_object: Any = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        vocab_file = settings.pop("vocab_file", None)
        if tokenizer_object is None and tokenizer_file is None and vocab_file is not None:
            refuse_foreign(vocab_file, "a tiktoken file")
            core = _core_of_tiktoken(vocab_file, settings)
        else:
            core = core_of(tokenizer_object, tokenizer_file, type(self).__name__)
        settings.pop(loading.FLAGS_FROM_FILE, None)
        settings.pop("from_slow", None)
        self.deprecation_warnings = {}
        self.verbose = bool(settings.pop("verbose", False))
        truncation, padding = core.saved_truncation, core.saved_padding
        if truncation is not None:
            settings.setdefault("truncation_side", truncation["direction"].lower())
        if padding is not None:
            settings.setdefault("pad_token", padding["pad_token"])
            settings.setdefault("padding_side", padding["direction"].lower())
        #: The settings as given, for saving.
        self.init_kwargs: dict[str, Any] = dict(settings)
        self.init_inputs: tuple[Any, ...] = ()
        self.name_or_path: str = str(settings.pop("name_or_path", ""))
        added = settings.pop("added_tokens_decoder", None) or {}
        self._init_special_tokens(settings)
        older_limit = settings.pop("max_len", None)
        limit = settings.pop("model_max_length", older_limit)
        self.model_max_length = VERY_LARGE_INTEGER if limit is None else limit
        self.padding_side = resolve_side(settings.pop("padding_side", self.padding_side), "padding_side")
        self.truncation_side = resolve_side(
            settings.pop("truncation_side", self.truncation_side), "truncation_side"
        )
        self.model_input_names = list(settings.pop("model_input_names", self.model_input_names))
        self.clean_up_tokenization_spaces: bool = bool(settings.pop("clean_up_tokenization_spaces", False))
        self.split_special_tokens = bool(settings.pop("split_special_tokens", False))
        template = settings.pop("chat_template", None)
        if isinstance(template, (list, tuple)):
            template = {entry["name"]: entry["template"] for entry in template}
        self.chat_template: str | dict[str, str] | None = template
        self.chat_control_tokens: list[str] | None = settings.pop("chat_control_tokens", None)
        self.add_prefix_space = bool(settings.pop("add_prefix_space", False))
        self._core = with_prefix_space(core, self.add_prefix_space)
        self._add([token for _, token in sorted(added.items())])
        known = {token.content for _, token in self._core.added_tokens}
        named = {text_of(token) for _, token in self._set_tokens()}
        self._add(
            [
                # a further special token that is an AddedToken is as special as it says
                as_added_token(token, special=isinstance(token, str) or token.content in named)
                for token in self.all_special_tokens_extended
                if text_of(token) not in known
            ]
        )

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *init_inputs: Any, **kwargs: Any
    ) -> Self:
        """Loads a tokenizer from a folder, a single file (tokenizer.json, vocab.txt), the cache or the Hub.

        Args:
            pretrained_model_name_or_path: a folder, a file, or a repository's name on the Hub.
            *init_inputs: positional arguments of the constructor.
            **kwargs: `revision`, `token`, `cache_dir`, `local_files_only`, `subfolder` and `force_download`,
                as for every from_pretrained; all others go to the constructor and win over what the files
                say.

        Raises:
            MissingFileError: a file that is needed is neither here nor on the Hub.
            FormatError, ConfigError: a file does not hold what it should; with its path and the key.
            AttributeConflictError (AttributeError): a keyword argument has the name of a method.
        """
        for name in kwargs:
            if callable(getattr(cls, name, None)):
                raise AttributeConflictError(
                    f"{name} conflicts with the method {name} in {cls.__name__}", key=name
                )
        settings = loading.load_settings(pretrained_model_name_or_path, cls.vocab_files_names, kwargs)
        cls._warn_of_other_class(settings.pop(loading.NAMED_CLASS, None))
        tokenizer = cls(*init_inputs, **settings)
        tokenizer.init_inputs = init_inputs
        return tokenizer

    @classmethod
    def _warn_of_other_class(cls, named: str | None) -> None:
        if named is None or named.replace("Fast", "") == cls.__name__.replace("Fast", ""):
            return
        from oxiformers.tokenization.classes import tokenizer_class

        if tokenizer_class(named) not in (None, cls):
            logger.warning(
                "The tokenizer class you load from this checkpoint is not the same type as the class this function is "
                "called from. It may result in unexpected tokenization. \nThe tokenizer class you load from this "
                "checkpoint is '%s'. \nThe class this function is called from is '%s'.",
                named,
                cls.__name__,
            )

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        save_jinja_files: bool = True,
        **upload_options: Any,
    ) -> tuple[str, ...]:
        """Writes the tokenizer's files: transformers 4.57 and 5 read them back.

        They are tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja where
        there is a template, and vocab.txt for WordPiece.

        Args:
            save_directory: the folder; made where it is missing.
            legacy_format: False leaves vocab.txt out.
            filename_prefix: put before each name, with a hyphen.
            push_to_hub: whether the files are uploaded to the Hub as well.
            save_jinja_files: whether chat templates have files of their own; else tokenizer_config.json holds them.
            **upload_options: `repo_id`, the folder's name by default, and what `push_to_hub` takes besides.

        Returns:
            The paths written.
        """
        if upload_options and not push_to_hub:
            raise InputTypeError(
                f"save_pretrained takes {next(iter(upload_options))}= only with push_to_hub=True",
                key=next(iter(upload_options)),
                expected="push_to_hub=True beside it",
            )
        folder = Path(save_directory)
        target = push_arguments(folder, upload_options) if push_to_hub else None
        paths = saving.save_tokenizer(
            self,
            folder,
            filename_prefix or "",
            with_vocabulary=legacy_format is not False,
            template_files=save_jinja_files,
        )
        if target is not None:
            upload(folder, paths, target[0], **target[1])
        return paths

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Writes vocab.txt, a token a line. Raises UnsupportedError for other models than WordPiece."""
        return (saving.save_vocabulary(self._core, Path(save_directory), filename_prefix or ""),)

    # --- special tokens around a sequence

    @property
    def pad_token_type_id(self) -> int:
        """The token type of padding."""
        return 0

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a call adds to a text, or to a pair."""
        return self._core.num_special_tokens(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """The most tokens a text may have, special ones left out."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """The most tokens a pair may have, special ones left out."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The ids of a text or pair, one after the other; BERT's tokenizer puts its special tokens around."""
        return list(token_ids_0) if token_ids_1 is None else [*token_ids_0, *token_ids_1]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Token types of a text (0) or pair (0, then 1), a cls_token and sep_tokens included."""
        before = int(self.cls_token_id is not None)
        after = int(self.sep_token_id is not None)
        first = [0] * (before + len(token_ids_0) + after)
        return first if token_ids_1 is None else first + [1] * (len(token_ids_1) + after)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 at special tokens, 0 elsewhere.

        Args:
            token_ids_0, token_ids_1: the ids of a text, or of a pair.
            already_has_special_tokens: whether `token_ids_0` is all and has its special tokens; otherwise the mask
                is that of `build_inputs_with_special_tokens`.

        Raises ArgumentError for two sequences that have their special tokens, and for ids without them where the
        class does not say which ones its model takes.
        """
        if not already_has_special_tokens and (
            type(self).build_inputs_with_special_tokens
            is not PreTrainedTokenizerFast.build_inputs_with_special_tokens
        ):
            second = None if token_ids_1 is None else list(token_ids_1)
            return self._special_mask(list(token_ids_0), second, [], True)
        if not already_has_special_tokens or token_ids_1 is not None:
            raise ArgumentError(
                "get_special_tokens_mask takes one sequence, with already_has_special_tokens=True; for text, "
                "call the tokenizer with return_special_tokens_mask=True",
                key="already_has_special_tokens",
            )
        special = set(self.all_special_ids)
        return [int(int(index) in special) for index in token_ids_0]

    # --- decoding a token at a time

    def decode_stream(
        self, skip_special_tokens: bool = False, prompt_ids: Sequence[int] | None = None
    ) -> DecodeStream:
        """Decodes ids as a model generates them.

        `stream.step(id)` gives the text that the id completes, never a part of a character, or None where more
        ids are needed. The pieces put together are what `decode` gives for all ids, but for spaces that
        `clean_up_tokenization_spaces` takes out.

        Args:
            skip_special_tokens: whether special tokens are left out.
            prompt_ids: ids before the first step, which give it context and are not given out themselves.
        """
        return self._core.stream(skip_special_tokens, prompt=prompt_ids)

    # --- padding

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pads rows that are tokenized already.

        Args:
            encoded_inputs: a mapping (`input_ids` and others) of a row or of rows, or a list of mappings, one
                a row; lists, arrays or tensors. Arrays and tensors come back as such.
            padding, max_length, pad_to_multiple_of, padding_side, return_tensors: as in a call.
            return_attention_mask: whether a mask is padded, and made where there is none; by default as
                `model_input_names` says.
            verbose: whether to warn of arguments without effect, and to advise to pad in a call.
        """
        if verbose:
            self._advise_against_pad()
        main = self.model_input_names[0]
        columns = columns_of(encoded_inputs, main)
        strategy, _, max_length = resolve_lengths(
            padding,
            False,
            max_length,
            pad_to_multiple_of,
            self.model_max_length,
            verbose,
            self.deprecation_warnings,
        )
        pad_id = self._require_pad_token()[0] if strategy is not None else 0
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        side = resolve_side(padding_side or self.padding_side, "padding_side")
        options = PadOptions(
            main,
            strategy,
            max_length,
            pad_to_multiple_of,
            side,
            pad_id,
            self.pad_token_type_id,
            return_attention_mask,
        )
        return pad_columns(columns, options, resolve_tensor_type(return_tensors))

    def _advise_against_pad(self) -> None:
        """Says once a tokenizer that padding in the call is faster; collators, which must pad later, set the key."""
        if not self.deprecation_warnings.get("Asking-to-pad-a-fast-tokenizer", False):
            self.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True
            logger.warning(
                "You're using a %s tokenizer. Please note that with a fast tokenizer, using the `__call__` method "
                "is faster than using a method to encode the text followed by a call to the `pad` method to get a "
                "padded encoding.",
                type(self).__name__,
            )

    # --- copies and pickles

    def __reduce__(self) -> tuple[Any, ...]:
        """The same bytes before and after use, so that caches keyed by them (datasets.map) hold."""
        state = {
            key: value for key, value in self.__dict__.items() if key not in ("_core", "deprecation_warnings")
        }
        return _restore, (type(self), self._core.to_str(), state)

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, deprecation_warnings={})
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        from copy import deepcopy

        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        core = {"_core": self._core, "deprecation_warnings": {}}  # the core is immutable: shared
        state = {key: deepcopy(value, memo) for key, value in self.__dict__.items() if key not in core}
        twin.__dict__.update(state, **core)
        return twin

    def __repr__(self) -> str:
        added = "".join(f"\n\t{index}: {token!r}," for index, token in self._core.added_tokens)
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map}, "
            f"added_tokens_decoder={{{added}{chr(10) if added else ''}}})"
        )


def core_of(tokenizer_object: Any, tokenizer_file: Any, owner: str) -> Tokenizer:
    """The core that an object holds or describes, or a tokenizer.json; `owner` names the class in errors."""
    if tokenizer_object is not None:
        if isinstance(tokenizer_object, PreTrainedTokenizerFast):
            return tokenizer_object.backend_tokenizer
        if isinstance(tokenizer_object, Tokenizer):
            return tokenizer_object
        if hasattr(tokenizer_object, "to_str"):
            return Tokenizer.from_str(tokenizer_object.to_str(), "tokenizer_object")
        kind = type(tokenizer_object).__name__
        raise InputTypeError.mismatch("tokenizer_object", "a Tokenizer", kind)
    if tokenizer_file is not None:
        refuse_foreign(tokenizer_file, "a tokenizer.json")
        return Tokenizer.from_file(os.fspath(tokenizer_file))
    raise ArgumentError(
        f"{owner} needs tokenizer_file= (the path of a tokenizer.json) or tokenizer_object=; "
        f"{owner}.from_pretrained loads one by its name",
        key="tokenizer_file",
    )


def _core_of_tiktoken(path: str | os.PathLike[str], settings: dict[str, Any]) -> Tokenizer:
    from oxiformers.tokenization.models.tiktoken import core_from_tiktoken

    return core_from_tiktoken(path, settings.get("additional_special_tokens") or ())


def _restore(cls: type[PreTrainedTokenizerFast], core: str, state: dict[str, Any]) -> PreTrainedTokenizerFast:
    tokenizer = cls.__new__(cls)
    tokenizer.__dict__.update(state, _core=Tokenizer.from_str(core, "<pickle>"), deprecation_warnings={})
    return tokenizer


PreTrainedTokenizerBase = PreTrainedTokenizerFast
PreTrainedTokenizer = PreTrainedTokenizerFast
