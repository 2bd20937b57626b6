"""The tokenizers without a tokenizer.json against transformers 4.57 on real text; whole corpora in `make parity`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.reference import CORPORA, documents
from tests.tokenization.conftest import Oracle, copied
from tests.tokenization.jobs import Session
from tests.tokenization.parity import SLOW, differences

SIZE = 200 << 10


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("name", SLOW)
def test_corpus(name: str, corpus: str, shared: Path, tmp_path: Path, oracle_457: Oracle) -> None:
    folder = copied(shared / "tokenizers" / name, tmp_path / "copy")
    texts = list(documents(shared / "corpora" / f"{corpus}.txt", SIZE))
    assert list(differences(Session("oxiformers"), oracle_457, folder, SLOW[name], texts)) == []
