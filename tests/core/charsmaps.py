"""Charsmaps as sentencepiece models carry them: a double array of texts, and what each becomes."""

from __future__ import annotations

import base64
import struct
from typing import Any

Node = dict[int, Any]


def charsmap(rules: dict[str, str]) -> bytes:
    """The bytes of a charsmap that replaces each key by its value."""
    texts = b""
    root: Node = {}
    for key, value in rules.items():
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += value.encode() + b"\0"
    cells = {0: 0}
    bases: set[int] = set()
    waiting = [(root, 0)]
    while waiting:
        node, at = waiting.pop()
        base = 1
        while base in bases or any((base ^ byte) in cells for byte in node):
            base += 1
        bases.add(base)
        cells[at] |= (base ^ at) << 10
        for byte, child in node.items():
            cells[base ^ byte] = byte
            if byte:
                waiting.append((child, base ^ byte))
            else:
                cells[base] = child | 1 << 31
                cells[at] |= 1 << 8
    size = (max(cells) | 0xFF) + 1
    trie = b"".join(struct.pack("<I", cells.get(index, 0)) for index in range(size))
    return struct.pack("<I", len(trie)) + trie + texts


def precompiled(charsmap: bytes) -> dict[str, Any]:
    """The normalizer of a tokenizer.json."""
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
