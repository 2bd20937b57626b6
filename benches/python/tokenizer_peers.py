"""Other tokenizer libraries behind one call each: texts to ids, by whatever is fastest there.

Each function takes the path of a tokenizer.json and returns a callable for a batch of texts. What that returns keeps
the library's own form; ``lists`` makes comparable lists of ids of it, outside of any timing. Special tokens are left
out everywhere, as some libraries never add them. A library that can't load a file raises.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benches.python.common import ROOT

Texts = list[str]
Encode = Callable[[Texts], Any]
#: Where `make bench-env` puts the release candidate of tokenizers, which has the name of the release.
NEXT = ROOT / ".venv-bench/tokenizers-next"


def oxiformers(path: str) -> Encode:
    from oxiformers._core import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    return lambda texts: tokenizer.encode_batch_flat(texts, add_special_tokens=False)


def tokenizers(path: str) -> Encode:
    import tokenizers as library

    tokenizer = library.Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda texts: tokenizer.encode_batch_fast(texts, add_special_tokens=False)


def tokenizers_next(path: str) -> Encode:
    tokenizer = _next().Tokenizer.from_file(path)
    return lambda texts: tokenizer.encode_batch(
        texts, add_special_tokens=False, padding=None, truncation=None
    )


def _next() -> Any:
    """The release candidate beside the release: loaded under its name, then put away."""
    if "tokenizers_next" not in sys.modules:
        others = {
            name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "tokenizers"
        }
        sys.path.insert(0, str(NEXT))
        try:
            sys.modules["tokenizers_next"] = importlib.import_module("tokenizers")
        finally:
            sys.path.remove(str(NEXT))
            for name in [name for name in sys.modules if name.split(".")[0] == "tokenizers"]:
                del sys.modules[name]
            sys.modules.update(others)
    return sys.modules["tokenizers_next"]


def tokie(path: str) -> Encode:
    import tokie as library

    tokenizer = library.Tokenizer.from_json(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda texts: tokenizer.encode_batch_flat(texts, add_special_tokens=False)


def gigatoken(path: str) -> Encode:
    import gigatoken as library

    return library.Tokenizer(path).encode_batch


def fastokens(path: str) -> Encode:
    import fastokens as library

    tokenizer = library.Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer.encode_batch_flat


def iree_tokenizer(path: str) -> Encode:
    from iree.tokenizer import Tokenizer

    return Tokenizer.from_file(path).encode_batch_to_array


def kitoken(path: str) -> Encode:
    from kitoken import Kitoken

    tokenizer = Kitoken.from_tokenizers_file(path)
    return lambda texts: tokenizer.encode_all(texts, False)


def tiktoken(path: str) -> Encode:
    """From the vocabulary and the pattern of a byte-level tokenizer.json whose ids are its ranks."""
    import tiktoken as library

    file = json.loads(Path(path).read_text(encoding="utf-8"))
    if file["model"]["type"] != "BPE" or file["normalizer"] is not None:
        raise ValueError("byte-level BPE without a normalizer only")
    steps = file["pre_tokenizer"].get("pretokenizers", [file["pre_tokenizer"]])
    pattern = next((step["pattern"]["Regex"] for step in steps if step["type"] == "Split"), None)
    if not any(step["type"] == "ByteLevel" for step in steps):
        raise ValueError("byte-level BPE only")
    if pattern is None:
        pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    added = {token["content"] for token in file["added_tokens"]}
    alphabet = _alphabet()
    ranks = {
        bytes(alphabet[c] for c in token): rank
        for token, rank in file["model"]["vocab"].items()
        if token not in added
    }
    encoding = library.Encoding(
        Path(path).parent.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
    )
    threads = os.cpu_count() or 1
    return lambda texts: encoding.encode_ordinary_batch(texts, num_threads=threads)


def _alphabet() -> dict[str, int]:
    """The byte each character of GPT-2's alphabet stands for."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(0x100 + at): byte for at, byte in enumerate(hidden)}


def sentencepiece(path: str) -> Encode:
    """From the model file beside the tokenizer.json."""
    import sentencepiece as library

    names = ("tokenizer.model", "spiece.model", "spm.model")
    found = [file for name in names if (file := Path(path).parent / name).exists()]
    if not found or Path(path).parent.name == "llama-3":
        raise ValueError("no sentencepiece model")
    model = library.SentencePieceProcessor(model_file=str(found[0]))
    threads = os.cpu_count() or 1
    return lambda texts: model.encode(texts, num_threads=threads)


PEERS: dict[str, Callable[[str], Encode]] = {
    "tokenizers": tokenizers,
    "tokenizers 1.0.0rc3": tokenizers_next,
    "tokie": tokie,
    "gigatoken": gigatoken,
    "fastokens": fastokens,
    "iree-tokenizer": iree_tokenizer,
    "kitoken": kitoken,
    "tiktoken": tiktoken,
    "sentencepiece": sentencepiece,
}


def lists(found: Any) -> Iterator[list[int]]:
    """A list of ids for each text, from whatever a library returned."""
    if isinstance(found, tuple):
        ids, places = found
        if isinstance(ids, bytes):
            ids, places = np.frombuffer(ids, np.uint32), np.frombuffer(places, np.uint64)
            places = places[1:]
        elif len(places) and int(places[0]) == 0 and int(places[-1]) == len(ids):
            places = places[1:]
        else:
            places = np.cumsum(places)
        start = 0
        for end in places.tolist():
            yield ids[start:end].tolist()
            start = end
    elif hasattr(found, "to_list"):
        yield from found.to_list()
    else:
        yield from (one.ids if hasattr(one, "ids") else list(one) for one in found)
