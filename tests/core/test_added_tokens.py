"""Added tokens with random flags, found in random text beside tokenizers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import FormatError

RELAXED = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

LETTERS = ["a", "b", "A", "é", "E\u0301", "\u0301", "<", ">", "_", "中", " ", "  ", "\t", "\n", "\u3000"]
CONTENTS = st.lists(st.sampled_from(LETTERS), max_size=4).map("".join)
TOKENS = st.lists(
    st.fixed_dictionaries({"content": CONTENTS, **{flag: st.booleans() for flag in FLAGS}}), max_size=6
)
NORMALIZERS = [
    None,
    {"type": "Lowercase"},
    {"type": "NFC"},
    {"type": "NFD"},
    {"type": "StripAccents"},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "ByteLevel"},
    {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    },
]


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("content", [" ", "Ġ", "é", "über", "日本", "a b"])
def test_added_tokens_where_the_normalizer_writes_bytes(content: str, normalized: bool) -> None:
    """They are searched for as bytes, and decode to what was added."""
    found = json.loads(tree(None, None, {"[UNK]": 0}, []))
    found["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "ByteLevel"}]}
    found["decoder"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    tokenizer = Tokenizer.from_str(json.dumps(found))
    tokenizer = tokenizer.with_added_tokens([AddedToken(content, normalized=normalized)])
    (encoding,) = tokenizer.encode_batch([content])
    assert encoding.ids == [1]
    assert tokenizer.decode(encoding.ids, False) == content
    assert tokenizer.decode_tokens([tokenizer.id_to_token(1) or ""]) == content
    stream = tokenizer.stream(False)
    assert stream.step(1) == content


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_added_tokens_of_byte_characters(special: bool, sequence: bool, known: bool) -> None:
    """They decode to what was added, whether or not the model has the same text for bytes."""
    alphabet = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 324))]
    vocabulary = {token: index for index, token in enumerate([*alphabet, "Ġa", *(["Ã©t"] if known else [])])}
    found = json.loads(tree(None, None, {"[UNK]": 0}, []))
    found["model"] = {"type": "BPE", "vocab": vocabulary, "merges": []}
    found["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    found["decoder"] = {"type": "Sequence", "decoders": [byte_level]} if sequence else byte_level
    plain = Tokenizer.from_str(json.dumps(found))
    contents = ["über", "é", "Ġx", "ÿ", "¿Qué", "Ã©t", "naïve日"]
    ours = plain.with_added_tokens([AddedToken(content, special=special) for content in contents])
    for text in (
        "über",
        "é",
        "a é b",
        "ééé",
        "über ÿÿ é.",
        "¿Qué tal, über é?",
        "日é本ÿ",
        "逢 é 逢é逢",
        "Ġx Ġ",
        "naïve日 naïve",
        "ò̀é",
    ):
        (encoding,) = ours.encode_batch([text])
        assert ours.decode(encoding.ids, False) == text
        assert ours.decode_batch([encoding.ids] * 2, False) == [text] * 2
        tokens = [ours.id_to_token(index) or "" for index in encoding.ids]
        assert ours.decode_tokens(tokens) == text
        stream = ours.stream(False)
        pieces = [stream.step(index) or "" for index in [*encoding.ids, vocabulary["a"]]]
        assert "".join(pieces) == text + "a"
    # what the model writes so is what the model means by it, where that is text
    (encoding,) = ours.encode_batch(["Ã©t"])
    assert ours.decode(encoding.ids, False) == ("ét" if known else "Ã©t")
    # what is no character remains none
    broken = [vocabulary[token] for token in ("Ã", "a", "â", "Ĥ")]
    assert ours.decode(broken, False) == "�a�" == plain.decode(broken, False)


def tree(
    normalizer: Any, pre_tokenizer: str | None, vocab: dict[str, int], added: list[dict[str, Any]]
) -> str:
    parts: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer and {"type": pre_tokenizer},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"},
    }
    return json.dumps(parts)


def forms(theirs: tokenizers.Tokenizer, tokens: list[dict[str, Any]]) -> list[str]:
    """What those tokens are found by that are looked for in normalized text."""
    normalizer = theirs.normalizer
    contents = {token["content"] for token in tokens if token["normalized"] and token["content"]}
    return [normalizer.normalize_str(content) if normalizer else content for content in contents]


@RELAXED
@given(
    normalizer=st.sampled_from(NORMALIZERS),
    pre_tokenizer=st.sampled_from([None, "Whitespace", "BertPreTokenizer"]),
    known=st.lists(CONTENTS.filter(bool), max_size=3),
    hole=st.none() | st.integers(5, 9),
    in_file=TOKENS,
    ids=st.lists(st.sampled_from([0, 1, 4, 7, 100]), min_size=6, max_size=6),
    later=st.lists(TOKENS, max_size=2),
    fillers=st.lists(st.lists(st.sampled_from(LETTERS), max_size=3).map("".join), min_size=8, max_size=8),
    order=st.permutations(range(8)),
)
def test_random_tokens(
    normalizer: Any,
    pre_tokenizer: str | None,
    known: list[str],
    hole: int | None,
    in_file: list[dict[str, Any]],
    ids: list[int],
    later: list[list[dict[str, Any]]],
    fillers: list[str],
    order: list[int],
) -> None:
    vocab = {token: index for index, token in enumerate(dict.fromkeys(["[UNK]", *known]))}
    if hole is not None:
        vocab["zz"] = hole
    file = tree(
        normalizer,
        pre_tokenizer,
        vocab,
        [{"id": id, **token} for id, token in zip(ids, in_file, strict=False)],
    )
    everything = in_file + [token for tokens in later for token in tokens]
    found_by = forms(tokenizers.Tokenizer.from_str(tree(normalizer, None, vocab, [])), everything)
    # Of equal forms tokenizers finds one or another; an empty one is found nowhere without end.
    assume("" not in found_by and len(set(found_by)) == len(found_by))

    theirs, ours = tokenizers.Tokenizer.from_str(file), Tokenizer.from_str(file)
    for tokens in later:
        theirs.add_tokens([tokenizers.AddedToken(**token) for token in tokens])
        ours = ours.with_added_tokens([AddedToken(**token) for token in tokens])
    assert ours.vocab(True) == theirs.get_vocab(True)
    assert ours.vocab_size(True) == theirs.get_vocab_size(True)
    assert json.loads(ours.to_str())["added_tokens"] == json.loads(theirs.to_str())["added_tokens"]
    for id in (*range(12), 100, 101):
        assert ours.id_to_token(id) == theirs.id_to_token(id)

    contents = [token["content"] for token in everything] or ["a"]
    parts = [filler + contents[index % len(contents)] for index, filler in zip(order, fillers, strict=True)]
    for text in ("".join(parts), "".join(parts[:3]), "".join(fillers)):
        try:
            expected = theirs.encode(text, add_special_tokens=False)
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            continue
        found = ours.encode_batch([text], add_special_tokens=False)[0]
        for field in ("ids", "offsets", "tokens", "word_ids"):
            assert getattr(found, field) == getattr(expected, field), (field, text)
        assert ours.encode_batch_flat([text], False)[0].tolist() == expected.ids
        for skip in (False, True):
            assert ours.decode(expected.ids, skip) == theirs.decode(expected.ids, skip)


def test_a_file_with_ids_of_its_own_opinion() -> None:
    """Ids follow from the vocabulary and the order; those in the file are not believed."""
    flags = dict.fromkeys(FLAGS, False)
    added = [
        {"id": id, "content": content, **flags}
        for id, content in ((7, "x"), (0, "y"), (7, "[UNK]"), (3, "x"))
    ]
    file = tree(None, "Whitespace", {"[UNK]": 0, "a": 1}, added)
    theirs = tokenizers.Tokenizer.from_str(file)
    assert (
        Tokenizer.from_str(file).vocab(True) == theirs.get_vocab(True) == {"[UNK]": 0, "a": 1, "x": 2, "y": 3}
    )


@pytest.mark.parametrize("missing", ["id", "content", *FLAGS])
def test_a_token_without_a_key(missing: str) -> None:
    token = {"id": 1, "content": "x", **dict.fromkeys(FLAGS, False)}
    del token[missing]
    with pytest.raises(FormatError, match=rf"added_tokens\[0\]\.{missing}"):
        Tokenizer.from_str(tree(None, None, {"[UNK]": 0}, [token]))
