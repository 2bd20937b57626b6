"""The model that ships: small, as accurate as its card says, and the same in transformers."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from oxiformers import pipeline
from tests.repo.tree import PACKAGE

FOLDER = PACKAGE / "data" / "demo-sentiment"
LARGEST = 4_000_000

THEIRS = """
import json, sys
from transformers import pipeline
classifier = pipeline("sentiment-analysis", model=sys.argv[1], batch_size=32)
print(json.dumps(classifier(json.load(sys.stdin))))
"""


@pytest.fixture(scope="module")
def labelled(shared: Path) -> list[tuple[str, str]]:
    """Sentences and labels that the model was never trained on."""
    lines = (shared / "datasets" / "sst2" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [(sentence, ("NEGATIVE", "POSITIVE")[int(label)]) for sentence, label in rows]


def test_it_is_small_and_whole() -> None:
    expected = {
        "README.md", "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json",
        "tokenizer_config.json", "vocab.txt",
    }  # fmt: skip
    assert {path.name for path in FOLDER.iterdir()} == expected
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= LARGEST


def test_it_is_as_accurate_as_its_card_says(labelled: list[tuple[str, str]]) -> None:
    classifier = pipeline("sentiment-analysis", model="oxiformers/demo-sentiment")
    results = classifier([sentence for sentence, _ in labelled])
    right = sum(result["label"] == label for result, (_, label) in zip(results, labelled, strict=True))
    accuracy = right / len(labelled)
    stated = re.search(
        r"\*\*([\d.]+)%\*\* on the 872 sentences", (FOLDER / "README.md").read_text(encoding="utf-8")
    )
    assert stated is not None
    assert float(stated[1]) == pytest.approx(100 * accuracy, abs=0.06)
    assert accuracy >= 0.80


@pytest.mark.parametrize("version", ["python_524", "python_457"])
def test_transformers_gives_the_same_scores(version: str, request: pytest.FixtureRequest) -> None:
    python = request.getfixturevalue(version)
    sentences = [
        "A warm, funny and touching film.",
        "A dull mess from start to finish.",
        "I can't say that I liked it, nor that I did not; the café scene was très chic!",
        "ok",
        "It is too long by half an hour and still leaves out what matters. " * 4,
    ]
    result = subprocess.run(
        [python, "-c", THEIRS, FOLDER],
        input=json.dumps(sentences),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(result.stdout.splitlines()[-1])
    ours = pipeline("sentiment-analysis", model="oxiformers/demo-sentiment")(sentences)
    assert [one["label"] for one in ours] == [one["label"] for one in theirs]
    assert [one["score"] for one in ours] == pytest.approx([one["score"] for one in theirs], abs=1e-5)
