"""Regular expressions mean what they mean to tokenizers, which reads them as Oniguruma does."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.normalizers import Replace

from oxiformers._core import Tokenizer
from oxiformers.errors import FormatError

RELAXED = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


def ours(pattern: str, text: str) -> str:
    normalizer = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "<>"}
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
    tree: dict[str, Any] = {"version": "1.0", "added_tokens": [], "normalizer": normalizer, "model": model}
    return Tokenizer.from_str(json.dumps(tree)).normalize(text)


def theirs(pattern: str, text: str) -> str:
    found: str = Replace(tokenizers.Regex(pattern), "<>").normalize_str(text)
    return found


MEANT = [
    # Ends of lines, but no line after the last line end.
    ("^", "a\nb\n"),
    ("$", "a\nb\n"),
    (r"\A|\z", "a\nb\n"),
    (r"\Z", "a\n"),
    (".", "a\nb"),
    ("(?m).", "a\nb"),
    ("(?m:a.)|b.", "a\nb\nc"),
    # Options hold to the end of the group, its other branches too.
    ("a(?i)b|c", "aB C aC"),
    ("(?i)a|b(?-i)c|d", "A Bc D BC"),
    ("(?x) a b # both\n c", "abc"),
    # Quantifiers.
    ("a++a|b", "aaab"),
    ("a{2}+", "aaaaa"),
    ("a{,2}", "aaa"),
    ("a{2}?", "aaaa b"),
    ("a{1,2}?b", "aab"),
    ("x{a}|x{,}", "x{a}x{,}x{"),
    ("(?>a+|b)ab?", "aaab bab"),
    # Sets.
    (r"\w", "a²½_\u200d-é"),
    (r"[\w]", "a²½_\u200d-é"),
    (r"\b", "a² b"),
    (r"[^\W_]", "a_b²"),
    (r"\h+", "fg1G"),
    (r"[[:punct:]]", "a+,。\u20ac"),
    (r"[[:^alpha:]b]", "ab1"),
    ("[a-c&&b-d]", "abcd"),
    ("[^a-c&&b-d]", "abcd"),
    (r"[\p{L}&&[^a]]", "ab1"),
    ("[]a]", "a]"),
    ("[+--]", "+,-."),
    (r"[\d\-x]", "1-x"),
    (r"\p{^L}|\P{^Lu}", "aA1"),
    (r"\pL", "pLx"),
    (r"\p{uppercase_letter}", "aA"),
    # Look-around.
    ("(?<=a|bc)d", "ad bcd"),
    ("(?<!a|bc)d", "ad bcd ed"),
    (r"\d{1,3}(?=(?:\d{3})*\b)", "1234567 12"),
    # Escapes.
    (r"\x41|\x{42}|\u0043|\e|\R", "ABC\x1b\r\n\n"),
    (r"\_\-\é\Q", "_-éQ"),
    (r"(?#comment)a|\N", "ab\n"),
    # Case is ignored by simple folding.
    ("(?i)k'S", "K's \u212a'ſ"),
    # Empty matches.
    ("", "ab"),
    ("x*", "axb"),
    ("(?=b)", "abb"),
]


@pytest.mark.parametrize(("pattern", "text"), MEANT)
def test_what_is_meant(pattern: str, text: str) -> None:
    assert ours(pattern, text) == theirs(pattern, text)


ATOMS = [
    *"abcé1 's",
    *["T", "中", "_", "-", "²", "\u200d", r"\n", r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\h", r"\p{L}"],
    *[r"\P{N}", r"\p{^P}", r"\p{Han}", ".", r"\.", r"\x41", "[abc]", "[^a]", r"[^\s\p{L}]", "[[:alpha:]]"],
    *["[[:punct:] ]", "[^[:space:]b]", "[a-z&&[^b]]", r"[\w']", r"[^\w]", "[]a]", r"\R", r"\N", r"\p{M}"],
    *["^", "$", r"\A", r"\z", r"\Z", r"\b", r"\B"],
]
QUANTIFIERS = [
    "",
    "",
    "",
    "*",
    "+",
    "?",
    "*?",
    "+?",
    "??",
    "*+",
    "++",
    "?+",
    "{2}",
    "{1,2}",
    "{,2}",
    "{1,}",
    "{2}?",
]
GROUPS = [
    "({})",
    "(?:{})",
    "(?>{})",
    "(?={})",
    "(?!{})",
    "(?<={})",
    "(?<!{})",
    "(?i:{})",
    "(?m:{})",
    "(?<n>{})",
]


def _branches(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    part = st.builds(str.__add__, inner, st.sampled_from(QUANTIFIERS))
    branch = st.lists(part, min_size=1, max_size=4).map("".join)
    return st.lists(branch, min_size=1, max_size=3).map("|".join)


PATTERNS = _branches(
    st.recursive(
        st.sampled_from(ATOMS),
        lambda inner: st.builds(
            lambda group, body: group.format(body), st.sampled_from(GROUPS), _branches(inner)
        ),
        max_leaves=8,
    )
)


@RELAXED
@given(
    pattern=PATTERNS,
    texts=st.lists(
        st.text("aabbcé1 's\u0301T中_-²\u200d\n\r.AB\u0661K\u212aſ\u3000\t", max_size=16),
        min_size=1,
        max_size=6,
    ),
)
def test_random_patterns(pattern: str, texts: list[str]) -> None:
    """Equal wherever ours does not refuse the pattern; what neither reads is of no interest."""
    try:
        expected = [theirs(pattern, text) for text in texts]
    except Exception as error:
        if "Oniguruma" not in str(error):
            raise
        return
    try:
        found = [ours(pattern, text) for text in texts]
    except FormatError:
        with pytest.raises(FormatError, match="supported"):
            ours(pattern, "")
        return
    assert found == expected


SETS = [
    *[
        rf"\p{{{name}}}"
        for name in ("L", "N", "P", "S", "M", "Z", "C", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Nd")
    ],
    *[
        rf"\p{{{name}}}"
        for name in ("Han", "Hiragana", "Latin", "Arabic", "Alphabetic", "Emoji", "Punct", "Space")
    ],
    *[
        f"[[:{name}:]]"
        for name in [
            "alpha",
            "alnum",
            "upper",
            "lower",
            "space",
            "blank",
            "cntrl",
            "digit",
            "xdigit",
            "punct",
            "graph",
            "print",
            "word",
            "ascii",
        ]
    ],
    *[r"\w", r"\W", r"\d", r"\s", r"\h", r"[\w]", r"[^\w]", ".", r"\N", r"\O"],
]


@pytest.mark.parametrize("pattern", SETS)
def test_every_code_point(pattern: str) -> None:
    planes = (
        *range(0xD800),
        *range(0xE000, 0x33480),
        *range(0xE0000, 0xE0200),
        *range(0xE0200, 0x110000, 251),
    )
    text = "".join(map(chr, planes))
    found, expected = ours(pattern, text), theirs(pattern, text)
    if found != expected:
        left = set(found) ^ set(expected)
        pytest.fail(f"{pattern}: {sorted(f'U+{ord(c):04X}' for c in left)[:20]}")


@pytest.mark.parametrize(
    "pattern",
    [
        *[
            "a(",
            "a)",
            "[a",
            "[]",
            "*a",
            "a|+",
            "[b-a]",
            r"[a-\d]",
            r"\p{Foo}",
            "[[:foo:]]",
            "(?s).",
            "(?P<n>a)",
        ],
        # Known to Oniguruma, but not done here.
        *[
            r"(a)\1",
            r"\Ga",
            r"a\Kb",
            r"\X",
            r"(?<n>a)\k<n>",
            "(?~a)",
            "(?<=a+)b",
            "(?i)ß",
            "(?i)ss",
            "a{2000}",
        ],
        *["(" * 200 + ")" * 200, "(?:(?:a{900}){900}){900}"],
    ],
)
def test_refused(pattern: str) -> None:
    with pytest.raises(FormatError, match=r"normalizer\.pattern\.Regex"):
        ours(pattern, "")


@pytest.mark.parametrize(
    ("pattern", "unit"),
    [
        (r"\s+(?!\S)|\s+", " "),
        (r"\d{1,3}(?=(?:\d{3})*\b)", "1"),
        (r"(?:a|aa)+(?=b)", "a"),
        (r"(?>a*)b", "a"),
        (r"(?<=a)a*?b", "a"),
        (r"(?:a+)+(?!a)b", "a"),
        (r"[^\s]+(?= x)", "a "),
    ],
)
def test_long_texts(pattern: str, unit: str) -> None:
    """A few of these take an engine that tries everything longer than anyone waits."""
    text = unit * 60_000
    short = unit * 20
    assert ours(pattern, short) == theirs(pattern, short)
    assert len(ours(pattern, text)) >= 1
