"""Safetensors files built by hand, right and wrong."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def header(text: bytes | str, data: bytes = b"") -> bytes:
    """A file with this header, whatever it says."""
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded + data


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8), **more: object) -> str:
    """One tensor's entry, as JSON."""
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": offsets, **more})


def one(data: bytes = bytes(8), **fields: object) -> bytes:
    """A file with one tensor, "a"; by default a right one, of two float32."""
    return header(f'{{"a": {entry(**fields)}}}', data)


def two(first: tuple[int, int], second: tuple[int, int], size: int) -> bytes:
    """A file with the byte tensors "a" and "b" at these offsets."""
    a = entry("U8", [first[1] - first[0]], first)
    b = entry("U8", [second[1] - second[0]], second)
    return header(f'{{"a": {a}, "b": {b}}}', bytes(size))


def write(folder: Path, content: bytes, name: str = "model.safetensors") -> Path:
    """Writes it to a file of that name."""
    path = folder / name
    path.write_bytes(content)
    return path
