"""Files that are not what they say: each gets a typed error with the place, the expected and the actual."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest

from oxiformers._core import SafetensorsFile, read_shard_index
from oxiformers.errors import FileError, FormatError, MissingFileError
from oxiformers.weights.checkpoint import Checkpoint
from tests.weights.crafted import entry, header, one, two, write

DEEP = 100_000

# name: (the file, the error's key, a part of what was expected, a part of what was found)
HOSTILE: dict[str, tuple[bytes, str, str, str]] = {
    "empty file": (b"", "header", "an 8-byte header length", "a file of 0 bytes"),
    "cut in the length": (bytes(7), "header", "an 8-byte header length", "a file of 7 bytes"),
    "no header after the length": (struct.pack("<Q", 2), "header", "2 bytes", "0 bytes after"),
    "cut in the header": (one()[:30], "header", "as its length says", "22 bytes after the length"),
    "cut in the data": (one()[:-1], "a.data_offsets", "within the 7 bytes", "[0, 8]"),
    "longest length": (struct.pack("<Q", 2**64 - 1) + b"{}", "header", "at most 100000000", str(2**64 - 1)),
    "length over the cap": (struct.pack("<Q", 100_000_001) + b"{}", "header", "at most", "100000001"),
    "not UTF-8": (header(b'{"\xff\xfe": 1}'), "header", "UTF-8", "invalid UTF-8 at byte 2"),
    "not JSON": (header("{nothing}"), "header", "a JSON object", "column 2"),
    "text after the object": (header("{} {}"), "header", "a JSON object", "trailing characters"),
    "an array": (header("[]"), "header", "a JSON object", '"[]"'),
    "a space before the object": (header(" {}"), "header", "a JSON object", "starts with"),
    "an empty header": (header(""), "header", "a JSON object", '""'),
    "zeros": (bytes(64), "header", "a JSON object", '""'),
    "a lone surrogate": (header('{"\\ud800": 1}'), "header", "a JSON object", "hex escape"),
    "a pickle": (b"\x80\x02}q\x00." + bytes(40), "header", "at most", "bytes"),
    "entry is a number": (header('{"a": 1}'), "a", "dtype, shape and data_offsets", "1"),
    "entry is null": (header('{"a": null}'), "a", "dtype, shape and data_offsets", "null"),
    "entry without dtype": (header('{"a": {"shape": [], "data_offsets": [0, 0]}}'), "a", "dtype", "no dtype"),
    "entry without shape": (header('{"a": {"dtype": "U8", "data_offsets": [0, 0]}}'), "a", "shape", "no s"),
    "entry without offsets": (header('{"a": {"dtype": "U8", "shape": []}}'), "a", "offsets", "no data"),
    "dtype unknown": (one(dtype="F128"), "a.dtype", "a dtype of the safetensors format", "F128"),
    "dtype in lower case": (one(dtype="f32"), "a.dtype", "a dtype", "f32"),
    "dtype a number": (one(dtype=32), "a.dtype", "a dtype", "32"),
    "shape a number": (one(shape=2), "a.shape", "a list of non-negative integers", "2"),
    "shape negative": (one(shape=[-2]), "a.shape", "a list of non-negative integers", "[-2]"),
    "shape fractional": (one(shape=[2.0]), "a.shape", "a list of non-negative integers", "[2.0]"),
    "shape of text": (one(shape=["2"]), "a.shape", "a list of non-negative integers", '["2"]'),
    "shape beyond 64 bits": (one(shape=[2**64]), "a.shape", "non-negative integers", str(2**64)),
    "shape product overflows": (one(shape=[2**32, 2**32]), "a.shape", "below 2^64", "overflows"),
    "shape size overflows": (one(shape=[2**60]), "a.shape", "below 2^64", "overflows"),
    "bits make no bytes": (one(dtype="F4", shape=[3]), "a.shape", "whole bytes", "whole number of bytes"),
    "shape contradicts offsets": (one(shape=[3]), "a.data_offsets", "12 bytes, as F32 [3]", "8 bytes"),
    "offsets reversed": (one(offsets=[8, 0]), "a.data_offsets", "a begin that is at most the end", "[8, 0]"),
    "offsets beyond the file": (one(offsets=[8, 16]), "a.data_offsets", "within the 8 bytes", "[8, 16]"),
    "offsets near 2^64": (one(offsets=[2**64 - 9, 2**64 - 1]), "a.data_offsets", "within", str(2**64 - 1)),
    "one offset": (one(offsets=[0]), "a.data_offsets", "two non-negative integers", "[0]"),
    "three offsets": (one(offsets=[0, 8, 8]), "a.data_offsets", "two non-negative", "[0, 8, 8]"),
    "offsets negative": (one(offsets=[-8, 0]), "a.data_offsets", "two non-negative", "[-8, 0]"),
    "overlap": (two((0, 8), (4, 12), 12), "b.data_offsets", "a begin of 8", "an overlap: 4"),
    "the same bytes twice": (two((0, 8), (0, 8), 8), "b.data_offsets", "a begin of 8", "an overlap: 0"),
    "hole": (two((0, 4), (5, 9), 9), "b.data_offsets", "a begin of 4", "a hole: 5"),
    "hole at the start": (one(bytes(9), offsets=[1, 9]), "a.data_offsets", "a begin of 0", "a hole: 1"),
    "bytes after the last tensor": (one(bytes(9)), "header", "fill the 9 bytes", "end at 8"),
    "data without tensors": (header("{}", b"x"), "header", "fill the 1 bytes", "end at 0"),
    "an empty tensor astray": (
        header(f'{{"a": {entry("U8", [2], [0, 2])}, "b": {entry("U8", [0], [1, 1])}}}', bytes(2)),
        "b.data_offsets", "a begin of 2", "an overlap: 1",
    ),
    "name twice, over the same bytes": (
        header(f'{{"a": {entry()}, "a": {entry()}}}', bytes(8)),
        "a.data_offsets", "a begin of 8", "an overlap: 0",
    ),
    "name twice": (
        header(f'{{"e": {entry("U8", [0], [0, 0])}, "e": {entry("U8", [0], [0, 0])}}}'),
        "e", "one entry of this name", "several",
    ),
    "name twice, once escaped": (
        header(f'{{"a": {entry("U8", [0], [0, 0])}, "\\u0061": {entry("U8", [0], [0, 0])}}}'),
        "a", "one entry of this name", "several",
    ),
    "field twice": (
        header('{"a": {"dtype": "U8", "dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}'),
        "a.dtype", "one entry of this name", "several",
    ),
    "metadata twice": (header('{"__metadata__": {}, "__metadata__": {}}'), "__metadata__", "one", "several"),
    "metadata an array": (header('{"__metadata__": []}'), "__metadata__", "object of strings", "[]"),
    "metadata of numbers": (header('{"__metadata__": {"n": 1}}'), "__metadata__.n", "a string", "1"),
    "metadata key twice": (header('{"__metadata__": {"n": "", "n": ""}}'), "__metadata__.n", "one", "seve"),
    "deep header": (header("{" + '"a":{' * DEEP + "}" * DEEP + "}"), "a", "dtype, shape", "no dtype"),
    "deep entry": (header('{"a": ' + "[" * DEEP + "]" * DEEP + "}"), "a", "dtype, shape", "[[["),
    "deep shape": (
        header('{"a": {"dtype": "U8", "data_offsets": [0, 0], "shape": ' + "[" * DEEP + "]" * DEEP + "}}"),
        "a.shape", "non-negative integers", "[[[",
    ),
    "deep metadata": (
        header('{"__metadata__": {"n": ' + "[" * DEEP + "]" * DEEP + "}}"),
        "__metadata__.n", "a string", "[[[",
    ),
    "deep and unclosed": (header("{" + '"a":[' + "[" * DEEP), "header", "a JSON object", "EOF"),
    "a dtype of a megabyte": (one(dtype="F" * 1_000_000), "a.dtype", "a dtype", "(1000002 bytes)"),
    "a name of a megabyte": (header('{"' + "n" * 1_000_000 + '": 1}'), "n" * 120 + "...", "dtype", "1"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_at_its_place(name: str, tmp_path: Path) -> None:
    content, key, expected, actual = HOSTILE[name]
    path = write(tmp_path, content)
    started = time.process_time()
    with pytest.raises(FormatError) as caught:
        SafetensorsFile(str(path))
    assert time.process_time() - started < 5
    error = caught.value
    assert error.path == str(path)
    assert error.key is not None
    assert error.key == key or (key.endswith("...") and error.key.startswith(key))
    assert expected in (error.expected or "")
    assert actual in (error.actual or "")
    assert str(path) in str(error)
    assert len(str(error)) < 1000


def test_many_small_entries_take_linear_time(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        empty = entry("U8", [0], [0, 0])
        path = write(tmp_path, header("{" + ", ".join(f'"{n}": {empty}' for n in range(count)) + "}"))
        started = time.process_time()
        assert len(SafetensorsFile(str(path)).keys()) == count
        return time.process_time() - started

    seconds(1000)
    few, many = seconds(10_000), seconds(160_000)
    assert many < 16 * 5 * max(few, 0.005)


def test_a_folder_a_pipe_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileError) as folder:
        SafetensorsFile(str(tmp_path))
    assert folder.value.path == str(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError) as pipe:
        SafetensorsFile(str(tmp_path / "pipe"))
    assert pipe.value.path == str(tmp_path / "pipe")
    with pytest.raises(MissingFileError) as missing:
        SafetensorsFile(str(tmp_path / "nothing"))
    assert missing.value.path == str(tmp_path / "nothing")


INDEX = "model.safetensors.index.json"

BAD_INDICES: dict[str, tuple[bytes, str, str, str]] = {
    "empty": (b"", "index", "a JSON object", "EOF"),
    "an array": (b"[]", "index", "a JSON object", "sequence"),
    "not UTF-8": (b'{"\xff": 1}', "index", "UTF-8", "byte 2"),
    "no map": (b'{"metadata": {}}', "weight_map", "a JSON object", "no such entry"),
    "two maps": (b'{"weight_map": {}, "weight_map": {}}', "weight_map", "one entry", "several"),
    "map an array": (b'{"weight_map": []}', "weight_map", "a JSON object", "[]"),
    "map deep": (b'{"weight_map": ' + b"[" * DEEP + b"]" * DEEP + b"}", "weight_map", "object", "[[["),
    "file a number": (b'{"weight_map": {"a": 1}}', "weight_map.a", "a file name", "1"),
    "file deep": (b'{"weight_map": {"a": ' + b"[" * DEEP + b"]" * DEEP + b"}}", "weight_map.a", "name", "[["),
    "name twice": (b'{"weight_map": {"a": "x", "a": "y"}}', "weight_map.a", "one entry", "several"),
    "absolute": (b'{"weight_map": {"a": "/etc/passwd"}}', "weight_map.a", "own folder", "/etc/passwd"),
    "upwards": (b'{"weight_map": {"a": "../x"}}', "weight_map.a", "own folder", "../x"),
    "upwards inside": (b'{"weight_map": {"a": "b/../../x"}}', "weight_map.a", "own folder", "b/../../x"),
    "a drive": (b'{"weight_map": {"a": "c:x"}}', "weight_map.a", "own folder", "c:x"),
    "backslashes": (b'{"weight_map": {"a": "..\\\\x"}}', "weight_map.a", "own folder", "x"),
    "no name": (b'{"weight_map": {"a": ""}}', "weight_map.a", "own folder", '""'),
    "a NUL": (b'{"weight_map": {"a": "x\\u0000"}}', "weight_map.a", "own folder", "0"),
}


@pytest.mark.parametrize("name", BAD_INDICES)
def test_a_hostile_index_is_refused_at_its_place(name: str, tmp_path: Path) -> None:
    content, key, expected, actual = BAD_INDICES[name]
    path = write(tmp_path, content, INDEX)
    for read in (read_shard_index, Checkpoint.open):
        with pytest.raises(FormatError) as caught:
            read(str(path))
        assert caught.value.path == str(path)
        assert caught.value.key == key
        assert expected in (caught.value.expected or "")
        assert actual in (caught.value.actual or "")


def test_a_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path, b'{"weight_map": {"a": "one.safetensors"}}', INDEX)
    with pytest.raises(MissingFileError) as caught:
        Checkpoint.open(tmp_path)
    assert caught.value.path == str(tmp_path / "one.safetensors")
    assert caught.value.key == "a"


def test_a_tensor_that_its_shard_does_not_hold_is_named(tmp_path: Path) -> None:
    write(tmp_path, one(), "one.safetensors")
    write(tmp_path, b'{"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}}', INDEX)
    with pytest.raises(FormatError) as caught:
        Checkpoint.open(tmp_path)
    assert caught.value.path == str(tmp_path / INDEX)
    assert caught.value.key == "weight_map.b"


def test_a_tensor_in_two_files_needs_an_index(tmp_path: Path) -> None:
    first = write(tmp_path, one(b"\x00" * 8), "one.safetensors")
    second = write(tmp_path, one(b"\x01" * 8), "two.safetensors")
    with pytest.raises(FormatError) as caught:
        Checkpoint.open([first, second])
    assert caught.value.key == "a"
    index = write(tmp_path, b'{"weight_map": {"a": "two.safetensors"}}', INDEX)
    assert Checkpoint.open(index).path("a") == second


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as caught:
        Checkpoint.open(tmp_path)
    assert caught.value.path == str(tmp_path)
