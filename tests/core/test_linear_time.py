"""Texts made to be slow take time in proportion to their length."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxiformers._core import Tokenizer
from tests.core.scaling import KINDS, TOKENIZERS, seconds

SMALL, LARGE = 1 << 13, 1 << 19
#: 64 times the text: n log n, and words that are remembered in the small one, stay below; its square is 4,096.
ALLOWED = 64 * 14


@pytest.mark.parametrize("name", TOKENIZERS)
def test_time_grows_with_the_text(shared: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OXIFORMERS_NUM_THREADS", "1")
    tokenizer = Tokenizer.from_file(str(shared / "tokenizers" / name / "tokenizer.json"))
    for kind, make in KINDS.items():
        small, large = make(SMALL), make(LARGE)
        # What the first text of all pays for, tables and memory, is no part of it.
        tokenizer.encode_batch_flat([small])
        ratio = seconds(tokenizer, [large], 1) / seconds(tokenizer, [small], 5)
        assert ratio < ALLOWED, (kind, ratio)
