"""Tokenizer files with wrong types at every level, unknown components, impossible ids; and files that are none."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from oxiformers import AutoTokenizer, BertTokenizer
from oxiformers.errors import (
    ArgumentError,
    ConfigError,
    FormatError,
    InputTypeError,
    MissingFileError,
    UnsupportedError,
)
from tests.bad_input.model_folder import content, cut, keys, several, without
from tests.bad_input.refusal import Refusal, refuses, within

TOKENIZER, SETTINGS, MAP, ADDED, VOCAB = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
)  # fmt: skip
NOT_AN_OBJECT = (3, "x", [], True, 1.5)


def load(folder: Path) -> list[int]:
    """Loads and uses it."""
    return list(AutoTokenizer.from_pretrained(folder)("the cat")["input_ids"])


def refused(folder: Path, file: str, error: tuple[type, ...] = (FormatError,)) -> Any:
    """The error, which names the file, a key, what was due and what was found."""
    with within(), pytest.raises(error) as caught:
        load(folder)
    assert caught.value.path == str(folder / file)
    assert str(folder / file) in str(caught.value)
    assert caught.value.key
    assert caught.value.actual
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(1000), id="zeros"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}", id="no keys"),
        pytest.param(b"[" * 100_000, id="100,000 lists deep"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="100,000 objects deep"),
        pytest.param(b'{"version": "\xff"}', id="not UTF-8"),
        pytest.param(b'"' + b"a" * 50_000_000, id="50 MB of a string without an end"),
        pytest.param(random.Random(0).randbytes(50_000_000), id="50 MB of garbage"),
    ],
)
def test_a_file_that_is_no_tokenizer(folder: Path, data: bytes) -> None:
    (folder / TOKENIZER).write_bytes(data)
    error = refused(folder, TOKENIZER)
    assert error.expected
    assert len(str(error)) < 1000


@pytest.mark.parametrize("size", [1, 100, 500, -2])
def test_a_tokenizer_cut_off(folder: Path, size: int) -> None:
    cut(TOKENIZER, size)(folder)
    refused(folder, TOKENIZER)


@pytest.mark.parametrize("slot", ["normalizer", "pre_tokenizer", "post_processor", "decoder", "model"])
def test_a_component_that_is_none(folder: Path, slot: str) -> None:
    good = (folder / TOKENIZER).read_bytes()
    for value in NOT_AN_OBJECT:
        keys(TOKENIZER, **{slot: value})(folder)
        assert str(refused(folder, TOKENIZER).key).startswith(slot)
    keys(TOKENIZER, **{slot: {"type": "Nope"}})(folder)
    unknown = refused(folder, TOKENIZER, (UnsupportedError,))
    assert unknown.key == f"{slot}.type"
    assert "Nope" in unknown.actual
    keys(TOKENIZER, **{slot: {"type": 3}})(folder)
    assert refused(folder, TOKENIZER).key == f"{slot}.type"
    (folder / TOKENIZER).write_bytes(good)
    assert load(folder)


# the place in tokenizer.json (its parts joined by dots), and the values it must not have
PLACES: dict[str, tuple[Any, ...]] = {
    "version": (3, "9.9", [], None),
    "truncation": (3, "x", [], True),
    "padding": (3, "x", [], True),
    "added_tokens": (3, "x", {}, True, [3], [None]),
    "added_tokens.0": (3, {}, {"id": 0}, {"content": "x"}),
    "added_tokens.0.id": (-1, 1 << 32, "0", 1.5, None),
    "added_tokens.0.content": (3, None, []),
    "added_tokens.0.special": (3, "yes", None),
    "model.type": (3, [], None),
    "model.unk_token": (3, [], None, True),
    "model.continuing_subword_prefix": (3, [], None),
    "model.max_input_chars_per_word": (-1, 1.5, "x", None, 10**30),
    "model.vocab": (3, "x", [1], None, {"a": -1}, {"a": 1 << 64}, {"a": 1.0}, {"a": "1"}, {"a": {"b": 1}}),
    "normalizer.lowercase": (3, "x", None, []),
    "normalizer.clean_text": (3, "x", None, []),
    "post_processor.single": (3, "x", None, [3], [{"Nope": {}}]),
    "post_processor.single.0.SpecialToken.id": (3, None, "[NOPE]"),
    "post_processor.single.0.SpecialToken.type_id": (-1, 1 << 32, "x"),
    "post_processor.single.1.Sequence.id": (3, "C", None),
    "post_processor.special_tokens": (3, [], None, {}),
    "decoder.prefix": (3, None, []),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_value_in_tokenizer_json(folder: Path, place: str) -> None:
    good = (folder / TOKENIZER).read_bytes()
    first = place.split(".")[0]
    for value in PLACES[place]:
        (folder / TOKENIZER).write_bytes(good)
        keys(TOKENIZER, **{place: value})(folder)
        error = refused(folder, TOKENIZER, (FormatError, UnsupportedError))
        assert str(error.key).startswith(first), (value, str(error))


def test_ids_of_the_vocabulary(folder: Path) -> None:
    """An id for two tokens is refused; holes and ids up to 32 bits cost nothing and are kept."""
    vocab = json.loads((folder / TOKENIZER).read_text())["model"]["vocab"]
    keys(TOKENIZER, **{"model.vocab": {**vocab, "the": vocab["cat"]}})(folder)
    assert "model.vocab" in refused(folder, TOKENIZER).key
    for index in (1000, 10**9, 1 << 31):
        keys(TOKENIZER, **{"model.vocab": {**vocab, "the": index}})(folder)
        with within():
            assert load(folder)[1] == index


# tokenizer_config.json: key, value, the error's key, a part of what was due
SETTING_CASES: tuple[tuple[str, Any, str, str], ...] = (
    ("model_max_length", "x", "model_max_length", "a number"),
    ("model_max_length", True, "model_max_length", "a number"),
    ("model_max_length", -1, "model_max_length", "at least 0"),
    ("model_max_length", float("nan"), "model_max_length", "at least 0"),
    ("padding_side", 3, "padding_side", "a string"),
    ("do_lower_case", "x", "do_lower_case", "a boolean"),
    ("strip_accents", 3, "strip_accents", "a boolean or null"),
    ("pad_token", 3, "pad_token", "a string"),
    ("pad_token", [], "pad_token", "a string"),
    ("pad_token", {}, "pad_token.content", "a string"),
    ("pad_token", {"content": 3}, "pad_token.content", "a string"),
    ("pad_token", {"content": "[PAD]", "x": 1}, "pad_token.x", "one of"),
    ("model_input_names", "x", "model_input_names", "an array of strings"),
    ("model_input_names", [3], "model_input_names[0]", "a string"),
    ("added_tokens_decoder", [], "added_tokens_decoder", "an object"),
    ("added_tokens_decoder", {"x": {}}, "added_tokens_decoder", "ids as keys"),
    ("added_tokens_decoder", {"-1": {"content": "a"}}, "added_tokens_decoder", "ids as keys"),
    ("added_tokens_decoder", {"100": 3}, "added_tokens_decoder.100", "an object"),
    ("extra_special_tokens", 3, "extra_special_tokens", "an array or an object"),
    ("extra_special_tokens", [3], "extra_special_tokens[0]", "an object"),
    ("chat_template", 3, "chat_template", "a string or an array"),
    ("chat_template", [3], "chat_template[0]", "an object"),
    ("chat_template", [{"name": "x"}], "chat_template[0].template", "a string"),
    ("clean_up_tokenization_spaces", "x", "clean_up_tokenization_spaces", "a boolean"),
)


@pytest.mark.parametrize(("key", "value", "named", "expected"), SETTING_CASES)
def test_a_wrong_setting(folder: Path, key: str, value: Any, named: str, expected: str) -> None:
    keys(SETTINGS, **{key: value})(folder)
    refuses(lambda: load(folder), Refusal(ConfigError, named, expected, "", SETTINGS), folder)


@pytest.mark.parametrize(
    "setting",
    [
        {"self": 3}, {"__class__": "x"}, {"_core": 3}, {"encode": 3}, {"vocab_file": 3}, {"name_or_path": 3},
        {"tokenizer_file": "/etc/passwd"}, {"unknown": [1]}, {"model_max_length": 1e400}, {"mask_token": None},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_change_nothing(folder: Path, good: Path, setting: dict[str, Any]) -> None:
    keys(SETTINGS, **setting)(folder)
    with within():
        assert load(folder) == load(good)


# the other files: name, content, the error, its key, a part of what was due
OTHERS: tuple[tuple[str, Any, type, str | None, str], ...] = (
    (MAP, {"pad_token": 3}, ConfigError, "pad_token", "a string or an object"),
    (MAP, {"pad_token": {"content": 3}}, ConfigError, "pad_token.content", "a string"),
    (MAP, [], FormatError, None, "an object"),
    (MAP, b"[" * 100_000, FormatError, None, "at most 200 levels"),
    (ADDED, {"a": "x"}, ConfigError, "a", "an id"),
    (ADDED, {"a": -1}, ConfigError, "a", "an id"),
    (ADDED, [1], FormatError, None, "an object"),
)


@pytest.mark.parametrize(("file", "data", "error", "key", "expected"), OTHERS)
def test_the_other_files(
    folder: Path, file: str, data: Any, error: type, key: str | None, expected: str
) -> None:
    encoded = data if isinstance(data, bytes) else json.dumps(data)
    several(without(SETTINGS), content(file, encoded))(folder)
    refuses(lambda: load(folder), Refusal(error, key, expected, "", file), folder)


def test_a_named_token_the_vocabulary_lacks_is_added(folder: Path) -> None:
    several(without(SETTINGS), content(MAP, json.dumps({"unk_token": "<nope>"})))(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.unk_token_id == len(tokenizer) - 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(random.Random(0).randbytes(1000), id="binary"),
        pytest.param("[PAD]\n[UNK]\n".encode("utf-16"), id="UTF-16"),
        pytest.param(b"[PAD]\n[CLS]\n[SEP]\n[MASK]\nthe\n", id="without the unknown token"),
    ],
)
def test_a_vocabulary_file_that_will_not_do(folder: Path, data: bytes) -> None:
    several(without(TOKENIZER), content(VOCAB, data))(folder)
    with within(), pytest.raises((FormatError, ArgumentError)) as caught:
        AutoTokenizer.from_pretrained(folder)("the zebra")
    assert caught.value.key
    assert caught.value.expected
    assert caught.value.actual


def test_vocabulary_files_of_odd_shape(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the"]
    several(without(TOKENIZER), content(VOCAB, "\r\n".join(words)))(folder)
    assert load(folder) == [2, 5, 1, 3]


def test_no_vocabulary_at_all(folder: Path) -> None:
    without(TOKENIZER, VOCAB)(folder)
    due = Refusal(MissingFileError, TOKENIZER, "there is no", "it holds config.json", TOKENIZER)
    refuses(lambda: load(folder), due, folder)


def test_a_token_that_is_none() -> None:
    due = Refusal(InputTypeError, "pad_token", "a str or an AddedToken", "int")
    refuses(lambda: BertTokenizer(vocab={"[UNK]": 0}, pad_token=3), due)
    refuses(
        lambda: BertTokenizer(vocab={"a": -1}),
        Refusal(FormatError, "model.vocab.a", "an integer from 0", "-1"),
    )
