"""AutoTokenizer: which class a folder gets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from oxiformers import (
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    DistilBertConfig,
    DistilBertTokenizer,
    ElectraTokenizer,
    PreTrainedTokenizerFast,
)
from oxiformers.errors import ArgumentError, FormatError, MissingFileError, UnsupportedError
from oxiformers.tokenization import tokenizer_class
from oxiformers.tokenizer_table import MODULES, REFUSED, TOKENIZERS

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "##s"]


def folder_with(folder: Path, files: dict[str, Any], full: bool = False) -> Path:
    """A folder with a vocabulary, the files given as JSON, and tokenizer.json where `full`."""
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    if full:
        BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder, legacy_format=False)
        (folder / "vocab.txt").unlink()
        (folder / "tokenizer_config.json").unlink()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("files", "full", "expected"),
    [
        ({"tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}}, False, BertTokenizer),
        ({"tokenizer_config.json": {"tokenizer_class": "BertTokenizerFast"}}, True, BertTokenizer),
        ({"tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer"}}, False, DistilBertTokenizer),
        ({"tokenizer_config.json": {}, "config.json": {"model_type": "bert"}}, False, BertTokenizer),
        ({"config.json": {"model_type": "distilbert"}}, True, DistilBertTokenizer),
        ({"config.json": {"model_type": "bert"}, "tokenizer_config.json": {"tokenizer_class": "MyOwn"}}, True, None),
        ({"tokenizer_config.json": {"tokenizer_class": "TokenizersBackend"}}, True, None),
        ({"config.json": {"model_type": "no_such"}}, True, None),
        ({"config.json": {"model_type": "falcon"}}, True, None),
        ({"config.json": {"model_type": "electra"}}, True, ElectraTokenizer),
        ({"config.json": {"tokenizer_class": "ElectraTokenizer", "model_type": "bert"}}, False, ElectraTokenizer),
        ({"config.json": {"encoder": {"model_type": "bert"}, "model_type": "encoder-decoder"}}, True, BertTokenizer),
        ({}, False, BertTokenizer),
        ({}, True, None),
    ],
)  # fmt: skip
def test_the_class(files: dict[str, Any], full: bool, expected: type | None, tmp_path: Path) -> None:
    folder_with(tmp_path, files, full)
    for arguments in ({}, {"use_fast": False}, {"use_fast": True}):
        tokenizer = AutoTokenizer.from_pretrained(tmp_path, **arguments)
        assert type(tokenizer) is (expected or PreTrainedTokenizerFast)
        assert tokenizer("Hello worlds")["input_ids"] == [2, 5, 6, 7, 3]


def test_the_config_of_a_model_decides_in_place_of_its_file(tmp_path: Path) -> None:
    folder_with(tmp_path, {"config.json": {"model_type": "bert"}})
    assert type(AutoTokenizer.from_pretrained(tmp_path, config=DistilBertConfig())) is DistilBertTokenizer
    assert type(AutoTokenizer.from_pretrained(tmp_path, config=BertConfig())) is BertTokenizer


def test_arguments_reach_the_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    folder_with(tmp_path / "inner", {"config.json": {"model_type": "bert"}})
    tokenizer = AutoTokenizer.from_pretrained(
        tmp_path, subfolder="inner", model_max_length=7, padding_side="left"
    )
    assert (tokenizer.model_max_length, tokenizer.padding_side) == (7, "left")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedError, match=r"has no tokenizer\.json, and names no tokenizer_class and no known"
    ):
        AutoTokenizer.from_pretrained(tmp_path)
    folder_with(tmp_path, {"tokenizer_config.json": {"tokenizer_class": "MyOwnTokenizer"}})
    with pytest.raises(UnsupportedError, match="'MyOwnTokenizer' is not supported without one") as caught:
        AutoTokenizer.from_pretrained(tmp_path)
    assert (caught.value.key, caught.value.actual) == ("tokenizer_class", "'MyOwnTokenizer'")
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(FormatError, match=r"tokenizer_config\.json is not JSON"):
        AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(MissingFileError):
        AutoTokenizer.from_pretrained(tmp_path / "nothing")
    with pytest.raises(TypeError, match="from_pretrained"):
        AutoTokenizer()


def test_a_model_type_given_by_name(tmp_path: Path) -> None:
    folder_with(tmp_path, {"tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}})
    assert type(AutoTokenizer.from_pretrained(tmp_path, tokenizer_type="distilbert")) is DistilBertTokenizer
    with pytest.raises(ArgumentError, match="`tokenizer_type` no_such does not exist") as caught:
        AutoTokenizer.from_pretrained(tmp_path, tokenizer_type="no_such")
    assert caught.value.key == "tokenizer_type"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_classes_that_are_refused(name: str, tmp_path: Path) -> None:
    """Their tokenizer.json does not say all they do."""
    folder_with(tmp_path, {"tokenizer_config.json": {"tokenizer_class": name}}, full=True)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": f"{name}Fast"}))
    with pytest.raises(UnsupportedError, match=f"asks for {name}Fast, and it"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_the_table_names_classes_of_transformers(python_457: Path) -> None:
    """Each model type has the class that transformers 4.57 gives it."""
    program = (
        "import json\n"
        "from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES as names\n"
        "print(json.dumps({k: [n for n in v if n] for k, v in names.items()}))"
    )
    done = subprocess.run([str(python_457), "-c", program], capture_output=True, text=True, check=True)
    for model_type, names in json.loads(done.stdout.splitlines()[-1]).items():
        found = TOKENIZERS[model_type]
        if names:  # none where a library that transformers needs for it is missing
            assert found in {name.removesuffix("Fast") for name in names} | {"PreTrainedTokenizer"}, (
                model_type
            )
    for name in MODULES:
        assert tokenizer_class(name) is tokenizer_class(f"{name}Fast") is not None
