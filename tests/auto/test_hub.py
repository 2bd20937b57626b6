"""Finding files: folder, cache, Hub; no network call where none is needed, with both huggingface_hub."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oxiformers import hub
from oxiformers.errors import ArgumentError, FileError, MissingFileError, UnsupportedError
from oxiformers.hub import Source, split_hub_arguments

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "owner/model"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The network calls tried; each fails."""
    tried: list[Any] = []

    def refuse(*args: Any, **kwargs: Any) -> Any:
        tried.append(args)
        raise OSError("the network is blocked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(hub, "_reachability", hub._Reachability())
    return tried


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that holds config.json, sub/config.json, and knows that absent.json does not exist."""
    folder = tmp_path / "cache" / "models--owner--model"
    for name in ("config.json", "sub/config.json"):
        file = folder / "snapshots" / COMMIT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"model_type": "bert", "name": name}))
    for branch in ("main", "other"):
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / branch).write_text(COMMIT)
    absent = folder / ".no_exist" / COMMIT / "absent.json"
    absent.parent.mkdir(parents=True)
    absent.touch()
    return tmp_path / "cache"


def test_a_local_folder(tmp_path: Path, calls: list[Any]) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").write_text("{}")
    assert Source(tmp_path, subfolder="sub").file("a.json") == tmp_path / "sub" / "a.json"
    assert Source(tmp_path).file("sub/a.json") == tmp_path / "sub" / "a.json"
    assert Source(tmp_path).file("a.json", required=False) is None
    with pytest.raises(MissingFileError, match="it holds sub"):
        Source(tmp_path).file("a.json")
    with pytest.raises(MissingFileError, match="this folder does not exist"):
        Source(tmp_path, subfolder="nowhere").file("a.json")
    assert not calls


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", ""])
def test_a_name_does_not_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="lies inside the model's folder"):
        Source(tmp_path).file(name)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no", "~/no-such-folder", "a/b/c", "a\\b"])
def test_a_path_without_a_folder(name: str) -> None:
    with pytest.raises(MissingFileError, match="there is no folder"):
        Source(name)


def test_names_that_can_be_no_repository(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(ArgumentError, match="got a file"):
        Source(file)
    for name in ("", "a b", "-x", "owner/mo..del"):
        with pytest.raises((ArgumentError, MissingFileError)):
            Source(name)


@pytest.mark.parametrize("revision", [None, "main", "other", COMMIT])
def test_what_is_cached_is_used_without_a_call(revision: str | None, cache: Path, calls: list[Any]) -> None:
    source = Source(NAME, cache_dir=cache, revision=revision)
    found = source.file("config.json")
    assert found is not None
    assert json.loads(found.read_text())["name"] == "config.json"
    assert source.file("absent.json", required=False) is None
    with pytest.raises(MissingFileError, match=r"has no file absent\.json"):
        source.file("absent.json")
    inside = Source(NAME, cache_dir=cache, revision=revision, subfolder="sub").file("config.json")
    assert inside is not None
    assert json.loads(inside.read_text())["name"] == "sub/config.json"
    assert not calls


def test_a_complete_download_needs_no_call_for_optional_files(cache: Path, calls: list[Any]) -> None:
    (cache / "models--owner--model" / "snapshots" / COMMIT / ".gitattributes").touch()
    assert Source(NAME, cache_dir=cache).file("unknown.json", required=False) is None
    assert not calls


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_means_offline(
    variable: str, cache: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    source = Source(NAME, cache_dir=cache)
    assert source.file("config.json") is not None
    assert source.file("unknown.json", required=False) is None
    with pytest.raises(MissingFileError, match=r"unknown\.json of owner/model is not in the cache") as caught:
        source.file("unknown.json")
    assert (caught.value.path, caught.value.key) == (NAME, "unknown.json")
    assert not calls


def test_local_files_only(cache: Path, calls: list[Any]) -> None:
    source = Source(NAME, cache_dir=cache, local_files_only=True)
    assert source.file("config.json") is not None
    with pytest.raises(MissingFileError, match="not asked because of local_files_only=True"):
        source.file("unknown.json")
    assert not calls


def test_errors_of_the_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    answering = hub._Reachability()
    answering.note(answered=True)
    monkeypatch.setattr(hub, "_reachability", answering)

    class Response:
        headers: dict[str, str] = {}  # noqa: RUF012
        status_code = 404
        request = None

    def failing(kind: type[Exception]) -> None:
        def download(*args: Any, **kwargs: Any) -> str:
            if issubclass(kind, errors.LocalEntryNotFoundError) or not issubclass(
                kind, errors.HfHubHTTPError
            ):
                raise kind("told so")
            raise kind("told so", response=Response())  # type: ignore[call-arg]

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)

    source = Source(NAME, cache_dir=cache, revision="other")
    expected: list[tuple[type[Exception], type[Exception], str]] = [
        (errors.GatedRepoError, FileError, "gated"),
        (errors.RepositoryNotFoundError, MissingFileError, "no folder 'owner/model' here .* private"),
        (errors.RevisionNotFoundError, MissingFileError, "no branch, tag or commit 'other'"),
        (errors.LocalEntryNotFoundError, MissingFileError, "could not be reached"),
        (errors.HfHubHTTPError, FileError, "could not be fetched"),
        (ConnectionError, FileError, "could not be fetched"),
    ]
    for kind, ours, said in expected:
        failing(kind)
        with pytest.raises(ours, match=said):
            source.file("more.json")
    failing(
        errors.RemoteEntryNotFoundError
        if hasattr(errors, "RemoteEntryNotFoundError")
        else errors.EntryNotFoundError
    )
    assert source.file("more.json", required=False) is None
    with pytest.raises(MissingFileError, match=r"has no file more\.json"):
        source.file("more.json")


def test_a_network_that_fails_after_it_answered(
    cache: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    asked: list[str] = []

    def download(name: str, filename: str, **kwargs: Any) -> str:
        asked.append(filename)
        raise errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    hub._reachability.note(answered=True)
    source = Source(NAME, cache_dir=cache)
    assert [source.file(f"{number}.json", required=False) for number in range(5)] == [None] * 5
    assert asked == ["0.json"]
    with pytest.raises(MissingFileError, match="could not be reached"):
        Source("owner/other", cache_dir=cache).file("config.json", required=False)


def test_what_is_at_hand_is_found_without_asking(cache: Path, calls: list[Any]) -> None:
    source = Source(NAME, cache_dir=cache)
    assert source.file("config.json", required=False, ask=False) is not None
    assert source.file("unknown.json", required=False, ask=False) is None
    assert not calls


@contextmanager
def hub_that(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[str]]]:
    """A Hub on this machine: its address, and what each connection asked for; `answer` does the rest."""
    asked: list[str] = []
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    kept.append(connection)
                    asked.append(connection.recv(65536).split(b"\r\n")[0].decode())
                    answer(connection)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for connection in kept:
                connection.close()
            thread.join(5)


FIND_OPTIONAL_FILES = """
import sys, time
from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import get_session
from oxiformers import hub
hub._PATIENCE = 1.0
start = time.monotonic()
source = hub.Source("owner/model", cache_dir=sys.argv[1])
for name in ("a.json", "b.json", "a.json"):
    assert source.file("config.json") is not None
    assert source.file(name, required=False) is None
print(time.monotonic() - start)
"""


def find_optional_files(python: Path, cache: Path, repository: Path, endpoint: str) -> float:
    """Runs the program above in that environment; the seconds it took (with retries they are over 20)."""
    proxies = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}
    environment = {key: value for key, value in os.environ.items() if key not in proxies}
    environment |= {"PYTHONPATH": str(repository / "python"), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    command = [python, "-W", "error", "-c", FIND_OPTIONAL_FILES, str(cache)]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(params=["this", "python_457"])
def python(request: pytest.FixtureRequest) -> Path:
    """Environments with huggingface_hub 2 and 0.36."""
    return Path(sys.executable) if request.param == "this" else request.getfixturevalue(request.param)


def test_a_hub_that_hangs_is_asked_once(python: Path, cache: Path, repository: Path) -> None:
    with hub_that(lambda connection: None) as (endpoint, asked):
        assert find_optional_files(python, cache, repository, endpoint) < 10
    assert len(asked) == 1


def test_a_hub_that_refuses_costs_no_time(python: Path, cache: Path, repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert find_optional_files(python, cache, repository, f"http://127.0.0.1:{port}") < 10


def test_what_the_hub_lacks_is_remembered(python: Path, cache: Path, repository: Path) -> None:
    def lacks(connection: socket.socket) -> None:
        head = f"HTTP/1.1 404 Not Found\r\nX-Error-Code: EntryNotFound\r\nX-Repo-Commit: {COMMIT}\r\n"
        connection.sendall((head + "Content-Length: 0\r\nConnection: close\r\n\r\n").encode())
        connection.close()

    with hub_that(lacks) as (endpoint, asked):
        find_optional_files(python, cache, repository, endpoint)
        # Whether it answers, and each file once; huggingface_hub has questions of its own.
        assert [line.split("/")[-2].split()[0] for line in asked if line[:4] == "HEAD"] == [
            "a.json", "a.json", "b.json",
        ]  # fmt: skip
        asked.clear()
        find_optional_files(python, cache, repository, endpoint)
        assert asked == []
    known = cache / "models--owner--model" / ".no_exist" / COMMIT
    assert {path.name for path in known.iterdir()} == {"absent.json", "a.json", "b.json"}


def test_arguments_are_parted() -> None:
    arguments = {
        "revision": "v1",
        "cache_dir": None,
        "use_auth_token": "t",
        "resume_download": True,
        "foo": 1,
    }
    assert split_hub_arguments(arguments) == ({"revision": "v1", "token": "t"}, {"foo": 1})
    with pytest.raises(UnsupportedError, match="HTTPS_PROXY"):
        split_hub_arguments({"proxies": {"https": "x"}})


IN_ANOTHER_ENVIRONMENT = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("a network call")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import huggingface_hub
from oxiformers.hub import Source
source = Source("owner/model", cache_dir=sys.argv[1], revision="other")
assert source.file("config.json").name == "config.json"
assert source.file("absent.json", required=False) is None
try:
    Source("owner/model", cache_dir=sys.argv[1], local_files_only=True).file("unknown.json")
except FileNotFoundError as error:
    print(huggingface_hub.__version__, error)
"""


def test_with_the_other_huggingface_hub(cache: Path, python_457: Path, repository: Path) -> None:
    done = subprocess.run(
        [python_457, "-W", "error", "-c", IN_ANOTHER_ENVIRONMENT, str(cache)],
        env=os.environ | {"PYTHONPATH": str(repository / "python")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("0.36")
    assert "not asked because of local_files_only=True" in done.stdout


def test_a_local_folder_does_not_import_huggingface_hub(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    code = (
        "import sys; from oxiformers.config_file import read_config; read_config(sys.argv[1]); "
        "print('huggingface_hub' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
