"""Methods of transformers 4.57 that 5 no longer has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tokenization.conftest import Oracle
from tests.tokenization.jobs import Session

SOURCES = ["reset my password please, it is long overdue", "multifactor"]
TARGETS = ["done", "it has been set up for you"]


def test_prepare_seq2seq_batch(ours: Session, oracle_457: Oracle, folders: dict[str, Path]) -> None:
    def step(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"do": "prepare_seq2seq_batch", "args": list(args), "kwargs": kwargs}

    steps = [
        step(SOURCES),
        step(SOURCES, TARGETS),
        step(SOURCES, TARGETS, max_length=5),
        step(SOURCES, TARGETS, max_length=6, max_target_length=3, return_tensors="pt"),
        step(SOURCES, tgt_texts=TARGETS, padding=False, truncation=False, src_lang="en", tgt_lang="mg"),
        step(SOURCES, TARGETS, padding="max_length", max_length=9, return_tensors="np"),
        {"do": "sanitize_special_tokens"},
        {"do": "cls_token", "set": "<new>"},
        {"do": "sanitize_special_tokens"},
        {"do": "sanitize_special_tokens"},
        {"do": "convert_tokens_to_ids", "args": ["<new>"]},
    ]
    load = {"class": "BertTokenizerFast", "path": str(folders["bert-base-uncased"])}
    work = {"load": {**load, "kwargs": {"model_max_length": 16}}, "steps": steps, "fresh": True}
    assert ours.run(work) == oracle_457.run(work)
