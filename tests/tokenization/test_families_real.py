"""Real tokenizers by their class's name against transformers 4.57, with tokenizer.json and from their own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oxiformers import AutoTokenizer, PreTrainedTokenizerFast, WhisperTokenizer
from oxiformers.errors import (
    ArgumentError,
    ConfigError,
    FormatError,
    InputTypeError,
    MissingFileError,
    UnsupportedError,
)
from tests.tokenization.conftest import Oracle, assert_same, copied
from tests.tokenization.jobs import Session
from tests.tokenization.steps import call, step

#: Folders, and the class that reads them where they name none.
FAST = {
    "albert-base-v2": "Albert",
    "clip-vit-base-patch32": "CLIP",
    "deberta-v3-base": "DebertaV2",
    "gpt2": "GPT2",
    "llama-2": "Llama",
    "mistral-7b-v0.1": "Llama",
    "qwen2.5": "Qwen2",
    "roberta-base": "Roberta",
    "t5-small": "T5",
}
#: Those without files of their own.
JSON_ALONE = {
    "gpt-neox-20b-pythia": "GPTNeoX",
    "pegasus": "Pegasus",
    "whisper-tiny": "Whisper",
    "xlm-roberta-base": "XLMRoberta",
}
SLOW_TEXTS = [
    "HELLO WORLD",
    "hello <pad> x</s>",
    "  spaces   here ",
    "naïve Café ﬁ 日本語",
    "a\tb\nc",
    "",
]
SIZE = 50_000


@pytest.fixture(scope="session")
def library() -> Session:
    """oxiformers with all its names."""
    return Session("oxiformers")


@pytest.fixture(scope="session")
def corpus(shared: Path) -> list[str]:
    """Paragraphs of every corpus."""
    texts = []
    for name in ("english", "multilingual", "cjk", "code", "short"):
        text = (shared / "corpora" / f"{name}.txt").read_text(encoding="utf-8")[:SIZE]
        texts += [text[start : start + 2000] for start in range(0, len(text), 2000)]
    return texts


def compare(
    library: Session, oracle: Oracle, name: str, folder: Path, steps: list[dict[str, Any]], **kwargs: Any
) -> None:
    load = {"class": name, "path": str(folder), "kwargs": kwargs}
    job = {"load": load, "steps": steps, "fresh": True}
    expected = oracle.run(job)
    assert not (isinstance(expected[0], dict) and "error" in expected[0]), expected[0]
    assert_same(library.run(job), expected, steps)


def corpus_steps(corpus: list[str]) -> list[dict[str, Any]]:
    texts = [*corpus, "<s> a </s> <pad> <mask>b [MASK] <|endoftext|> c <extra_id_0>", "", " "]
    names = ("all_special_tokens", "all_special_ids", "added_tokens_decoder", "__len__", "model_max_length")
    steps = [step(name) for name in names]
    steps += [call(texts), call(texts[::9], texts[::-9], return_offsets_mapping=True)]
    steps += [step("decode", list(range(start, start + 40))) for start in range(0, 30_000, 1_500)]
    steps += [step("decode", list(range(300, 400)), skip_special_tokens=True)]
    steps += [step("decode", list(range(9, 99)), clean_up_tokenization_spaces=True)]
    steps += [step("tokenize", texts[3]), step("num_special_tokens_to_add", True)]
    return steps


@pytest.mark.parametrize("own_files", [False, True], ids=["json", "own"])
@pytest.mark.parametrize("name", FAST)
def test_real(
    name: str,
    own_files: bool,
    shared: Path,
    tmp_path: Path,
    corpus: list[str],
    library: Session,
    oracle_457: Oracle,
) -> None:
    left_out = ("tokenizer.json",) if own_files else ()
    folder = copied(shared / "tokenizers" / name, tmp_path / "copy", *left_out)
    compare(library, oracle_457, f"{FAST[name]}TokenizerFast", folder, corpus_steps(corpus))


@pytest.mark.parametrize("name", JSON_ALONE)
def test_real_without_own_files(
    name: str, shared: Path, tmp_path: Path, corpus: list[str], library: Session, oracle_457: Oracle
) -> None:
    folder = copied(shared / "tokenizers" / name, tmp_path / "copy", "multilingual.tiktoken")
    compare(library, oracle_457, f"{JSON_ALONE[name]}TokenizerFast", folder, corpus_steps(corpus))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MissingFileError, match=r"tokenizer\.json"):
        getattr(library.library, f"{JSON_ALONE[name]}TokenizerFast").from_pretrained(folder)


def test_tiktoken_files(shared: Path, tmp_path: Path, corpus: list[str]) -> None:
    """A tiktoken file gives the ids of the tokenizer.json beside it."""
    source = shared / "tokenizers" / "llama-3"
    whole = AutoTokenizer.from_pretrained(source)
    folder = copied(source, tmp_path / "llama", "tokenizer.json")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer) is PreTrainedTokenizerFast
    plain = tokenizer(corpus, add_special_tokens=False)["input_ids"]
    assert plain == whole(corpus, add_special_tokens=False)["input_ids"]
    assert len(tokenizer) == len(whole)
    assert tokenizer.decode(plain[0]) == corpus[0]
    source = shared / "tokenizers" / "whisper-tiny"
    speech = WhisperTokenizer.from_pretrained(copied(source, tmp_path / "whisper", "tokenizer.json"))
    from_json = WhisperTokenizer.from_pretrained(source)
    assert speech(corpus)["input_ids"] == from_json(corpus)["input_ids"]
    assert len(speech) == len(from_json)


# --- what transformers has in Python alone


def slow_steps() -> list[dict[str, Any]]:
    names = (
        "all_special_tokens",
        "all_special_ids",
        "added_tokens_decoder",
        "__len__",
        "vocab_size",
        "get_vocab",
    )
    steps = [step(name) for name in (*names, "model_input_names", "model_max_length")]
    steps += [call(SLOW_TEXTS), call(SLOW_TEXTS, SLOW_TEXTS[::-1]), call(SLOW_TEXTS, padding=True)]
    steps += [step("tokenize", text) for text in SLOW_TEXTS]
    ids = [4, 5, 5, 0, 5, 1, 2, 3, 8, 8, 20, 0, 0, 21, 7]
    for skipped in (False, True):
        steps.append(step("decode", ids, skip_special_tokens=skipped))
        steps.append(step("batch_decode", [ids, ids[::-1]], skip_special_tokens=skipped))
    steps.append(step("convert_ids_to_tokens", ids))
    return steps


@pytest.mark.parametrize(
    "settings", [{}, {"do_lower_case": True}, {"replace_word_delimiter_char": "_"}], ids=str
)
def test_ctc(
    settings: dict[str, Any], shared: Path, tmp_path: Path, library: Session, oracle_457: Oracle
) -> None:
    folder = copied(shared / "tokenizers" / "wav2vec2-base-960h", tmp_path / "copy")
    steps = slow_steps()
    ids = [0, 11, 0, 5, 15, 15, 0, 15, 8, 4, 4, 18, 0, 8, 13, 15, 14, 4]
    for options in (
        {"output_char_offsets": True, "output_word_offsets": True},
        {"output_word_offsets": True},
        {"group_tokens": False},
        {"spaces_between_special_tokens": True},
    ):
        fields = [step(name) for name in ("text", "char_offsets", "word_offsets")]
        offsets = any("offsets" in name for name in options)
        steps.append(step("decode", ids, then=fields if offsets else None, **options))
    found = compare_ctc(library, oracle_457, folder, steps, settings)
    assert found


def compare_ctc(
    library: Session, oracle: Oracle, folder: Path, steps: list[dict[str, Any]], settings: dict[str, Any]
) -> bool:
    job = {
        "load": {"class": "Wav2Vec2CTCTokenizer", "path": str(folder), "kwargs": settings},
        "steps": steps,
        "fresh": True,
    }
    ours, theirs = library.run(job), oracle.run(job)
    for answers in (ours, theirs):  # the output object itself has another name
        for place, answer in enumerate(answers):
            if isinstance(answer, list) and len(answer) == 4 and isinstance(answer[0], (str, dict)):
                answers[place] = answer[1:]
    assert_same(ours, theirs, steps)
    return True


def test_ctc_by_language(shared: Path, tmp_path: Path, library: Session, oracle_457: Oracle) -> None:
    base = json.loads((shared / "tokenizers" / "wav2vec2-base-960h" / "vocab.json").read_text())
    other = {token: index for index, token in enumerate([*list(base)[:5], *"abcdefgh"])}
    (tmp_path / "vocab.json").write_text(json.dumps({"eng": base, "abc": other}))
    steps = [*slow_steps(), step("set_target_lang", "abc"), *slow_steps()]
    compare_ctc(library, oracle_457, tmp_path, steps, {"target_lang": "eng"})
    cls = library.library.Wav2Vec2CTCTokenizer
    with pytest.raises(FormatError, match="state target_lang="):
        cls.from_pretrained(tmp_path)
    with pytest.raises(ArgumentError, match="xyz does not exist"):
        cls.from_pretrained(tmp_path, target_lang="xyz")
    tokenizer = cls.from_pretrained(tmp_path, target_lang="abc")
    tokenizer.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "tokenizer.json").exists()
    compare_ctc(library, oracle_457, tmp_path / "saved", slow_steps(), {})


@pytest.mark.parametrize("name", ["ByT5Tokenizer", "PerceiverTokenizer"])
def test_bytes(name: str, tmp_path: Path, library: Session, oracle_457: Oracle) -> None:
    getattr(library.library, name)().save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "special_tokens_map.json",
        "tokenizer_config.json",
    ]
    compare(library, oracle_457, name, tmp_path, slow_steps())


def test_proteins(tmp_path: Path, library: Session, oracle_457: Oracle) -> None:
    tokens = [
        "<cls>",
        "<pad>",
        "<eos>",
        "<unk>",
        *"LAGVSERTIDPKQNFYMHWCXBUZO",
        ".",
        "-",
        "<null_1>",
        "<mask>",
    ]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "vocab.txt").write_text("\n".join(tokens))
    texts = ["MKTAYIAKQR", "M K T <mask> A", "mkt AB1C", "", " ", "L<mask>A <eos> <unk>x-.-", "日M本K"]
    steps = slow_steps()
    steps += [call(texts), call(texts, texts[::-1]), *(step("tokenize", text) for text in texts[:2])]
    steps += [
        step("token_to_id", "L"),
        step("token_to_id", "q"),
        step("id_to_token", 5),
        step("id_to_token", 99),
    ]
    compare(
        library,
        oracle_457,
        "EsmTokenizer",
        tmp_path / "own",
        [one for one in steps if one["do"] != "tokenize"],
    )
    tokenizer = library.library.EsmTokenizer.from_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "vocab.txt").read_text() == "\n".join(tokens)
    compare(library, oracle_457, "EsmTokenizer", tmp_path / "saved", [call(texts)])


def test_characters(tmp_path: Path, library: Session, oracle_457: Oracle) -> None:
    library.library.CanineTokenizer().save_pretrained(tmp_path)
    texts = [*SLOW_TEXTS, "a \ue003b \ue000c\ue001"]
    names = ("all_special_tokens", "all_special_ids", "added_tokens_decoder", "__len__", "vocab_size")
    steps = [step(name) for name in (*names, "model_input_names", "model_max_length")]
    steps += [
        call(texts),
        call(texts, texts[::-1]),
        call(texts, padding=True, return_tensors="np"),
        call("ab", "c"),
    ]
    steps += [
        call(texts, truncation=True, max_length=9, padding="max_length"),
        call("ab", return_length=True),
    ]
    steps += [call(texts, truncation="only_first", max_length=7, stride=1, return_overflowing_tokens=True)]
    steps += [step("tokenize", text) for text in texts]
    ids = [0xE000, 97, 0x65E5, 0xE003, 98, 0xE001, 0, 0]
    steps += [step("decode", ids), step("decode", ids, skip_special_tokens=True)]
    steps += [step("convert_ids_to_tokens", ids), step("convert_tokens_to_ids", ["a", "日", "\ue003"])]
    compare(library, oracle_457, "CanineTokenizer", tmp_path, steps)


def test_whisper(shared: Path, library: Session, oracle_457: Oracle, tmp_path: Path) -> None:
    """Prefixes, timestamps and what decoding makes of them."""
    folder = copied(shared / "tokenizers" / "whisper-tiny", tmp_path / "copy", "multilingual.tiktoken")
    text = "<|0.00|> hi<|2.00|><|2.00|> you<|4.00|> <|0.00|> (again) [x] Ok, Café.<|1.50|>"
    tokenizer = library.library.WhisperTokenizer.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = [ids, [50258, 50259, 50359, *ids, 50257], [50361, *ids[:3], 50258, *ids]]
    steps = []
    for options in (
        {},
        {"skip_special_tokens": True},
        {"decode_with_timestamps": True},
        {"output_offsets": True},
        {"basic_normalize": True},
        {"basic_normalize": True, "remove_diacritics": True},
        {"output_offsets": True, "skip_special_tokens": True, "decode_with_timestamps": True},
    ):
        steps += [step("decode", row, **options) for row in rows]
        steps.append(step("batch_decode", rows, **options))
    for language, task in (("french", "translate"), ("de", "transcribe"), ("Castilian", None)):
        steps.append(step("get_decoder_prompt_ids", language=language, task=task))
        steps += [call(["hi", "you"]), call("hi", "you"), step("prefix_tokens")]
    steps += [step("set_prefix_tokens", predict_timestamps=True), call("hi"), step("get_prompt_ids", "so")]
    steps += [step("get_prompt_ids", "<|en|>"), step("set_prefix_tokens", language="klingon")]
    compare(library, oracle_457, "WhisperTokenizerFast", folder, steps)
    with pytest.raises(UnsupportedError, match="normalize: expected False, got True; basic_normalize=True"):
        tokenizer.decode(ids, normalize=True)


@pytest.mark.parametrize(
    ("name", "files", "missing"),
    [
        ("GPT2Tokenizer", {"vocab.json": '{"a": 0}'}, "merges.txt"),
        ("RobertaTokenizer", {}, "tokenizer.json"),
        ("T5Tokenizer", {}, "tokenizer.json"),
        ("MarianTokenizer", {"vocab.json": '{"<unk>": 0}'}, "source.spm"),
        ("BloomTokenizerFast", {}, "tokenizer.json"),
    ],
)
def test_files_that_are_missing(
    name: str, files: dict[str, str], missing: str, tmp_path: Path, library: Session
) -> None:
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(MissingFileError, match=missing.replace(".", r"\.")):
        getattr(library.library, name).from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab.json": "[]"}, "holds an array, not an object"),
        ({"vocab.json": '{"a": "b"}'}, "a: expected an integer of at least 0, got a string"),
        (
            {"vocab.json": '{"a": -1}'},
            "a: expected an integer of at least 0, got an integer; its value is -1",
        ),
        ({"merges.txt": "#version\na b c\n"}, "line 2: expected two tokens with a space between"),
        ({"merges.txt": "#version\na q\n"}, r"merges\.txt: merges\[0\]: .* \"q\" is no token"),
    ],
)
def test_files_that_are_wrong(files: dict[str, str], message: str, tmp_path: Path, library: Session) -> None:
    for file, text in {
        "vocab.json": '{"a": 0, "b": 1, "ab": 2}',
        "merges.txt": "#version\na b\n",
        **files,
    }.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(FormatError, match=message):
        library.library.GPT2Tokenizer.from_pretrained(tmp_path)


def test_vocabularies_that_are_given(library: Session) -> None:
    names = library.library
    vocabulary, merges = {"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}, [("a", "b")]
    for tokenizer in (
        names.GPT2Tokenizer(vocab=vocabulary, merges=merges),
        names.GPT2Tokenizer(vocabulary, merges),
        names.GPT2Tokenizer(vocab=vocabulary, merges=["a b"]),
        names.Qwen2TokenizerFast(vocabulary, merges),
    ):
        assert tokenizer("abba")["input_ids"] == [2, 1, 0]
        assert len(tokenizer) == 4
    for wrong in ([("a",)], ["a"], [1]):
        with pytest.raises(InputTypeError, match=r"merges\[0\]: expected two tokens"):
            names.GPT2Tokenizer(vocab=vocabulary, merges=wrong)
    with pytest.raises(TypeError, match="multiple values for argument 'vocab_file'"):
        names.GPT2Tokenizer("a", vocab_file="b")
    with pytest.raises(TypeError, match="takes at most 3 positional arguments"):
        names.GPT2Tokenizer("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("name", "cls", "settings", "key"),
    [
        ("t5-small", "T5Tokenizer", {"extra_ids": 10**12}, "extra_ids"),
        ("t5-small", "T5Tokenizer", {"extra_ids": "many"}, "extra_ids"),
        ("t5-small", "PegasusTokenizer", {"offset": -1}, "offset"),
        ("t5-small", "PegasusTokenizer", {"offset": 10**15}, "offset"),
        ("t5-small", "PegasusTokenizer", {"mask_token_sent": 5}, "mask_token_sent"),
        ("t5-small", "ByT5Tokenizer", {"extra_ids": 1e9}, "extra_ids"),
        ("xlm-roberta-base", "MBartTokenizer", {"src_lang": 7}, "src_lang"),
        ("xlm-roberta-base", "NllbTokenizer", {"tgt_lang": []}, "tgt_lang"),
        ("llama-2", "CodeLlamaTokenizer", {"middle_token": 1}, "middle_token"),
        ("wav2vec2-base-960h", "Wav2Vec2CTCTokenizer", {"word_delimiter_token": 3}, "word_delimiter_token"),
    ],
)
def test_settings_that_are_wrong(
    name: str, cls: str, settings: dict[str, Any], key: str, shared: Path, tmp_path: Path, library: Session
) -> None:
    folder = copied(shared / "tokenizers" / name, tmp_path / "copy")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises((ArgumentError, ConfigError, InputTypeError), match=key) as caught:
        getattr(library.library, cls).from_pretrained(folder)
    assert caught.value.key == key


def test_paths_in_a_config_are_not_read(shared: Path, tmp_path: Path, library: Session) -> None:
    folder = copied(shared / "tokenizers" / "gpt2", tmp_path / "copy", "tokenizer.json")
    config = {"vocab_file": "/no/such/file", "merges_file": "/etc/passwd", "tokenizer_file": "/etc/passwd"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert library.library.GPT2Tokenizer.from_pretrained(folder)("hello")["input_ids"] == [31373]
    (folder / "merges.txt").unlink()
    with pytest.raises(MissingFileError, match=r"merges\.txt"):
        library.library.GPT2Tokenizer.from_pretrained(folder)


def test_whether_the_core_does_it_all(shared: Path, library: Session) -> None:
    """Whoever goes past a call to the core has to know where that is not the same."""
    names = library.library
    assert names.GPT2Tokenizer.from_pretrained(shared / "tokenizers" / "gpt2").core_alone
    assert names.T5Tokenizer.from_pretrained(shared / "tokenizers" / "t5-small").core_alone
    assert not names.ByT5Tokenizer().core_alone
    assert not names.CanineTokenizer().core_alone
    assert not names.CodeLlamaTokenizer.from_pretrained(shared / "tokenizers" / "llama-2").core_alone
    assert not names.ByT5Tokenizer().is_fast
