"""The components of a tokenizer as tokenizer.json writes them: normalizers, pre-tokenizers, templates, decoders."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from oxiformers._core import Tokenizer

Component = dict[str, Any]

#: SentencePiece's mark of a space.
METASPACE = "▁"


# --- normalizers


def sequence(kind: str, parts: Sequence[Component]) -> Component:
    """Several components one after another; `kind` is the key the list has: "normalizers", "decoders", ..."""
    return {"type": "Sequence", kind: list(parts)}


def normalizers(*parts: Component | None) -> Component:
    """Those normalizers that are not None, one after another."""
    return sequence("normalizers", [part for part in parts if part is not None])


def replace(pattern: str, content: str, *, regex: bool = False) -> Component:
    """Each match of a text or regular expression replaced; a normalizer, and for a text a decoder as well."""
    return {"type": "Replace", "pattern": {"Regex" if regex else "String": pattern}, "content": content}


def precompiled(charsmap: bytes) -> Component | None:
    """SentencePiece's table of characters; None where it is empty."""
    if not charsmap:
        return None
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode("ascii")}


def strip(left: bool, right: bool) -> Component:
    """Whitespace taken off the ends."""
    return {"type": "Strip", "strip_left": left, "strip_right": right}


def prepend(text: str) -> Component:
    """A text put in front."""
    return {"type": "Prepend", "prepend": text}


def bert_normalizer(
    lowercase: bool, strip_accents: bool | None = None, handle_chinese_chars: bool = True
) -> Component:
    """BERT's normalizer."""
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": handle_chinese_chars,
        "strip_accents": strip_accents,
        "lowercase": lowercase,
    }


# --- pre-tokenizers


def byte_level(
    add_prefix_space: bool = True, *, trim_offsets: bool = True, use_regex: bool = True
) -> Component:
    """ByteLevel: a pre-tokenizer, post-processor or decoder."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": trim_offsets,
        "use_regex": use_regex,
    }


def metaspace(prepend_scheme: str, *, split: bool = True) -> Component:
    """Metaspace: a pre-tokenizer or decoder. `prepend_scheme` is "always", "first" or "never"."""
    return {"type": "Metaspace", "replacement": METASPACE, "prepend_scheme": prepend_scheme, "split": split}


def split(pattern: str, behavior: str = "Isolated", *, regex: bool = True, invert: bool = False) -> Component:
    """Split: a text cut at the matches of a pattern."""
    return {
        "type": "Split",
        "pattern": {"Regex" if regex else "String": pattern},
        "behavior": behavior,
        "invert": invert,
    }


def pre_tokenizers(*parts: Component) -> Component:
    """Several pre-tokenizers one after another."""
    return sequence("pretokenizers", parts)


# --- post-processors


def template(single: str, pair: str | None, ids: Mapping[str, int | None]) -> Component:
    """Special tokens around the sequences.

    Args:
        single: tokens and `$A` separated by spaces, each with `:` and its type id where that is not 0.
        pair: the same for two sequences, with `$B`; None for `$A:0 $B:1`.
        ids: the special tokens' ids; those without one are left out.
    """
    pieces = {"single": _pieces(single), "pair": _pieces("$A:0 $B:1" if pair is None else pair)}
    tokens = {token: {"id": token, "ids": [index], "tokens": [token]} for token, index in ids.items()}
    return {"type": "TemplateProcessing", **pieces, "special_tokens": tokens}


def _pieces(text: str) -> list[Component]:
    pieces = []
    for part in text.split(" "):
        name, colon, type_id = part.rpartition(":")
        if not (colon and type_id.isdecimal()):
            name, type_id = part, "0"
        if name in ("$A", "$B"):
            pieces.append({"Sequence": {"id": name[1:], "type_id": int(type_id)}})
        else:
            pieces.append({"SpecialToken": {"id": name, "type_id": int(type_id)}})
    return pieces


# --- decoders


def decoders(*parts: Component) -> Component:
    """Several decoders one after another."""
    return sequence("decoders", parts)


WORDPIECE_DECODER: Component = {"type": "WordPiece", "prefix": "##", "cleanup": True}
BERT_PRE_TOKENIZER: Component = {"type": "BertPreTokenizer"}
#: Pieces with byte fallback to text; a space put in front of the text is taken off again by `strip_first_space`.
BYTE_FALLBACK_DECODERS: tuple[Component, ...] = (
    replace(METASPACE, " "),
    {"type": "ByteFallback"},
    {"type": "Fuse"},
)
STRIP_FIRST_SPACE: Component = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


# --- changing a core


def added_token(
    index: int, content: str, *, special: bool, normalized: bool = False, **flags: bool
) -> Component:
    """An entry of added_tokens."""
    sides = {"single_word": False, "lstrip": False, "rstrip": False, **flags}
    return {"id": index, "content": content, **sides, "normalized": normalized, "special": special}


def with_components(core: Tokenizer, **components: Component | None) -> Tokenizer:
    """The core with those components in place of its own; None takes one away."""
    return core.with_components(json.dumps(components))


def components_of(core: Tokenizer) -> dict[str, Any]:
    """The core's components and its model's options, as tokenizer.json writes them."""
    found: dict[str, Any] = json.loads(core.components())
    return found


def with_prefix_space(core: Tokenizer, add_prefix_space: bool) -> Tokenizer:
    """The core with that `add_prefix_space` in its pre-tokenizer, where that has the option."""
    pre_tokenizer = components_of(core)["pre_tokenizer"] or {}
    if pre_tokenizer.get("add_prefix_space", add_prefix_space) == add_prefix_space:
        return core
    return with_components(core, pre_tokenizer={**pre_tokenizer, "add_prefix_space": add_prefix_space})
