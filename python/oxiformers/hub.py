"""Finding a model's files: a local folder, then the Hugging Face cache, then the Hub.

A file in the cache is used as it lies there, without asking the Hub whether there is a newer one: with the
files cached no network call is made. `force_download=True` asks for the newest.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from oxiformers import env
from oxiformers.errors import ArgumentError, FileError, InputTypeError, MissingFileError, UnsupportedError
from oxiformers.files import read_json as read_json
from oxiformers.logging import get_logger

logger = get_logger(__name__)

#: Models whose folder lies in the package itself.
EMBEDDED = {"oxiformers/demo-sentiment": "data/demo-sentiment"}

#: The keyword arguments of every from_pretrained that say where and how to find the files.
HUB_ARGUMENTS = frozenset(
    {"revision", "token", "cache_dir", "local_files_only", "subfolder", "force_download"}
)
#: Accepted since callers of transformers pass them; they change nothing here.
_WITHOUT_EFFECT = frozenset(
    {
        "resume_download",
        "mirror",
        "code_revision",
        "_commit_hash",
        "_from_auto",
        "_from_pipeline",
        "adapter_kwargs",
    }
)

# Without a network huggingface_hub tries a download for 20 seconds and more. So before the first optional file the
# Hub is asked once whether it answers, in that many seconds, and the answer counts for a while.
_PATIENCE = 3.0
_ANSWER_COUNTS_FOR = 60.0

# Longer paths, and longer names in them, are refused by every operating system there is.
_LONGEST_PATH = 4096
_LONGEST_NAME = 255


@dataclass
class _Reachability:
    """What is known of the Hub: until when (by time.monotonic) it may be taken to answer, or not to."""

    answers_until: float = 0.0
    silent_until: float = 0.0

    def note(self, answered: bool) -> None:
        until = time.monotonic() + _ANSWER_COUNTS_FOR
        self.answers_until, self.silent_until = (until, 0.0) if answered else (0.0, until)


_reachability = _Reachability()


def path_text(path: str | os.PathLike[str], argument: str) -> str:
    """A path as a str. Raises InputTypeError for anything else, naming the argument."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str):
        kind = type(path).__name__
        raise InputTypeError.mismatch(argument, "a str or a path", kind)
    return text


class Source:
    """Where a model's files lie: a local folder, or a repository in the cache or on the Hub.

    Args:
        name_or_path: a folder, or a repository's name such as "google-bert/bert-base-uncased".
        revision: branch, tag or commit on the Hub; "main" by default.
        token: the Hub's access token; True or None for the one stored by `hf auth login`, False for none.
        cache_dir: the cache's folder; the one of huggingface_hub by default.
        local_files_only: never call the Hub.
        subfolder: the folder in the repository or local folder that holds the files.
        force_download: ask the Hub even for what is cached.

    Raises:
        MissingFileError: where the name can only be a folder, and there is none.
        ArgumentError: where the name is neither a folder nor the possible name of a repository.
    """

    def __init__(
        self,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        subfolder: str = "",
        force_download: bool = False,
    ) -> None:
        self.name = path_text(name_or_path, "name_or_path")
        self.revision = revision
        self.token = token
        self.cache_dir = path_text(cache_dir, "cache_dir") if cache_dir is not None else None
        self.local_files_only = local_files_only
        self.subfolder = path_text(subfolder, "subfolder") if subfolder else ""
        self.force_download = force_download
        self.folder = self._local_folder()
        if self.folder is None:
            self._check_repository_name()

    def __repr__(self) -> str:
        return f"Source({self.name!r})"

    def file(self, filename: str, required: bool = True, ask: bool = True) -> Path | None:
        """The local path of one file, fetched first where it lies only on the Hub.

        Args:
            filename: its path in the folder or repository.
            required: whether it is an error that there is no such file; else the answer is None.
            ask: whether the Hub may be asked for an optional file that is not in the cache.

        Raises:
            MissingFileError: the file does not exist, or cannot be had offline.
            FileError: the Hub answered with another error (access, connection).
        """
        relative = _inside(
            PurePosixPath(self.subfolder, filename) if self.subfolder else PurePosixPath(filename)
        )
        if self.folder is not None:
            path = self.folder.joinpath(*relative.parts)
            if path.is_file():
                return path
            return self._missing_locally(path) if required else None
        return self._hub_file(str(relative), required, ask or required)

    def _local_folder(self) -> Path | None:
        path = Path(self.name).expanduser()
        if len(os.fsencode(path.name)) > _LONGEST_NAME or len(self.name) > _LONGEST_PATH:
            raise ArgumentError.mismatch(
                "name_or_path",
                f"at most {_LONGEST_PATH} characters",
                f"{len(self.name)} characters, which begin with {self.name[:40]!r}",
            )
        if self.name and path.is_dir():
            return path
        if self.name in EMBEDDED:
            return Path(__file__).parent / EMBEDDED[self.name]
        if path.is_file():
            raise ArgumentError.mismatch(
                "name_or_path",
                "the folder of the model's files, or a repository's name",
                "a file",
                path=self.name,
            )
        if (
            path.is_absolute()
            or self.name.startswith((".", "~"))
            or "\\" in self.name
            or self.name.count("/") > 1
        ):
            raise MissingFileError(
                f"there is no folder {self.name} (looked at {path.absolute()}), and this cannot be the name of a "
                "repository on the Hub, which is written 'name' or 'owner/name'",
                path=self.name,
            )
        return None

    def _check_repository_name(self) -> None:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        try:
            validate_repo_id(self.name)
        except HFValidationError as error:
            raise ArgumentError(
                f"{self.name!r} is neither a folder nor a possible name of a repository on the Hub: {error}",
                path=self.name,
                expected="an existing folder, 'name' or 'owner/name'",
                actual=repr(self.name),
            ) from error

    def _missing_locally(self, path: Path) -> NoReturn:
        where = path.parent
        if where.is_dir():
            names = sorted(entry.name for entry in where.iterdir())
            held = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            state = f"it holds {held}" if names else "it is empty"
        else:
            state = "this folder does not exist"
        raise MissingFileError(f"there is no {path.name} in {where} ({state})", path=str(path), key=path.name)

    def _hub_file(self, filename: str, required: bool, ask: bool) -> Path | None:
        from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

        if not self.force_download:
            cached = try_to_load_from_cache(
                self.name, filename, cache_dir=self.cache_dir, revision=self.revision
            )
            if isinstance(cached, str):
                return Path(cached)
            if cached is _CACHED_NO_EXIST:
                return self._missing_on_hub(filename, None) if required else None
        if not required and not self.force_download and (not ask or self._known_absent()):
            return None
        if self.local_files_only or _offline():
            if not required:
                return None
            reason = "local_files_only=True" if self.local_files_only else "HF_HUB_OFFLINE"
            raise MissingFileError(
                f"{filename} of {self._described()} is not in the cache ({self._cache()}), and the Hub is not asked "
                f"because of {reason}; load it once online, or give a local folder",
                path=self.name,
                key=filename,
            )
        if not required and self._has_snapshot() and not self._hub_answers(filename):
            self._take_as_absent(filename)
            return None
        return self._download(filename, required)

    def _download(self, filename: str, required: bool) -> Path | None:
        from huggingface_hub import errors as hub
        from huggingface_hub import hf_hub_download

        try:
            path = hf_hub_download(
                self.name,
                filename,
                revision=self.revision,
                token=self.token,
                cache_dir=self.cache_dir,
                force_download=self.force_download,
            )
        except hub.GatedRepoError as error:
            raise FileError(
                f"{self.name} is gated: ask for access at https://huggingface.co/{self.name}, then log in "
                "with `hf auth login` or pass token=",
                path=self.name,
                key=filename,
            ) from error
        except hub.RepositoryNotFoundError as error:
            raise MissingFileError(
                f"there is no folder {self.name!r} here (looked in {os.getcwd()}), and the Hub has no model "
                f"{self.name!r}, or it is private: log in with `hf auth login` or pass token=",
                path=self.name,
                key=filename,
            ) from error
        except hub.RevisionNotFoundError as error:
            raise MissingFileError(
                f"{self.name} has no branch, tag or commit {self.revision!r} on the Hub",
                path=self.name,
                key="revision",
            ) from error
        except hub.LocalEntryNotFoundError as error:  # the Hub could not be reached
            if required or not self._has_snapshot():
                raise MissingFileError(
                    f"{filename} of {self._described()} is not in the cache ({self._cache()}), and the Hub "
                    f"could not be reached: {error.__cause__ or error}",
                    path=self.name,
                    key=filename,
                ) from error
            self._take_as_absent(filename)
            return None
        except hub.EntryNotFoundError as error:
            _reachability.note(answered=True)
            return self._missing_on_hub(filename, error) if required else None
        except (OSError, hub.HfHubHTTPError) as error:
            raise FileError(
                f"{filename} of {self._described()} could not be fetched from the Hub: {error}",
                path=self.name,
                key=filename,
            ) from error
        _reachability.note(answered=True)
        return Path(path)

    def _hub_answers(self, filename: str) -> bool:
        """Whether the Hub answers at all; asks it once, and not again for a while."""
        if time.monotonic() < _reachability.answers_until:
            return True
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

        # Without the token and huggingface_hub's headers: to find those it may call the Hub itself.
        url, session = hf_hub_url(self.name, filename, revision=self.revision), get_session()
        answers: list[int] = []

        def ask() -> None:
            with suppress(Exception):  # requests' errors or httpx's: with either there was no answer
                answers.append(session.head(url, timeout=_PATIENCE).status_code)

        # In a thread, since no time-out of a connection bounds the search for its address.
        asking = threading.Thread(target=ask, name="oxiformers-hub", daemon=True)
        asking.start()
        asking.join(_PATIENCE)
        _reachability.note(answered=bool(answers))
        return bool(answers)

    def _take_as_absent(self, filename: str) -> None:
        _reachability.note(answered=False)
        logger.info("%s of %s is taken as absent: the Hub could not be reached", filename, self.name)

    def _missing_on_hub(self, filename: str, cause: Exception | None) -> NoReturn:
        raise MissingFileError(
            f"{self._described()} has no file {filename}; see https://huggingface.co/{self.name}/tree/"
            f"{self.revision or 'main'} for those it has",
            path=self.name,
            key=filename,
        ) from cause

    def _known_absent(self) -> bool:
        """Whether an optional file that is not cached may be taken as absent without asking.

        So it is where the whole repository was downloaded: only then does the cache hold .gitattributes,
        which every repository has and no loader asks for. And while the Hub cannot be reached, not to wait
        for it file by file.
        """
        return self._cached(".gitattributes") or (
            time.monotonic() < _reachability.silent_until and self._has_snapshot()
        )

    def _has_snapshot(self) -> bool:
        """Whether this revision is cached, so that a further, optional file may be taken as absent."""
        folder = f"{self.subfolder}/" if self.subfolder else ""
        names = ("config.json", "tokenizer.json", "tokenizer_config.json")
        return any(self._cached(folder + name) for name in names)

    def _cached(self, filename: str) -> bool:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.name, filename, cache_dir=self.cache_dir, revision=self.revision)
        return isinstance(found, str)

    def _described(self) -> str:
        return self.name if self.revision is None else f"{self.name} (revision {self.revision})"

    def _cache(self) -> str:
        from huggingface_hub import constants

        return self.cache_dir or str(constants.HF_HUB_CACHE)


def split_hub_arguments(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parts the keyword arguments of a from_pretrained call: those for `Source`, and the rest.

    transformers' `use_auth_token` is read as `token`; those that have no effect here are dropped.
    """
    hub: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in arguments.items():
        if key in HUB_ARGUMENTS:
            if value is not None:
                hub[key] = value
        elif key == "use_auth_token":
            hub.setdefault("token", value)
        elif key == "proxies":
            if value:
                raise UnsupportedError(
                    "proxies= is not supported: set the environment variables HTTPS_PROXY and HTTP_PROXY",
                    key=key,
                )
        elif key not in _WITHOUT_EFFECT:
            rest[key] = value
    return hub, rest


def refuse_push(push_to_hub: bool) -> None:
    """Refuses `push_to_hub=True`: folders are uploaded with huggingface_hub."""
    if push_to_hub:
        raise UnsupportedError(
            "push_to_hub=True is not supported: save to a folder, then `hf upload <repository> <folder>`",
            key="push_to_hub",
        )


def _inside(path: PurePosixPath) -> PurePosixPath:
    """The path, which must lie inside the model's folder: a name read from a file must not lead out of it."""
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ArgumentError.mismatch(
            str(path), "a relative path without '..'", path, "a file lies inside the model's folder"
        )
    return path


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or env.offline()
