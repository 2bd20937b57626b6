"""UnicodeScripts: every code point beside others, and random mixtures, cut where tokenizers cuts."""

from __future__ import annotations

import json
import random

import tokenizers

from oxiformers._core import Tokenizer

TREE = {
    "pre_tokenizer": {"type": "UnicodeScripts"},
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"},
}
EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def test_cuts() -> None:
    ours, theirs = Tokenizer.from_str(json.dumps(TREE)), tokenizers.pre_tokenizers.UnicodeScripts()
    texts = [
        "".join(before + character for character in EVERY[at : at + 500])
        for before in ("", "京", "a")
        for at in range(0, len(EVERY), 500)
    ]
    draw = random.Random(1)
    kinds = [" ", "a", "京", "ー", "あ", "я", "1", "\u0301"]
    texts += [
        "".join(draw.choice([*kinds, draw.choice(EVERY)]) for _ in range(draw.randrange(8)))
        for _ in range(3000)
    ]
    for text, encoding in zip(texts, ours.encode_batch(texts), strict=True):
        assert encoding.offsets == [place for _, place in theirs.pre_tokenize_str(text)], text
