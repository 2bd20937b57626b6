"""tiktoken files: the bytes of each token and its rank; everything else is the family's to say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from oxiformers._core import AddedToken, Tokenizer, read_tiktoken
from oxiformers.tokenization.models.components import added_token, byte_level, pre_tokenizers, split
from oxiformers.tokenization.special_tokens import text_of

#: Where cl100k_base and the models after it cut a text.
CL100K_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: Where GPT-2 and Whisper cut a text.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def core_from_tiktoken(
    path: str | os.PathLike[str],
    special_tokens: Iterable[str | AddedToken] = (),
    pattern: str = CL100K_PATTERN,
    add_prefix_space: bool = False,
) -> Tokenizer:
    """Byte-level BPE over a tiktoken file.

    Args:
        path: the file.
        special_tokens: added after the file's tokens, in this order.
        pattern: where a text is cut before merging.
        add_prefix_space: whether a space is put in front of the text.
    """
    vocabulary, merges = read_tiktoken(os.fspath(path))
    first = max(vocabulary.values(), default=-1) + 1
    new = dict.fromkeys(text_of(token) for token in special_tokens)
    components = {
        "pre_tokenizer": pre_tokenizers(split(pattern), byte_level(add_prefix_space, use_regex=False)),
        "decoder": byte_level(),
        "post_processor": byte_level(trim_offsets=False),
        "added_tokens": [
            added_token(index, token, special=True) for index, token in enumerate(new, start=first)
        ],
    }
    return Tokenizer.from_bpe(vocabulary, merges, components=json.dumps(components), ignore_merges=True)
