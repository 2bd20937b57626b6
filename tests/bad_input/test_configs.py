"""config.json as nobody wrote it: every value of a wrong kind, every size out of bounds, files that are none."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from oxiformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    LlamaConfig,
    pipeline,
)
from oxiformers.errors import (
    ArgumentError,
    ConfigError,
    FormatError,
    InputTypeError,
    MissingFileError,
    UnsupportedError,
)
from tests.bad_input.model_folder import keys
from tests.bad_input.refusal import Refusal, refuses, within

CONFIG = "config.json"
KNOWN = "bert, "

# name: (config.json, the error, its key, a part of what was due, a part of what was found)
FILES: dict[str, tuple[bytes, type, str | None, str, str]] = {
    "empty": (b"", FormatError, None, "JSON", "line 1, column 1"),
    "no JSON": (b"{nope", FormatError, None, "JSON", "line 1, column 2"),
    "text after it": (b'{"model_type": "bert"} x', FormatError, None, "JSON", "Extra data at line 1"),
    "zeros": (bytes(100), FormatError, None, "JSON", "line 1, column 1"),
    "a list": (b"[]", FormatError, None, "an object", "an array"),
    "null": (b"null", FormatError, None, "an object", "null"),
    "not UTF-8": (b'{"a": "\xff"}', FormatError, None, "UTF-8", "0xff at byte 7"),
    "UTF-16": ("{}".encode("utf-16"), FormatError, None, "UTF-8", "0xff at byte 0"),
    "100,000 lists deep": (b"[" * 100_000, FormatError, None, "at most 200 levels", "more"),
    "100,000 objects deep": (
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000, FormatError, None, "at most 200 levels", "more",
    ),
    "a key twice": (b'{"model_type": "bert", "model_type": "t5"}', FormatError, "model_type", "once", "twice"),
    "a key twice, inside": (b'{"id2label": {"0": "a", "0": "b"}}', FormatError, "0", "once", "twice"),
    "an integer of 10,000 digits": (b'{"a": ' + b"9" * 10_000 + b"}", FormatError, None, "4300", "longer"),
    "no keys": (b"{}", ConfigError, "model_type", KNOWN, "None"),
    "no model_type": (b'{"hidden_size": 8}', ConfigError, "model_type", KNOWN, "None"),
    "model_type a list": (b'{"model_type": ["bert"]}', ConfigError, "model_type", KNOWN, "['bert']"),
    "model_type unknown": (b'{"model_type": "brt"}', UnsupportedError, "model_type", KNOWN, "'brt'"),
    "model_type of 100 KB": (
        b'{"model_type": "' + b"z" * 100_000 + b'"}', UnsupportedError, "model_type", KNOWN, "zzz",
    ),
    "NaN": (b'{"model_type": "bert", "layer_norm_eps": NaN}', ConfigError, "layer_norm_eps", "a number", "nan"),
    "Infinity": (
        b'{"model_type": "bert", "layer_norm_eps": 1e999}', ConfigError, "layer_norm_eps", "a number", "inf",
    ),
    "a reserved name": (b'{"model_type": "bert", "__class__": 1}', ConfigError, "__class__", "absent", "1"),
    "a method's name": (b'{"model_type": "bert", "to_dict": 1}', ConfigError, "to_dict", "absent", "1"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_config(folder: Path, name: str) -> None:
    data, *due = FILES[name]
    (folder / CONFIG).write_bytes(data)
    refusal = Refusal(*due, file=CONFIG)
    refuses(lambda: AutoConfig.from_pretrained(folder), refusal, folder)
    refuses(lambda: AutoModel.from_pretrained(folder), refusal, folder)


SIZES = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_position_embeddings", "type_vocab_size",
)  # fmt: skip
WRONG_SIZES: tuple[tuple[Any, str, str], ...] = (
    ("8", "an integer", "a string ('8')"),
    (8.5, "an integer", "a number (8.5)"),
    (8.0, "an integer", "a number (8.0)"),
    (True, "an integer", "a boolean (True)"),
    (None, "an integer", "null"),
    ([8], "an integer", "an array ([8])"),
    ({"a": 8}, "an integer", "an object"),
    (-8, "from ", "an integer (-8)"),
    (10**12, "from ", "an integer (1000000000000)"),
    (10**40, "from ", "an integer (1000"),
)


@pytest.mark.parametrize("key", SIZES)
def test_a_size_that_is_none(folder: Path, key: str) -> None:
    for value, expected, actual in WRONG_SIZES:
        keys(CONFIG, **{key: value})(folder)
        refused(folder, Refusal(ConfigError, key, expected, actual, CONFIG))


def refused(folder: Path, due: Refusal) -> None:
    """Checks that no model is made; where only the range of a value is wrong, the config is, as transformers has it."""
    refuses(lambda: AutoModel.from_pretrained(folder), due, folder)
    if due.expected.startswith(("from ", "at least ", "a multiple", "below", "gelu")):
        AutoConfig.from_pretrained(folder)
    else:
        refuses(lambda: AutoConfig.from_pretrained(folder), due, folder)


# key: values, each with a part of what was due and of what was found
VALUES: tuple[tuple[str, Any, str, str], ...] = (
    ("num_hidden_layers", 0, "from 1 to", "0"),
    ("num_hidden_layers", 10**9, "from 1 to 1024", "1000000000"),
    ("num_attention_heads", 0, "from 1 to", "0"),
    ("vocab_size", 0, "from 1 to", "0"),
    ("hidden_act", 3, "a string", "3"),
    ("hidden_act", "nope", "gelu", "'nope'"),
    ("hidden_act", "__class__", "gelu", "'__class__'"),
    ("layer_norm_eps", "1e-12", "a number", "a string"),
    ("layer_norm_eps", None, "a number", "null"),
    ("layer_norm_eps", -1.0, "at least 0", "-1.0"),
    ("initializer_range", -1.0, "at least 0", "-1.0"),
    ("hidden_dropout_prob", 2, "from 0 to 1", "2"),
    ("hidden_dropout_prob", "0.1", "a number", "a string"),
    ("pad_token_id", 13, "below vocab_size (13)", "13"),
    ("pad_token_id", "0", "an integer or null", "a string"),
    ("id2label", "x", "an object from integers to strings", "a string"),
    ("id2label", {"a": "b"}, "an object from integers to strings", "an object"),
    ("id2label", {"0": 1}, "an object from integers to strings", "an object"),
    ("id2label", {"0": "a", "00": "b"}, "each integer once", "an object"),
    ("label2id", [1], "an object or null", "an array"),
    ("num_labels", "3", "an integer", "a string ('3')"),
    ("num_labels", 2.5, "an integer", "a number (2.5)"),
    ("problem_type", "nope", "'regression'", "'nope'"),
    ("dtype", "float33", "one of float32", "'float33'"),
    ("architectures", "Bert", "an array", "a string"),
    ("tie_word_embeddings", "yes", "a boolean", "a string"),
    ("return_dict", 1, "a boolean", "an integer"),
    ("num_attention_heads", 3, "a multiple of num_attention_heads (3)", "8"),
)


@pytest.mark.parametrize(("key", "value", "expected", "actual"), VALUES)
def test_a_value_that_will_not_do(folder: Path, key: str, value: Any, expected: str, actual: str) -> None:
    keys(CONFIG, **{key: value})(folder)
    named = "hidden_size" if "multiple" in expected else key
    refused(folder, Refusal(ConfigError, named, expected, actual, CONFIG))


LLAMA: tuple[tuple[dict[str, Any], str, str, str], ...] = (
    ({"num_key_value_heads": 3}, "num_attention_heads", "a multiple of num_key_value_heads (3)", "4"),
    ({"num_key_value_heads": 0}, "num_key_value_heads", "from 1 to", "0"),
    ({"num_attention_heads": 5, "num_key_value_heads": 5}, "hidden_size", "a multiple of", "64"),
    ({"rope_scaling": {"rope_type": "nope"}}, "rope_parameters.rope_type", "one of default", "'nope'"),
    ({"rope_scaling": [1]}, "rope_scaling", "an object or null", "[1]"),
    ({"rope_theta": "x"}, "rope_parameters.rope_theta", "a number above 0", "'x'"),
    ({"rope_theta": 0}, "rope_parameters.rope_theta", "a number above 0", "0"),
    ({"rope_scaling": {"rope_type": "linear"}}, "rope_parameters.factor", "there for", "absent"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers", "from 1 to 1024", "1000000000"),
)


@pytest.mark.parametrize(("values", "key", "expected", "actual"), LLAMA)
def test_sizes_and_positions_of_llama(
    tmp_path: Path, values: dict[str, Any], key: str, expected: str, actual: str
) -> None:
    good = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}
    (tmp_path / CONFIG).write_text(json.dumps(good | values))
    refuses(
        lambda: AutoModelForCausalLM.from_pretrained(tmp_path),
        Refusal(ConfigError, key, expected, actual, CONFIG),
        tmp_path,
    )


def test_a_billion_layers_are_never_built(folder: Path) -> None:
    """Refused in a second: from a folder with weights, without weights, and from a config in memory."""
    due = Refusal(ConfigError, "num_hidden_layers", "from 1 to 1024", "1000000000")
    keys(CONFIG, num_hidden_layers=10**9)(folder)
    late = BertConfig()
    late.num_hidden_layers = 10**9
    start = time.process_time()
    refuses(lambda: AutoModel.from_pretrained(folder), due)
    (folder / "model.safetensors").unlink()
    refuses(lambda: AutoModel.from_pretrained(folder), due)
    refuses(lambda: pipeline("text-classification", model=str(folder)), due)
    refuses(lambda: AutoModel.from_config(BertConfig(num_hidden_layers=10**9)), due)
    refuses(lambda: AutoModel.from_config(late), due)
    refuses(lambda: AutoModelForCausalLM.from_config(LlamaConfig(num_hidden_layers=10**9)), due)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 1 << 20, "num_attention_heads": 1},
        {"vocab_size": 1 << 26, "hidden_size": 1 << 16, "num_attention_heads": 1},
        {"max_position_embeddings": 1 << 31},
        {"intermediate_size": 1 << 24, "hidden_size": 1 << 20, "num_attention_heads": 1},
    ],
)
def test_sizes_that_no_memory_holds(sizes: dict[str, int]) -> None:
    config = BertConfig(**{"num_hidden_layers": 2, **sizes})
    refuses(
        lambda: AutoModel.from_config(config),
        Refusal(ConfigError, "hidden_size", "GB of weights", "GB"),
        None,
    )


def test_sizes_that_no_memory_can_hold(folder: Path) -> None:
    """Each size alone is one that a tensor can have; their product is none."""
    huge = {"hidden_size": 1 << 31, "vocab_size": 1 << 31, "num_attention_heads": 1}
    due = Refusal(ConfigError, "hidden_size", "some memory can hold", "overflow")
    refuses(lambda: AutoModel.from_config(BertConfig(**huge)), due)
    keys(CONFIG, **huge)(folder)
    due = Refusal(ConfigError, "hidden_size", "some memory can hold", "overflow", CONFIG)
    refuses(lambda: AutoModel.from_pretrained(folder), due, folder)


def test_what_is_right_though_it_looks_odd(folder: Path) -> None:
    """A byte order mark, half of a surrogate pair, an empty key, keys named as arguments of methods."""
    path = folder / CONFIG
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert AutoConfig.from_pretrained(folder).hidden_size == 8
    odd = {"model_type": "bert", "hidden_size": 24, "self": 1, "cls": 2, "": 3, "a": "\ud800"}
    path.write_text(json.dumps(odd))
    config = AutoConfig.from_pretrained(folder)
    assert (config.hidden_size, config.a, config.cls) == (24, "\ud800", 2)


# Where the files should be


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    due = Refusal(MissingFileError, None, "there is no folder", str(nowhere))
    for load in (
        AutoConfig.from_pretrained,
        AutoModel.from_pretrained,
        AutoTokenizer.from_pretrained,
        lambda name: pipeline("text-classification", model=str(name)),
    ):
        refuses(lambda load=load: load(nowhere), due)  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["absent", "a folder", "a pipe", "a link to itself"])
def test_no_config_in_the_folder(folder: Path, kind: str) -> None:
    path = folder / CONFIG
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a link to itself":
        path.symlink_to(path)
    due = Refusal(MissingFileError, CONFIG, "there is no config.json", "it holds", CONFIG)
    refuses(lambda: AutoConfig.from_pretrained(folder), due, folder)
    refuses(lambda: AutoModel.from_pretrained(folder), due, folder)


@pytest.mark.parametrize("name", [None, 3, b"bert", ["bert"], 1.5])
def test_a_name_that_is_no_text(name: Any) -> None:
    due = Refusal(InputTypeError, "name_or_path", "a str or a path", type(name).__name__)
    refuses(lambda: AutoConfig.from_pretrained(name), due)
    refuses(lambda: AutoModel.from_pretrained(name), due)


@pytest.mark.parametrize(
    ("arguments", "error", "key"),
    [
        ({"subfolder": "../.."}, ArgumentError, "../../config.json"),
        ({"subfolder": "/etc"}, ArgumentError, "/etc/config.json"),
        ({"subfolder": 3}, InputTypeError, "subfolder"),
        ({"cache_dir": 3}, InputTypeError, "cache_dir"),
    ],
)
def test_arguments_that_lead_astray(good: Path, arguments: dict[str, Any], error: type, key: str) -> None:
    with within(), pytest.raises(error) as caught:
        AutoConfig.from_pretrained(good, **arguments)
    assert caught.value.key == key


@pytest.mark.parametrize("name", ["", "a\0b", "a b/c", "-x"])
def test_a_name_no_repository_can_have(name: str) -> None:
    with within(), pytest.raises(ArgumentError, match="neither a folder nor") as caught:
        AutoConfig.from_pretrained(name)
    assert caught.value.actual == repr(name)


def test_a_path_no_system_takes() -> None:
    refuses(
        lambda: AutoConfig.from_pretrained("/" + "a" * 10_000),
        Refusal(ArgumentError, "name_or_path", "at most 4096", "10001 characters"),
    )
    with pytest.raises(MissingFileError):
        AutoConfig.from_pretrained("/nowhere\0/at/all")


def test_code_of_the_repository(folder: Path) -> None:
    """Refused where it is asked for, left alone where it is not."""
    keys(CONFIG, auto_map={"AutoModel": "modeling.Model"})(folder)
    due = Refusal(UnsupportedError, "auto_map", "trust_remote_code=False", "modeling.Model", CONFIG)
    refuses(lambda: AutoConfig.from_pretrained(folder, trust_remote_code=True), due, folder)
    refuses(lambda: AutoModel.from_pretrained(folder, trust_remote_code=True), due, folder)
    assert AutoModel.from_pretrained(folder).config.hidden_size == 8
