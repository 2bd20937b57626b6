"""Weights that contradict their config, and files that hold no weights, as `from_pretrained` meets them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from oxiformers import AutoModel, AutoModelForSequenceClassification
from oxiformers.errors import (
    ArgumentError,
    FormatError,
    InputTypeError,
    MissingFileError,
    UnsupportedError,
    WeightsError,
)
from tests.bad_input.model_folder import Spoil, content, cut, keys, renamed, several, tensors, without
from tests.bad_input.refusal import Refusal, refuses

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
SHARD, PICKLED = "model-00001-of-00001.safetensors", "pytorch_model.bin"
# What pickle would run as os.system("true").
RUNS_CODE = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."
WORDS = "bert.embeddings.word_embeddings.weight"
MODEL = "the weights of BertForSequenceClassification"


def header(text: bytes) -> bytes:
    """A safetensors file of that header and no data."""
    return struct.pack("<Q", len(text)) + text


def index(**values: Any) -> Spoil:
    """Makes the weights one shard under that index; "weight_map" may be given by the shard's name."""

    def spoil(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        names = [name for name in json.loads(data[8 : 8 + length]) if name != "__metadata__"]
        if isinstance(shard := values.get("weight_map"), str):
            values["weight_map"] = dict.fromkeys(names, shard)
        (folder / WEIGHTS).rename(folder / SHARD)
        (folder / INDEX).write_text(json.dumps(values))

    return spoil


def to_dtype(dtype: torch.dtype) -> Spoil:
    """Every weight in another dtype."""
    return tensors(lambda held: held.update({name: tensor.to(dtype) for name, tensor in held.items()}))


def pickled(value: object) -> Spoil:
    """A file of torch.save that holds the value."""
    return lambda folder: torch.save(value, folder / PICKLED)


# name: (what is done to the folder, the error, its key, a part of what was due, of what was found, the file)
CASES: dict[str, tuple[Spoil, type, str | None, str, str, str]] = {
    "more layers than weights": (
        keys(CONFIG, num_hidden_layers=3), WeightsError, "bert.encoder.layer.2.attention.self.query.weight",
        MODEL, "16 missing", WEIGHTS,
    ),
    "fewer layers than weights": (
        keys(CONFIG, num_hidden_layers=1), WeightsError, "bert.encoder.layer.1.attention.output.LayerNorm.bias",
        MODEL, "16 unknown", WEIGHTS,
    ),
    "1024 layers": (
        keys(CONFIG, num_hidden_layers=1024), WeightsError, "num_hidden_layers", "at most 41", "1024", WEIGHTS,
    ),
    "wider than the weights": (
        keys(CONFIG, hidden_size=16), WeightsError, "bert.embeddings.LayerNorm.bias", MODEL, "38 of another shape",
        WEIGHTS,
    ),
    "widest": (
        keys(CONFIG, hidden_size=1 << 20), WeightsError, "bert.embeddings.LayerNorm.bias", MODEL,
        "38 of another shape", WEIGHTS,
    ),
    "narrower than the weights": (
        keys(CONFIG, hidden_size=4), WeightsError, "bert.embeddings.LayerNorm.bias", MODEL, "38 of another shape",
        WEIGHTS,
    ),
    "more words": (keys(CONFIG, vocab_size=20), WeightsError, WORDS, MODEL, "1 of another shape", WEIGHTS),
    "most words": (keys(CONFIG, vocab_size=1 << 26), WeightsError, WORDS, MODEL, "1 of another shape", WEIGHTS),
    "fewer words": (keys(CONFIG, vocab_size=10), WeightsError, WORDS, MODEL, "1 of another shape", WEIGHTS),
    "no token types": (
        keys(CONFIG, type_vocab_size=0), WeightsError, "bert.embeddings.token_type_embeddings.weight", MODEL,
        "1 unknown", WEIGHTS,
    ),
    "other labels": (
        keys(CONFIG, id2label={"0": "a"}, label2id={"a": 0}), WeightsError, "classifier.bias", MODEL,
        "2 of another shape", WEIGHTS,
    ),
    "another architecture": (
        keys(CONFIG, model_type="distilbert"), WeightsError, "distilbert.embeddings.word_embeddings.weight",
        "the weights of DistilBertForSequenceClassification", "missing", WEIGHTS,
    ),
    "an architecture without the head": (
        keys(CONFIG, model_type="vit"), UnsupportedError, "model_type", "bert, ", "vit", CONFIG,
    ),
    "quantised": (
        keys(CONFIG, quantization_config={"quant_method": "gptq"}), UnsupportedError, "quantization_config", "",
        "gptq", CONFIG,
    ),
    "a weight missing": (tensors(lambda held: held.pop(WORDS)), WeightsError, WORDS, MODEL, "1 missing", WEIGHTS),
    "a weight too many": (
        tensors(lambda held: held.update({"bert.x": torch.ones(2)})), WeightsError, "bert.x", MODEL, "1 unknown",
        WEIGHTS,
    ),
    "a weight transposed": (
        tensors(lambda held: held.update({WORDS: held[WORDS].T})), WeightsError, WORDS, MODEL, "another shape",
        WEIGHTS,
    ),
    "a weight that is one number": (
        tensors(lambda held: held.update({WORDS: torch.tensor(1.0)})), WeightsError, WORDS, MODEL, "another shape",
        WEIGHTS,
    ),
    "integers": (
        to_dtype(torch.int64), WeightsError, "bert.embeddings.LayerNorm.bias", MODEL, "41 of another dtype", WEIGHTS,
    ),
    "booleans": (
        to_dtype(torch.bool), WeightsError, "bert.embeddings.LayerNorm.bias", MODEL, "41 of another dtype", WEIGHTS,
    ),
    "empty": (content(WEIGHTS, b""), FormatError, "header", "8-byte", "0 bytes", WEIGHTS),
    "cut in the header": (cut(WEIGHTS, 100), FormatError, "header", "as its length says", "92 bytes", WEIGHTS),
    "cut in the data": (
        cut(WEIGHTS, -1), FormatError, "classifier.weight.data_offsets", "truncated file?", "[", WEIGHTS,
    ),
    "a web page": (
        content(WEIGHTS, "<html><body>404</body></html>"), FormatError, "content", "the safetensors format",
        "a web page; download", WEIGHTS,
    ),
    "a pointer to large storage": (
        content(WEIGHTS, "version https://git-lfs.github.com/spec/v1\n"), FormatError, "content",
        "the safetensors format", "git lfs pull", WEIGHTS,
    ),
    "an index that is a web page": (
        several(index(weight_map=SHARD), content(INDEX, "<!DOCTYPE html><title>")), FormatError, "content",
        "an index of weights", "a web page", INDEX,
    ),
    "a shard that is a pointer": (
        several(index(weight_map=SHARD), content(SHARD, "version https://git-lfs.github.com/spec/v1\n")),
        FormatError, "content", "the safetensors format", "git lfs pull", SHARD,
    ),
    "a header of 2^63 bytes": (
        content(WEIGHTS, struct.pack("<Q", 1 << 63) + b"{}"), FormatError, "header", "at most 100000000",
        "9223372036854775808", WEIGHTS,
    ),
    "a header 100,000 levels deep": (
        content(WEIGHTS, header(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)), FormatError, "a", "dtype", "no dtype",
        WEIGHTS,
    ),
    "no tensors": (
        content(WEIGHTS, header(b"{}")), WeightsError, "num_hidden_layers", "at most 0", "2", WEIGHTS,
    ),
    "no weights": (without(WEIGHTS), MissingFileError, WEIGHTS, "there is no", "it holds config.json", WEIGHTS),
    "another format under the name of a pickle": (
        renamed(WEIGHTS, PICKLED), FormatError, "pickle", "weights written by torch.save", "UnpicklingError", PICKLED,
    ),
    "a pickle that runs code": (
        several(without(WEIGHTS), content(PICKLED, RUNS_CODE)), UnsupportedError, "posix.system", "tensors",
        "posix.system", PICKLED,
    ),
    "a pickle of something else": (
        several(without(WEIGHTS), pickled(["a"])), FormatError, "pickle", "a dictionary of tensors", "an array",
        PICKLED,
    ),
    "a pickle of numbers": (
        several(without(WEIGHTS), pickled({WORDS: 3})), FormatError, WORDS, "a tensor", "an integer", PICKLED,
    ),
    "a pickle without a weight": (
        several(without(WEIGHTS), pickled({WORDS: torch.ones(13, 8)})), WeightsError, "num_hidden_layers",
        "at most 1", "2", PICKLED,
    ),
    "a pickle that is a web page": (
        several(without(WEIGHTS), content(PICKLED, "<!doctype html>")), FormatError, "content",
        "weights written by torch.save", "/resolve/", PICKLED,
    ),
    "another framework's weights": (
        renamed(WEIGHTS, "tf_model.h5"), UnsupportedError, "tf_model.h5", "model.safetensors or pytorch_model.bin",
        "tf_model.h5", "tf_model.h5",
    ),
    "a shard outside the folder": (
        index(weight_map="../elsewhere.safetensors"), FormatError, "weight_map.bert.embeddings.LayerNorm.bias",
        "in the index's own folder", "../elsewhere", INDEX,
    ),
    "a shard at the root": (
        index(weight_map="/etc/passwd"), FormatError, "weight_map.bert.embeddings.LayerNorm.bias",
        "in the index's own folder", "/etc/passwd", INDEX,
    ),
    "a shard by backslash": (
        index(weight_map="..\\x"), FormatError, "weight_map.bert.embeddings.LayerNorm.bias",
        "in the index's own folder", "x", INDEX,
    ),
    "a shard that is not there": (
        index(weight_map="model-2.safetensors"), MissingFileError, "model-2.safetensors", "there is no", "it holds",
        "model-2.safetensors",
    ),
    "a shard that is another file": (
        index(weight_map=CONFIG), FormatError, "header", "at most", "a length of", CONFIG,
    ),
    "a tensor no shard has": (
        index(weight_map={"zz": SHARD}), FormatError, "weight_map.zz", f"a tensor of {SHARD}", "none", INDEX,
    ),
    "an index without a map": (index(), FormatError, "weight_map", "a JSON object", "no such", INDEX),
    "an index with a list": (index(weight_map=[1]), FormatError, "weight_map", "a JSON object", "[1]", INDEX),
    "an index with numbers": (index(weight_map={"a": 3}), FormatError, "weight_map.a", "a file name", "3", INDEX),
    "an index 100,000 levels deep": (
        several(index(weight_map=SHARD), content(INDEX, b"[" * 100_000)), FormatError, "index", "a JSON object",
        "sequence", INDEX,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_weights_that_do_not_fit(folder: Path, name: str) -> None:
    spoil, error, key, expected, actual, file = CASES[name]
    spoil(folder)
    due = Refusal(error, key, expected, actual, file)
    refuses(lambda: AutoModelForSequenceClassification.from_pretrained(folder), due, folder)


def test_a_right_index_and_other_float_dtypes_load(folder: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        to_dtype(dtype)(folder)
        assert AutoModel.from_pretrained(folder).dtype == torch.float32  # as the config says
    index(weight_map=SHARD)(folder)
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.num_labels == 3


@pytest.mark.parametrize(
    ("arguments", "error", "key", "actual"),
    [
        ({"dtype": "nope"}, ArgumentError, "dtype", "'nope'"),
        ({"dtype": torch.int8}, ArgumentError, "dtype", "torch.int8"),
        ({"device": "nope"}, ArgumentError, "device", "'nope'"),
        ({"device_map": [1]}, ArgumentError, "device", "[1]"),
        ({"foo": 1}, InputTypeError, "foo", "foo"),
        ({"config": 3}, InputTypeError, "name_or_path", "int"),
    ],
)
def test_arguments_of_loading(
    good: Path, arguments: dict[str, Any], error: type, key: str, actual: str
) -> None:
    due = Refusal(error, key, "", actual)
    refuses(lambda: AutoModelForSequenceClassification.from_pretrained(good, **arguments), due)


def test_a_config_that_is_none() -> None:
    due = Refusal(InputTypeError, "config", "a config object", "int")
    refuses(lambda: AutoModel.from_config(3), due)
