"""Byte-level BPE in the form of GPT-2, and the models that changed its settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oxiformers._core import Tokenizer
from oxiformers.errors import ArgumentError, FormatError
from oxiformers.tokenization.models.components import (
    Component,
    byte_level,
    components_of,
    pre_tokenizers,
    split,
    template,
    with_components,
)
from oxiformers.tokenization.models.family import PLAIN, BosEosTemplate, FamilyTokenizer, Flags
from oxiformers.tokenization.models.sources import merge_pairs, read_merges, read_vocabulary

_SPECIAL: Flags = {"special": True, "normalized": False}
#: vocab.json and merges.txt, as GPT-2 has them; merges.txt states its version in the first line.
BPE_FILES: dict[str, str] = {
    "vocab_file": "vocab.json",
    "merges_file": "merges.txt",
    "tokenizer_file": "tokenizer.json",
}
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class ByteLevelTokenizer(FamilyTokenizer):
    """Byte-level BPE read from vocab.json and merges.txt, or made of `vocab=` (ids by token) and `merges=` (pairs)."""

    vocab_files_names: ClassVar[dict[str, Any]] = {**BPE_FILES}
    positional: ClassVar[tuple[str, ...]] = ("vocab_file", "merges_file", "tokenizer_file")
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    #: How many merges of merges.txt count; None for all.
    most_merges: ClassVar[int | None] = None

    def _has_files(self, paths: Mapping[str, str]) -> bool:
        return {"vocab_file", "merges_file"} <= set(paths)

    def _core_from_files(self, paths: Mapping[str, str], settings: dict[str, Any]) -> Tokenizer:
        given = settings.pop("vocab", None), settings.pop("merges", None)
        if isinstance(given[0], Mapping):
            return self._core_from_bpe(dict(given[0]), merge_pairs(given[1] or ()), settings)
        vocabulary = read_vocabulary(self._required(paths, "vocab_file"))
        path = self._required(paths, "merges_file")
        merges = read_merges(path, self.most_merges)
        try:
            return self._core_from_bpe(vocabulary, merges, settings)
        except ArgumentError as error:  # the vocabulary and the merges do not fit
            raise FormatError(
                f"{path}: {error}", path=path, key=error.key, expected=error.expected, actual=error.actual
            ) from error

    def _core_from_bpe(
        self, vocabulary: dict[str, int], merges: Sequence[tuple[str, str]], settings: Mapping[str, Any]
    ) -> Tokenizer:
        return self._build(vocabulary, merges, settings, continuing_subword_prefix="", end_of_word_suffix="")

    def _build(
        self,
        vocabulary: dict[str, int],
        merges: Sequence[tuple[str, str]],
        settings: Mapping[str, Any],
        **model_options: Any,
    ) -> Tokenizer:
        components = json.dumps(self._components(settings))
        return Tokenizer.from_bpe(vocabulary, merges, components=components, **model_options)

    def _components(self, settings: Mapping[str, Any]) -> dict[str, Component | None]:
        """The components around the model, but for the post-processor."""
        add_prefix_space = bool(settings.get("add_prefix_space", False))
        return {"pre_tokenizer": byte_level(add_prefix_space), "decoder": byte_level()}

    def _post_processor(self) -> Component | None:
        return byte_level(trim_offsets=False)


class GPT2Tokenizer(ByteLevelTokenizer):
    """GPT-2's tokenizer: A, and A B; no token around them unless `add_bos_token` asks for one."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<|endoftext|>",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
    }
    file_tokens: ClassVar[Mapping[str, str | None]] = {"pad_token": None}
    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": PLAIN}
    options: ClassVar[Mapping[str, Any]] = {"add_prefix_space": False, "add_bos_token": False}
    file_options: ClassVar[Mapping[str, Any]] = {"errors": "replace"}
    words_need_prefix_space: ClassVar[bool] = True
    add_bos_token: bool

    def _post_processor(self) -> Component | None:
        bos = self._named_tokens().get("bos_token")
        if not self.add_bos_token or bos is None:
            return super()._post_processor()
        return template(f"{bos}:0 $A:0", f"{bos}:0 $A:0 $B:1", self._ids(bos))


class CodeGenTokenizer(GPT2Tokenizer):
    """CodeGen's tokenizer, and Phi's: GPT-2's, which can cut what it decodes where a program ends.

    With `return_token_type_ids=True` calls return token types.
    """

    file_flags: ClassVar[Mapping[str, Flags | None]] = {"*": _SPECIAL}
    options: ClassVar[Mapping[str, Any]] = {"add_prefix_space": False, "return_token_type_ids": False}
    file_options: ClassVar[Mapping[str, Any]] = {"errors": "replace", "add_bos_token": False}
    add_bos_token: bool = False

    def _prepare(self, settings: dict[str, Any]) -> None:
        if settings["return_token_type_ids"]:
            settings.setdefault("model_input_names", [*type(self).model_input_names, "token_type_ids"])

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        truncate_before_pattern: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The text of ids, cut before the first match of `truncate_before_pattern` (regular expressions), and
        before a second `print` or `def` at the start of a line. See `PreTrainedTokenizerFast.decode`.
        """
        text = super().decode(token_ids, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
        if not truncate_before_pattern:
            return text
        return (
            [self.truncate(one, truncate_before_pattern) for one in text]
            if isinstance(text, list)
            else self.truncate(text, truncate_before_pattern)
        )

    @staticmethod
    def truncate(completion: str, truncate_before_pattern: Sequence[str]) -> str:
        """A program cut before its second `print` or `def`, then before the first match of any pattern."""
        for start in ("^print", "^def"):
            found = list(re.finditer(start, completion, re.MULTILINE))
            if len(found) > 1:
                completion = completion[: found[1].start()]
        ends = [
            match.start()
            for pattern in truncate_before_pattern
            if (match := re.search(pattern, completion, re.MULTILINE)) is not None
        ]
        return completion[: min(ends, default=len(completion))]


class Qwen2Tokenizer(ByteLevelTokenizer):
    """Qwen2's tokenizer, and Qwen2.5's and Qwen3's; vocab.json and merges.txt, or a .tiktoken file."""

    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<|endoftext|>",
        "bos_token": None,
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    flags: ClassVar[Mapping[str, Flags | None]] = {"*": _SPECIAL}
    file_options: ClassVar[Mapping[str, Any]] = {
        "errors": "replace",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": False,
    }

    def _components(self, settings: Mapping[str, Any]) -> dict[str, Component | None]:
        add_prefix_space = bool(settings.get("add_prefix_space", False))
        return {
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": pre_tokenizers(
                split(QWEN2_PATTERN), byte_level(add_prefix_space, use_regex=False)
            ),
            "decoder": byte_level(),
        }


class GPTNeoXTokenizerFast(BosEosTemplate, ByteLevelTokenizer):
    """GPT-NeoX's tokenizer, and those of Pythia, OLMo, Mamba, MPT, StableLM and RWKV."""

    has_own_files: ClassVar[bool] = False
    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<|endoftext|>",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": None,
    }
    options: ClassVar[Mapping[str, Any]] = {
        "add_bos_token": False,
        "add_eos_token": False,
        "add_prefix_space": False,
    }

    def _components(self, settings: Mapping[str, Any]) -> dict[str, Component | None]:
        return {"normalizer": {"type": "NFC"}, **super()._components(settings)}


class _EverywherePrefixSpace(FamilyTokenizer):
    """Where `add_prefix_space=True`, every ByteLevel of pre-tokenizer and decoder gets it; none loses it."""

    def _finish(self, settings: Mapping[str, Any]) -> None:
        if not self.add_prefix_space:
            return
        found = components_of(self._core)
        changed = {key: _with_prefix_space(found.get(key)) for key in ("pre_tokenizer", "decoder")}
        self._core = with_components(self._core, **changed)


def _with_prefix_space(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_prefix_space(item) for item in part]
    if isinstance(part, dict):
        return {
            key: True if key == "add_prefix_space" else _with_prefix_space(value)
            for key, value in part.items()
        }
    return part


class BloomTokenizerFast(_EverywherePrefixSpace):
    """BLOOM's tokenizer: tokenizer.json only."""

    vocab_files_names: ClassVar[dict[str, str]] = {"tokenizer_file": "tokenizer.json"}
    positional: ClassVar[tuple[str, ...]] = ("vocab_file", "merges_file", "tokenizer_file")
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    has_own_files: ClassVar[bool] = False
    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }
    options: ClassVar[Mapping[str, Any]] = {"add_prefix_space": False, "clean_up_tokenization_spaces": False}
    words_need_prefix_space: ClassVar[bool] = True


class CohereTokenizerFast(_EverywherePrefixSpace, BosEosTemplate):
    """The tokenizer of Cohere's Command models: tokenizer.json only."""

    vocab_files_names: ClassVar[dict[str, str]] = {"tokenizer_file": "tokenizer.json"}
    positional: ClassVar[tuple[str, ...]] = ("vocab_file", "merges_file", "tokenizer_file")
    padding_side: str = "left"
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 -- as in the base
    has_own_files: ClassVar[bool] = False
    tokens: ClassVar[Mapping[str, str | None]] = {
        "unk_token": "<UNK>",
        "bos_token": "<BOS_TOKEN>",
        "eos_token": "<|END_OF_TURN_TOKEN|>",
    }
    options: ClassVar[Mapping[str, Any]] = {
        "clean_up_tokenization_spaces": False,
        "add_bos_token": True,
        "add_eos_token": False,
        "use_default_system_prompt": False,
        "add_prefix_space": False,
    }
    words_need_prefix_space: ClassVar[bool] = True

    def apply_tool_use_template(
        self, conversation: list[dict[str, str]], tools: list[dict[str, Any]], **kwargs: Any
    ) -> Any:
        """`apply_chat_template` with the template named tool_use."""
        return self.apply_chat_template(conversation, chat_template="tool_use", tools=tools, **kwargs)

    def apply_grounded_generation_template(
        self,
        conversation: list[dict[str, str]],
        documents: list[dict[str, Any]],
        citation_mode: str = "accurate",
        **kwargs: Any,
    ) -> Any:
        """`apply_chat_template` with the template named rag; citation_mode is "accurate" or "fast"."""
        return self.apply_chat_template(
            conversation, chat_template="rag", documents=documents, citation_mode=citation_mode, **kwargs
        )


GPT2TokenizerFast = GPT2Tokenizer
CodeGenTokenizerFast = CodeGenTokenizer
Qwen2TokenizerFast = Qwen2Tokenizer
GPTNeoXTokenizer = GPTNeoXTokenizerFast
BloomTokenizer = BloomTokenizerFast
CohereTokenizer = CohereTokenizerFast
