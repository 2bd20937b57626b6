"""Unigram models beside tokenizers': ids, tokens and places on random models, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from oxiformers._core import Tokenizer
from oxiformers.errors import ArgumentError, FormatError

MANY = settings(max_examples=400, deadline=None)
# Few values, so that many segmentations have equal sums.
SCORES = st.one_of(st.sampled_from([0, -1, -2, -0.5, -1.5, -0.1, -0.2, -0.3, 1]), st.floats(-20, 0))


@dataclass
class _Case:
    model: dict[str, Any]
    texts: list[str]
    # Printed by hypothesis where a case fails.
    file: str = field(init=False)

    def __post_init__(self) -> None:
        self.file = json.dumps({"version": "1.0", "model": self.model})


@st.composite
def _cases(draw: st.DrawFn) -> _Case:
    alphabet = draw(st.sampled_from(["ab", "abc", "abé中", "aé中😀x", " ab▁"]))
    part = st.text(alphabet=alphabet, max_size=5)
    pieces = draw(st.lists(part, max_size=20, unique=draw(st.booleans())))
    pieces += draw(st.sampled_from([[], ["<unk>"], ["<unk>", "", "<s>"]]))
    fallback = draw(st.booleans())
    if fallback:
        absent = draw(st.sets(st.sampled_from(["<0x78>", "<0xC3>", "<0x61>", "<0x80>"])))
        pieces += [token for token in (f"<0x{byte:02X}>" for byte in range(256)) if token not in absent]
    model: dict[str, Any] = {
        "type": "Unigram",
        "unk_id": draw(st.one_of(st.none(), st.integers(0, len(pieces) + 1))),
        "vocab": [[piece, draw(SCORES)] for piece in pieces],
        "byte_fallback": fallback,
    }
    if draw(st.integers(0, 4)) == 0:
        del model["type"]
    if not fallback and draw(st.booleans()):
        del model["byte_fallback"]
    texts = draw(st.lists(st.text(alphabet=alphabet + "xéж\n😀", max_size=14), min_size=3, max_size=8))
    long = draw(st.text(alphabet=alphabet, min_size=1, max_size=10)) * 80
    return _Case(model, [*texts, long, *pieces[:5], "<unk>a<unk>"])


def _loaded(file: str) -> tokenizers.Tokenizer | None:
    try:
        return tokenizers.Tokenizer.from_str(file)
    except Exception as error:
        if "Unable to load vocab" not in str(error) and "untagged" not in str(error):
            raise
        return None


@MANY
@given(_cases())
def test_random_models(case: _Case) -> None:
    reference = _loaded(case.file)
    if reference is None:
        with pytest.raises(FormatError):
            Tokenizer.from_str(case.file)
        return
    ours = Tokenizer.from_str(case.file)
    for text in case.texts:
        try:
            expected = reference.encode(text, add_special_tokens=False)
        except Exception as error:
            if "unk_id" not in str(error):
                raise
            with pytest.raises(ArgumentError, match="unk_id"):
                ours.encode_batch([text])
            continue
        # Twice: what is remembered of a word must not differ from what was found.
        for _ in range(2):
            encoding = ours.encode_batch([text], add_special_tokens=False)[0]
            assert encoding.ids == expected.ids, (case, text)
            assert encoding.tokens == expected.tokens, (case, text)
            assert encoding.offsets == expected.offsets, (case, text)
            found = ours.encode_batch_lists([text], add_special_tokens=False)["input_ids"]
            assert found == [expected.ids], (case, text)
    assert json.loads(ours.to_str())["model"] == json.loads(reference.to_str())["model"]


@pytest.mark.parametrize(
    ("vocab", "place"),
    [
        ([["a", -1.0], ["b"]], r"model.vocab\[1\]"),
        ([["a", -1.0, 2]], r"model.vocab\[0\]"),
        ([["a", "b"]], r"model.vocab\[0\]"),
        ([{"a": 1}], r"model.vocab\[0\]"),
        ({"a": 1}, "model.vocab"),
        (None, "model.vocab"),
    ],
)
def test_vocabularies_that_are_wrong(vocab: Any, place: str) -> None:
    with pytest.raises(FormatError, match=place):
        Tokenizer.from_str(json.dumps({"model": {"type": "Unigram", "unk_id": None, "vocab": vocab}}))


def test_arguments_that_are_wrong() -> None:
    with pytest.raises(ArgumentError, match="unk_id"):
        Tokenizer.from_unigram([("a", -1.0)], unk_id=1)
    with pytest.raises(ArgumentError, match=r"vocab\[1\].*finite"):
        Tokenizer.from_unigram([("a", -1.0), ("b", float("nan"))], unk_id=0)
