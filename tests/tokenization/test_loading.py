"""Finding a tokenizer's files, and refusing wrong ones by path and key."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oxiformers.errors import (
    ArgumentError,
    ConfigError,
    FormatError,
    MissingFileError,
    UnsupportedError,
)
from oxiformers.tokenization import (
    BertTokenizer,
    BertTokenizerFast,
    DistilBertTokenizerFast,
    PreTrainedTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    tokenizer_class,
)
from tests.tokenization.conftest import assert_same
from tests.tokenization.steps import TICKETS, TOKENIZERS, WORDPIECE, call, step


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("cls", ["PreTrainedTokenizerFast", "BertTokenizerFast", "DistilBertTokenizerFast"])
def test_classes(name: str, cls: str, lines: list[str], same_as_524: Any) -> None:
    """Each class over each folder."""
    steps = [
        call(lines[::3], lines[::3], padding="max_length", max_length=40, truncation=True),
        call(lines[0]),
    ]
    same_as_524(name, *steps, step("special_tokens_map"), step("model_max_length"), cls=cls)


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-cased", "all-MiniLM-L6-v2"])
def test_vocabulary_file(
    name: str, folders: dict[str, Path], lines: list[str], tmp_path: Path, ours: Any, oracle_524: Any
) -> None:
    """vocab.txt with tokenizer_config.json, without tokenizer.json."""
    shutil.copy(folders[name] / "vocab.txt", tmp_path)
    settings = {"do_lower_case": name != "bert-base-cased", "strip_accents": None, "never_split": ["x"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 19}))
    job = {
        "load": {"class": "BertTokenizerFast", "path": str(tmp_path)},
        "steps": [
            call(lines, lines, truncation=True, padding=True, return_offsets_mapping=True),
            step("added_tokens_decoder"),
            step("__len__"),
            step("get_vocab"),
            step("decode", [101, 7592, 1010, 2088, 102]),
        ],
    }
    assert ours.run(job) == oracle_524.run(job)


def test_older_added_tokens(folders: dict[str, Path], tmp_path: Path, ours: Any, oracle_457: Any) -> None:
    """special_tokens_map.json and added_tokens.json, as transformers 4's slow tokenizers saved them.

    transformers 5 takes the further special tokens among them for ordinary ones.
    """
    shutil.copy(folders["bert-base-uncased"] / "vocab.txt", tmp_path)
    token = {
        "content": "<special>",
        "lstrip": True,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
    }
    special = {"additional_special_tokens": ["<b>"], "mask_token": "[MASK]", "bos_token": token}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    (tmp_path / "added_tokens.json").write_text(
        json.dumps({"newtok": 30522, "<b>": 30523, "<special>": 30524})
    )
    steps = [
        call("a newtok <B>  <special> <b>", return_special_tokens_mask=True),
        step("added_tokens_decoder"),
    ]
    job = {"load": {"class": "BertTokenizerFast", "path": str(tmp_path)}, "steps": steps}
    answer = ours.run(job)
    assert_same(answer, oracle_457.run(job), steps)


def test_single_files(folders: dict[str, Path]) -> None:
    """The path of a tokenizer.json or a vocab.txt."""
    folder = folders["bert-base-uncased"]
    for name in ("tokenizer.json", "vocab.txt"):
        tokenizer = BertTokenizerFast.from_pretrained(folder / name, model_max_length=7)
        assert tokenizer("Hello", truncation=True)["input_ids"] == [101, 7592, 102]
        assert tokenizer.model_max_length == 7
    assert PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer.json").tokenize("Hello") == ["hello"]


def test_constructors(folders: dict[str, Path], tmp_path: Path) -> None:
    """From a vocabulary, a file, or another tokenizer."""
    folder = folders["bert-base-uncased"]
    whole = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
    assert whole(["a", "b c"], padding=True)["attention_mask"] == [[1, 1, 1, 0], [1, 1, 1, 1]]
    for tokenizer in (
        BertTokenizer(str(folder / "vocab.txt")),
        BertTokenizer(vocab_file=folder / "vocab.txt"),
        BertTokenizer(vocab=whole.get_vocab()),
        BertTokenizer(tokenizer_object=whole),
    ):
        assert tokenizer("Hello wörld")["input_ids"] == [101, 7592, 2088, 102]
    cased = BertTokenizer(
        vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "É": 5}, do_lower_case=False
    )
    assert cased("É e")["input_ids"] == [2, 5, 1, 3]
    assert len(BertTokenizer()) == 5
    assert PreTrainedTokenizer is PreTrainedTokenizerBase is PreTrainedTokenizerFast
    assert tokenizer_class("BertTokenizerFast") is tokenizer_class("BertTokenizer") is BertTokenizer
    assert tokenizer_class("DistilBertTokenizerFast") is DistilBertTokenizerFast
    assert tokenizer_class("PreTrainedTokenizerFast") is PreTrainedTokenizerFast
    assert tokenizer_class("NoSuchTokenizer") is None
    with pytest.raises(ArgumentError, match="tokenizer_file"):
        PreTrainedTokenizerFast()


def broken(folders: dict[str, Path], tmp_path: Path, **config: Any) -> Path:
    """A folder whose tokenizer_config.json has these settings."""
    folder = tmp_path / "broken"
    shutil.copytree(folders["bert-base-cased"], folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("config", "key", "found"),
    [
        ({"model_max_length": "512"}, "model_max_length", "a string"),
        ({"model_max_length": True}, "model_max_length", "a boolean"),
        ({"padding_side": 1}, "padding_side", "an integer"),
        ({"do_lower_case": "yes"}, "do_lower_case", "a string"),
        ({"strip_accents": 1}, "strip_accents", "an integer"),
        ({"pad_token": 0}, "pad_token", "an integer"),
        ({"pad_token": {"lstrip": True}}, "pad_token.content", "null"),
        ({"pad_token": {"content": 3}}, "pad_token.content", "an integer"),
        ({"pad_token": {"content": "x", "color": 3}}, "pad_token.color", "'color'"),
        ({"added_tokens_decoder": []}, "added_tokens_decoder", "an array"),
        ({"added_tokens_decoder": {"x": {"content": "a"}}}, "added_tokens_decoder", "a string"),
        ({"added_tokens_decoder": {"1": "a"}}, "added_tokens_decoder.1", "a string"),
        ({"extra_special_tokens": "x"}, "extra_special_tokens", "a string"),
        ({"additional_special_tokens": [1]}, "additional_special_tokens[0]", "an integer"),
        ({"model_input_names": "input_ids"}, "model_input_names", "a string"),
        ({"chat_template": 3}, "chat_template", "an integer"),
    ],
    ids=str,
)
def test_wrong_settings(config: Any, key: str, found: str, folders: Any, tmp_path: Path) -> None:
    """The error names the file, the key, what is due and what is there."""
    folder = broken(folders, tmp_path, **config)
    with pytest.raises(ConfigError) as caught:
        BertTokenizerFast.from_pretrained(folder)
    assert caught.value.path == str(folder / "tokenizer_config.json")
    assert caught.value.key == key
    assert caught.value.expected
    assert caught.value.actual == found


def test_wrong_sides(folders: Any, tmp_path: Path) -> None:
    """A side is left or right."""
    with pytest.raises(ArgumentError, match="padding_side"):
        BertTokenizerFast.from_pretrained(broken(folders, tmp_path, padding_side="top"))


def test_files_that_are_not_there(folders: Any, tmp_path: Path) -> None:
    """The error names what is missing, and what the folder holds."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingFileError, match=r"tokenizer\.json.*config\.json"):
        BertTokenizerFast.from_pretrained(tmp_path)
    shutil.copy(folders["bert-base-uncased"] / "vocab.txt", tmp_path)
    with pytest.raises(MissingFileError, match=r"tokenizer\.json"):
        PreTrainedTokenizerFast.from_pretrained(tmp_path)
    with pytest.raises(MissingFileError):
        BertTokenizerFast.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1, "a": 2}', "\x00"])
def test_broken_json(content: str, folders: Any, tmp_path: Path) -> None:
    """Each file that is read is named where it is broken."""
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json"):
        folder = tmp_path / name
        shutil.copytree(folders["bert-base-cased"], folder)
        (folder / name).write_text(content)
        with pytest.raises(FormatError) as caught:
            BertTokenizerFast.from_pretrained(folder)
        assert name in str(caught.value)


def test_code_is_never_run(folders: Any, tmp_path: Path) -> None:
    """auto_map is ignored, and refused where it is asked for."""
    folder = broken(folders, tmp_path, auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    assert BertTokenizerFast.from_pretrained(folder).tokenize("a") == ["a"]
    with pytest.raises(UnsupportedError, match="auto_map"):
        BertTokenizerFast.from_pretrained(folder, trust_remote_code=True)


def test_a_config_cannot_name_files(folders: Any, tmp_path: Path) -> None:
    """Paths in tokenizer_config.json are not followed."""
    folder = broken(
        folders, tmp_path, vocab_file="/etc/passwd", tokenizer_file="/etc/passwd", name_or_path="/etc"
    )
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    assert tokenizer.name_or_path == str(folder)
    assert len(tokenizer) == 28996


def test_other_models_are_refused_by_bert(folders: Any) -> None:
    """BERT's class over another model says which class to take."""
    with pytest.raises(FormatError, match=r"WordLevel.*PreTrainedTokenizerFast"):
        BertTokenizerFast.from_pretrained(folders[TICKETS])


def test_settings_of_the_caller_win(folders: Any) -> None:
    """Over tokenizer_config.json and the saved truncation and padding."""
    tokenizer = BertTokenizerFast.from_pretrained(
        folders["all-MiniLM-L6-v2"], model_max_length=9, padding_side="left", do_lower_case=False
    )
    batch = tokenizer(["hello " * 30, "a"], padding=True, truncation=True)
    assert [len(row) for row in batch["input_ids"]] == [9, 9]
    assert batch["attention_mask"][1] == [0] * 6 + [1] * 3
    assert len(tokenizer("hello " * 200)["input_ids"]) == 202
    assert tokenizer.tokenize("Hello") == ["[UNK]"]


def test_neither_torch_nor_hub_is_imported(folders: Any) -> None:
    """Loading a folder and tokenizing into lists and arrays needs neither."""
    program = (
        "import sys; from oxiformers.tokenization import BertTokenizerFast as T; "
        f"t = T.from_pretrained({str(folders[WORDPIECE[0]])!r}); t(['a', 'b c'], padding=True); "
        "t(['a', 'b c'], padding=True, return_tensors='np'); t.pad({'input_ids': [[1], [2, 3]]}); "
        "t.decode([5, 6]); loaded = {'torch', 'huggingface_hub', 'jinja2', 'triton'} & set(sys.modules); "
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
