"""Uploads to the Hub: which repository, which files and which commit, by a Hub that only writes them down."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from oxiformers.errors import InputTypeError
from oxiformers.tokenization import PreTrainedTokenizerFast
from tests.tokenization.steps import TICKETS

FILES = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}


class Hub:
    """In place of huggingface_hub.HfApi."""

    calls: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012 -- of all that the code under test makes

    def __init__(self, token: Any = None) -> None:
        self.calls.append(("login", {"token": token}))

    def create_repo(self, repo_id: str, **options: Any) -> SimpleNamespace:
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))
        return SimpleNamespace(repo_id=repo_id if "/" in repo_id else f"me/{repo_id}")

    def create_branch(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create_branch", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: Any) -> str:
        folder = Path(options.pop("folder_path"))
        present = {file.relative_to(folder).as_posix() for file in folder.rglob("*")}
        assert set(options["allow_patterns"]) <= present
        self.calls.append(("upload_folder", options))
        return "commit"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    return Hub.calls


@pytest.fixture
def tokenizer(folders: dict[str, Path]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(folders[TICKETS])


def test_push(tokenizer: PreTrainedTokenizerFast, hub: list[tuple[str, dict[str, Any]]]) -> None:
    assert (
        tokenizer.push_to_hub("mine", private=True, token="secret", revision="next", create_pr=True)
        == "commit"
    )
    names = [name for name, _ in hub]
    assert names == ["login", "create_repo", "create_branch", "upload_folder"]
    assert hub[0][1] == {"token": "secret"}
    assert hub[1][1] == {"repo_id": "mine", "private": True, "exist_ok": True}
    assert hub[2][1] == {"repo_id": "me/mine", "branch": "next", "exist_ok": True}
    options = hub[3][1]
    assert options["repo_id"] == "me/mine" and options["create_pr"] and options["revision"] == "next"
    assert options["commit_message"] == "Upload tokenizer"
    assert set(options["allow_patterns"]) == FILES


def test_pull_requests_are_no_branches(
    tokenizer: PreTrainedTokenizerFast, hub: list[tuple[str, dict[str, Any]]]
) -> None:
    tokenizer.push_to_hub(
        "org/name", revision="refs/pr/3", commit_message="Better", commit_description="Much"
    )
    assert [name for name, _ in hub] == ["login", "create_repo", "upload_folder"]
    assert (hub[2][1]["commit_message"], hub[2][1]["commit_description"]) == ("Better", "Much")


def test_saved_files_are_pushed_and_others_left(
    tokenizer: PreTrainedTokenizerFast, hub: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    folder = tmp_path / "my-tokenizer"
    folder.mkdir()
    (folder / "notes.txt").write_text("private")
    tokenizer.chat_template = {"default": "a", "rag": "b"}
    tokenizer.save_pretrained(folder, push_to_hub=True, commit_message="One")
    assert hub[1][1]["repo_id"] == "my-tokenizer"
    named = {"chat_template.jinja", "additional_chat_templates/rag.jinja"}
    assert set(hub[2][1]["allow_patterns"]) == FILES | named
    tokenizer.save_pretrained(folder, push_to_hub=True, repo_id="org/other")
    assert hub[4][1]["repo_id"] == "org/other"


def test_a_kept_folder(
    tokenizer: PreTrainedTokenizerFast,
    hub: list[tuple[str, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer.push_to_hub("org/kept", use_temp_dir=False)
    assert {file.name for file in (tmp_path / "kept").iterdir()} == FILES


def test_arguments(
    tokenizer: PreTrainedTokenizerFast, hub: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    with pytest.raises(InputTypeError) as caught:
        tokenizer.save_pretrained(tmp_path / "x", push_to_hub=True, repository="x")
    assert caught.value.key == "repository" and not (tmp_path / "x").exists()
    with pytest.raises(InputTypeError) as caught:
        tokenizer.push_to_hub(5)  # type: ignore[arg-type]
    assert caught.value.key == "repo_id"
    assert [name for name, _ in hub if name != "login"] == []
