"""Names and habits of transformers 4.57 beside calls: components, settings, and what is refused or warned of."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from oxiformers import (
    AddedToken,
    AlbertTokenizer,
    AutoTokenizer,
    BertTokenizerFast,
    CanineTokenizer,
    GPT2TokenizerFast,
    HerbertTokenizer,
    MissingFileError,
    OxiformersError,
    PreTrainedTokenizerFast,
)
from tests.tokenization.conftest import copied
from tests.tokenization.jobs import Session

TEXTS = ["Héllò hôw are ü?", "Hello, how are  you?", " 日本語 text", "", "don't stop"]


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "gpt2", "llama-3", "t5-small", "xlm-roberta-base", "llama-2"]
)
def test_components(name: str, shared: Path) -> None:
    """`backend_tokenizer.normalizer` and its like do what tokenizers' do, and tell their settings."""
    path = shared / "tokenizers" / name / "tokenizer.json"
    ours = PreTrainedTokenizerFast(tokenizer_file=path).backend_tokenizer
    theirs = tokenizers.Tokenizer.from_file(str(path))
    assert (ours.normalizer is None, ours.pre_tokenizer is None) == (
        theirs.normalizer is None,
        theirs.pre_tokenizer is None,
    )
    for text in TEXTS:
        if ours.normalizer is not None:
            assert ours.normalizer.normalize_str(text) == theirs.normalizer.normalize_str(text)
        if ours.pre_tokenizer is not None:
            assert ours.pre_tokenizer.pre_tokenize_str(text) == theirs.pre_tokenizer.pre_tokenize_str(text)
        tokens = theirs.encode(text).tokens
        assert ours.decoder is not None
        assert ours.decoder.decode(tokens) == theirs.decoder.decode(tokens)
    if ours.post_processor is not None:
        for pair in (False, True):
            added = theirs.post_processor.num_special_tokens_to_add(pair)
            assert ours.post_processor.num_special_tokens_to_add(pair) == added
    written = json.loads(path.read_text())
    for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        component = getattr(ours, key)
        if component is not None:
            assert component.type == written[key]["type"]
            assert json.loads(component.__getstate__())["type"] == component.type
            assert repr(component).startswith(f"{component.type}(")
    with pytest.raises(AttributeError, match="no_such"):
        _ = ours.model.no_such


def byte_level(folder: Path, shared: Path) -> Path:
    """GPT-2's tokenizer.json alone, with a space put in front of texts."""
    written = json.loads((shared / "tokenizers" / "gpt2" / "tokenizer.json").read_text())
    written["pre_tokenizer"]["add_prefix_space"] = True
    (folder / "tokenizer.json").write_text(json.dumps(written))
    return folder


@pytest.mark.parametrize("setting", [{}, {"add_prefix_space": False}, {"add_prefix_space": True}], ids=str)
def test_prefix_space_is_a_setting(
    setting: dict[str, bool], tmp_path: Path, shared: Path, oracle_457: Any
) -> None:
    """What tokenizer.json says of it does not count, in the generic class neither."""
    folder = byte_level(tmp_path, shared)
    ours = PreTrainedTokenizerFast.from_pretrained(folder, **setting)
    assert ours.add_prefix_space is setting.get("add_prefix_space", False)
    load = {"class": "PreTrainedTokenizerFast", "path": str(folder), "kwargs": setting}
    (theirs,) = oracle_457.run(
        {"load": load, "steps": [{"do": "tokenize", "args": ["low er"], "kwargs": {}}]}
    )
    assert ours.tokenize("low er") == theirs
    ours.save_pretrained(tmp_path / "saved")
    assert PreTrainedTokenizerFast.from_pretrained(tmp_path / "saved").tokenize("low er") == theirs


def test_special_tokens_map_lists_those_without_a_name(folders: dict[str, Path]) -> None:
    """As a list, which is None where it was set to None."""
    tokenizer = BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])
    assert tokenizer.additional_special_tokens == []
    assert "additional_special_tokens" not in tokenizer.special_tokens_map
    tokenizer.add_special_tokens({"additional_special_tokens": ["<a>", AddedToken("<b>", lstrip=True)]})
    assert tokenizer.special_tokens_map["additional_special_tokens"] == ["<a>", "<b>"]
    assert tokenizer.special_tokens_map_extended["additional_special_tokens"][1].lstrip
    assert tokenizer.SPECIAL_TOKENS_ATTRIBUTES[-1] == "additional_special_tokens"
    tokenizer.extra_special_tokens = {"image_token": "<a>"}
    assert tokenizer.image_token_id == tokenizer.convert_tokens_to_ids("<a>")
    tokenizer.additional_special_tokens = None
    assert tokenizer.additional_special_tokens is None
    assert tokenizer.extra_special_tokens == []
    assert tokenizer.all_special_tokens == [*tokenizer.special_tokens_map.values()]


@pytest.mark.parametrize(
    "template", ["{{ messages }}", {"default": "a {{ messages }}", "tools": "b"}], ids=str
)
def test_templates_in_the_config(
    template: Any, folders: dict[str, Path], tmp_path: Path, oracle_457: Any
) -> None:
    """`save_jinja_files=False` leaves the files out; transformers reads them from the config."""
    tokenizer = BertTokenizerFast.from_pretrained(folders["bert-base-uncased"], chat_template=template)
    written = tokenizer.save_pretrained(tmp_path, save_jinja_files=False)
    assert not any(path.endswith(".jinja") for path in written)
    assert BertTokenizerFast.from_pretrained(tmp_path).chat_template == template
    load = {"class": "BertTokenizerFast", "path": str(tmp_path), "kwargs": {}}
    (theirs,) = oracle_457.run({"load": load, "steps": [{"do": "chat_template", "args": [], "kwargs": {}}]})
    assert (theirs["mapping"] if isinstance(template, dict) else theirs) == template


def test_refused(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the built-in errors that transformers raises."""
    folder = folders["bert-base-uncased"]
    with pytest.raises(AttributeError, match="get_vocab conflicts with the method"):
        BertTokenizerFast.from_pretrained(folder, get_vocab=True)
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    assert tokenizer.init_inputs == ()
    for method in (tokenizer.tokenize, tokenizer.encode, tokenizer.encode_plus, tokenizer.batch_encode_plus):
        with pytest.raises(TypeError, match="got None"):
            method(None)
    with pytest.raises(AssertionError, match="a list of tokens"):
        tokenizer.add_special_tokens({"additional_special_tokens": "<a>"})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingFileError, match="the Hub is not asked because of"):
        AutoTokenizer.from_pretrained("nobody/nothing-of-this-name")


def test_another_class_is_warned_of(shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the files name one that is known; the class they name, and any by AutoTokenizer, is silent."""
    folder = copied(shared / "tokenizers" / "albert-base-v2", tmp_path / "copy", "tokenizer_config.json")
    config = folder / "tokenizer_config.json"
    logging.getLogger("oxiformers").addHandler(caplog.handler)
    try:
        for named, cls in (
            ("AlbertTokenizer", AlbertTokenizer),
            ("NobodysTokenizer", PreTrainedTokenizerFast),
        ):
            config.write_text(json.dumps({"tokenizer_class": named}))
            cls.from_pretrained(folder)
            AutoTokenizer.from_pretrained(folder)
        assert not caplog.messages
        config.write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
        AlbertTokenizer.from_pretrained(folder)
    finally:
        logging.getLogger("oxiformers").removeHandler(caplog.handler)
    assert caplog.messages[0].startswith(
        "The tokenizer class you load from this checkpoint is not the same type"
    )


def test_files_by_version(shared: Path, tmp_path: Path) -> None:
    """The newest tokenizer.json that is made for transformers 4.57 or older, by the version in its name."""
    folder = copied(shared / "tokenizers" / "bert-base-uncased", tmp_path / "copy", "tokenizer_config.json")
    written = json.loads((folder / "tokenizer.json").read_text())
    for version in ("4.0.0", "4.10.0", "4.58.0", "5.0"):
        written["model"]["vocab"][f"made for {version}"] = len(written["model"]["vocab"])
        (folder / f"tokenizer.{version}.json").write_text(json.dumps(written))
    names = [path.name for path in folder.glob("tokenizer.*.json")]
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"fast_tokenizer_files": [*names, "tokenizer.x.json"]})
    )
    vocabulary = BertTokenizerFast.from_pretrained(folder).get_vocab()
    assert [token for token in vocabulary if token.startswith("made for")] == [
        "made for 4.0.0",
        "made for 4.10.0",
    ]
    (folder / "tokenizer_config.json").write_text(json.dumps({"fast_tokenizer_files": [4]}))
    with pytest.raises(OxiformersError, match=r"fast_tokenizer_files\[0\]"):
        BertTokenizerFast.from_pretrained(folder)


def test_merges_with_counts(tmp_path: Path) -> None:
    """Files may say how often merges were seen; a file of one token a line is refused."""
    vocabulary = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "l", "o", "w</w>", "lo", "low</w>"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    (tmp_path / "merges.txt").write_text("l o 123\nlo w</w> 1456\n")
    assert HerbertTokenizer.from_pretrained(tmp_path).tokenize("low") == ["low</w>"]
    (tmp_path / "merges.txt").write_text("l o 123\nlow</w>\n")
    for cls in (HerbertTokenizer, GPT2TokenizerFast):
        with pytest.raises(OxiformersError, match="line 2: expected two tokens"):
            cls.from_pretrained(tmp_path)


def test_added_tokens_of_canine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They follow all characters, and take the spaces they say."""
    tokenizer = CanineTokenizer()
    logging.getLogger("oxiformers").addHandler(caplog.handler)
    try:
        assert tokenizer.add_tokens(["extra_1", AddedToken("extra_10", lstrip=True)]) == 2
        assert len(tokenizer) == 0x110000 + 2
        assert tokenizer.tokenize("a extra_10b") == ["a", "extra_10", "b"]
        assert tokenizer("a extra_10 extra_1").input_ids == [0xE000, 97, 0x110001, 32, 0x110000, 0xE001]
    finally:
        logging.getLogger("oxiformers").removeHandler(caplog.handler)
    assert not caplog.messages
    tokenizer.save_pretrained(tmp_path)
    again = CanineTokenizer.from_pretrained(tmp_path)
    assert again.added_tokens_decoder == tokenizer.added_tokens_decoder
    assert again.decode([97, 0x110001]) == tokenizer.decode([97, 0x110001])
    word = AddedToken("cat", single_word=True)
    again.add_tokens([word])
    assert again.tokenize("cat cats") == ["cat", " ", *"cats"]


@pytest.mark.parametrize("cls", ["Speech2TextTokenizer", "SeamlessM4TTokenizerFast"])
def test_sentencepiece_families(cls: str, shared: Path, tmp_path: Path, oracle_457: Any) -> None:
    """Lower case is for what is no added token; tokens and ids alone are not padded."""
    model = shared / "tokenizers" / "t5-small" / "spiece.model"
    shutil.copy(model, tmp_path / "sentencepiece.bpe.model")
    pieces = list(json.loads((model.parent / "tokenizer.json").read_text())["model"]["vocab"])
    names = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in pieces)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(names))}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    load = {"class": cls, "path": str(tmp_path), "kwargs": {"do_lower_case": True}}
    steps: list[dict[str, Any]] = [
        {"do": "add_tokens", "args": [["New York", "[X]"]], "kwargs": {"special_tokens": special}}
        for special in (False, True)
    ]
    # SeamlessM4T's `encode` is that of targets in transformers until the first call
    methods = ("tokenize",) if cls.startswith("Seamless") else ("tokenize", "encode")
    for text in ("A new york B", "ΑΣ New York [X] OK", "HELLO there"):
        steps += [{"do": method, "args": [text], "kwargs": {}} for method in methods]
    job = {"load": load, "steps": steps, "fresh": True}
    assert Session("oxiformers").run(job) == oracle_457.run(job)


def test_counts_of_added_tokens(folders: dict[str, Path], same_as_457: Any) -> None:
    """Tokens that were there with other flags count, and equal ones do not."""
    flagged = {"added": {"content": "zz", "lstrip": True}}
    calls: list[tuple[Any, bool]] = [
        (["zz", "yy", "zz"], False), (["zz"], False), (["zz"], True), (["zz"], True), ([flagged], False),
        (["zz", "qq"], False), ("the", False), (["the"], False), (["", "x"], False), (["[PAD]"], True),
    ]  # fmt: skip
    steps = [
        {"do": "add_tokens", "args": [tokens], "kwargs": {"special_tokens": flag}} for tokens, flag in calls
    ]
    steps += [
        {"do": "__len__", "args": [], "kwargs": {}},
        {"do": "added_tokens_decoder", "args": [], "kwargs": {}},
    ]
    same_as_457("bert-base-uncased", *steps, fresh=True)
