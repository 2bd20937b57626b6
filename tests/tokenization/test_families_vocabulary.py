"""Models whose sentencepiece model cuts the text and whose vocab.json gives the ids, against transformers 4.57."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from oxiformers.errors import ArgumentError, FormatError
from tests.tokenization.conftest import Oracle, assert_same, copied
from tests.tokenization.jobs import Session
from tests.tokenization.steps import DIFFICULT, call, step
from tests.tokenization.test_families import trained as trained
from tests.tokenization.test_families_real import corpus as corpus

SPECIAL = ["a </s> b<pad> <unk>c <s>", "</s>", " x </s>  y", "<unk><unk> ☃☃ ☃"]


@pytest.fixture(scope="session")
def library() -> Session:
    """oxiformers with all its names."""
    return Session("oxiformers")


def compare(
    library: Session, oracle: Oracle, name: str, folder: Path, steps: list[dict[str, Any]], **kwargs: Any
) -> None:
    load = {"class": name, "path": str(folder), "kwargs": kwargs}
    job = {"load": load, "steps": steps, "fresh": True}
    expected = oracle.run(job)
    assert not (isinstance(expected[0], dict) and "error" in expected[0]), expected[0]
    assert_same(library.run(job), expected, steps)


def text_steps(texts: list[str], size: int) -> list[dict[str, Any]]:
    names = (
        "all_special_tokens",
        "all_special_ids",
        "__len__",
        "vocab_size",
        "model_max_length",
        "get_vocab",
    )
    steps = [step(name) for name in (*names, "model_input_names")]
    steps += [call(texts), call(texts[::5], texts[::-5]), call(texts[:20], padding=True, return_tensors="np")]
    steps += [call(texts[:9], truncation=True, max_length=8), call(texts[:9], add_special_tokens=False)]
    for start in range(0, size, max(1, size // 40)):
        ids = list(range(start, min(start + 50, size)))
        steps += [step("decode", ids), step("decode", ids[::3], skip_special_tokens=True)]
    steps += [step("convert_ids_to_tokens", list(range(0, size, 7)))]
    steps += [
        step("batch_decode", [[0, 5, 6, 7], [9, 0]]),
        step("decode", [5, 6], clean_up_tokenization_spaces=True),
    ]
    return steps


@pytest.fixture(scope="session")
def texts(corpus: list[str]) -> list[str]:
    """Paragraphs, and texts made to be difficult."""
    return [*corpus[::3], *DIFFICULT, *SPECIAL]


def test_marian(shared: Path, tmp_path: Path, texts: list[str], library: Session, oracle_457: Oracle) -> None:
    folder = copied(shared / "tokenizers" / "opus-mt-en-mg", tmp_path / "copy")
    steps = text_steps(texts, 54_688)
    steps += [call(texts[:30], text_target=texts[30:60]), call(text_target=texts[:40])]
    steps += [call([">>mlg<< hello", "hello", ">>mlg<<", "x >>mlg<< y"])]
    steps += [step("build_inputs_with_special_tokens", [5], [6]), step("num_special_tokens_to_add")]
    compare(library, oracle_457, "MarianTokenizer", folder, steps)
    tokenizer = library.library.AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer).__name__ == "MarianTokenizer"
    tokenizer.save_pretrained(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names >= {"vocab.json", "source.spm", "target.spm", "tokenizer_config.json"}
    assert "tokenizer.json" not in names
    compare(library, oracle_457, "MarianTokenizer", tmp_path / "saved", steps)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again(texts, text_target=texts) == tokenizer(texts, text_target=texts)
    assert again.decode([5, 6, 7]) == tokenizer.decode([5, 6, 7])


def test_marian_with_languages_and_two_vocabularies(
    shared: Path, tmp_path: Path, texts: list[str], library: Session, oracle_457: Oracle
) -> None:
    folder = copied(shared / "tokenizers" / "opus-mt-en-mg", tmp_path / "copy")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    for code in (">>fra<<", ">>mlg<<"):
        vocabulary[code] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    marked = [">>fra<< hello", ">>xyz<< hello", ">>fra<<", "hello >>fra<<", ">>fra hello", " >>fra<< a"]
    compare(
        library,
        oracle_457,
        "MarianTokenizer",
        folder,
        [
            call(marked),
            call(marked, padding=True, return_tensors="np", truncation=True, max_length=5),
            call(marked[:3], padding="max_length", max_length=9),
            call(marked[3]),
            step("supported_language_codes"),
        ],
    )
    special = {token: vocabulary[token] for token in ("<unk>", "</s>", "<pad>")}
    ordinary = [token for token in vocabulary if token not in special]
    ids = [vocabulary[token] for token in ordinary]
    other = {**special, **dict(zip(ordinary, ids[::-1], strict=True))}
    (folder / "target_vocab.json").write_text(json.dumps(other))
    steps = [call(texts[:30], text_target=texts[30:60]), step("decode", list(range(3, 60)))]
    compare(library, oracle_457, "MarianTokenizer", folder, steps, separate_vocabs=True)


def numbered(trained: Path, folder: Path, model: str, *further: str) -> Path:
    """A folder of a sentencepiece model, and a vocab.json with fairseq's ids for most of its pieces."""
    folder.mkdir()
    shutil.copy(trained / f"{model}.model", folder / "sentencepiece.bpe.model")
    lines = (trained / f"{model}.vocab").read_text(encoding="utf-8").split("\n")
    pieces = list(dict.fromkeys(line.rpartition("\t")[0] for line in lines[3:-1]))
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *pieces[:400], *pieces[420:], *further]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    return folder


@pytest.mark.parametrize("model", ["unigram", "bpe", "llama"])
def test_m2m100(
    model: str, trained: Path, tmp_path: Path, texts: list[str], library: Session, oracle_457: Oracle
) -> None:
    folder = numbered(trained, tmp_path / "own", model)
    languages = library.library.M2M100Tokenizer.from_pretrained(folder).lang_code_to_token
    special = {"additional_special_tokens": list(languages.values()), "eos_token": "</s>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    steps = text_steps(texts, 640)
    steps += [call(texts[:30], text_target=texts[30:60]), step("prefix_tokens"), step("get_lang_id", "fr")]
    steps += [{"do": "src_lang", "set": "de"}, call(texts[:5]), step("src_lang"), step("suffix_tokens")]
    compare(library, oracle_457, "M2M100Tokenizer", folder, steps, src_lang="en", tgt_lang="fr")
    tokenizer = library.library.M2M100Tokenizer.from_pretrained(folder, src_lang="ja")
    tokenizer.save_pretrained(tmp_path / "saved")
    compare(library, oracle_457, "M2M100Tokenizer", tmp_path / "saved", text_steps(texts, 640))
    with pytest.raises(ArgumentError, match=r"lang: expected one of .*, got 'xx'"):
        tokenizer.src_lang = "xx"
    with pytest.raises(ArgumentError, match=r"lang: expected one of .*, got None"):
        tokenizer(text_target="a")


def test_speech_to_text(
    trained: Path, tmp_path: Path, texts: list[str], library: Session, oracle_457: Oracle
) -> None:
    folder = numbered(trained, tmp_path / "own", "unigram")
    for settings in ({}, {"do_lower_case": True, "do_upper_case": True}):
        compare(library, oracle_457, "Speech2TextTokenizer", folder, text_steps(texts, 640), **settings)
    (folder / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(FormatError, match="has no '<unk>', the unknown token"):
        library.library.Speech2TextTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "file", "model"),
    [
        ("BertGeneration", "spiece.model", "unigram"),
        ("GPTSw3", "spiece.model", "llama"),
        ("SpeechT5", "spm_char.model", "characters"),
    ],
)
def test_ids_of_the_sentencepiece_model(
    name: str,
    file: str,
    model: str,
    trained: Path,
    tmp_path: Path,
    texts: list[str],
    library: Session,
    oracle_457: Oracle,
) -> None:
    (tmp_path / "own").mkdir()
    shutil.copy(trained / f"{model}.model", tmp_path / "own" / file)
    size = 90 if model == "characters" else 650
    unseen = ["a\u2009b\u00a0c\x84d\u200be\tf\ng", "a\u030a \ufffc</s>", "a  b"]
    steps = text_steps([*texts, *unseen], size)
    compare(library, oracle_457, f"{name}Tokenizer", tmp_path / "own", steps)
    tokenizer = getattr(library.library, f"{name}Tokenizer").from_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "saved")
    compare(library, oracle_457, f"{name}Tokenizer", tmp_path / "saved", steps)
