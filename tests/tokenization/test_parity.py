"""The tokenizers without a tokenizer.json against transformers 4.57 on real text; whole corpora in `make parity`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.reference import CORPORA, documents
from tests.tokenization.conftest import Oracle, copied
from tests.tokenization.jobs import Session
from tests.tokenization.parity import SLOW, differences

SIZE = 100 << 10


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("name", SLOW)
def test_corpus(name: str, corpus: str, shared: Path, tmp_path: Path, oracle_457: Oracle) -> None:
    folder = copied(shared / "tokenizers" / name, tmp_path / "copy")
    texts = list(documents(shared / "corpora" / f"{corpus}.txt", SIZE))
    assert list(differences(Session("oxiformers"), oracle_457, folder, SLOW[name], texts)) == []


def test_long_documents(shared: Path, tmp_path: Path, oracle_457: Oracle) -> None:
    """Sums of scores so large that float32 does not tell pieces apart: sentencepiece starts anew on the way."""
    folder = copied(shared / "tokenizers" / "opus-mt-en-mg", tmp_path / "copy")
    texts = sorted(documents(shared / "corpora" / "english.txt"), key=len)[-4:]
    assert min(map(len, texts)) > 25_000
    found = differences(Session("oxiformers"), oracle_457, folder, SLOW["opus-mt-en-mg"], texts)
    assert list(found) == []
