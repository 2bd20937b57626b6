"""What a class's settings change in a real tokenizer.json, as transformers 4.57 changes it."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from oxiformers.errors import ArgumentError
from tests.tokenization.conftest import Oracle, assert_same, copied
from tests.tokenization.jobs import Session
from tests.tokenization.steps import DIFFICULT, call, step
from tests.tokenization.test_families import trained as trained

SENTENCE = {"__type": "AddedToken", "content": "<｜begin▁of▁sentence｜>", "lstrip": False, "normalized": True}
CASES: list[tuple[str, str, dict[str, Any], tuple[str, ...]]] = [
    # folder, class, config, files left out
    ("llama-2", "Llama", {"legacy": False}, ()),
    ("llama-2", "Llama", {"add_bos_token": False, "add_eos_token": True}, ()),
    ("llama-2", "Llama", {"add_prefix_space": False}, ()),
    ("llama-2", "Llama", {"add_prefix_space": False, "legacy": False}, ()),
    ("llama-2", "Llama", {"add_prefix_space": True, "legacy": False}, ()),
    ("llama-2", "Llama", {"add_prefix_space": None, "pad_token": "<unk>", "padding_side": "right"}, ()),
    ("llama-2", "CodeLlama", {}, ()),
    (
        "mistral-7b-v0.1",
        "Llama",
        {"sp_model_kwargs": {}, "unk_token": None, "additional_special_tokens": []},
        (),
    ),
    (
        "gpt2",  # DeepSeek's: byte-level BPE under Llama's name
        "Llama",
        {"bos_token": SENTENCE, "eos_token": "<|endoftext|>", "unk_token": None, "add_bos_token": True},
        ("vocab.json", "merges.txt"),
    ),
    ("gpt2", "GPT2", {"add_prefix_space": True}, ()),
    ("gpt2", "GPT2", {"add_bos_token": True, "pad_token": "<|endoftext|>"}, ()),
    ("gpt2", "GPTNeoX", {"add_bos_token": True, "add_eos_token": True}, ()),
    ("gpt2", "Qwen2", {"add_prefix_space": True}, ()),
    ("qwen2.5", "Qwen2", {"bos_token": None, "errors": "replace", "split_special_tokens": False}, ()),
    ("roberta-base", "Roberta", {"add_prefix_space": True, "trim_offsets": False}, ()),
    ("roberta-base", "Bart", {"trim_offsets": False}, ()),
    ("roberta-base", "Longformer", {}, ()),
    ("t5-small", "T5", {"extra_ids": 100, "additional_special_tokens": None}, ()),
    ("t5-small", "T5", {"add_prefix_space": False, "legacy": False}, ()),
    ("t5-small", "MT5", {"extra_ids": 0, "additional_special_tokens": []}, ()),
    ("albert-base-v2", "Albert", {"do_lower_case": False, "keep_accents": True}, ("tokenizer.json",)),
    ("albert-base-v2", "XLNet", {}, ()),
    ("deberta-v3-base", "DebertaV2", {"split_by_punct": True}, ("tokenizer.json",)),
    ("xlm-roberta-base", "XLMRoberta", {"mask_token": "<mask>"}, ()),
    ("xlm-roberta-base", "MBart", {"src_lang": "de_DE"}, ()),
    ("xlm-roberta-base", "Nllb", {"src_lang": "deu_Latn", "additional_special_tokens": ["deu_Latn"]}, ()),
    ("pegasus", "Pegasus", {"offset": 103}, ()),
    ("gpt-neox-20b-pythia", "Bloom", {"add_prefix_space": True}, ()),
    ("gpt-neox-20b-pythia", "Cohere", {"add_eos_token": True, "bos_token": "<|endoftext|>"}, ()),
    ("bert-base-uncased", "Electra", {"do_lower_case": False}, ()),
    ("bert-base-uncased", "MPNet", {"tokenize_chinese_chars": False}, ()),
    ("bert-base-uncased", "Funnel", {"unk_token": "[UNK]"}, ("tokenizer.json",)),
]


@pytest.fixture(scope="session")
def library() -> Session:
    """oxiformers with all its names."""
    return Session("oxiformers")


def compare(library: Session, oracle: Oracle, job: dict[str, Any]) -> None:
    """Both answer the job alike, and the oracle has an answer to most of it."""
    expected = oracle.run(job)
    errors = [answer for answer in expected if isinstance(answer, dict) and "error" in answer]
    assert len(errors) <= 1, errors
    assert_same(library.run(job), expected, job["steps"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{sorted(case[2])}")
def test_settings(
    case: tuple[str, str, dict[str, Any], tuple[str, ...]],
    shared: Path,
    tmp_path: Path,
    lines: list[str],
    library: Session,
    oracle_457: Oracle,
) -> None:
    name, cls, settings, left_out = case
    folder = copied(shared / "tokenizers" / name, tmp_path / "copy", *left_out, "special_tokens_map.json")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": f"{cls}Tokenizer", **settings})
    )
    texts = [
        *lines,
        *DIFFICULT,
        "<s>a </s> <mask>b<unk> <｜begin▁of▁sentence｜> <|endoftext|>x <extra_id_0>y",
    ]
    names = ("all_special_tokens", "all_special_ids", "added_tokens_decoder", "__len__", "padding_side")
    steps = [step(attribute) for attribute in (*names, "model_input_names")]
    # transformers cuts the first character off the offsets of words behind a prefix space.
    offsets = not (cls == "Bloom" and settings.get("add_prefix_space"))
    steps += [call(texts), call(texts[::5], texts[::-5], return_offsets_mapping=offsets)]
    steps += [step("decode", list(range(start, start + 60))) for start in range(0, 6_000, 600)]
    for change in ("add_bos_token", "add_eos_token", "src_lang"):
        if change in settings and change != "src_lang":
            steps += [step(change), {"do": change, "set": not settings[change]}, call(texts[::4], texts[::4])]
    steps += [step("save_pretrained", str(tmp_path / "saved"))]
    job = {"load": {"class": f"{cls}TokenizerFast", "path": str(folder)}, "steps": steps[:-1], "fresh": True}
    if cls in ("GPTNeoX", "GPT2"):  # plain attributes there take no effect
        job["steps"] = [one for one in steps[:-1] if cls == "GPTNeoX" or "set" not in one]
    compare(library, oracle_457, job)


def test_code_with_a_gap(shared: Path, tmp_path: Path, library: Session, oracle_457: Oracle) -> None:
    folder = copied(shared / "tokenizers" / "llama-2", tmp_path / "copy")
    texts = ["def f(x):\n    <FILL_ME>\n    return y", "<FILL_ME>", "a<FILL_ME>", "<FILL_ME>b", "plain"]
    steps = [call(text, **options) for text in texts for options in ({}, {"add_special_tokens": False})]
    steps += [call(text, return_offsets_mapping=True) for text in texts]
    steps += [step("encode_plus", "a", "b", suffix_first=True), step("encode_plus", "a", suffix="b")]
    steps += [step("encode", texts[0]), step("tokenize", texts[0]), call(texts[:1]), call(["a"], ["b"])]
    steps += [step("encode_plus", texts[0], suffix_first=True), step("prefix_id"), step("eot_id")]
    steps += [
        step(name) for name in ("prefix_token", "middle_token", "suffix_token", "eot_token", "fill_token")
    ]
    steps += [
        {"do": "add_eos_token", "set": True},
        *(call(text) for text in texts),
        call("a <FILL_ME> <FILL_ME>"),
    ]
    job = {"load": {"class": "CodeLlamaTokenizerFast", "path": str(folder)}, "steps": steps, "fresh": True}
    compare(library, oracle_457, job)
    tokenizer = library.library.CodeLlamaTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path / "saved")
    again = library.library.CodeLlamaTokenizer.from_pretrained(tmp_path / "saved")
    assert again(texts[0]) == tokenizer(texts[0])


def test_reader_of_passages(shared: Path, tmp_path: Path, library: Session, oracle_457: Oracle) -> None:
    folder = copied(shared / "tokenizers" / "bert-base-uncased", tmp_path / "copy", "tokenizer_config.json")
    arguments = [
        (["who?", "what?"], ["one", "two"], ["first text", "second text here"]),
        ("who?", ["one", "two", "three"], ["a", "b c", "d"]),
        ("who?", "one", "text"),
        ("who?", "one"),
        (["who?"], None, ["text"]),
        ("who?",),
    ]
    steps = []
    for options in ({}, {"padding": True}, {"max_length": 9, "truncation": True, "padding": "max_length"}):
        steps += [call(*given, **options) for given in arguments]
    job = {"load": {"class": "DPRReaderTokenizerFast", "path": str(folder)}, "steps": steps, "fresh": True}
    compare(library, oracle_457, job)


def test_programs_are_cut(shared: Path, tmp_path: Path, library: Session, oracle_457: Oracle) -> None:
    folder = copied(shared / "tokenizers" / "gpt2", tmp_path / "copy")
    program = "def f():\n    return 1\n\n\ndef g():\n    pass\nprint(1)\nprint(2)\n# end\n"
    tokenizer = library.library.CodeGenTokenizer.from_pretrained(folder)
    ids = tokenizer(program)["input_ids"]
    patterns = ["^#", "\n\n\n"]
    steps = [
        step("decode", ids, truncate_before_pattern=given) for given in (patterns, patterns[:1], [], None)
    ]
    steps += [step("decode", ids), call(program, return_token_type_ids=True)]
    job = {"load": {"class": "CodeGenTokenizerFast", "path": str(folder)}, "steps": steps, "fresh": True}
    compare(library, oracle_457, job)


LANGUAGES = [
    ("MBart", {"src_lang": "en_XX", "tgt_lang": "ro_RO"}, "de_DE"),
    ("MBart50", {"src_lang": "en_XX", "tgt_lang": "ro_RO"}, "de_DE"),
    ("Nllb", {"src_lang": "eng_Latn", "tgt_lang": "ron_Latn"}, "deu_Latn"),
    ("Nllb", {"src_lang": "eng_Latn", "tgt_lang": "ron_Latn", "legacy_behaviour": True}, "deu_Latn"),
    ("SeamlessM4T", {"additional_special_tokens": ["__eng__", "__fra__", "__deu__"]}, "deu"),
]


@pytest.mark.parametrize("case", LANGUAGES, ids=lambda case: f"{case[0]}-{len(case[1])}")
def test_languages(
    case: tuple[str, dict[str, Any], str],
    trained: Path,
    tmp_path: Path,
    library: Session,
    oracle_457: Oracle,
) -> None:
    """Texts and targets, and languages that change."""
    name, settings, other = case
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(trained / "unigram.model", folder / "sentencepiece.bpe.model")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    both = call("hello", text_target="world"), call(["a", "b c"], text_target=["d", "e f"], padding=True)
    steps = [*both, call(text_target="world"), call("hello", "there", text_target="world"), *both]
    steps += [{"do": "src_lang", "set": other}, *both, step("src_lang"), step("tgt_lang")]
    steps += [
        {"do": "tgt_lang", "set": other},
        *both,
        step("set_src_lang_special_tokens", f"__{other}__"[2:-2]),
    ]
    steps = steps[:-1] if name == "SeamlessM4T" else steps
    steps += [call("hello"), step("prefix_tokens"), step("suffix_tokens")]
    if name == "SeamlessM4T":
        steps += [
            call("hello", src_lang="fra"),
            call("hello", text_target="b", tgt_lang="eng"),
            call("ab", padding=False),
        ]
    job = {"load": {"class": f"{name}TokenizerFast", "path": str(folder)}, "steps": steps, "fresh": True}
    compare(library, oracle_457, job)
    tokenizer = getattr(library.library, f"{name}Tokenizer").from_pretrained(folder)
    with tokenizer.as_target_tokenizer():
        inside = tokenizer("world")["input_ids"]
    assert inside == tokenizer(text_target="world")["input_ids"]
    assert inside != tokenizer("world")["input_ids"]


def test_sentinels(shared: Path, library: Session, oracle_457: Oracle) -> None:
    tokenizer = library.library.T5Tokenizer.from_pretrained(shared / "tokenizers" / "t5-small")
    assert tokenizer.get_sentinel_tokens() == [f"<extra_id_{index}>" for index in range(100)]
    assert tokenizer.get_sentinel_token_ids() == list(range(32_099, 31_999, -1))
    with pytest.raises(ArgumentError, match=r"Both extra_ids \(3\) and"):
        library.library.T5Tokenizer.from_pretrained(
            shared / "tokenizers" / "t5-small", extra_ids=3, additional_special_tokens=["<extra_id_0>"]
        )


def test_words_need_a_space_in_front(shared: Path, library: Session) -> None:
    for name, cls in (("gpt2", "GPT2TokenizerFast"), ("roberta-base", "RobertaTokenizerFast")):
        folder = shared / "tokenizers" / name
        tokenizer = getattr(library.library, cls).from_pretrained(folder)
        with pytest.raises(ArgumentError, match=f"You need to instantiate {tokenizer.__class__.__name__}"):
            tokenizer(["hello", "world"], is_split_into_words=True)
        spaced = getattr(library.library, cls).from_pretrained(folder, add_prefix_space=True)
        assert spaced(["hello", "world"], is_split_into_words=True) == spaced("hello world")


@pytest.mark.parametrize("name", ["gpt2-GPT2", "llama-2-Llama", "t5-small-T5", "whisper-tiny-Whisper"])
def test_copies(name: str, shared: Path, library: Session) -> None:
    """Pickles and copies answer the same, and changing one changes no other."""
    folder, _, cls = name.rpartition("-")
    tokenizer = getattr(library.library, f"{cls}Tokenizer").from_pretrained(shared / "tokenizers" / folder)
    texts = ["Hello world", "a  b <extra_id_0>"]
    before = tokenizer(texts)
    state = pickle.dumps(tokenizer)
    assert state == pickle.dumps(tokenizer)
    for twin in (pickle.loads(state), copy.deepcopy(tokenizer), copy.copy(tokenizer)):
        assert twin(texts) == before
        assert twin.decode(before["input_ids"][0]) == tokenizer.decode(before["input_ids"][0])
        twin.add_tokens(["wor"])
        assert twin(texts) != before
    assert tokenizer(texts) == before


def test_masks_of_global_attention(
    shared: Path, tmp_path: Path, library: Session, oracle_457: Oracle
) -> None:
    folder = copied(shared / "tokenizers" / "roberta-base", tmp_path / "copy")
    rows = [
        {"input_ids": [0, 5, 6, 2], "global_attention_mask": [1, 0, 0, 0]},
        {"input_ids": [0, 2], "global_attention_mask": [1, 0]},
    ]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    steps = [
        step("pad", given, **options)
        for given in (rows, columns, rows[0], {"input_ids": [[1, 2], [3]]})
        for options in (
            {},
            {"padding": "max_length", "max_length": 6},
            {"return_tensors": "pt", "pad_to_multiple_of": 4},
        )
    ]
    steps += [{"do": "padding_side", "set": "left"}, step("pad", rows)]
    job = {"load": {"class": "LEDTokenizerFast", "path": str(folder)}, "steps": steps, "fresh": True}
    compare(library, oracle_457, job)
