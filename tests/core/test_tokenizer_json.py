"""tokenizer.json as tokenizers reads and writes it: real files, legacy forms, and files with something wrong."""

from __future__ import annotations

import copy
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxiformers._core import Tokenizer
from oxiformers.errors import FormatError, OxiformersError, UnsupportedError
from tests.core.reference import wordpiece

# The same files each time: the search for new ones is the fuzzer's (make fuzz, tests/core/differential.py).
RELAXED = settings(derandomize=True, max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))

Tree = dict[str, Any]


def files(shared: Path) -> list[Path]:
    return sorted((shared / "tokenizers").glob("*/tokenizer.json"))


def same(ours: Any, theirs: Any, path: str = "$") -> None:
    """Equal, and with keys in the same order."""
    assert type(ours) is type(theirs), path
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), path
        for key, value in ours.items():
            same(value, theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and len(ours) == len(theirs):
        for index, value in enumerate(ours):
            same(value, theirs[index], f"{path}[{index}]")
    else:
        assert ours == theirs, path


def test_real_files_are_written_as_tokenizers_writes_them(shared: Path) -> None:
    for path in files(shared):
        ours = Tokenizer.from_file(str(path)).to_str()
        theirs = tokenizers.Tokenizer.from_file(str(path)).to_str()
        same(json.loads(ours), json.loads(theirs), path.parent.name)
        # Read back by tokenizers, it writes the same again.
        assert tokenizers.Tokenizer.from_str(ours).to_str() == theirs


READER = """
import sys, tokenizers
from pathlib import Path
for path in sys.argv[1:]:
    original, written = (tokenizers.Tokenizer.from_file(each) for each in path.split("|"))
    assert original.to_str() == written.to_str(), path
"""


def test_written_files_are_read_by_older_tokenizers(shared: Path, python_457: Path, tmp_path: Path) -> None:
    """tokenizers 0.22.2 finds in what is written what it finds in the file that was read."""
    pairs = []
    for path in files(shared):
        written = tmp_path / f"{path.parent.name}.json"
        written.write_text(Tokenizer.from_file(str(path)).to_str(pretty=True), "utf-8")
        pairs.append(f"{path}|{written}")
    subprocess.run([str(python_457), "-c", READER, *pairs], check=True, timeout=300)


# --- files with something changed ---------------------------------------------------------------------------

FLAGS = {"single_word": False, "lstrip": True, "rstrip": False, "normalized": False, "special": True}
TOKENS = ["[UNK]", "[CLS]", "[SEP]", "a", "##b", "b"]
PROCESSORS: list[Any] = [
    {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}},
    },
    {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    {
        "type": "RobertaProcessing",
        "sep": ["[SEP]", 2],
        "cls": ["[CLS]", 1],
        "trim_offsets": True,
        "add_prefix_space": False,
    },
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
    {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
            {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        ],
    },
]
DECODERS: list[Any] = [
    {"type": "BPEDecoder", "suffix": "</w>"},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False},
    {"type": "WordPiece", "prefix": "##", "cleanup": False},
    {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "never",
        "add_prefix_space": False,
        "split": True,
    },
    {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
    {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    },
]
NORMALIZERS: list[Any] = [
    None,
    {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]},
    {"type": "ByteLevel"},
    {"type": "Nmt"},
]
PRE_TOKENIZERS: list[Any] = [
    None,
    {"type": "BertPreTokenizer"},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    {"type": "CharDelimiterSplit", "delimiter": "-"},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
    {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "str_rep": "▁"},
    {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "Punctuation", "behavior": "Contiguous"},
            {"type": "Split", "pattern": {"String": "a"}, "behavior": "MergedWithNext", "invert": False},
            {"type": "WhitespaceSplit"},
            {"type": "Whitespace"},
        ],
    },
    {"type": "UnicodeScripts"},
    {"type": "FixedLength", "length": 5},
]
MODELS: list[Any] = [
    {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": dict(zip(TOKENS, range(9), strict=False)),
    },
    {"type": "WordLevel", "vocab": dict(zip(TOKENS, range(9), strict=False)), "unk_token": "[UNK]"},
    {
        "type": "BPE",
        "dropout": None,
        "unk_token": "[UNK]",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": "</w>",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": True,
        "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "ab": 5, "abb": 6},
        "merges": [["a", "b"], ["ab", "b"]],
    },
    {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
    {
        "type": "Unigram",
        "unk_id": 0,
        "vocab": [["[UNK]", 0.0], ["[CLS]", 0.0], ["[SEP]", 0.0], ["a", -1.5], ["b", -2.0]],
        "byte_fallback": False,
    },
]
TRUNCATIONS: list[Any] = [
    None,
    {"direction": "Left", "max_length": 5, "strategy": "OnlyFirst", "stride": 1},
    {"max_length": 5, "strategy": "LongestFirst", "stride": 0},
]
PADDINGS: list[Any] = [
    None,
    {
        "strategy": {"Fixed": 7},
        "direction": "Left",
        "pad_to_multiple_of": 4,
        "pad_id": 1,
        "pad_type_id": 2,
        "pad_token": "[CLS]",
    },
    {"strategy": "BatchLongest", "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    2,
    -1,
    1.0,
    1.5,
    2**31,
    2**32,
    2**63,
    2**64,
    "",
    "a",
    "[CLS]",
    "A",
    "é",
    "Left",
    "always",
    "first",
    "BatchLongest",
    "Fuse",
    "ByteLevel",
    "Sequence",
    [],
    ["[CLS]", 1],
    [1],
    {},
    {"type": "Fuse"},
    {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    {"String": "a"},
    {"Fixed": 3},
]


def good(draw: random.Random) -> Tree:
    found = wordpiece({token: index for index, token in enumerate(TOKENS)}, normalizer=None)
    found["added_tokens"] = [
        {"id": 1, "content": "[CLS]", **FLAGS},
        {"id": 6, "content": "<new>", **FLAGS},
        {"id": 9, "content": "<far>", **FLAGS, "special": False},
    ]
    found["model"] = copy.deepcopy(draw.choice(MODELS))
    found["normalizer"] = copy.deepcopy(draw.choice(NORMALIZERS))
    found["pre_tokenizer"] = copy.deepcopy(draw.choice(PRE_TOKENIZERS))
    found["post_processor"] = copy.deepcopy(draw.choice(PROCESSORS))
    found["decoder"] = copy.deepcopy(draw.choice(DECODERS))
    found["truncation"] = copy.deepcopy(draw.choice(TRUNCATIONS))
    found["padding"] = copy.deepcopy(draw.choice(PADDINGS))
    return found


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from places(tree[key])


def change(tree: Tree, draw: random.Random) -> None:
    container, key = draw.choice(list(places(tree)))
    kind = draw.randrange(6)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    elif kind == 2 and isinstance(container, dict):
        container["more"] = draw.choice(VALUES)
    else:
        container[key] = copy.deepcopy(draw.choice(VALUES))


KINDS = {
    "normalizer": NORMALIZERS,
    "pre_tokenizer": PRE_TOKENIZERS,
    "post_processor": PROCESSORS,
    "decoder": DECODERS,
    "model": MODELS,
}


def only_they_read(tree: Tree) -> bool:
    """What tokenizers accepts and ours refuses: templates that name what is not there, with which it panics when
    used, unknown names of components, arrays of values for objects with keys, one id for two tokens, merging at
    random, words of no length, and a model without its type, which a setting of the wrong kind makes one of words."""
    if "special_tokens" in json.dumps(tree.get("post_processor")):
        return True
    for section, known in KINDS.items():
        names = {item["type"] for item in nested(known) if item and "type" in item}
        for part in nested([tree.get(section)]):
            if isinstance(part, list):
                return True
            if isinstance(part, dict) and (
                str(part.get("type", "")) not in {"", *names}
                or part.get("type") == ""
                or part.get("length") == 0
                or part.get("dropout")
            ):
                return True
    parts = [tree.get("truncation"), tree.get("padding")]
    parts += tree["added_tokens"] if isinstance(tree.get("added_tokens"), list) else []
    model = tree.get("model")
    if isinstance(model, dict) and "type" not in model:
        return True
    vocab = model.get("vocab") if isinstance(model, dict) else None
    ids = list(vocab.values()) if isinstance(vocab, dict) else []
    return any(isinstance(part, list) for part in parts) or len({str(index) for index in ids}) < len(ids)


def nested(value: Any) -> Iterator[Any]:
    """The components in components, as far as they lie in lists."""
    for item in value:
        yield item
        if isinstance(item, dict):
            for name in ("decoders", "processors", "normalizers", "pretokenizers"):
                yield from nested(item[name]) if isinstance(item.get(name), list) else ()


def read_theirs(text: str) -> tokenizers.Tokenizer | Exception | None:
    """None where it panics, as on a prefix of subwords that is longer than the part of a merge: that says nothing."""
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001 -- it raises Exception itself
        return error
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        return None


def read_ours(text: str) -> Tokenizer | OxiformersError:
    try:
        return Tokenizer.from_str(text, "some.json")
    except (FormatError, UnsupportedError) as error:
        return error


@RELAXED
@given(st.integers(0, 2**40), st.integers(0, 3))
def test_changed_files(seed: int, changes: int) -> None:
    """What tokenizers refuses is refused, with the place; what it reads is read, and means the same."""
    draw = random.Random(seed)
    tree = good(draw)
    for _ in range(changes):
        change(tree, draw)
    text = json.dumps(tree)
    theirs, ours = read_theirs(text), read_ours(text)
    if isinstance(ours, OxiformersError):
        assert ours.path == "some.json" and ours.key and ours.actual
        assert ours.expected or isinstance(ours, UnsupportedError)
        assert theirs is None or isinstance(theirs, Exception) or only_they_read(tree), ours
        return
    if theirs is None:
        return
    assert not isinstance(theirs, Exception), theirs
    same(json.loads(ours.to_str()), json.loads(theirs.to_str()))
    assert ours.vocab(True) == theirs.get_vocab(True)
