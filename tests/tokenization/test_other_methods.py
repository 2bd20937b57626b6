"""Masks of special tokens, the decoder, advice and refusals: what programs written for transformers also call."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.tokenization import BertTokenizer, PreTrainedTokenizerFast, get_json_schema
from tests.tokenization.steps import TICKETS, step


@pytest.fixture
def unlimited(folders: Any) -> PreTrainedTokenizerFast:
    """A tokenizer of its own, whose model has no limit."""
    return PreTrainedTokenizerFast.from_pretrained(folders[TICKETS], model_max_length=None)


@pytest.fixture
def bert(folders: Any) -> BertTokenizer:
    """A tokenizer of its own."""
    return BertTokenizer.from_pretrained(folders["bert-base-uncased"])


def test_special_tokens_mask_without_special_tokens(same_as_457: Any) -> None:
    """As of transformers 4's Python class: which of the tokens that would be put around are special."""
    same_as_457(
        "bert-base-uncased",
        step("get_special_tokens_mask", [5, 6]),
        step("get_special_tokens_mask", []),
        step("get_special_tokens_mask", [5, 101], [7]),
        step("get_special_tokens_mask", [101, 5, 102], already_has_special_tokens=True),
        step("get_special_tokens_mask", [101], [5], already_has_special_tokens=True),
        cls="BertTokenizer",
    )


def test_special_tokens_mask_of_an_unknown_model(unlimited: PreTrainedTokenizerFast) -> None:
    """The generic class does not say which special tokens a model takes."""
    with pytest.raises(ArgumentError, match="already_has_special_tokens"):
        unlimited.get_special_tokens_mask([5, 6])


def test_decoder(bert: BertTokenizer) -> None:
    """The decoder makes text of tokens."""
    assert bert.decoder is not None
    assert bert.decoder.decode(["un", "##aff", "##able", "it"]) == "unaffable it"


def test_no_decoder(folders: Any, bert: BertTokenizer) -> None:
    """Without one, tokens are joined by spaces."""
    core = bert.backend_tokenizer.with_components('{"decoder": null}')
    twin = PreTrainedTokenizerFast(tokenizer_object=core)
    assert twin.decoder is None
    assert twin.convert_tokens_to_string(["un", "##aff"]) == "un ##aff"


def test_lengths_that_nothing_states(
    unlimited: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    """Cutting and padding to a limit that does not exist are not done, and said once each."""
    with caplog.at_level(logging.WARNING, logger="oxiformers"):
        unlimited("a", truncation=True, padding="max_length", verbose=False)
        assert caplog.text == ""
        unlimited("a", truncation=True)
        unlimited("a", truncation=True)
        assert caplog.text.count("Asking to truncate to max_length but no maximum length") == 1
        assert "Asking to pad" not in caplog.text
        unlimited("a", padding="max_length")
        unlimited("a", padding="max_length", truncation=True)
        assert caplog.text.count("Asking to pad to max_length but no maximum length") == 1
        caplog.clear()
        unlimited("a", truncation=True, max_length=4)
        unlimited(["a", "a b"], padding=True)
        assert caplog.text == ""


def test_advice_on_pad(bert: BertTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    """That padding in the call is faster is said once, to who calls `pad` alone."""
    with caplog.at_level(logging.WARNING, logger="oxiformers"):
        bert.prepare_for_model([5, 6], padding=True)
        bert.pad({"input_ids": [[1], [2, 3]]}, verbose=False)
        assert caplog.text == ""
        bert.pad({"input_ids": [[1], [2, 3]]})
        bert.pad({"input_ids": [[1], [2, 3]]})
        assert caplog.text.count("using the `__call__` method is faster") == 1


def test_refusals(bert: BertTokenizer) -> None:
    """What is not offered says so, and what to do."""
    with pytest.raises(UnsupportedError, match="tokenizers library"):
        bert.train_new_from_iterator(["a"], 100)
    for method in (bert.parse_response, bert.get_response_parser):
        with pytest.raises(UnsupportedError, match="decode the ids"):
            method("text", prefix="")


def test_auto_class() -> None:
    """A class of one's own may be registered; only AutoTokenizer loads tokenizers."""

    class Mine(BertTokenizer):
        """A class of one's own."""

    Mine.register_for_auto_class()
    assert Mine._auto_class == "AutoTokenizer"
    assert BertTokenizer._auto_class is None
    with pytest.raises(ArgumentError, match="AutoModel"):
        Mine.register_for_auto_class("AutoModel")


def test_schema_is_public() -> None:
    """get_json_schema is for users, too."""

    def double(number: int) -> int:
        """Doubles.

        Args:
            number: what to double
        """
        return number * 2

    assert get_json_schema(double)["function"]["parameters"]["required"] == ["number"]
