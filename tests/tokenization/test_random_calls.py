"""Texts and arguments that nobody thought of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.tokenization.steps import TICKETS, call

PIECES = st.sampled_from(
    [
        "the",
        "Un",
        "aff",
        "able",
        " ",
        "  ",
        "\n",
        ",",
        ".",
        "'s",
        "n't",
        "[MASK]",
        "[SEP]",
        "é",
        "中",
        "🤗",
        "ß",
        "İ",
        "##",
        "_",
    ]
)
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.lists(PIECES, max_size=20).map("".join)
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "padding": st.sampled_from([True, False, "longest", "max_length", "do_not_pad"]),
        "truncation": st.sampled_from([True, False, "only_first", "longest_first", "do_not_truncate"]),
        "max_length": st.integers(6, 40),
        "stride": st.integers(0, 2),
        "pad_to_multiple_of": st.sampled_from([1, 4, 8]),
        "padding_side": st.sampled_from(["left", "right"]),
        "add_special_tokens": st.booleans(),
        "return_overflowing_tokens": st.booleans(),
        "return_offsets_mapping": st.booleans(),
        "return_special_tokens_mask": st.booleans(),
        "return_length": st.booleans(),
        "return_token_type_ids": st.booleans(),
        "return_attention_mask": st.booleans(),
        "return_tensors": st.sampled_from(["pt", "np", None]),
        "split_special_tokens": st.booleans(),
    },
)
PROFILE = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def no_rows_lost(options: dict[str, Any]) -> None:
    """Leaves out what torch makes of ``[[], [5]]``: an empty tensor of two rows, where an error is due."""
    whole = options.get("add_special_tokens", True) or options.get("padding", False) in (
        True,
        "longest",
        "max_length",
    )
    assume(whole or options.get("return_tensors") != "pt")


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-cased", TICKETS])
@PROFILE
@given(texts=st.lists(TEXT, min_size=1, max_size=5), options=OPTIONS)
def test_batches(name: str, same_as_524: Any, texts: list[str], options: dict[str, Any]) -> None:
    """A batch, and the first text alone."""
    no_rows_lost(options)
    same_as_524(name, call(texts, **options), call(texts[0], **options))


@pytest.mark.parametrize("name", ["bert-base-uncased", TICKETS])
@PROFILE
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), options=OPTIONS)
def test_pairs(name: str, same_as_524: Any, pairs: list[tuple[str, str]], options: dict[str, Any]) -> None:
    """Pairs, as two lists."""
    no_rows_lost(options)
    same_as_524(name, call([a for a, _ in pairs], [b for _, b in pairs], **options))


@PROFILE
@given(
    rows=st.lists(st.lists(TEXT, max_size=6), min_size=1, max_size=3),
    options=OPTIONS,
)
def test_words(same_as_524: Any, rows: list[list[str]], options: dict[str, Any]) -> None:
    """Words, some of which hold spaces or nothing."""
    no_rows_lost(options)
    then = [{"do": "word_ids", "args": [0]}, {"do": "encodings"}]
    same_as_524("bert-base-uncased", call(rows, is_split_into_words=True, then=then, **options))
