"""Tokens and ids, decoding, special tokens and added tokens."""

from __future__ import annotations

from array import array
from collections import UserList, deque
from typing import Any

import numpy as np
import pytest
import torch

from oxiformers.errors import ArgumentError, InputTypeError, OxiformersError
from oxiformers.tokenization import AddedToken, BertTokenizerFast, PreTrainedTokenizerFast
from tests.tokenization.steps import TICKETS, TOKENIZERS, WORDPIECE, call, step

TOKEN_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_lookups(name: str, same_as_524: Any) -> None:
    """Sizes, tokens, ids and the special tokens."""
    steps = [
        *(step(f"{token}_token") for token in TOKEN_NAMES),
        *(step(f"{token}_token_id") for token in TOKEN_NAMES),
        *map(
            step,
            (
                "all_special_tokens",
                "all_special_ids",
                "special_tokens_map",
                "extra_special_tokens",
                "extra_special_tokens_ids",
                "added_tokens_decoder",
                "added_tokens_encoder",
                "get_added_vocab",
                "vocab_size",
                "__len__",
                "get_vocab",
                "vocab",
                "is_fast",
                "model_max_length",
                "model_input_names",
                "padding_side",
                "truncation_side",
                "max_len_single_sentence",
                "max_len_sentences_pair",
                "clean_up_tokenization_spaces",
                "pad_token_type_id",
                "__bool__",
            ),
        ),
        step("num_special_tokens_to_add"),
        step("num_special_tokens_to_add", pair=True),
        step("convert_tokens_to_ids", ["the", "[MASK]", "zzzzzz", ""]),
        step("convert_tokens_to_ids", "the"),
        step("convert_tokens_to_ids", []),
        step("convert_ids_to_tokens", [0, 1, 2, 3, 101, 300, 99999999]),
        step("convert_ids_to_tokens", 5),
        step("convert_ids_to_tokens", [0, 1, 2, 101, 102, 200], skip_special_tokens=True),
        step("convert_ids_to_tokens", {"array": [3, 4, 5]}),
        step("get_special_tokens_mask", [0, 2, 3, 101, 102, 200], already_has_special_tokens=True),
    ]
    same_as_524(name, *steps)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("clean", [True, False, None])
def test_decoding(
    name: str, clean: bool | None, ours: Any, folders: Any, lines: list[str], same_as_524: Any
) -> None:
    """Ids of real texts back to text: alone and in batches; lists, arrays and tensors."""
    cls = "PreTrainedTokenizerFast" if name == TICKETS else "BertTokenizerFast"
    load = {"class": cls, "path": str(folders[name]), "kwargs": {}}
    rows = ours.run({"load": load, "steps": [call(lines[::2])]})[0]["mapping"]["input_ids"]
    kwargs: dict[str, Any] = {"clean_up_tokenization_spaces": clean}
    steps = []
    for skip in (True, False):
        steps += [step("decode", row, skip_special_tokens=skip, **kwargs) for row in rows[:20]]
        steps += [step("batch_decode", rows, skip_special_tokens=skip, **kwargs)]
        steps += [step("decode", rows[:3], skip_special_tokens=skip, **kwargs)]
    steps += [
        step("decode", {"array": rows[0]}, **kwargs),
        step("decode", {"tensor": [rows[0], rows[0]]}, **kwargs),
        step("batch_decode", {"tensor": [rows[0], rows[0]]}, **kwargs),
        step("batch_decode", rows[0], **kwargs),
        step("decode", 5, **kwargs),
        step("decode", [], **kwargs),
        step("batch_decode", [], **kwargs),
        step("decode", [2, 99999999, 3], **kwargs),
        step("decode", [2, -1], **kwargs),
        step("decode", "text", **kwargs),
        step("convert_tokens_to_string", ["un", "##aff", "##able", "people", ".", "do", "n't", "[SEP]"]),
        step("convert_tokens_to_string", []),
        step("clean_up_tokenization", "it 's , do n't . we 've ! they 're ? i 'm ' q '"),
    ]
    same_as_524(name, *steps)


ADDED: list[Any] = [
    ["newtok", "<x>"],
    [{"added": {"content": "<Y>", "special": True}}],
    [{"added": {"content": "Mid Dle", "lstrip": True, "rstrip": True}}],
    [{"added": {"content": "word", "single_word": True, "normalized": False}}],
    [{"added": {"content": "ÉCOLE", "normalized": True}}, "the"],
    "single",
    [],
    ["newtok"],
    ["", "again", "again"],
]
ADDED_TEXTS = [
    "a newtok here, NEWTOK there; <x><Y><y> mid dle Mid Dle  word words École ÉCOLE the single",
    "  <x>  Mid Dle   <Y>newtok",
]


@pytest.mark.parametrize("name", [*WORDPIECE[:2], TICKETS])
@pytest.mark.parametrize("special", [False, True])
def test_adding_tokens(name: str, special: bool, same_as_524: Any) -> None:
    """Added tokens of every kind: how many are new, where they are found, and how they decode."""
    steps = [step("add_tokens", tokens, special_tokens=special) for tokens in ADDED]
    steps += [
        call(
            ADDED_TEXTS,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            then=[{"do": "encodings"}],
        )
    ]
    steps += [step("tokenize", text) for text in ADDED_TEXTS]
    steps += [step("added_tokens_decoder"), step("get_added_vocab"), step("__len__"), step("vocab_size")]
    size = {"bert-base-uncased": 30522, "bert-base-cased": 28996, TICKETS: 424}[name]
    ids = list(range(size, size + 9))
    steps += [step("decode", ids, skip_special_tokens=skip) for skip in (True, False)]
    same_as_524(name, *steps, fresh=True)


def test_adding_special_tokens(same_as_524: Any, same_as_457: Any) -> None:
    """Named and further special tokens."""
    steps = [
        step(
            "add_special_tokens",
            {"bos_token": "<s>", "eos_token": {"added": {"content": "</s>", "lstrip": True}}},
        ),
        step("add_special_tokens", {"additional_special_tokens": ["<a>", {"added": {"content": "<B>"}}]}),
        step("all_special_tokens"),
        step("all_special_ids"),
        step("add_special_tokens", {"additional_special_tokens": ["<c>"]}),
        step("all_special_tokens"),
        step("add_special_tokens", {"pad_token": "[PAD]"}),
        step("add_special_tokens", {"no_such_token": "x"}),
        step("add_special_tokens", {"pad_token": 3}),
        step("add_special_tokens", {}),
        step("added_tokens_decoder"),
        call("<s>x</s> <A> <b> <B> <c>", return_special_tokens_mask=True),
        step("decode", [101, 30522, 2000, 30523, 30524, 30525, 30526], skip_special_tokens=True),
    ]
    same_as_524("bert-base-uncased", *steps, fresh=True)
    same_as_457("bert-base-uncased", *steps, fresh=True)


def test_setting_special_tokens(same_as_524: Any) -> None:
    """Attributes and ids can be set, to what is in the vocabulary and what is not."""
    steps = [
        {"do": "pad_token", "set": "the"},
        step("pad_token_id"),
        call(["a", "b c"], padding=True),
        {"do": "pad_token_id", "set": 103},
        step("pad_token"),
        call(["a", "b c"], padding=True, return_tensors="pt"),
        {"do": "bos_token", "set": "not a token"},
        step("bos_token"),
        step("bos_token_id"),
        {"do": "extra_special_tokens", "set": ["the", "of"]},
        step("extra_special_tokens_ids"),
        step("all_special_tokens"),
        {"do": "eos_token", "set": 4},
        {"do": "pad_token", "set": None},
        step("pad_token"),
        step("pad_token_id"),
        call(["a", "b c"], padding=True),
        step("special_tokens_map"),
    ]
    same_as_524("bert-base-uncased", *steps, fresh=True)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"extra_special_tokens": ["<a>", "<b>"]},
        {"additional_special_tokens": ["<a>", {"added": {"content": "<b>", "rstrip": True}}]},
        {"extra_special_tokens": {"image_token": "<image>"}},
        {"image_token": "<image>"},
        {"cls_token": "<cls>", "sep_token": "the"},
        {"bos_token": "<s>"},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False, "strip_accents": True, "do_lower_case": False},
        {"model_max_length": 12, "truncation_side": "left"},
        {"model_input_names": ["input_ids"]},
        {"clean_up_tokenization_spaces": True},
        {"split_special_tokens": True},
    ],
    ids=str,
)
def test_constructor_arguments(kwargs: dict[str, Any], same_as_524: Any) -> None:
    """Settings given to from_pretrained win over the files."""
    text = "<cls>Naïve <a><b> <image> 中文 the [MASK] <s>É"
    steps = [
        call([text, "short"], text, return_special_tokens_mask=True),
        call([text, "short"], return_special_tokens_mask=True),
        call(text * 4, truncation=True),
        step("all_special_tokens"),
        step("all_special_ids"),
        step("special_tokens_map"),
        step("added_tokens_decoder"),
        step("decode", [101, 7592, 1010, 2088, 999, 102]),
        step("image_token"),
        step("image_token_id"),
    ]
    same_as_524("bert-base-uncased", *steps, kwargs=kwargs)


@pytest.fixture
def tokenizer(folders: Any) -> BertTokenizerFast:
    """A tokenizer to change."""
    return BertTokenizerFast.from_pretrained(folders["bert-base-uncased"])


def test_ids_of_transformers_4(tokenizer: BertTokenizerFast) -> None:
    """What version 5 dropped is still there."""
    tokenizer.additional_special_tokens = ["the"]
    assert tokenizer.additional_special_tokens_ids == [1996]
    tokenizer.additional_special_tokens_ids = [1997]
    assert tokenizer.extra_special_tokens == ["of"]
    assert tokenizer.build_inputs_with_special_tokens([5], [6, 7]) == [101, 5, 102, 6, 7, 102]
    assert tokenizer.create_token_type_ids_from_sequences([5], [6, 7]) == [0, 0, 0, 1, 1, 1]
    generic = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    assert generic.build_inputs_with_special_tokens([5], [6]) == [5, 6]
    assert generic.create_token_type_ids_from_sequences([5], [6]) == [0, 1]


def test_adding_tokens_leaves_other_tokenizers_alone(tokenizer: BertTokenizerFast) -> None:
    """The core is shared and never changed."""
    twin = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    core = tokenizer.backend_tokenizer
    assert tokenizer.add_tokens("brandnew") == 1
    assert len(tokenizer) == len(twin) + 1
    assert twin.backend_tokenizer is core
    assert twin.tokenize("brandnew") == ["brand", "##ne", "##w"]


def test_numpy_and_torch_ids(tokenizer: BertTokenizerFast) -> None:
    """Ids from arrays and tensors."""
    assert tokenizer.convert_ids_to_tokens(np.array([1996, 1997])) == ["the", "of"]
    assert tokenizer.decode(torch.tensor(1996)) == "the"
    assert tokenizer.decode(np.int64(1996)) == "the"
    assert tokenizer.decode({"input_ids": [1996]}) == "the"


IDS: list[Any] = [
    [1996, 1997],
    (1996, 1997),
    range(1996, 1998),
    array("i", [1996, 1997]),
    array("Q", [1996, 1997]),
    deque([1996, 1997]),
    memoryview(array("l", [1996, 1997])),
    UserList([1996, 1997]),
    np.array([1996, 1997], np.uint16),
    [np.int64(1996), torch.tensor(1997)],
    torch.tensor([1996, 1997], dtype=torch.int32),
]


@pytest.mark.parametrize("ids", IDS, ids=lambda ids: type(ids).__name__)
def test_any_sequence_of_ids(tokenizer: BertTokenizerFast, ids: Any) -> None:
    """Decoded alone, as a row among others in any sequence, and as a prompt and a step of a stream."""
    assert tokenizer.decode(ids) == "the of"
    assert tokenizer.batch_decode([ids, ids]) == tokenizer.decode(deque([ids, ids])) == ["the of"] * 2
    assert tokenizer.decode_stream(prompt_ids=ids).step(1996) == " the"
    assert tokenizer.decode_stream().step(ids) == "the of"


@pytest.mark.parametrize("ids", ["1996", b"12", bytearray(b"12"), {1996}, iter([1996]), None, 1.5])
def test_what_is_no_sequence_of_ids(tokenizer: BertTokenizerFast, ids: Any) -> None:
    for decode in (tokenizer.decode, tokenizer.batch_decode):
        with pytest.raises(InputTypeError, match="token_ids: expected an int, a sequence of ints"):
            decode(ids)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (["a", None], "1"),
        (["a"] * 70 + [b"b"], "70"),
        ([("a", 3)], "0"),
        (["a", ["b", "c", "d"]], "1"),
    ],
)
def test_what_is_no_text_is_named(tokenizer: BertTokenizerFast, text: Any, place: str) -> None:
    """The error has the row's number and the type."""
    with pytest.raises(InputTypeError, match=place) as caught:
        tokenizer(text)
    assert isinstance(caught.value, TypeError)
    with pytest.raises(InputTypeError, match=place):
        tokenizer(text, padding=True, return_tensors="pt")


@pytest.mark.parametrize(
    "text", ["lone \ud800 surrogate", ["fine", "\udfff"], "nul \x00 inside", "x" * 1_000_000]
)
def test_hostile_text(tokenizer: BertTokenizerFast, text: Any) -> None:
    """A right answer or a typed error, never a crash."""
    try:
        batch = tokenizer(text, truncation=True, max_length=16)
    except OxiformersError as error:
        assert "surrogate" in str(error)  # noqa: PT017 -- an answer is as good
    else:
        assert batch["input_ids"]


def test_wrong_tokens_are_refused(tokenizer: BertTokenizerFast) -> None:
    """A token is a str or an AddedToken, and an id must exist."""
    with pytest.raises(InputTypeError, match="int"):
        tokenizer.add_tokens([3])  # type: ignore[list-item]
    with pytest.raises(InputTypeError, match="pad_token"):
        tokenizer.pad_token = 3  # type: ignore[assignment]
    with pytest.raises(ArgumentError, match="99999999"):
        tokenizer.pad_token_id = 99999999
    with pytest.raises(InputTypeError, match="token_ids"):
        tokenizer.decode("text")


def test_tokens_of_another_library(tokenizer: BertTokenizerFast) -> None:
    """Any object with the fields of an AddedToken is one."""

    class Token:
        content, single_word, lstrip, rstrip, normalized, special = "<q>", False, False, False, False, True

    assert tokenizer.add_tokens(Token()) == 1  # type: ignore[arg-type]
    assert tokenizer.added_tokens_decoder[30522] == AddedToken("<q>", special=True)


def test_repr(tokenizer: BertTokenizerFast) -> None:
    """What it is, in words."""
    text = repr(tokenizer)
    assert text.startswith("BertTokenizer(name_or_path=")
    assert "vocab_size=30522, model_max_length=512, padding_side='right'" in text
    assert "101: AddedToken(" in text
