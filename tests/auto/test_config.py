"""Config: types, sizes, unknown keys, aliases, overrides, and what is written."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from oxiformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    DistilBertConfig,
    LlamaConfig,
    PretrainedConfig,
    T5Config,
)
from oxiformers.errors import ConfigError, FormatError, MissingFileError, OxiformersError, UnsupportedError


def write(folder: Path, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    (folder / "config.json").write_bytes(data)
    return folder


WRONG_TYPES: list[tuple[str, dict[str, Any], str]] = [
    ("number as string", {"hidden_size": "768"}, "hidden_size"),
    ("float for a size", {"hidden_size": 768.0}, "hidden_size"),
    ("boolean for a size", {"num_hidden_layers": True}, "num_hidden_layers"),
    ("null for a size", {"vocab_size": None}, "vocab_size"),
    ("array for a size", {"vocab_size": [30522]}, "vocab_size"),
    ("string for a float", {"layer_norm_eps": "1e-12"}, "layer_norm_eps"),
    ("not a number", {"layer_norm_eps": float("nan")}, "layer_norm_eps"),
    ("beyond floats", {"initializer_range": 10**400}, "initializer_range"),
    ("integer for a boolean", {"tie_word_embeddings": 1}, "tie_word_embeddings"),
    ("integer for a string", {"hidden_act": 5}, "hidden_act"),
    ("labels as an array", {"id2label": ["a", "b"]}, "id2label"),
    ("label without a number", {"id2label": {"first": "a"}}, "id2label"),
    ("label that is no string", {"id2label": {"0": 1}}, "id2label"),
    ("a trillion labels", {"num_labels": 10**12}, "num_labels"),
    ("unknown problem", {"problem_type": "guessing"}, "problem_type"),
    ("unknown dtype", {"torch_dtype": "float99"}, "dtype"),
    ("dtype that is no string", {"dtype": 16}, "dtype"),
    ("architectures as a string", {"architectures": "BertModel"}, "architectures"),
    ("a method's name", {"to_dict": 1}, "to_dict"),
    ("a dunder", {"__class__": "int"}, "__class__"),
]
IMPOSSIBLE: list[tuple[str, dict[str, Any], str]] = [
    ("zero", {"hidden_size": 0}, "hidden_size"),
    ("negative", {"num_attention_heads": -12}, "num_attention_heads"),
    ("a billion layers", {"num_hidden_layers": 10**9}, "num_hidden_layers"),
    ("a trillion wide", {"hidden_size": 10**12}, "hidden_size"),
    ("beyond 64 bits", {"intermediate_size": 10**30}, "intermediate_size"),
    ("dropout above 1", {"hidden_dropout_prob": 1.5}, "hidden_dropout_prob"),
    ("unknown activation", {"hidden_act": "no_such"}, "hidden_act"),
    ("heads do not divide", {"hidden_size": 100, "num_attention_heads": 12}, "hidden_size"),
    ("padding outside the vocabulary", {"pad_token_id": 30522}, "pad_token_id"),
    ("negative epsilon", {"layer_norm_eps": -1e-5}, "layer_norm_eps"),
    ("negative number of types", {"type_vocab_size": -1}, "type_vocab_size"),
    (
        "regression as classification",
        {"problem_type": "single_label_classification", "num_labels": 1},
        "problem_type",
    ),
]


def is_told(error: OxiformersError, key: str, folder: Path) -> None:
    """Asserts that the error says where, what and why."""
    assert isinstance(error, ValueError)
    assert error.key == key
    assert error.expected
    assert error.actual
    assert key in str(error)
    if not isinstance(error, UnsupportedError):
        assert error.path == str(folder / "config.json")
        assert error.path in str(error)


@pytest.mark.parametrize(
    ("values", "key"), [row[1:] for row in WRONG_TYPES], ids=[row[0] for row in WRONG_TYPES]
)
def test_wrong_types_are_refused(values: dict[str, Any], key: str, tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"model_type": "bert", **values}))
    start = time.process_time()
    with pytest.raises(OxiformersError) as caught:
        AutoConfig.from_pretrained(tmp_path)
    assert time.process_time() - start < 1
    is_told(caught.value, key, tmp_path)


@pytest.mark.parametrize(
    ("values", "key"), [row[1:] for row in IMPOSSIBLE], ids=[row[0] for row in IMPOSSIBLE]
)
def test_what_cannot_be_built_is_refused_by_the_model(
    values: dict[str, Any], key: str, tmp_path: Path
) -> None:
    """The config is made, changed, written and read as transformers does it; no model is made from it."""
    write(tmp_path, json.dumps({"model_type": "bert", **values}))
    config = AutoConfig.from_pretrained(tmp_path)
    assert {name: getattr(config, name) for name in values} == values
    config.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path) == config
    start = time.process_time()
    for build in (
        lambda: AutoModelForSequenceClassification.from_pretrained(tmp_path),
        lambda: AutoModelForSequenceClassification.from_config(config),
        lambda: BertModel(config),
    ):
        with pytest.raises(OxiformersError) as caught:
            build()
        is_told(caught.value, key, tmp_path)
    assert time.process_time() - start < 2
    with pytest.raises(ConfigError, match=key):
        BertModel(BertConfig(**values))


def test_a_config_changed_after_it_was_made() -> None:
    config = BertConfig()
    config.num_hidden_layers = 10**9
    with pytest.raises(ConfigError, match="num_hidden_layers"):
        config.check()
    config.num_hidden_layers = 2
    config.hidden_size = "big"
    with pytest.raises(ConfigError, match="hidden_size"):
        config.save_pretrained("/nonexistent")
    config.hidden_size, config.num_attention_heads = 100, 10  # at no time a model's before both were set
    config.check()


def test_what_transformers_refuses_is_refused_at_once() -> None:
    for values in ({"feed_forward_proj": "silly-gelu"}, {"feed_forward_proj": "gated-silly-gelu"}):
        with pytest.raises(ValueError, match="feed_forward_proj"):
            T5Config(**values)
    for values in ({"id2label": ["a"]}, {"label2id": ["a"]}, {"problem_type": "guessing"}):
        with pytest.raises(ValueError, match=next(iter(values))):
            BertConfig(**values)


BAD_FILES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "line 1, column 1"),
    ("cut off", b'{"model_type": "bert",\n "hidden_size"', "line 2"),
    ("array", b"[1, 2]", "an array"),
    ("string", b'"bert"', "a string"),
    ("null", b"null", "null"),
    ("100,000 arrays deep", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "levels"),
    ("300 objects deep", b'{"a":' * 300 + b"1" + b"}" * 300, "levels"),
    ("not UTF-8", b'{"model_type": "b\xff"}', "byte 17"),
    ("UTF-16", '{"model_type": "bert"}'.encode("utf-16"), "UTF-8"),
    ("a key twice", b'{"model_type": "bert", "model_type": "llama"}', "model_type"),
    ("an integer of 5,000 digits", b'{"vocab_size": ' + b"9" * 5000 + b"}", "digits"),
]


@pytest.mark.parametrize(("data", "said"), [row[1:] for row in BAD_FILES], ids=[row[0] for row in BAD_FILES])
def test_bad_files_are_refused(data: bytes, said: str, tmp_path: Path) -> None:
    write(tmp_path, data)
    with pytest.raises(FormatError) as caught:
        AutoConfig.from_pretrained(tmp_path)
    assert caught.value.path == str(tmp_path / "config.json")
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    write(tmp_path, b'\xef\xbb\xbf{"model_type": "bert", "hidden_size": 24}')
    assert AutoConfig.from_pretrained(tmp_path).hidden_size == 24


def test_missing_files_name_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a")
    with pytest.raises(MissingFileError, match=r"no config\.json in .*it holds vocab\.txt") as caught:
        AutoConfig.from_pretrained(tmp_path)
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.path == str(tmp_path / "config.json")
    with pytest.raises(MissingFileError, match="there is no folder"):
        AutoConfig.from_pretrained(tmp_path / "nothing")
    with pytest.raises(MissingFileError, match="there is no folder"):
        AutoConfig.from_pretrained("./nothing")


@pytest.mark.parametrize("value", [None, 5, ["bert"], ""])
def test_model_type_must_be_a_known_string(value: Any, tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"model_type": value}))
    with pytest.raises((ConfigError, UnsupportedError), match=r"model_type.*bert") as caught:
        AutoConfig.from_pretrained(tmp_path)
    assert caught.value.key == "model_type"


def test_an_unknown_model_type_lists_the_known(tmp_path: Path) -> None:
    write(tmp_path, '{"model_type": "destilbert", "auto_map": {"AutoConfig": "mine.Config"}}')
    with pytest.raises(UnsupportedError, match=r"did you mean 'distilbert'\?; its auto_map") as caught:
        AutoConfig.from_pretrained(tmp_path)
    assert caught.value.path == str(tmp_path / "config.json")
    assert "bert, distilbert" in str(caught.value.expected)


def test_code_of_the_repository_is_never_run(tmp_path: Path) -> None:
    write(tmp_path, '{"model_type": "bert", "auto_map": {"AutoConfig": "mine.Config"}}')
    (tmp_path / "mine.py").write_text("raise SystemExit")
    assert type(AutoConfig.from_pretrained(tmp_path)) is BertConfig
    assert type(AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)) is BertConfig
    with pytest.raises(UnsupportedError, match="never runs") as caught:
        AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)
    assert caught.value.key == "auto_map"
    write(tmp_path, '{"model_type": "bert"}')
    assert type(AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)) is BertConfig


def test_overrides_by_name_and_alias(tmp_path: Path) -> None:
    write(tmp_path, '{"model_type": "distilbert", "n_layers": 3, "unknown": {"kept": [1]}}')
    config = AutoConfig.from_pretrained(tmp_path, n_heads=6, hidden_size=24, unknown=7, num_labels=5)
    assert (config.n_heads, config.num_attention_heads, config.dim, config.hidden_size) == (6, 6, 24, 24)
    assert (config.n_layers, config.unknown, config.num_labels) == (3, 7, 5)
    config.num_hidden_layers = 2
    assert config.n_layers == 2
    assert DistilBertConfig(hidden_size=36).dim == 36
    assert "hidden_size" not in config.to_dict()
    with pytest.raises(ConfigError, match="n_heads: expected an integer, got a string"):
        AutoConfig.from_pretrained(tmp_path, n_heads="12")
    with pytest.raises(ConfigError, match="num_labels"):
        AutoConfig.from_pretrained(tmp_path, num_labels=3, id2label={0: "a"})


def test_unknown_arguments_are_named_or_returned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, '{"model_type": "bert"}')
    config, unused = AutoConfig.from_pretrained(tmp_path, foo=1, use_cache=False, return_unused_kwargs=True)
    assert (unused, config.use_cache) == ({"foo": 1}, False)
    with caplog.at_level(logging.WARNING, "oxiformers"):
        AutoConfig.from_pretrained(tmp_path, num_label=3)
    assert "did you mean 'num_labels'" in caplog.text


def test_the_wrong_class_is_refused(tmp_path: Path) -> None:
    write(tmp_path, '{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="model_type: expected 'llama'"):
        LlamaConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("half", torch.float16),
        ("float", torch.float32),
        ("double", torch.float64),
        ("torch.float16", torch.float16),
        ("torch.half", torch.float16),
        ("float8_e4m3fn", torch.float8_e4m3fn),
    ],
)
@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_dtypes_by_all_their_names(key: str, name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"model_type": "bert", key: name}))
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.dtype is dtype
    assert config.to_dict()["dtype"] == str(dtype).removeprefix("torch.")
    assert AutoConfig.from_pretrained(tmp_path, **{key: name}).dtype is dtype


@pytest.mark.parametrize("name", ["", "torch.", "halves", "int8", "Tensor", "torch.torch.half"])
def test_what_is_no_dtype_of_weights(name: str, tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"model_type": "bert", "dtype": name}))
    with pytest.raises(ConfigError) as caught:
        AutoConfig.from_pretrained(tmp_path)
    assert caught.value.key == "dtype"


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_dtype(key: str, tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"model_type": "bert", key: "bfloat16"}))
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.dtype is torch.bfloat16
    assert config.torch_dtype is torch.bfloat16
    assert config.to_dict()["dtype"] == "bfloat16"
    config.dtype = torch.float16
    assert json.loads(config.to_json_string())["dtype"] == "float16"
    assert AutoConfig.from_pretrained(tmp_path, torch_dtype=torch.float64).dtype is torch.float64
    assert BertConfig(dtype="float32", torch_dtype="float16").dtype is torch.float32


def test_round_trip(tmp_path: Path) -> None:
    config = BertConfig(
        hidden_size=24, id2label={0: "no", 1: "yes"}, extra={"nested": [1, None]}, dtype="float16"
    )
    config.save_pretrained(tmp_path / "new" / "folder")
    again = AutoConfig.from_pretrained(tmp_path / "new" / "folder")
    assert again == config
    assert again.extra == {"nested": [1, None]}
    assert again.id2label == {0: "no", 1: "yes"}
    assert again.name_or_path == str(tmp_path / "new" / "folder")
    written = json.loads((tmp_path / "new" / "folder" / "config.json").read_text())
    assert written["hidden_size"] == 24
    assert written["num_hidden_layers"] == 12
    assert "_name_or_path" not in written
    assert not {key for key in written if key.startswith("_")}
    assert "is_encoder_decoder" not in written
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config
    assert config != BertConfig()


def test_the_files_setting_of_attention_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, '{"model_type": "bert", "_attn_implementation": "eager", "attn_implementation": "eager"}')
    assert AutoConfig.from_pretrained(tmp_path).attn_implementation is None
    config = AutoConfig.from_pretrained(tmp_path, attn_implementation="eager")
    assert config._attn_implementation == "eager"
    assert "eager" not in config.to_json_string()
    with pytest.raises(UnsupportedError, match="attn_implementation"):
        AutoConfig.from_pretrained(tmp_path, attn_implementation="magic")


def test_keys_that_no_model_reads_are_not_judged() -> None:
    config = BertConfig(num_layers="many", n_layers=0, dropout_steps=1000)
    assert (config.num_layers, config.n_layers, config.dropout_steps) == ("many", 0, 1000)


def test_configs_of_users() -> None:
    @dataclass
    class Decorated(PretrainedConfig):
        model_type = "decorated"
        attribute_map = {"hidden_size": "width"}  # noqa: RUF012
        width: int = 4
        names: list[str] | None = None

    class Undecorated(PretrainedConfig):
        model_type = "undecorated"
        width: int = 4

    class WithConstructor(PretrainedConfig):
        model_type = "with_constructor"

        def __init__(self, width: int = 4, **kwargs: Any) -> None:
            self.width = width
            super().__init__(**kwargs)

    assert Decorated(hidden_size=8).width == 8
    assert Undecorated(width=8).to_dict()["width"] == 8
    assert WithConstructor(8, num_labels=3).to_dict()["width"] == 8
    assert WithConstructor(8, num_labels=3).num_labels == 3
    for wrong in ({"width": "8"}, {"names": ["a", 1]}):
        with pytest.raises(ConfigError):
            Decorated(**wrong)
    with pytest.raises(ConfigError):
        Undecorated(width=None)


def test_the_floats_that_json_lacks(tmp_path: Path) -> None:
    write(tmp_path, '{"model_type": "bert", "limit": [0.0, {"__float__": "Infinity"}]}')
    assert AutoConfig.from_pretrained(tmp_path).limit == [0.0, float("inf")]
