"""Random texts: every plane, every kind of white space, marks, joiners, long runs and bytes that were never text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from hypothesis import strategies as st

WHITE_SPACE = [
    *(
        " ",
        "  ",
        "   ",
        "\t",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        " \n ",
        "\t ",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x1f",
        "\x85",
    ),
    *("\u00a0", "\u1680", "\u180e", "\u2000", "\u2003", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f"),
    *("\u205f", "\u3000", "\ufeff", "\u2060"),
]
WORDS = [
    *("a", "b", "ab", "Hello", "hello", "world", "WORLD", "don't", "I'll", "we're", "it'S", "'ve", "'RE"),
    *("HTTPServer", "camelCase", "x1y2", "über", "Straße", "naïve", "İstanbul", "ﬁne", "ǅ", "ΑΣ", "ς"),
    *(
        "жук",
        "Ёж",
        "中文",
        "漢字",
        "日本語",
        "ひらがな",
        "カタカナ",
        "ー",
        "한국어",
        "\u1112\u1161\u11ab",
        "ไทย",
        "ำ",
    ),
    *("नमस्ते", "क्ष", "عربي", "\u0640", "עברית", "ქართ", "Ⅷ", "ª", "²", "½", "١٢", "१२", "１２", "𝟘𝟙"),
    *("1", "12", "123", "1234", "1234567", "3.14", "1,000", "0x1F", "1e-5"),
]
MARKS = [
    *(
        "\u0301",
        "\u0323",
        "\u0345",
        "\u0344",
        "\u0308\u0301",
        "e\u0301",
        "A\u030a",
        "\u302e",
        "\u0f73",
        "\u3099",
    ),
    *(
        "か\u3099",
        "\u05b0",
        "\u064b",
        "\u0e31",
        "\u0903",
        "\U0001d165",
        "\U00016ff0",
        "\u20e3",
        "\u200d",
        "\u200c",
    ),
    *("\ufe0f", "\ufe0e", "\U000e0101", "\u034f", "\u00ad"),
]
SYMBOLS = [
    *(
        ".",
        ",",
        "'",
        '"',
        "!",
        "?",
        "-",
        "--",
        "_",
        "__",
        "/",
        "\\",
        "$",
        "€",
        "+",
        "=",
        "<",
        ">",
        "(",
        ")",
        "{}",
    ),
    *(
        "…",
        "—",
        "«",
        "「",
        "。",
        "，",
        "\u037e",
        "\u1fef",
        "`",
        "^",
        "~",
        "|",
        "#",
        "##",
        "@",
        "&",
        "*",
        "%",
        "©",
    ),
    *("👍", "👍🏽", "👩‍👩‍👧", "🏳️‍🌈", "🇫🇷", "❤️", "1️⃣", "☃", "\u2764", "🤗"),
]
# What tokenizers write for bytes, spaces and unknown words, and code points that belong to nobody.
JUNK = [
    *(
        "▁",
        "Ġ",
        "Ċ",
        "ĉ",
        "Â",
        "Ã©",
        "ðŁ",
        "<0x0A>",
        "<0xE2>",
        "<0xzz>",
        "</w>",
        "@@",
        "[UNK]",
        "[CLS]",
        "<s>",
    ),
    *(
        "</s>",
        "<unk>",
        "<pad>",
        "<x>",
        "New York",
        "foo",
        "FOO",
        "\x00",
        "\x01",
        "\x7f",
        "\x9f",
        "\ufffd",
        "\ufffe",
    ),
    *("\ue000", "\uf900", "\ufb01", "\ufdfa", "\u0378", "\ud7a4", "\U0001f600", "\U00020000", "\U0002f800"),
    *(
        "\U000e0001",
        "\U000f0000",
        "\U0010ffff",
        "\u202e",
        "\u2066",
        "ﾊﾞ",
        "㌔",
        "①",
        "ｆｕｌｌ",
        "ß",
        "ẞ",
        "ŉ",
        "ᾳ",
    ),
]
PIECES = [*WHITE_SPACE, *WORDS, *WORDS, *MARKS, *SYMBOLS, *JUNK]

PIECE = st.sampled_from(PIECES)
SHORT = st.lists(PIECE, max_size=8).map("".join)
RUN = st.builds(
    lambda before, piece, count, after: before + piece * count + after,
    SHORT,
    PIECE,
    st.sampled_from([2, 3, 4, 5, 9, 17, 33, 70]),
    SHORT,
)
BYTES = st.binary(max_size=24)
TEXT = st.one_of(
    SHORT,
    st.lists(PIECE, max_size=16).map("".join),
    st.lists(st.sampled_from([*WORDS, *SYMBOLS]), max_size=8).map(" ".join),
    st.text(max_size=16),
    RUN,
    BYTES.map(lambda data: data.decode("latin-1")),
    BYTES.map(lambda data: data.decode("utf-8", "replace")),
    st.text(
        alphabet=st.characters(codec="utf-8", categories=["Mn", "Mc", "Lo", "Zs", "Po", "Cf"]), max_size=12
    ),
)


@cache
def _of(pieces: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(pieces), max_size=12).map("".join)


def texts_of(tokens: Sequence[str]) -> st.SearchStrategy[str]:
    """Texts made of these tokens, of them among other pieces, and any text."""
    tokens = tuple(tokens) or ("a",)
    return st.one_of(_of(tokens), _of((*tokens, " ", " ", *tokens, ".", "x", "é", "中", "\n")), TEXT)
