"""Random components of tokenizer.json: normalizers, pre-tokenizers, post-processors, decoders, added tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.core.charsmaps import charsmap, precompiled
from tests.core.text_strategies import PIECES, SHORT

Json = dict[str, Any]
Components = st.SearchStrategy[Json]

# The patterns of tokenizers in use, then what else a pattern may say.
KNOWN_PATTERNS = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[0-9][0-9][0-9]",
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"\s+",
    r"\w+|[^\w\s]+",
    r" {2,}",
    r"(?=\p{Lu})",
    r"(?<=\d)(?=(\d{3})+(?!\d))",
    r"\d|[.,]",
    r"\n",
    r"",
]
ATOMS = [
    *(
        "a",
        "b",
        "é",
        "中",
        " ",
        r"\.",
        "'",
        r"\n",
        ".",
        r"\s",
        r"\S",
        r"\d",
        r"\D",
        r"\w",
        r"\W",
        r"\p{L}",
        r"\p{N}",
    ),
    *(r"\P{L}", r"\p{Lu}", r"\p{Ll}", r"\p{M}", r"\p{P}", r"\p{S}", r"\p{Z}", r"\p{Han}", r"\p{Cyrillic}"),
    *("[ab]", "[^ab]", "[a-z]", "[^a-zA-Z]", r"[\s\d]", r"[^\s\p{L}]", r"[一-龥]", r"[\p{L}'\-]", r"[\r\n]"),
    *(
        "[[:alpha:]]",
        "[[:punct:]]",
        "[[:space:]]",
        r"\p{Alphabetic}",
        r"\x41",
        r"\u4e2d",
        r"\b",
        r"\B",
        "^",
        "$",
    ),
    *(r"\A", r"\z", r"\Z", r"\R", r"\h", r"\X", r"\t", "(?i:ss)", "(?i:k)", "(?i:'re)", "(?i:ß)"),
]
QUANTIFIERS = ["", "", "", "?", "*", "+", "{2}", "{1,3}", "{2,}", "??", "*?", "+?", "?+", "*+", "++"]


def _quantified() -> st.SearchStrategy[str]:
    return st.builds(str.__add__, st.sampled_from(ATOMS), st.sampled_from(QUANTIFIERS))


def _sequence() -> st.SearchStrategy[str]:
    part = st.one_of(
        _quantified(),
        _quantified(),
        _quantified(),
        st.builds("({}|{})".format, _quantified(), _quantified()),
        st.builds(
            "(?:{}{}){}".format, _quantified(), st.sampled_from(ATOMS), st.sampled_from(["", "?", "{2}"])
        ),
        st.builds("(?{}{})".format, st.sampled_from(["=", "!", "<=", "<!", ">"]), st.sampled_from(ATOMS)),
    )
    return st.lists(part, min_size=1, max_size=4).map("".join)


REGEX = st.one_of(
    st.sampled_from(KNOWN_PATTERNS),
    st.lists(_sequence(), min_size=1, max_size=3).map("|".join),
)
# An empty one makes the reference write some characters twice.
LITERAL = st.one_of(
    st.sampled_from(PIECES).filter(bool),
    st.sampled_from([" ", "▁", "a", ".", "(", "\\s", "ab"]),
    SHORT.filter(bool),
)
PATTERN: Components = st.one_of(
    LITERAL.map(lambda text: {"String": text}), REGEX.map(lambda text: {"Regex": text})
)
SHORT_TEXT = st.sampled_from(["", " ", "▁", "a", "ab", "é", "中", "  ", "Ġ", "x y", "\n", "e\u0301", "👍"])
CHARACTER = st.sampled_from(["▁", " ", "_", "|", "a", "é", "中", "👍", "-", "\n", "Ġ"])
BOOLEAN = st.booleans()


def component(name: str, **fields: st.SearchStrategy[Any]) -> Components:
    return st.fixed_dictionaries({"type": st.just(name), **fields})


def sequence(name: str, items: str, inner: Components) -> Components:
    return component(name, **{items: st.lists(inner, max_size=4)})


# Keys of a character map and what they become: canonical, compatible, removed, longer, shorter.
CHARSMAP = st.dictionaries(
    st.sampled_from([piece for piece in PIECES if "\0" not in piece and len(piece) <= 3]),
    st.sampled_from(["", " ", "a", "ab", "é", "中", "e\u0301", "   ", "ß", "👍"]),
    min_size=1,
    max_size=10,
).map(lambda rules: precompiled(charsmap(rules))["precompiled_charsmap"])

SIMPLE_NORMALIZERS: dict[str, Components] = {
    "BertNormalizer": component(
        "BertNormalizer",
        clean_text=BOOLEAN,
        handle_chinese_chars=BOOLEAN,
        strip_accents=st.none() | BOOLEAN,
        lowercase=BOOLEAN,
    ),
    **{
        name: component(name)
        for name in ("StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "ByteLevel")
    },
    "Strip": component("Strip", strip_left=BOOLEAN, strip_right=BOOLEAN),
    "Precompiled": component("Precompiled", precompiled_charsmap=CHARSMAP),
    "Replace": component("Replace", pattern=PATTERN, content=SHORT_TEXT),
    # An empty one makes the reference write the first character twice.
    "Prepend": component("Prepend", prepend=SHORT_TEXT.filter(bool)),
}
_NORMALIZER = st.one_of(*SIMPLE_NORMALIZERS.values())
NORMALIZER = st.one_of(
    _NORMALIZER,
    _NORMALIZER,
    sequence(
        "Sequence", "normalizers", st.one_of(_NORMALIZER, sequence("Sequence", "normalizers", _NORMALIZER))
    ),
)

BYTE_LEVEL = component("ByteLevel", add_prefix_space=BOOLEAN, trim_offsets=BOOLEAN, use_regex=BOOLEAN)
METASPACE = component(
    "Metaspace",
    replacement=st.sampled_from(["▁", "▁", "▁", "_", "é", " ", "👍"]),
    prepend_scheme=st.sampled_from(["always", "first", "never"]),
    split=BOOLEAN,
)
BEHAVIOR = st.sampled_from(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
SIMPLE_PRE_TOKENIZERS: dict[str, Components] = {
    **{
        name: component(name)
        for name in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts")
    },
    "ByteLevel": BYTE_LEVEL,
    "CharDelimiterSplit": component("CharDelimiterSplit", delimiter=CHARACTER),
    "Metaspace": METASPACE,
    "Split": component("Split", pattern=PATTERN, behavior=BEHAVIOR, invert=BOOLEAN),
    "Punctuation": component("Punctuation", behavior=BEHAVIOR),
    "Digits": component("Digits", individual_digits=BOOLEAN),
    "FixedLength": component("FixedLength", length=st.integers(1, 7)),
}
_PRE_TOKENIZER = st.one_of(*SIMPLE_PRE_TOKENIZERS.values())
PRE_TOKENIZER = st.one_of(
    _PRE_TOKENIZER,
    _PRE_TOKENIZER,
    sequence(
        "Sequence",
        "pretokenizers",
        st.one_of(_PRE_TOKENIZER, sequence("Sequence", "pretokenizers", _PRE_TOKENIZER)),
    ),
)

SPECIAL = st.sampled_from([("[CLS]", 1), ("[SEP]", 2), ("<s>", 7), ("▁", 0), ("", 900)])
_PIECE: Components = st.one_of(
    st.builds(
        lambda id, type: {"Sequence": {"id": id, "type_id": type}}, st.sampled_from("AB"), st.integers(0, 2)
    ),
    st.builds(
        lambda id, type: {"SpecialToken": {"id": id, "type_id": type}},
        st.sampled_from(["[CLS]", "[SEP]", "two"]),
        st.integers(0, 3),
    ),
)
_A, _B = ({"Sequence": {"id": id, "type_id": type}} for id, type in (("A", 0), ("B", 1)))
_SPECIAL_TOKENS = {
    "[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]},
    "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]},
    "two": {"id": "two", "ids": [1, 2], "tokens": ["[CLS]", "other"]},
}
_AROUND = st.lists(_PIECE.filter(lambda piece: "SpecialToken" in piece), max_size=2)
_TEMPLATE = component(
    "TemplateProcessing",
    single=st.one_of(
        st.builds(lambda before, after: [*before, _A, *after], _AROUND, _AROUND), st.lists(_PIECE, max_size=4)
    ),
    pair=st.one_of(
        st.builds(lambda one, two, three: [*one, _A, *two, _B, *three], _AROUND, _AROUND, _AROUND),
        st.lists(_PIECE, max_size=5),
    ),
    special_tokens=st.just(_SPECIAL_TOKENS),
)
SIMPLE_POST_PROCESSORS: dict[str, Components] = {
    "TemplateProcessing": _TEMPLATE,
    "BertProcessing": component("BertProcessing", sep=SPECIAL, cls=SPECIAL),
    "RobertaProcessing": component(
        "RobertaProcessing", sep=SPECIAL, cls=SPECIAL, trim_offsets=BOOLEAN, add_prefix_space=BOOLEAN
    ),
    "ByteLevel": BYTE_LEVEL,
}
_POST_PROCESSOR = st.one_of(*SIMPLE_POST_PROCESSORS.values())
POST_PROCESSOR = st.one_of(
    _POST_PROCESSOR, _POST_PROCESSOR, sequence("Sequence", "processors", _POST_PROCESSOR)
)

SIMPLE_DECODERS: dict[str, Components] = {
    "ByteLevel": BYTE_LEVEL,
    "WordPiece": component("WordPiece", prefix=st.sampled_from(["##", "", "a", "▁"]), cleanup=BOOLEAN),
    "Metaspace": METASPACE,
    "BPEDecoder": component("BPEDecoder", suffix=st.sampled_from(["</w>", "", "a", " "])),
    "CTC": component(
        "CTC",
        pad_token=st.sampled_from(["<pad>", "a", "", "▁"]),
        word_delimiter_token=st.sampled_from(["|", "", "b", " "]),
        cleanup=BOOLEAN,
    ),
    "Fuse": component("Fuse"),
    "ByteFallback": component("ByteFallback"),
    "Strip": component("Strip", content=CHARACTER, start=st.integers(0, 3), stop=st.integers(0, 3)),
    "Replace": component("Replace", pattern=PATTERN, content=SHORT_TEXT),
}
_DECODER = st.one_of(*SIMPLE_DECODERS.values())
DECODER = st.one_of(
    _DECODER,
    _DECODER,
    sequence("Sequence", "decoders", st.one_of(_DECODER, sequence("Sequence", "decoders", _DECODER))),
)
DECODED = [
    *(
        "▁a",
        "▁",
        "b",
        "▁the",
        "▁▁",
        "##b",
        "##",
        "a</w>",
        "</w>",
        "b",
        "a",
        "|",
        "<pad>",
        "<pad>",
        "é",
        " ",
        "  ",
    ),
    *(
        "<0xE2>",
        "<0x96>",
        "<0x81>",
        "<0xF0>",
        "<0x41>",
        "<0x0a>",
        "<0xGG>",
        "<0x1>",
        "Ġa",
        "Ġ",
        "Ċ",
        "âĸ",
        "ģ",
    ),
    *(
        ".",
        ",",
        "!",
        " ?",
        "'",
        " n't",
        "n't",
        " 'm",
        "'s",
        " do not",
        "'ve",
        "'re",
        "",
        "中",
        "👍",
        "\u0301",
    ),
]

CONTENTS = st.one_of(
    st.sampled_from(
        [
            *(
                "<x>",
                "foo",
                "New York",
                "ab",
                "b",
                " c",
                "中",
                "É",
                "new",
                "<x><x>",
                ".",
                "[CLS]",
                "<s>",
                "ﬁ",
                "\n",
            ),
            *(
                "  ",
                "▁",
                "a b",
                "don't",
                "1",
                "e\u0301",
                "",
                "ÀB",
                "<0x0A>",
                "Ġ",
                "x ",
                "\u200d",
                "👍",
                "the",
                "İ",
            ),
        ]
    ),
    SHORT,
)
FLAGS = st.fixed_dictionaries(
    dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), BOOLEAN)
)
ADDED_TOKENS = st.lists(st.tuples(CONTENTS, FLAGS), max_size=6)

SECTIONS: dict[str, tuple[str, Components, dict[str, Components]]] = {
    "normalizers": ("normalizer", NORMALIZER, SIMPLE_NORMALIZERS),
    "pre_tokenizers": ("pre_tokenizer", PRE_TOKENIZER, SIMPLE_PRE_TOKENIZERS),
    "post_processors": ("post_processor", POST_PROCESSOR, SIMPLE_POST_PROCESSORS),
    "decoders": ("decoder", DECODER, SIMPLE_DECODERS),
}


def types(tree: object, seen: Callable[[str], None]) -> None:
    """Calls `seen` with the type of every component in the tree."""
    if isinstance(tree, dict):
        if isinstance(tree.get("type"), str):
            seen(tree["type"])
        for key, value in tree.items():
            if key not in ("vocab", "merges", "added_tokens"):
                types(value, seen)
    elif isinstance(tree, list):
        for value in tree:
            types(value, seen)
