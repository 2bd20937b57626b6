"""BatchEncoding: a mapping, attributes, tensors, and the way between tokens, words and characters."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from oxiformers.errors import ArgumentError
from oxiformers.tokenization import BatchEncoding, BertTokenizerFast, CharSpan, TokenSpan
from tests.tokenization.steps import TICKETS, call

TEXT = "Unaffable naïve 🤗 people don't [MASK] 中文 embeddings"
PAIR = "A second, longer text: supercalifragilistic!"
EVERY_METHOD = (
    "token_to_sequence",
    "token_to_word",
    "word_to_tokens",
    "token_to_chars",
    "char_to_token",
    "word_to_chars",
    "char_to_word",
)


def probes(rows: int) -> list[dict[str, Any]]:
    """Steps that ask everything a batch can be asked."""
    steps: list[dict[str, Any]] = [{"do": name} for name in ("encodings", "is_fast", "n_sequences")]
    for row in range(rows):
        steps += [{"do": name, "args": [row]} for name in ("tokens", "sequence_ids", "word_ids")]
        steps += [{"do": method, "args": [row, index]} for method in EVERY_METHOD for index in range(24)]
        steps += [
            {"do": method, "args": [row, index, 1]}
            for method in ("word_to_tokens", "char_to_token", "word_to_chars", "char_to_word")
            for index in range(12)
        ]
    return [*steps, *({"do": method, "args": [index]} for method in EVERY_METHOD for index in range(12))]


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-cased", TICKETS])
@pytest.mark.parametrize(
    "arguments",
    [
        ([[TEXT, PAIR, ""]], {"padding": True}, 3),
        ([[TEXT], [PAIR]], {"padding": "max_length", "max_length": 40, "padding_side": "left"}, 1),
        ([TEXT], {}, 1),
        ([TEXT, PAIR], {"return_tensors": "pt", "truncation": True, "max_length": 14}, 1),
        (
            [[TEXT, PAIR]],
            {"max_length": 9, "stride": 3, "return_overflowing_tokens": True, "truncation": True},
            4,
        ),
        ([[TEXT.split(), PAIR.split()]], {"is_split_into_words": True, "add_special_tokens": False}, 2),
    ],
    ids=["batch", "pair", "text", "cut-pair", "overflow", "words"],
)
def test_everything_it_can_be_asked(name: str, arguments: Any, same_as_524: Any, same_as_457: Any) -> None:
    """Every method, at every place, on plain, cut, padded and overflowing rows."""
    args, kwargs, rows = arguments
    job = call(*args, then=probes(rows), **kwargs)
    same_as_524(name, job)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    same_as_457(name, job, kwargs={"model_input_names": names})


def test_items(same_as_524: Any) -> None:
    """Items by name, by row and by slice."""
    then = [{"do": "__getitem__", "args": [key]} for key in ("input_ids", 0, 1, -1, "absent", 7)]
    then += [{"do": "keys"}, {"do": "__len__"}, {"do": "get", "args": ["absent", 4]}, {"do": "input_ids"}]
    then += [{"do": "absent"}, {"do": "__contains__", "args": ["input_ids"]}]
    same_as_524("bert-base-uncased", call(["a b", "c"], then=then), call("a b c", then=then))


@pytest.fixture(scope="module")
def tokenizer(folders: Any) -> BertTokenizerFast:
    """A tokenizer of this package."""
    return BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])


def test_it_is_a_mapping_with_attributes(tokenizer: BertTokenizerFast) -> None:
    """Names unpack, attributes read, and a missing one is an AttributeError."""
    batch = tokenizer(["one two", "three"], padding=True, return_tensors="pt")
    assert dict(**batch).keys() == {"input_ids", "token_type_ids", "attention_mask"}
    assert batch.input_ids is batch["input_ids"]
    assert batch.input_ids.dtype == torch.int64
    with pytest.raises(AttributeError, match="absent"):
        _ = batch.absent
    del batch["token_type_ids"]
    assert list(batch) == ["input_ids", "attention_mask"]
    batch["labels"] = torch.tensor([0, 1])
    assert batch.labels.tolist() == [0, 1]


def test_spans_are_named(tokenizer: BertTokenizerFast) -> None:
    """Spans have a start and an end."""
    batch = tokenizer("unaffable people")
    assert batch.word_to_tokens(0) == TokenSpan(1, 4)
    assert batch.token_to_chars(4) == CharSpan(start=10, end=16)
    assert batch.token_to_chars(-2) == CharSpan(start=10, end=16)
    assert batch.word_to_tokens(7) is None
    with pytest.raises(ArgumentError, match="no word 9"):
        batch.word_to_chars(9)


def test_rows_are_encoded_again_only_when_asked_for(tokenizer: BertTokenizerFast) -> None:
    """The texts are kept as they were: changing the caller's list changes nothing."""
    texts = ["one two", "three"]
    batch = tokenizer(texts, padding=True)
    texts[0] = "something else altogether"
    assert batch.tokens(0) == ["[CLS]", "one", "two", "[SEP]"]
    assert batch.tokens(1) == ["[CLS]", "three", "[SEP]", "[PAD]"]
    words = [["one", "two"]]
    batch = tokenizer(words, is_split_into_words=True)
    words[0][0] = "other"
    assert batch.tokens(0) == ["[CLS]", "one", "two", "[SEP]"]


def test_pickles_and_copies_keep_everything(tokenizer: BertTokenizerFast) -> None:
    """Values, encodings and the number of sequences survive."""
    batch = tokenizer([TEXT, PAIR], [PAIR, TEXT], padding=True, return_tensors="np")
    for twin in (pickle.loads(pickle.dumps(batch)), copy.copy(batch), copy.deepcopy(batch)):
        assert isinstance(twin, BatchEncoding)
        np.testing.assert_array_equal(twin["input_ids"], batch["input_ids"])
        assert twin.tokens(1) == batch.tokens(1)
        assert twin.word_ids(0) == batch.word_ids(0)
        assert twin.n_sequences == 2
    deep = copy.deepcopy(batch)
    deep["input_ids"][0, 0] = 9
    assert batch["input_ids"][0, 0] == 101
    shallow = copy.copy(batch)
    shallow["more"] = 1
    assert "more" not in batch


def test_plain_data(tokenizer: BertTokenizerFast) -> None:
    """A batch without a tokenizer: slices cut the values, and what needs encodings says so."""
    batch = BatchEncoding({"input_ids": [[1, 2], [3, 4]], "labels": [0, 1]})
    assert batch[:1] == {"input_ids": [[1, 2]], "labels": [0]}
    assert not batch.is_fast
    assert batch.encodings is None
    assert batch.n_sequences is None
    with pytest.raises(ArgumentError, match="word_ids"):
        batch.word_ids(0)
    with pytest.raises(KeyError, match="by name"):
        _ = batch[0]
    assert batch.convert_to_tensors("pt")["input_ids"].shape == (2, 2)
    assert BatchEncoding({"input_ids": [1, 2]}, tensor_type="np", prepend_batch_axis=True)[
        "input_ids"
    ].shape == (1, 2)
    with pytest.raises(ArgumentError, match="input_ids"):
        BatchEncoding({"input_ids": [[1], [2, 3]]}, tensor_type="pt")


def test_to_moves_tensors_alone(tokenizer: BertTokenizerFast, caplog: pytest.LogCaptureFixture) -> None:
    """Tensors move, other values stay, a dtype is refused."""
    batch = tokenizer(["a"], return_tensors="pt")
    batch["note"] = "text"
    assert batch.to("cpu") is batch
    assert batch.to(torch.device("meta"), non_blocking=True)["input_ids"].device.type == "meta"
    assert batch["note"] == "text"
    batch.to(torch.float16)  # type: ignore[arg-type]
    assert "not supported" in caplog.text
