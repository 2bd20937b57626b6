"""Random models of tokenizer.json, and models that show every character that reaches them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

# The characters that byte-level tokenizers write for the 256 bytes.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTE_CHARACTERS = [
    chr(byte) if byte in _PRINTABLE else chr(256 + byte - sum(other < byte for other in _PRINTABLE))
    for byte in range(256)
]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["[UNK]", "[CLS]", "[SEP]"]
LETTERS = [*"abcdeé中ж ▁_'.1Aß", "\u0301", "👍", "\u200d", "\n", "Ġ"]


def forms(texts: Iterable[str]) -> set[str]:
    """The characters of the texts and of what normalizers commonly make of them."""
    found: set[str] = set()
    for text in texts:
        lower = text.lower()
        found.update(text, lower)
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            found.update(unicodedata.normalize(form, text), unicodedata.normalize(form, lower))
    return found


def visible_model(texts: Iterable[str]) -> Json:
    """WordPiece over single characters: its tokens spell out what normalization and splitting made."""
    characters = sorted({*forms(texts), *BYTE_CHARACTERS, *" ▁_|éabxy中👍"})
    tokens = [*SPECIAL, *characters, *(f"##{character}" for character in characters)]
    return {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100_000,
        "vocab": {token: id for id, token in enumerate(dict.fromkeys(tokens))},
    }


@st.composite
def _numbered(draw: st.DrawFn, tokens: list[str]) -> dict[str, int]:
    """Ids in order; at times shuffled, at times with holes."""
    ids = list(range(len(tokens)))
    way = draw(st.integers(0, 7))
    if way == 0:
        draw(st.randoms(use_true_random=False)).shuffle(ids)
    elif way == 1:
        ids = [2 * id + 3 for id in ids]
    return dict(zip(tokens, ids, strict=True))


@st.composite
def bpe(draw: st.DrawFn, *, byte_level: bool | None = None) -> Json:
    """A vocabulary and merges that build on each other; now and then one that makes no sense."""
    if byte_level is None:
        byte_level = draw(st.booleans())
    prefix = "" if byte_level else draw(st.sampled_from(["", "", "", "##", "@"]))
    suffix = draw(st.sampled_from(["", "", "", "</w>", "!"]))
    letters = (
        BYTE_CHARACTERS if byte_level else draw(st.lists(st.sampled_from(LETTERS), min_size=1, unique=True))
    )
    unknown = draw(st.sampled_from([None, "[UNK]", "[UNK]", "missing"]))
    fallback = draw(st.sampled_from([[], [], BYTE_TOKENS, BYTE_TOKENS[::2], ["<0x0A>", "<0xC3>", "<0xA9>"]]))
    tokens = dict.fromkeys([*SPECIAL, *fallback, *letters])
    if prefix:
        tokens |= dict.fromkeys(prefix + letter for letter in letters)
    if suffix:
        tokens |= dict.fromkeys(letter + suffix for letter in letters)
        tokens |= dict.fromkeys(prefix + letter + suffix for letter in letters) if prefix else {}
    merges: list[tuple[str, str]] = []
    parts = [token for token in tokens if token not in SPECIAL and token not in fallback]
    places = st.tuples(st.integers(0, 999), st.integers(0, 999))
    common = [letter for letter in "abcdehelotĠ " if letter in letters]
    for left_at, right_at in draw(st.lists(places, max_size=20)):
        pool = [
            *parts,
            *common * 4,
            *(right for _, right in merges),
            *(token for token in parts[len(letters) :]),
        ]
        left, right = pool[left_at % len(pool)], pool[right_at % len(pool)]
        if (suffix and left.endswith(suffix)) or (prefix and not right.startswith(prefix)):
            continue
        merged = left + right.removeprefix(prefix)
        merges.append((left, right))
        tokens.setdefault(merged)
        parts.append(merged)
    if draw(st.integers(0, 15)) == 0:
        merges.append(("a", "no such token"))
    listed = [token for token in tokens if unknown == "[UNK]" or token != "[UNK]" or draw(st.booleans())]
    legacy = draw(st.integers(0, 3)) == 0
    return {
        "type": "BPE",
        "dropout": draw(st.sampled_from([None, None, 0.0])),
        "unk_token": unknown,
        "continuing_subword_prefix": prefix or draw(st.sampled_from([None, ""])),
        "end_of_word_suffix": suffix or draw(st.sampled_from([None, ""])),
        "fuse_unk": draw(st.booleans()),
        "byte_fallback": draw(st.booleans()),
        "ignore_merges": draw(st.booleans()),
        "vocab": draw(_numbered(listed)),
        "merges": [f"{left} {right}" for left, right in merges]
        if legacy
        else [list(merge) for merge in merges],
    }


TOKEN = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=4).map("".join)


@st.composite
def unigram(draw: st.DrawFn) -> Json:
    """Scores on a coarse grid, so that many ways to cut a word are equally good."""
    pieces = draw(st.lists(st.one_of(TOKEN, st.sampled_from(LETTERS)), max_size=30, unique=True))
    scores = [-draw(st.integers(0, 24)) / 4 for _ in pieces]
    fallback = draw(st.sampled_from([[], [], BYTE_TOKENS, ["<0x0A>", "<0xC3>", "<0xA9>"]]))
    vocab = [["[UNK]", 0.0], ["[CLS]", 0.0], ["[SEP]", 0.0], *([token, 0.0] for token in fallback)]
    vocab += [[piece, score] for piece, score in zip(pieces, scores, strict=True)]
    return {
        "type": "Unigram",
        "unk_id": draw(st.sampled_from([0, 0, 0, 0, 1, None, len(vocab) - 1, len(vocab)])),
        "vocab": vocab,
        "byte_fallback": draw(st.booleans()),
    }


@st.composite
def wordpiece(draw: st.DrawFn) -> Json:
    prefix = draw(st.sampled_from(["##", "##", "##", "", "@", "é"]))
    tokens = draw(st.lists(TOKEN, max_size=25, unique=True))
    continuing = [prefix + token for token in draw(st.lists(TOKEN, max_size=25, unique=True))]
    unknown = draw(st.sampled_from(["[UNK]", "[UNK]", "[UNK]", "missing"]))
    return {
        "type": "WordPiece",
        "unk_token": unknown,
        "continuing_subword_prefix": prefix,
        "max_input_chars_per_word": draw(st.sampled_from([100, 100, 3, 0, 10])),
        "vocab": draw(_numbered(list(dict.fromkeys([*SPECIAL, *LETTERS, *tokens, *continuing])))),
    }


@st.composite
def wordlevel(draw: st.DrawFn) -> Json:
    tokens = draw(st.lists(st.one_of(TOKEN, st.sampled_from(["hello", "Hello", "the", "12"])), max_size=25))
    unknown = draw(st.sampled_from(["[UNK]", "[UNK]", "[UNK]", "missing"]))
    listed = list(dict.fromkeys([*SPECIAL, *tokens]))
    return {"type": "WordLevel", "vocab": draw(_numbered(listed)), "unk_token": unknown}


SIMPLE_MODELS: dict[str, st.SearchStrategy[Json]] = {
    "BPE": st.one_of(bpe(), bpe()),
    "Unigram": unigram(),
    "WordPiece": wordpiece(),
    "WordLevel": wordlevel(),
}
MODEL = st.one_of(bpe(), *SIMPLE_MODELS.values())


def tokens_of(model: Json) -> list[str]:
    """The tokens that texts can be made of: without the markers of continuations and ends."""
    vocab = model["vocab"]
    tokens = [entry[0] for entry in vocab] if isinstance(vocab, list) else list(vocab)
    prefix, suffix = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    if model["type"] == "BPE" and len(tokens) > 200:
        tokens = [token for token in tokens if token not in BYTE_TOKENS and token not in BYTE_CHARACTERS]
    tokens = [token.removeprefix(prefix or "").removesuffix(suffix or "") for token in tokens]
    return [token for token in dict.fromkeys(tokens) if token] or ["a"]
