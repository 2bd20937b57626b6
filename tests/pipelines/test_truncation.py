"""truncation=True cuts to what the model takes, whatever the tokenizer's limit is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import oxiformers
from oxiformers.errors import ArgumentError
from oxiformers.pipelines.text import count_positions
from oxiformers.tokenization.options import VERY_LARGE_INTEGER

LONG = " ".join(["the good story is not dull"] * 40)
CUT = "truncation: texts are cut to 64 tokens, as {} takes no more"


@pytest.mark.parametrize(
    ("name", "limit", "arguments"),
    [
        ("bert", 65, {"truncation": True}),
        ("bert", VERY_LARGE_INTEGER, {"truncation": "longest_first"}),
        ("bert", 512, {"truncation": True, "max_length": 100}),
        ("bert", 512, {"truncation": True, "max_length": 100, "padding": "max_length"}),
        ("distilbert", 64, {"max_length": 100}),
        ("distilbert", VERY_LARGE_INTEGER, {"truncation": True}),
    ],
)
def test_a_limit_above_the_models_positions(
    name: str,
    limit: int,
    arguments: dict[str, Any],
    folders: dict[str, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokenizer = (str(folders[name]), {"model_max_length": limit})
    pipe = oxiformers.pipeline("text-classification", folders[name], tokenizer=tokenizer, device="cpu")
    expected = pipe([LONG, "dull", {"text": LONG, "text_pair": LONG}], truncation=True, max_length=64)
    pipe("dull", **arguments)
    assert caplog.text == "", "nothing was cut, or the caller said to what length"
    for _ in range(2):
        found = pipe([LONG, "dull", {"text": LONG, "text_pair": LONG}], **arguments)
        assert found == expected
    assert caplog.text.count(CUT.format(type(pipe.model).__name__)) == 1
    with pytest.raises(ArgumentError, match=r"inputs\[1\]: expected at most 64 tokens, got 242 tokens"):
        pipe(["dull", LONG])
    assert pipe.preprocess(LONG, **arguments)["input_ids"].shape[1] == 64, "the hook, too"


def test_a_limit_below_the_models_positions(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = (str(folders["bert"]), {"model_max_length": 9})
    pipe = oxiformers.pipeline("feature-extraction", folders["bert"], tokenizer=tokenizer, device="cpu")
    assert len(pipe(LONG, truncation=True)[0]) == 9
    assert len(pipe(LONG, truncation=True, max_length=12)[0]) == 12
    assert len(pipe(LONG, truncation=True, max_length=64)[0]) == 64
    assert len(pipe("dull", truncation="do_not_truncate")[0]) == 3
    assert "truncation" not in caplog.text


def test_positions_of_models() -> None:
    """Tables count, less RoBERTa's padding and BART's two rows; models without a table have no limit."""
    sizes = {"vocab_size": 11, "num_hidden_layers": 1, "num_attention_heads": 2}
    gpt2 = oxiformers.GPT2LMHeadModel(oxiformers.GPT2Config(**sizes, n_positions=17, hidden_size=4))
    assert count_positions(gpt2) == 17
    llama = oxiformers.LlamaModel(oxiformers.LlamaConfig(**sizes, hidden_size=8, intermediate_size=8))
    assert count_positions(llama) is None

    class Inner(torch.nn.Module):
        def __init__(self, **tables: torch.nn.Module) -> None:
            super().__init__()
            for name, table in tables.items():
                setattr(self, name, table)

    class Config:
        max_position_embeddings = 514

    roberta = Inner(embeddings=Inner(position_embeddings=torch.nn.Embedding(514, 2, padding_idx=1)))
    assert count_positions(roberta) == 512
    roberta.config = Config()
    assert count_positions(roberta) == 512
    bart = Inner(embed_positions=torch.nn.Embedding(516, 2))
    bart.config = Config()
    assert count_positions(bart) == 514
    assert count_positions(Inner(distance_embedding=torch.nn.Embedding(5, 2))) is None
    assert count_positions(object()) is None
