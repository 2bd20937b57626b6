"""Each family's tokenizer against transformers 4.57: from its own files, from tokenizer.json, saved and read back."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.tokenization.conftest import Oracle, assert_same
from tests.tokenization.jobs import Session
from tests.tokenization.steps import call, step

TEXTS = [
    "Hello world, it's a test.",
    "  spaces   here ",
    "naïve Café ﬁ",
    "<mask> hi</s> <pad>",
    "日本語 テスト",
    "a\tb\nc",
    "1,000 2.5",
    "<extra_id_0> x <extra_id_1>",
    "en_XX test [MASK] y",
]
SPECIAL = ["special_tokens_map", "all_special_tokens", "all_special_ids", "model_input_names", "padding_side"]


class Family(NamedTuple):
    """A tokenizer to try: its class without ending, the files it is read from, and its config."""

    name: str
    files: dict[str, str]
    config: dict[str, Any] = {}  # noqa: RUF012 -- never changed

    def __str__(self) -> str:
        return "-".join((self.name, *(f"{key}={value}" for key, value in self.config.items())))


def bpe(name: str) -> dict[str, str]:
    return {"vocab.json": f"{name}/vocab.json", "merges.txt": f"{name}/merges.txt"}


WORDPIECE = {"vocab.txt": "wordpiece/vocab.txt"}
PLAIN_BERT = (
    "Electra",
    "ConvBert",
    "MobileBert",
    "SqueezeBert",
    "Lxmert",
    "LayoutLM",
    "DPRReader",
    "MPNet",
    "Funnel",
)
BPE = [
    Family("GPT2", bpe("gpt2")),
    Family("GPT2", bpe("gpt2"), {"add_prefix_space": True, "add_bos_token": True}),
    Family("CodeGen", bpe("gpt2")),
    Family("Qwen2", bpe("gpt2")),
    Family("Roberta", bpe("roberta")),
    Family("Roberta", bpe("roberta"), {"add_prefix_space": True, "trim_offsets": False}),
    Family("Bart", bpe("roberta")),
    Family("Longformer", bpe("roberta")),
    Family("LED", bpe("roberta")),
    Family("Mvp", bpe("roberta")),
    Family("Blenderbot", bpe("roberta"), {"add_prefix_space": True}),
    Family("Deberta", bpe("deberta")),
    Family("CLIP", bpe("clip")),
    Family("OpenAIGPT", bpe("gpt1")),
]
BERT = [
    *(Family(name, WORDPIECE) for name in PLAIN_BERT),
    Family("Bert", WORDPIECE, {"do_lower_case": False, "tokenize_chinese_chars": False}),
    Family("MPNet", WORDPIECE, {"do_lower_case": False, "tokenize_chinese_chars": False}),
]
SPIECE = "spiece.model"
FAIRSEQ = "sentencepiece.bpe.model"
LLAMA = {"tokenizer.model": "llama.model"}
SENTENCEPIECE = [
    Family("Albert", {SPIECE: "albert.model"}),
    Family("Albert", {SPIECE: "albert.model"}, {"do_lower_case": False, "keep_accents": True}),
    Family("FNet", {SPIECE: "albert.model"}),
    Family("RemBert", {"sentencepiece.model": "unigram.model"}),
    Family("Reformer", {SPIECE: "unigram.model"}),
    Family("DebertaV2", {"spm.model": "albert.model"}, {"split_by_punct": True, "do_lower_case": True}),
    Family("XLNet", {SPIECE: "xlnet.model"}),
    Family("XLMRoberta", {FAIRSEQ: "unigram.model"}),
    Family("XLMRoberta", {FAIRSEQ: "bpe.model"}),
    Family("Camembert", {FAIRSEQ: "unigram.model"}),
    Family("Barthez", {FAIRSEQ: "unigram.model"}),
    Family("XGLM", {FAIRSEQ: "unigram.model"}),
    Family("T5", {SPIECE: "t5.model"}),
    Family("T5", {SPIECE: "t5.model"}, {"legacy": False, "extra_ids": 5}),
    Family("MT5", {SPIECE: "t5.model"}),
    Family("Pegasus", {SPIECE: "t5.model"}),
    Family("Pegasus", {SPIECE: "t5.model"}, {"offset": 0, "mask_token_sent": None, "mask_token": "[MASK]"}),
    Family("MBart", {FAIRSEQ: "unigram.model"}, {"src_lang": "fr_XX", "tgt_lang": "ro_RO"}),
    Family("MBart50", {FAIRSEQ: "unigram.model"}),
    Family("Nllb", {FAIRSEQ: "unigram.model"}),
    Family("Nllb", {FAIRSEQ: "unigram.model"}, {"legacy_behaviour": True, "src_lang": "fra_Latn"}),
    Family("Llama", LLAMA),
    Family("Llama", LLAMA, {"legacy": False}),
    Family("Llama", LLAMA, {"add_bos_token": False, "add_eos_token": True}),
    Family("Llama", LLAMA, {"add_prefix_space": False}),
    Family("Gemma", {"tokenizer.model": "gemma.model"}),
]


@pytest.fixture(scope="session")
def trained(shared: Path, python_457: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small tokenizers of every form."""
    root = tmp_path_factory.mktemp("families")
    lines = []
    for name in ("english", "multilingual", "code"):
        text = (shared / "corpora" / f"{name}.txt").read_text(encoding="utf-8")
        lines += [line[:800] for line in text.splitlines() if line.strip()][:250]
    (root / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    program = Path(__file__).with_name("make_families.py")
    subprocess.run(
        [str(python_457), str(program), str(root / "train.txt"), str(root)], check=True, capture_output=True
    )
    return root


def folder_of(family: Family, trained: Path, folder: Path) -> Path:
    """A folder with the family's files and its config."""
    folder.mkdir()
    for name, source in family.files.items():
        shutil.copy(trained / source, folder / name)
    config = {"tokenizer_class": f"{family.name}Tokenizer", **family.config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def steps_of(fast: bool = True) -> list[dict[str, Any]]:
    """What is compared of a tokenizer."""
    steps = [step(name) for name in (*SPECIAL, "added_tokens_decoder", "__len__", "pad_token_type_id")]
    steps += [call(TEXTS), call(TEXTS, TEXTS[::-1])]
    steps += [step("build_inputs_with_special_tokens", [5, 6], [7]), step("get_vocab")]
    steps += [step("create_token_type_ids_from_sequences", [5, 6], [7])]
    if fast:
        steps += [call(TEXTS, return_offsets_mapping=True, return_special_tokens_mask=True)]
        steps += [step("backend_tokenizer", then=[step("to_str")])]
    steps += [step("tokenize", text) for text in TEXTS]
    return steps


def compared(answers: list[Any]) -> list[Any]:
    """The answers, with the JSON of the whole tokenizer parsed and scores rounded."""
    found = list(answers)
    if "error" in found[0]:
        return found
    for place, answer in enumerate(found):
        if isinstance(answer, list) and len(answer) == 2 and answer[0] in ("<Tokenizer>",):
            whole = json.loads(answer[1])
            vocabulary = whole["model"]["vocab"]
            if isinstance(vocabulary, list):
                whole["model"]["vocab"] = [[piece, round(score, 5)] for piece, score in vocabulary]
            whole["added_tokens"].sort(key=lambda token: token["id"])
            found[place] = whole
    return found


def compare(ours: Session, theirs: Oracle, family: Family, folder: Path, **kwargs: Any) -> None:
    job = {
        "load": {"class": f"{family.name}TokenizerFast", "path": str(folder), "kwargs": kwargs},
        "steps": steps_of(),
        "fresh": True,
    }
    expected = compared(theirs.run(job))
    assert "error" not in expected[0], expected[0]
    assert_same(compared(ours.run(job)), expected, job["steps"])


@pytest.fixture(scope="session")
def library() -> Session:
    """oxiformers with all its names."""
    return Session("oxiformers")


@pytest.mark.parametrize("family", [*BPE, *BERT, *SENTENCEPIECE], ids=str)
def test_family(
    family: Family,
    trained: Path,
    tmp_path: Path,
    library: Session,
    oracle_457: Oracle,
    oracle_524: Oracle,
) -> None:
    """From the family's files; saved by either and read by the other; from tokenizer.json alone."""
    folder = folder_of(family, trained, tmp_path / "own")
    compare(library, oracle_457, family, folder)
    for name, saver in (("ours", library), ("theirs", oracle_457)):
        saved = tmp_path / name
        load = {"class": f"{family.name}TokenizerFast", "path": str(folder)}
        saver.run({"load": load, "steps": [step("save_pretrained", str(saved))], "fresh": True})
        compare(library, oracle_457, family, saved)
        compare(library, oracle_457, family, saved, padding_side="left", model_max_length=7)
    answers = [
        oracle.run(
            {"load": {**load, "path": str(path)}, "steps": [call(TEXTS), step("decode", list(range(40)))]}
        )
        for oracle, path in (
            (oracle_457, folder),
            (oracle_457, tmp_path / "ours"),
            (oracle_524, tmp_path / "theirs"),
            (oracle_524, tmp_path / "ours"),
        )
    ]
    assert answers[0] == answers[1]
    if family.name != "RemBert":  # transformers 4 saves other settings than those it was read with
        assert answers[2] == answers[3]
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(tmp_path / "theirs" / "tokenizer.json", alone)
    compare(library, oracle_457, family, alone)
    (tmp_path / "ours" / "tokenizer.json").unlink()
    compare(library, oracle_457, family, tmp_path / "ours")
