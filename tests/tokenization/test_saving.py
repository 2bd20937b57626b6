"""What one library saves, the others read back equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oxiformers.errors import FileError, InputTypeError, UnsupportedError
from oxiformers.tokenization import (
    AddedToken,
    BertTokenizerFast,
    DistilBertTokenizer,
    PreTrainedTokenizerFast,
)
from tests.tokenization.conftest import assert_same
from tests.tokenization.jobs import Session
from tests.tokenization.steps import TICKETS, TOKENIZERS, WORDPIECE, call, named_alone, step

ADDED: list[Any] = [
    "newtok",
    {"added": {"content": "Mid Dle", "lstrip": True}},
    {"added": {"content": "<Y>", "special": True}},
]
ASKED = (
    "special_tokens_map",
    "all_special_tokens",
    "all_special_ids",
    "added_tokens_decoder",
    "model_max_length",
    "padding_side",
    "truncation_side",
    "clean_up_tokenization_spaces",
    "chat_template",
    "__len__",
    "model_input_names",
)


def questions(lines: list[str], *names: str) -> list[dict[str, Any]]:
    """Steps whose answers two equal tokenizers share."""
    texts = [*lines[::4], "newtok <Y> <y> mid dle Mid Dle <a> <image> [MASK]"]
    return [
        call(texts, texts, padding=True, return_special_tokens_mask=True, return_offsets_mapping=True),
        call(texts, truncation=True, max_length=9, padding=True),
        step("batch_decode", [[0, 1, 2, 3, 101, 102, 103, 200, 424, 425, 426]], skip_special_tokens=True),
        *map(step, names or ASKED),
    ]


def changes() -> list[dict[str, Any]]:
    """Steps that change a tokenizer in all the ways that are saved."""
    return [
        step("add_tokens", ADDED),
        step("add_special_tokens", {"bos_token": "<s>", "additional_special_tokens": ["<a>"]}),
        {"do": "model_max_length", "set": 77},
        {"do": "padding_side", "set": "left"},
        {"do": "truncation_side", "set": "left"},
        {"do": "chat_template", "set": "{{ messages }} é"},
    ]


def saved(session: Any, load: dict[str, Any], folder: Path, *steps: dict[str, Any]) -> list[Any]:
    """Runs steps on a fresh tokenizer, saves it, and gives the results after the saving step."""
    answers: list[Any] = session.run(
        {"load": load, "fresh": True, "steps": [*steps, step("save_pretrained", str(folder))]}
    )
    assert not any(isinstance(answer, dict) and "error" in answer for answer in answers), answers
    return answers


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        *((name, "BertTokenizerFast") for name in WORDPIECE),
        *((name, "PreTrainedTokenizerFast") for name in TOKENIZERS),
    ],
)
@pytest.mark.parametrize("changed", [False, True], ids=["plain", "changed"])
def test_transformers_reads_what_we_save(
    name: str,
    changed: bool,
    cls: str,
    ours: Session,
    oracle_524: Any,
    oracle_457: Any,
    folders: dict[str, Path],
    lines: list[str],
    tmp_path: Path,
) -> None:
    """Both versions, by the class and by AutoTokenizer, answer as we do; and so do we from our own files."""
    kwargs: dict[str, Any] = {"pad_token": "[PAD]"} if cls == "PreTrainedTokenizerFast" else {}
    load = {"class": cls, "path": str(folders[name]), "kwargs": kwargs}
    folder = tmp_path / "saved"
    steps = [*(changes() if changed else []), *questions(lines)]
    answers = saved(ours, load, folder, *steps)[-len(questions(lines)) - 1 : -1]
    readers = [(ours, cls), (oracle_524, cls), (oracle_524, "AutoTokenizer"), (oracle_457, cls)]
    readers += [(oracle_457, "AutoTokenizer")]
    for reader, reading in readers:
        kwargs = {"model_input_names": answers[-1]} if reader is oracle_457 else {}
        job = {
            "load": {"class": reading, "path": str(folder), "kwargs": kwargs},
            "steps": questions(lines),
            "fresh": True,
        }
        read = reader.run(job)
        mine = named_alone(answers, job["steps"]) if reader is oracle_524 else answers
        assert_same(mine, read, job["steps"])


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("changed", [False, True], ids=["plain", "changed"])
@pytest.mark.parametrize("version", ["524", "457"])
def test_we_read_what_transformers_saves(
    name: str,
    changed: bool,
    version: str,
    request: pytest.FixtureRequest,
    ours: Session,
    folders: dict[str, Path],
    lines: list[str],
    tmp_path: Path,
) -> None:
    """Files of both versions."""
    oracle = request.getfixturevalue(f"oracle_{version}")
    cls = "PreTrainedTokenizerFast" if name == TICKETS else "BertTokenizerFast"
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    folder = tmp_path / "saved"
    saved(
        oracle,
        {"class": cls, "path": str(folders[name]), "kwargs": names},
        folder,
        *(changes() if changed else []),
    )
    job = {
        "load": {"class": cls, "path": str(folder), "kwargs": names},
        "steps": questions(lines),
        "fresh": True,
    }
    theirs, read = oracle.run(job), ours.run(job)
    if version == "524":
        read = named_alone(read, job["steps"])
    assert_same(read, theirs, job["steps"])


def test_named_tokens_of_a_model(
    folders: dict[str, Path], tmp_path: Path, ours: Session, oracle_457: Any
) -> None:
    """Tokens such as image_token, and AddedTokens with flags, survive."""
    tokenizer = BertTokenizerFast.from_pretrained(
        folders["bert-base-uncased"],
        extra_special_tokens={"image_token": "<image>"},
        additional_special_tokens=["<a>"],
        mask_token=AddedToken("[MASK]", lstrip=True, special=True),
    )
    tokenizer.save_pretrained(tmp_path)
    twin = BertTokenizerFast.from_pretrained(tmp_path)
    assert twin.image_token == "<image>"
    assert twin.image_token_id == tokenizer.image_token_id == 30522
    assert twin.all_special_tokens == tokenizer.all_special_tokens
    job = {"load": {"class": "BertTokenizerFast", "path": str(tmp_path)}, "steps": [step("image_token_id")]}
    assert oracle_457.run(job) == ours.run(job) == [30522]


def test_files(folders: dict[str, Path], tmp_path: Path) -> None:
    """The names that are written, with a prefix and without a vocabulary file."""
    tokenizer = BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])
    names = ["tokenizer_config.json", "special_tokens_map.json", "tokenizer.json", "vocab.txt"]
    assert tokenizer.save_pretrained(tmp_path / "a") == tuple(str(tmp_path / "a" / name) for name in names)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(names)
    tokenizer.save_pretrained(tmp_path / "b", filename_prefix="x", legacy_format=False)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == sorted(
        f"x-{name}" for name in names[:3]
    )
    assert json.loads((tmp_path / "a" / names[0]).read_text())["tokenizer_class"] == "BertTokenizer"
    vocabulary = (folders["bert-base-uncased"] / "vocab.txt").read_text(encoding="utf-8")
    assert (tmp_path / "a" / "vocab.txt").read_text(encoding="utf-8") == vocabulary
    assert tokenizer.save_vocabulary(tmp_path / "c", "p") == (str(tmp_path / "c" / "p-vocab.txt"),)
    assert DistilBertTokenizer.from_pretrained(tmp_path / "a").model_input_names == [
        "input_ids",
        "attention_mask",
    ]


def test_chat_templates(folders: dict[str, Path], tmp_path: Path) -> None:
    """One template, or several by name."""
    tokenizer = BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])
    for template in ("{{ x }}\n", {"default": "{{ x }}", "tool use": "{{ y }}"}):
        tokenizer.chat_template = template
        folder = tmp_path / str(len(template))
        tokenizer.save_pretrained(folder)
        assert BertTokenizerFast.from_pretrained(folder).chat_template == template
        assert "chat_template" not in json.loads((folder / "tokenizer_config.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = [{"name": "default", "template": "old"}]
    old = tmp_path / "old"
    tokenizer.chat_template = None
    tokenizer.save_pretrained(old)
    (old / "tokenizer_config.json").write_text(json.dumps(config))
    assert BertTokenizerFast.from_pretrained(old).chat_template == {"default": "old"}


def test_what_cannot_be_saved(folders: dict[str, Path], tmp_path: Path) -> None:
    """A file in the folder's place, an upload, a vocabulary that is not WordPiece."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folders[TICKETS])
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file"):
        tokenizer.save_pretrained(tmp_path / "file")
    with pytest.raises(InputTypeError, match="push_to_hub"):
        tokenizer.save_pretrained(tmp_path / "x", repo_id="me/x")
    with pytest.raises(UnsupportedError, match="WordLevel"):
        tokenizer.save_vocabulary(tmp_path)
