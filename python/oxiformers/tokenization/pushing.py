"""Uploading a tokenizer to the Hub."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oxiformers.errors import InputTypeError

#: What an upload takes beside the repository's name.
UPLOAD_ARGUMENTS = (
    "commit_message",
    "commit_description",
    "private",
    "token",
    "revision",
    "create_pr",
)


def upload(folder: Path, paths: tuple[str, ...], repo_id: str, **options: Any) -> Any:
    """Commits files of a folder to a model repository on the Hub, which is made where there is none.

    Args:
        folder: the folder.
        paths: the files in it; others are left alone.
        repo_id: the repository's name, under the user's own namespace where it names none.
        **options: of `UPLOAD_ARGUMENTS`.

    Returns:
        What huggingface_hub says of the commit.

    Raises:
        OSError and its kinds that huggingface_hub raises: no access, no connection, offline mode.
    """
    from huggingface_hub import HfApi

    if not isinstance(repo_id, str):
        raise InputTypeError.mismatch("repo_id", "a str such as 'user/name'", type(repo_id).__name__)
    api = HfApi(token=options.get("token"))
    name = api.create_repo(repo_id, private=options.get("private"), exist_ok=True).repo_id
    revision = options.get("revision")
    if revision is not None and not revision.startswith("refs/pr/"):
        api.create_branch(name, branch=revision, exist_ok=True)
    return api.upload_folder(
        repo_id=name,
        folder_path=folder,
        allow_patterns=[Path(path).relative_to(folder).as_posix() for path in paths],
        commit_message=options.get("commit_message") or "Upload tokenizer",
        commit_description=options.get("commit_description"),
        revision=revision,
        create_pr=bool(options.get("create_pr")),
    )


def push_arguments(folder: str | os.PathLike[str], arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The repository and the options of what `save_pretrained(push_to_hub=True)` uploads.

    Raises InputTypeError for others.
    """
    options = dict(arguments)
    repo_id = options.pop("repo_id", None) or Path(folder).resolve().name
    for name in options:
        if name not in UPLOAD_ARGUMENTS:
            raise InputTypeError(
                f"an upload to {repo_id} takes no {name}=",
                key=name,
                expected=f"repo_id, {', '.join(UPLOAD_ARGUMENTS)}",
                actual=name,
            )
    return repo_id, options


class PushesToHub:
    """The upload of what `save_pretrained` writes."""

    save_pretrained: Callable[..., tuple[str, ...]]

    def push_to_hub(
        self,
        repo_id: str,
        use_temp_dir: bool = True,
        commit_message: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        create_pr: bool = False,
        revision: str | None = None,
        commit_description: str | None = None,
    ) -> Any:
        """Uploads the tokenizer's files to a model repository on the Hub.

        Args:
            repo_id: "name" or "organization/name"; it is made where there is none.
            use_temp_dir: False keeps the files in a folder of the repository's name.
            commit_message: "Upload tokenizer" by default.
            private: whether a new repository is private; the namespace's default if None.
            token: in place of the one that is logged in.
            create_pr: whether the files go into a pull request.
            revision: the branch, which is made where there is none.
            commit_description: the text below the message.

        Returns:
            What huggingface_hub says of the commit.
        """
        options = {
            "commit_message": commit_message,
            "commit_description": commit_description,
            "private": private,
            "token": token,
            "create_pr": create_pr,
            "revision": revision,
        }
        if use_temp_dir:
            with tempfile.TemporaryDirectory() as folder:
                return upload(Path(folder), self.save_pretrained(folder), repo_id, **options)
        kept = Path(repo_id.split("/")[-1])
        return upload(kept, self.save_pretrained(kept), repo_id, **options)
