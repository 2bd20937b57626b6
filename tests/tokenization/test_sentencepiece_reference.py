"""Tokenizers read from a sentencepiece model cut texts as sentencepiece itself does, by what the model says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import oxiformers
from oxiformers._core import SentencePieceModel

#: Trains a model for each set of options, gives its pieces other scores, and says what becomes of the texts.
ORACLE = """
import io, json, random, sys
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
job = json.load(sys.stdin)
answers = {}
for path, options in job["train"].items():
    shuffled = options.pop("shuffled", False)
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(job["lines"]), model_writer=trained, vocab_size=500, hard_vocab_limit=False,
        minloglevel=2, num_threads=1, **options)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(trained.getvalue())
    if shuffled:
        normal = [piece for piece in model.pieces if piece.type == 1]
        scores = [piece.score for piece in normal]
        random.Random(5).shuffle(scores)
        for piece, score in zip(normal, scores):
            piece.score = score
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
    processor = sentencepiece.SentencePieceProcessor(model_file=path)
    rows = [processor.encode(text) for text in job["texts"]]
    answers[path] = {
        "ids": rows, "tokens": [processor.encode(text, out_type=str) for text in job["texts"]],
        "decoded": [processor.decode(row) for row in rows],
    }
json.dump(answers, sys.stdout)
"""
IDENTITY = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
BPE = {"model_type": "bpe", "byte_fallback": True}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {**BPE, **IDENTITY},
    "llama without prefix": {**BPE, **IDENTITY, "add_dummy_prefix": False},
    "llama that normalizes": BPE,
    "llama that normalizes without prefix": {**BPE, "add_dummy_prefix": False},
    "llama that only trims": {**BPE, "normalization_rule_name": "identity"},
    "llama of other scores": {**BPE, **IDENTITY, "shuffled": True},
    "unigram": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "unigram without prefix": {
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": -1,
        "add_dummy_prefix": False,
    },
}
TEXTS = [
    "Hello world, this is a test.",
    " a space before, and after ",
    "  two  before,   three   between",
    "Ａ ﬁne day ① ½ naïve café",
    "日本語 and 👍🏽",
    "x",
    "",
    " ",
    "tab\tand\nnewline\n",
    "aaaa aaaaa bananananana",
]


@pytest.fixture(scope="module")
def models(shared: Path, python_457: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By the name of a model: its folder, and what sentencepiece makes of the texts."""
    root = tmp_path_factory.mktemp("models")
    lines = (shared / "corpora" / "english.txt").read_text(encoding="utf-8")[:60_000].split("\n")
    folders = {name: root / name.replace(" ", "-") for name in MODELS}
    for folder in folders.values():
        folder.mkdir()
    file = {name: "spiece.model" if "unigram" in name else "tokenizer.model" for name in MODELS}
    paths = {name: str(folder / file[name]) for name, folder in folders.items()}
    job = {
        "train": {paths[name]: options for name, options in MODELS.items()},
        "lines": [line for line in lines if line.strip()],
        "texts": TEXTS,
    }
    done = subprocess.run(
        [str(python_457), "-c", ORACLE],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    answers = json.loads(done.stdout)
    return {name: (folders[name], answers[paths[name]]) for name in MODELS}


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("llama")])
@pytest.mark.parametrize("legacy", [True, False])
def test_llama(name: str, legacy: bool, models: dict[str, Any], tmp_path: Path) -> None:
    """The ids and the text they decode to, before and after the tokenizer was saved, whatever the config says."""
    folder, expected = models[name]
    tokenizer = oxiformers.LlamaTokenizer.from_pretrained(folder, legacy=legacy, add_prefix_space=True)
    tokenizer.save_pretrained(tmp_path)
    again = oxiformers.LlamaTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    without_model = oxiformers.LlamaTokenizer.from_pretrained(tmp_path)
    assert tokenizer.add_prefix_space == again.add_prefix_space == ("without prefix" not in name)
    for found in (tokenizer, again, without_model):
        for text, ids, decoded in zip(TEXTS, expected["ids"], expected["decoded"], strict=True):
            if not legacy and text.startswith((" ", "▁")):
                continue  # no second space is put in front
            assert found(text, add_special_tokens=False)["input_ids"] == ids, text
            assert found.decode(ids) == decoded, text


def test_code_llama(models: dict[str, Any]) -> None:
    folder, expected = models["llama without prefix"]
    tokenizer = oxiformers.CodeLlamaTokenizer.from_pretrained(folder)
    for text, ids, decoded in zip(TEXTS, expected["ids"], expected["decoded"], strict=True):
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids, text
        assert tokenizer.decode(ids) == decoded, text


@pytest.mark.parametrize(
    "cls", ["T5Tokenizer", "XLMRobertaTokenizer", "CamembertTokenizer", "BigBirdTokenizer", "NllbTokenizer"]
)
@pytest.mark.parametrize("name", ["unigram", "unigram without prefix"])
def test_other_families(cls: str, name: str, models: dict[str, Any]) -> None:
    """Each class has ids of its own, and the same tokens: `▁` is in front where the model puts it there."""
    folder, expected = models[name]
    settings = {"unk_token": "<unk>", "pad_token": "<pad>"}
    tokenizer = getattr(oxiformers, cls)(vocab_file=str(folder / "spiece.model"), **settings)
    for text, tokens in zip(TEXTS, expected["tokens"], strict=True):
        if text.strip() == text and "  " not in text and "日" not in text:
            assert tokenizer.tokenize(text) == tokens, text


def test_the_order_of_merges(models: dict[str, Any]) -> None:
    """Higher scores first, of equal ones the earlier piece; only normal pieces are made or made of."""
    folder, _ = models["llama"]
    model = SentencePieceModel.from_file(str(folder / "tokenizer.model"))
    kinds = {text: kind for text, _, kind in model.pieces}
    places = {text: place for place, (text, _, _) in enumerate(model.pieces)}
    equal = model.merges([(text, 0.0) for text, _, _ in model.pieces])
    assert {kinds[part] for pair in equal for part in (*pair, "".join(pair))} == {1}
    order = [places["".join(pair)] for pair in equal]
    assert order == sorted(order) and len(set(order)) > 100
    assert sorted(equal) == sorted(model.merges())
    reversed_scores = model.merges([(text, float(place)) for text, place in places.items()])
    assert [places["".join(pair)] for pair in reversed_scores] == order[::-1]
