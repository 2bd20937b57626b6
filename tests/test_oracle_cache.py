"""An answer is found again for the same inputs, program and environment, and for those alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle_cache import OracleCache, _installed


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of an environment that holds one package."""
    return environment(tmp_path / "environment", "transformers-4.57.6")


def environment(root: Path, package: str) -> Path:
    (root / "lib" / "python3.11" / "site-packages" / f"{package}.dist-info").mkdir(parents=True)
    (root / "pyvenv.cfg").write_text("version_info = 3.11.7\n")
    return root / "bin" / "python"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "oracle.py"
    path.write_text("print(1)")
    return path


@pytest.fixture
def cache(python: Path, program: Path, tmp_path: Path) -> OracleCache:
    return OracleCache(python, program, folder=tmp_path / "cache")


def test_an_answer_is_found_again(cache: OracleCache, python: Path, program: Path, tmp_path: Path) -> None:
    key = cache.key({"text": "ü", "size": 3}, [1, None, 2.5])
    assert cache.get(key) is None
    cache.put(key, b"answer")
    again = OracleCache(python, program, folder=tmp_path / "cache")
    assert again.get(again.key({"text": "ü", "size": 3}, [1, None, 2.5])) == b"answer"
    again.put(key, b"another")
    assert cache.get(key) == b"another"


def test_a_path_counts_by_its_contents(cache: OracleCache, tmp_path: Path) -> None:
    def folder(name: str, **files: str) -> Path:
        for file, text in files.items():
            (tmp_path / name / "inner").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "inner" / file).write_text(text)
        return tmp_path / name

    one, same = folder("one", a="1", b="2"), folder("same", a="1", b="2")
    assert cache.key({"model": [one]}) == cache.key({"model": [same]})
    others = (folder("other", a="1", b="3"), folder("renamed", a="1", c="2"), folder("fewer", a="1"))
    assert len({cache.key(path) for path in (one, *others)}) == 4
    assert cache.key(one) != cache.key(str(one))
    before = cache.key(one)
    folder("one", b="changed")
    assert cache.key(one) != before


@pytest.mark.parametrize("changed", ["input", "order of keys", "program", "second program", "environment"])
def test_everything_is_part_of_the_key(
    cache: OracleCache, python: Path, program: Path, tmp_path: Path, changed: str
) -> None:
    inputs = {"a": 1, "b": 2}
    before = cache.key(inputs)
    programs = [program]
    if changed == "input":
        inputs["b"] = 3
    elif changed == "order of keys":  # keyword arguments in another order may be written in another order
        inputs = {"b": 2, "a": 1}
    elif changed == "program":
        program.write_text("print(22)")
    elif changed == "second program":
        programs.append(tmp_path / "helper.py")
        programs[1].write_text("")
    else:
        python = environment(tmp_path / "newer", "transformers-5.24.0")
    assert OracleCache(python, *programs).key(inputs) != before


def test_files_and_folders_are_answers(cache: OracleCache, tmp_path: Path) -> None:
    source = tmp_path / "saved"
    source.mkdir()
    (source / "config.json").write_text("{}")
    assert not cache.copy_out(cache.key("folder"), tmp_path / "nothing")
    for _ in range(2):  # another process may have been first
        cache.copy_in(cache.key("folder"), source)
    cache.copy_in(cache.key("file"), source / "config.json")
    assert cache.copy_out(cache.key("folder"), tmp_path / "folder")
    assert cache.copy_out(cache.key("file"), tmp_path / "file.json")
    assert (tmp_path / "folder" / "config.json").read_text() == (tmp_path / "file.json").read_text() == "{}"
    assert [path for path in (tmp_path / "cache").iterdir() if len(path.name) != 2] == []


def test_what_cannot_be_told_apart_is_refused(cache: OracleCache, program: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        cache.key(object())
    with pytest.raises(ValueError, match="source"):
        OracleCache(tmp_path)
    with pytest.raises(ValueError, match="expected an environment"):
        OracleCache(tmp_path / "none" / "bin" / "python", program)


def test_a_real_environment_names_its_versions(python_457: Path) -> None:
    assert "transformers-4.57.6.dist-info" in _installed(python_457)
