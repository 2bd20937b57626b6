"""What a process waits for before its first answer: the import, and the first prediction."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benches.python.common import Case, shared

TESTS = ("tests/repo", "tests/pipelines")
FIRST = (
    "from {package} import pipeline; print(pipeline('text-classification', model={folder!r})('a fine day'))"
)
IMPORTS = "from {package} import pipeline, DistilBertForSequenceClassification, DistilBertTokenizerFast"
MAKE = (
    "import sys, torch, transformers; torch.manual_seed(0); "
    "transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig()).save_pretrained(sys.argv[1]); "
    "transformers.AutoTokenizer.from_pretrained(sys.argv[2]).save_pretrained(sys.argv[1])"
)


def python(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    environment = dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def cases() -> Iterator[Case]:
    # oxiformers fetches torch when a pipeline is made, so the second case imports what making one imports.
    yield Case(
        "from oxiformers import pipeline",
        {
            "oxiformers": lambda: python("from oxiformers import pipeline"),
            "import torch": lambda: python("import torch"),
            "transformers": lambda: python("from transformers import pipeline"),
        },
        repetitions=9,
    )
    yield Case(
        "importing pipeline, model and tokenizer classes, torch included",
        {
            "oxiformers": lambda: python(IMPORTS.format(package="oxiformers")),
            "import torch": lambda: python("import torch"),
            "transformers": lambda: python(IMPORTS.format(package="transformers")),
        },
        repetitions=9,
    )
    with tempfile.TemporaryDirectory() as folder:
        python(MAKE, folder, str(shared("tokenizers/bert-base-uncased")))
        assert (Path(folder) / "model.safetensors").exists()
        ours, theirs = (FIRST.format(package=name, folder=folder) for name in ("oxiformers", "transformers"))
        yield Case(
            "process start to first prediction, DistilBERT-base shape",
            {"oxiformers": lambda: python(ours), "transformers": lambda: python(theirs)},
            repetitions=9,
        )
