"""sentencepiece model files beside the package sentencepiece: what they hold, and what it makes of texts."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from oxiformers._core import SentencePieceModel, Tokenizer
from oxiformers.errors import ArgumentError, FormatError, MissingFileError
from tests.core.reference import CORPORA

# Trains models, reads models, and says what they hold and what becomes of texts.
ORACLE = """
import io, json, sys
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
job = json.load(sys.stdin)
for path, options in job["train"]:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(job["lines"]), model_writer=model, vocab_size=900, hard_vocab_limit=False,
        minloglevel=2, character_coverage=0.98, num_threads=1, **options)
    content = sentencepiece_model_pb2.ModelProto()
    content.ParseFromString(model.getvalue())
    if "byte_fallback" in options:
        for number, piece in enumerate(content.pieces):
            if piece.type == 1 and len(piece.piece) > 1 and number % 3 == 0:
                piece.type = 5
    with open(path, "wb") as file:
        file.write(content.SerializeToString())
answers = {}
for path in job["read"] + [path for path, _ in job["train"]]:
    processor = sentencepiece.SentencePieceProcessor(model_file=path)
    content = sentencepiece_model_pb2.ModelProto()
    with open(path, "rb") as file:
        content.ParseFromString(file.read())
    tokens = [processor.encode(text, out_type=str) for text in job["texts"]]
    trainer, normalizer = content.trainer_spec, content.normalizer_spec
    answers[path] = {
        "pieces": [[piece.piece, piece.score, piece.type] for piece in content.pieces],
        "ids": [trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id],
        "names": [trainer.unk_piece, trainer.bos_piece, trainer.eos_piece, trainer.pad_piece, trainer.unk_surface],
        "flags": [trainer.byte_fallback, trainer.treat_whitespace_as_suffix, normalizer.add_dummy_prefix,
                  normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces],
        "type": sentencepiece_model_pb2.TrainerSpec.ModelType.Name(trainer.model_type).lower(),
        "symbols": list(trainer.user_defined_symbols),
        "charsmap": normalizer.precompiled_charsmap.hex(), "normalizer": normalizer.name,
        "tokens": tokens, "input_ids": [[processor.piece_to_id(token) for token in row] for row in tokens],
    }
json.dump(answers, sys.stdout)
"""
FILES = {
    "albert-base-v2": ["spiece.model"],
    "deberta-v3-base": ["spm.model"],
    "llama-2": ["tokenizer.model"],
    "mistral-7b-v0.1": ["tokenizer.model"],
    "opus-mt-en-mg": ["source.spm", "target.spm"],
    "t5-small": ["spiece.model"],
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"byte_fallback": True},
    {"user_defined_symbols": ["<x>", "ab", "▁the", " b"]},
    {"treat_whitespace_as_suffix": True},
    {"add_dummy_prefix": False},
    {"remove_extra_whitespaces": False},
    {"normalization_rule_name": "identity", "split_by_whitespace": False},
    {"normalization_rule_name": "nfkc_cf"},
]
ODD = [
    *(
        "",
        " ",
        "  ",
        "\n",
        "a  b",
        " a",
        "a ",
        "▁",
        "▁▁a",
        " ▁ ",
        "ﬁ ①",
        "Å e\u0301",
        "\u200b",
        "a\u00a0b",
        "\x00a",
    ),
    *(
        "x\x00",
        "😀😀 a😀",
        "<s>",
        "</s> a",
        "<unk>",
        "<0x41>",
        "\u3000a\u3000",
        "\ufeff",
        "각",
        "abc\u0300\u0301",
    ),
    *("\t\t", "a\r\nb", "Hello World" * 50, "a" * 3000, "0.10000000000000000555111512312578270211815834"),
]


def _lines(shared: Path) -> list[str]:
    lines: list[str] = []
    for corpus in CORPORA:
        text = (shared / "corpora" / f"{corpus}.txt").read_text(encoding="utf-8")[:60_000]
        lines += text.split("\n")[:400]
    return lines


@pytest.fixture(scope="module")
def answers(
    shared: Path, python_457: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Texts, and by path of a model what sentencepiece says of it."""
    folder = tmp_path_factory.mktemp("models")
    lines, draw = _lines(shared), random.Random(3)
    letters = "ab cd▁é中😀xyz\n  ,.19"
    texts = [*lines, *ODD, *("".join(draw.choices(letters, k=draw.randint(0, 60))) for _ in range(300))]
    kinds = ("unigram", "bpe", "char", "word")
    train = [
        (str(folder / f"{kind}{number}.model"), {"model_type": kind, **options})
        for kind in kinds
        for number, options in enumerate(OPTIONS)
        # Words have no use for these.
        if kind != "word" or not options.keys() & {"byte_fallback", "treat_whitespace_as_suffix"}
    ]
    read = [str(shared / "tokenizers" / name / file) for name, files in FILES.items() for file in files]
    job = json.dumps(
        {"train": train, "read": read, "lines": [line for line in lines if line.strip()], "texts": texts}
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(python_457), "-c", ORACLE],
        input=job,
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return texts, json.loads(done.stdout)


def test_what_files_hold(answers: tuple[list[str], dict[str, dict[str, Any]]]) -> None:
    for path, expected in answers[1].items():
        model = SentencePieceModel.from_file(path)
        assert [list(piece) for piece in model.pieces] == expected["pieces"], path
        assert [model.unk_id, model.bos_id, model.eos_id, model.pad_id] == expected["ids"], path
        names = [model.unk_piece, model.bos_piece, model.eos_piece, model.pad_piece, model.unk_surface]
        assert names == expected["names"], path
        flags = [
            *(model.byte_fallback, model.treat_whitespace_as_suffix, model.add_dummy_prefix),
            *(model.remove_extra_whitespaces, model.escape_whitespaces),
        ]
        assert flags == expected["flags"], path
        assert (model.model_type, model.normalizer_name) == (expected["type"], expected["normalizer"]), path
        assert model.precompiled_charsmap.hex() == expected["charsmap"], path
        assert model.user_defined_symbols == expected["symbols"], path


def test_texts(answers: tuple[list[str], dict[str, dict[str, Any]]]) -> None:
    texts, models = answers
    for path, expected in models.items():
        ours = Tokenizer.from_sentencepiece(path)
        copied = pickle.loads(pickle.dumps(ours))
        encodings = ours.encode_batch(texts, add_special_tokens=False)
        for text, encoding, tokens in zip(texts, encodings, expected["tokens"], strict=True):
            assert encoding.tokens == tokens, (path, text)
        for tokenizer in (ours, copied):
            found = tokenizer.encode_batch_lists(texts, add_special_tokens=False)["input_ids"]
            assert found == expected["input_ids"], path


def test_ids_of_another_vocabulary(
    answers: tuple[list[str], dict[str, dict[str, Any]]], shared: Path
) -> None:
    folder = shared / "tokenizers" / "opus-mt-en-mg"
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    texts, models = answers
    for name in FILES["opus-mt-en-mg"]:
        ours = Tokenizer.from_sentencepiece(str(folder / name), vocab=vocab, unk_token="<unk>")
        encodings = ours.encode_batch(texts, add_special_tokens=False)
        for encoding, tokens in zip(encodings, models[str(folder / name)]["tokens"], strict=True):
            assert encoding.tokens == tokens
            assert encoding.ids == [vocab.get(token, vocab["<unk>"]) for token in tokens]
    with pytest.raises(ArgumentError, match="unk_token"):
        Tokenizer.from_sentencepiece(str(folder / "source.spm"), vocab={"a": 0}, unk_token="<none>")


def test_merges_of_llama(shared: Path) -> None:
    """The same merges as in the tokenizer.json made of the file, in an order of which only equal scores differ."""
    folder = shared / "tokenizers" / "llama-2"
    merges = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["merges"]
    found = SentencePieceModel.from_file(str(folder / "tokenizer.model")).merges()
    assert sorted(found) == sorted(tuple(merge.split(" ")) for merge in merges)


def _field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def _piece(text: bytes, kind: int = 1) -> bytes:
    return _field(1, _field(1, text) + bytes([3 << 3, kind]))


UNKNOWN = _piece(b"<unk>", 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "pieces"),
        (b"\x0a\x05ab", "byte 2"),
        (b"\xff" * 20, "byte 0"),
        (_piece(b""), "pieces.piece"),
        (_piece(b"\xff\xfe"), "UTF-8"),
        (b"\x0b" * 200, "100 deep"),
        (b"\x0c", "not open"),
        (b"\x0f", "wire type"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "more bytes"),
        (_piece(b"a"), "unknown"),
        (UNKNOWN + _piece(b"b", 2), "unknown"),
        (UNKNOWN + _piece(b"a") + _piece(b"a"), "once"),
        (UNKNOWN + _field(2, bytes([35 << 3 & 0x7F | 0x80, 2, 1])), "each byte"),
        (UNKNOWN + _field(3, _field(2, b"\x04\x00\x00\x00")), "charsmap"),
    ],
)
def test_files_that_are_wrong(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.model"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        Tokenizer.from_sentencepiece(str(path))
    assert str(path) in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for read in (SentencePieceModel.from_file, Tokenizer.from_sentencepiece):
        with pytest.raises(MissingFileError):
            read(str(tmp_path / "none.model"))


def test_shortened_and_changed_files_are_read_or_refused(shared: Path, tmp_path: Path) -> None:
    good = (shared / "tokenizers" / "opus-mt-en-mg" / "source.spm").read_bytes()[:3000]
    path, draw = tmp_path / "a.model", random.Random(2)
    read = 0
    for _ in range(400):
        content = bytearray(good[: draw.randint(0, len(good))])
        for _ in range(draw.randint(0, 3)):
            if content:
                content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(bytes(content))
        try:
            Tokenizer.from_sentencepiece(str(path)).encode_batch(["un able  é😀"])
            read += 1
        except (FormatError, ArgumentError):
            pass
    assert read > 0
