"""Real tokenizers on real text, and every code point: ids, offsets and everything else equal tokenizers'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.reference import CORPORA, NAMES, Call, Pair, batched, documents, wordpiece

KIB = 1 << 10


@pytest.fixture(scope="module")
def pairs(shared: Path) -> dict[str, Pair]:
    return {name: Pair.read(shared / "tokenizers" / name / "tokenizer.json") for name in NAMES}


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("name", NAMES)
def test_corpus(pairs: dict[str, Pair], shared: Path, name: str, corpus: str) -> None:
    texts = list(documents(shared / "corpora" / f"{corpus}.txt", 100 * KIB))
    assert pairs[name].check(texts) == len(texts)


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "roberta-base", "llama-3", "mistral-7b-v0.1", "t5-small"]
)
def test_corpus_cut_and_padded(pairs: dict[str, Pair], shared: Path, name: str, corpus: str) -> None:
    texts = list(documents(shared / "corpora" / f"{corpus}.txt", 40 * KIB))
    pair = pairs[name]
    call = Call(truncation="longest_first", max_length=32, stride=7, padding="longest", padding_side="left")
    assert pair.check(texts, None, call) > len(texts)
    pair.check(
        texts, [*texts[1:], None], Call(truncation="longest_first", max_length=48, padding="max_length")
    )
    words = [text.split() for text in texts]
    pair.check(words, None, Call(is_pretokenized=True, truncation="only_first", max_length=60))


def test_whole_documents_as_pairs(pairs: dict[str, Pair], shared: Path) -> None:
    texts = list(documents(shared / "corpora" / "english.txt", 60 * KIB))
    for name in ("bert-base-cased", "roberta-base", "xlm-roberta-base"):
        pairs[name].check(texts, texts[::-1])


@pytest.mark.parametrize("corpus", ["multilingual", "code"])
@pytest.mark.parametrize("name", NAMES)
def test_one_large_document(pairs: dict[str, Pair], shared: Path, name: str, corpus: str) -> None:
    text = (shared / "corpora" / f"{corpus}.txt").read_bytes()[: 100 * KIB].decode(errors="ignore")
    assert pairs[name].check([text]) == 1


@pytest.mark.parametrize("path", ["checkpoints/bert-ticket-classifier/tokenizer.json"])
def test_wordlevel_checkpoint(shared: Path, path: str) -> None:
    pair = Pair.read(shared / path)
    texts = list(documents(shared / "corpora" / "multilingual.txt", 40 * KIB))
    texts.append("I cannot complete multifactor setup for the staff benefits site.")
    components = json.loads(pair.ours.components())
    assert components["model"]["type"] == "WordLevel" and components["pre_tokenizer"] == {
        "type": "Whitespace"
    }
    pair.check(texts)


ALL = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
# Every plane that has assigned characters, and samples of the others.
PLANES = {plane: [c for c in ALL if ord(c) >> 16 == plane] for plane in (0, 1, 2, 14)}
UNASSIGNED = [c for c in ALL if ord(c) >> 16 not in PLANES][::61]
NORMALIZERS: dict[str, dict[str, Any]] = {
    "uncased": {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
    "cased": {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": False},
    "raw": {"clean_text": False, "handle_chinese_chars": False, "strip_accents": True, "lowercase": False},
    "lower": {"clean_text": False, "handle_chinese_chars": True, "strip_accents": False, "lowercase": True},
}


def character_vocab(characters: list[str]) -> dict[str, int]:
    """Each character as a word and as a continuation, so that tokens show what normalization made."""
    known = dict.fromkeys(["[UNK]", *characters, *(f"##{c}" for c in characters)])
    return {token: index for index, token in enumerate(known)}


@pytest.mark.parametrize("plane", [*PLANES, None])
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_every_code_point(normalizer: str, plane: int | None) -> None:
    characters = UNASSIGNED if plane is None else PLANES[plane]
    # Decomposed and lowercased forms of other planes lie in the same plane or in plane 0.
    vocab = character_vocab(PLANES[0][:0x3400] + characters)
    pair = Pair.parse(wordpiece(vocab, normalizer=NORMALIZERS[normalizer]))
    # Alone, between letters, as a mark after a letter, and among marks that are put in order.
    contexts = [" ".join((c, f"a{c}b", f"e{c}\u0301\u0323", f"{c}{c}")) for c in characters]
    texts = [" | ".join(group) for group in batched(contexts, 64)]
    expected = pair.theirs.encode_batch(texts)
    flat, starts = pair.ours.encode_batch_flat(texts)
    for index, (mine, theirs) in enumerate(zip(pair.ours.encode_batch(texts), expected, strict=True)):
        assert mine.tokens == theirs.tokens, ascii(texts[index])
        assert mine.offsets == theirs.offsets, ascii(texts[index])
        assert mine.word_ids == theirs.word_ids, ascii(texts[index])
        assert flat[starts[index] : starts[index + 1]].tolist() == theirs.ids, ascii(texts[index])


def test_every_code_point_split_by_whitespace() -> None:
    tree = wordpiece({"[UNK]": 0}, normalizer=None, pre_tokenizer="Whitespace")
    tree["model"] = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0}}
    pair = Pair.parse(tree)
    texts = [
        "".join(f"a{c}b.{c}." for c in group) for group in batched(ALL[:0x30000] + ALL[0x30000::101], 512)
    ]
    for mine, theirs in zip(pair.ours.encode_batch(texts), pair.theirs.encode_batch(texts), strict=True):
        assert mine.offsets == theirs.offsets and mine.word_ids == theirs.word_ids


@pytest.mark.parametrize("name", NAMES)
def test_decoding(pairs: dict[str, Pair], shared: Path, name: str) -> None:
    pair = pairs[name]
    texts = [*documents(shared / "corpora" / "short.txt", 20 * KIB)]
    texts += ["don't you ' re do not [MASK] n't 've , ! . ?", "", "it's i'm we've they're a . b"]
    batch = [encoding.ids for encoding in pair.theirs.encode_batch(texts)]
    batch.append([0, 1, 5, 10**6, 100, 101, 102, 103])
    for skip in (False, True):
        expected = pair.theirs.decode_batch(batch, skip_special_tokens=skip)
        assert pair.ours.decode_batch(batch, skip) == expected
        assert [pair.ours.decode(ids, skip) for ids in batch] == expected
    tokens = pair.theirs.encode("unaffable don't , x").tokens
    assert pair.ours.decode_tokens(tokens) == pair.theirs.decoder.decode(tokens)


@pytest.mark.parametrize("name", NAMES)
def test_vocabulary(pairs: dict[str, Pair], name: str) -> None:
    pair = pairs[name]
    for added in (True, False):
        assert pair.ours.vocab(added) == pair.theirs.get_vocab(added)
        assert pair.ours.vocab_size(added) == pair.theirs.get_vocab_size(added)
    for id in (0, 1, 100, 103, 5000, 10**6, 2**32 - 1):
        assert pair.ours.id_to_token(id) == pair.theirs.id_to_token(id)
    assert pair.ours.id_to_token(-1) is None
    for token in ("[MASK]", "the", "##s", "no such token", ""):
        assert pair.ours.token_to_id(token) == pair.theirs.token_to_id(token)
    for is_pair in (False, True):
        assert pair.ours.num_special_tokens(is_pair) == pair.theirs.num_special_tokens_to_add(is_pair)
    assert [(id, token.content, token.special, token.normalized) for id, token in pair.ours.added_tokens] == [
        (id, token.content, token.special, token.normalized)
        for id, token in sorted(pair.theirs.get_added_tokens_decoder().items())
    ]
