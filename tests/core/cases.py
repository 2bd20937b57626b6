"""Random cases: a tokenizer.json, texts and options, a strategy for each kind of component."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.core.component_strategies import (
    ADDED_TOKENS,
    DECODED,
    DECODER,
    FLAGS,
    NORMALIZER,
    POST_PROCESSOR,
    PRE_TOKENIZER,
    SECTIONS,
    Components,
    Json,
    types,
)
from tests.core.model_strategies import MODEL, SIMPLE_MODELS, SPECIAL, bpe, tokens_of, visible_model
from tests.core.reference import Call
from tests.core.text_strategies import TEXT, texts_of

Added = list[tuple[str, dict[str, bool]]]


@dataclass
class Case:
    """What both are asked.

    Attributes:
        tokenizer: a tokenizer.json.
        texts: each encoded alone.
        seconds: texts that are the second of a pair with `texts`, in order; the rest is alone.
        words: inputs that are cut into words already.
        call: options; all texts, pairs and words are encoded with them too, where it is not the plain call.
        ids: decoded, beside what the texts became.
        tokens: given to the decoder as they are.
        more: tokens added after loading.
    """

    tokenizer: Json
    texts: list[str] = field(default_factory=list)
    seconds: list[str | None] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)
    call: Call = field(default_factory=Call)
    ids: list[list[int]] = field(default_factory=list)
    tokens: list[list[str]] = field(default_factory=list)
    more: Added = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        fields = json.loads(text)
        fields["call"] = Call(**fields["call"])
        fields["more"] = [(content, flags) for content, flags in fields["more"]]
        return cls(**fields)

    def types(self) -> set[str]:
        """The types of its components, and the options that change how they work together."""
        found: set[str] = set()
        types(self.tokenizer, found.add)
        if self.more or any(token["id"] > 2 for token in self.tokenizer.get("added_tokens", [])):
            found.add("AddedToken")
        return found


def tokenizer_json(
    model: Json, added: Iterable[tuple[int, str, dict[str, bool]]] = (), **components: Any
) -> Json:
    names = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": content, **flags} for id, content, flags in added],
        **{name: components.get(name) for name in names},
        "model": model,
    }


def calls(pretokenized: bool = False) -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        add_special_tokens=st.booleans(),
        is_pretokenized=st.just(pretokenized),
        truncation=st.sampled_from([None, "longest_first", "only_first", "only_second"]),
        max_length=st.integers(3, 14),
        stride=st.integers(0, 5),
        truncation_side=st.sampled_from(["left", "right"]),
        padding=st.sampled_from([None, "longest", "max_length"]),
        pad_to_multiple_of=st.sampled_from([None, 1, 4, 8]),
        padding_side=st.sampled_from(["left", "right"]),
    )


TEXTS = st.lists(TEXT, min_size=1, max_size=10)
WORD_LISTS = st.lists(st.lists(TEXT, max_size=4), max_size=2)
WORDLEVEL: Json = {
    "type": "WordLevel",
    "unk_token": "[UNK]",
    "vocab": {token: id for id, token in enumerate(dict.fromkeys([*SPECIAL, *DECODED]))},
}
_FLAGS_OF_SPECIAL = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}
SPECIAL_ADDED = [(1, "[CLS]", _FLAGS_OF_SPECIAL), (2, "[SEP]", _FLAGS_OF_SPECIAL)]


@st.composite
def normalizer_case(draw: st.DrawFn, inner: Components = NORMALIZER) -> Case:
    texts = draw(TEXTS)
    pre_tokenizer = draw(st.sampled_from([None, None, {"type": "Whitespace"}, {"type": "WhitespaceSplit"}]))
    tree = tokenizer_json(visible_model(texts), normalizer=draw(inner), pre_tokenizer=pre_tokenizer)
    words = draw(st.one_of(st.just([]), WORD_LISTS))
    return Case(tree, texts, words=words)


@st.composite
def pre_tokenizer_case(draw: st.DrawFn, inner: Components = PRE_TOKENIZER) -> Case:
    texts = draw(TEXTS)
    normalizer = draw(st.one_of(st.none(), st.none(), NORMALIZER))
    added = [(4, "<x>", draw(FLAGS))] if draw(st.booleans()) else []
    tree = tokenizer_json(visible_model(texts), added, normalizer=normalizer, pre_tokenizer=draw(inner))
    words = draw(st.one_of(st.just([]), WORD_LISTS))
    return Case(tree, texts, words=words)


_BEFORE_MODELS = st.sampled_from(
    [
        None,
        None,
        {"type": "WhitespaceSplit"},
        {"type": "Whitespace"},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
    ]
)


@st.composite
def model_case(draw: st.DrawFn, inner: Components = MODEL) -> Case:
    model = draw(inner)
    texts = draw(st.lists(texts_of(tokens_of(model)), min_size=1, max_size=10))
    ids = draw(st.lists(st.lists(st.integers(0, len(model["vocab"]) + 3), max_size=12), max_size=2))
    return Case(tokenizer_json(model, pre_tokenizer=draw(_BEFORE_MODELS)), texts, ids=ids)


@st.composite
def post_processor_case(draw: st.DrawFn, inner: Components = POST_PROCESSOR) -> Case:
    texts = draw(st.lists(TEXT, min_size=1, max_size=6))
    pre_tokenizer = draw(st.one_of(_BEFORE_MODELS, PRE_TOKENIZER))
    processor = draw(inner)
    tree = tokenizer_json(
        visible_model(texts), SPECIAL_ADDED, pre_tokenizer=pre_tokenizer, post_processor=processor
    )
    seconds = draw(st.lists(st.none() | TEXT, max_size=len(texts)))
    return Case(tree, texts, seconds, draw(WORD_LISTS), draw(st.one_of(st.just(Call()), calls())))


@st.composite
def decoder_case(draw: st.DrawFn, inner: Components = DECODER) -> Case:
    listed = st.lists(st.sampled_from(DECODED), max_size=10)
    ids = st.lists(st.integers(0, len(WORDLEVEL["vocab"]) + 1), max_size=10)
    tree = tokenizer_json(WORDLEVEL, SPECIAL_ADDED, decoder=draw(inner))
    tokens = st.one_of(listed, listed, st.lists(TEXT, max_size=4))
    return Case(
        tree, ids=draw(st.lists(ids, max_size=6)), tokens=draw(st.lists(tokens, min_size=1, max_size=6))
    )


def _with_ids(model: Json, tokens: Added) -> list[tuple[int, str, dict[str, bool]]]:
    """Tokens as a file lists them: those of the model keep their id, others follow it."""
    vocab = model["vocab"]
    known = {entry[0]: id for id, entry in enumerate(vocab)} if isinstance(vocab, list) else vocab
    following = iter(range(len(vocab), len(vocab) + len(tokens)))
    listed = {content: (known.get(content), content, flags) for content, flags in tokens if content}
    return sorted(
        (next(following) if id is None else id, content, flags) for id, content, flags in listed.values()
    )


@st.composite
def added_tokens_case(draw: st.DrawFn) -> Case:
    tokens, more = draw(ADDED_TOKENS), draw(ADDED_TOKENS)
    texts = draw(st.lists(texts_of([content for content, _ in [*tokens, *more]]), min_size=1, max_size=8))
    model = visible_model(texts)
    normalizer = draw(st.one_of(st.none(), NORMALIZER))
    pre_tokenizer = draw(st.one_of(_BEFORE_MODELS, PRE_TOKENIZER))
    tree = tokenizer_json(model, _with_ids(model, tokens), normalizer=normalizer, pre_tokenizer=pre_tokenizer)
    words = draw(st.one_of(st.just([]), WORD_LISTS))
    ids = draw(st.lists(st.lists(st.integers(0, len(model["vocab"]) + 8), max_size=8), max_size=2))
    return Case(tree, texts, words=words, ids=ids, more=more)


@st.composite
def option_case(draw: st.DrawFn) -> Case:
    """Truncation, stride, padding, pairs and words, over pipelines of every kind."""
    texts = draw(st.lists(TEXT, min_size=1, max_size=5))
    model = draw(st.one_of(st.just(visible_model(texts)), MODEL))
    tree = tokenizer_json(
        model,
        SPECIAL_ADDED,
        pre_tokenizer=draw(PRE_TOKENIZER),
        post_processor=draw(st.none() | POST_PROCESSOR),
    )
    seconds = draw(st.lists(st.none() | TEXT, max_size=len(texts)))
    return Case(tree, texts, seconds, draw(WORD_LISTS), draw(calls()))


@st.composite
def pipeline_case(draw: st.DrawFn) -> Case:
    """Everything at once."""
    model = draw(st.one_of(MODEL, bpe(byte_level=True)))
    tokens = draw(ADDED_TOKENS)
    texts = draw(
        st.lists(texts_of([*tokens_of(model), *(content for content, _ in tokens)]), min_size=1, max_size=8)
    )
    tree = tokenizer_json(
        model,
        _with_ids(model, tokens),
        normalizer=draw(st.none() | NORMALIZER),
        pre_tokenizer=draw(st.none() | PRE_TOKENIZER),
        post_processor=draw(st.none() | POST_PROCESSOR),
        decoder=draw(st.none() | DECODER),
    )
    ids = draw(st.lists(st.lists(st.integers(0, len(model["vocab"]) + 8), max_size=12), max_size=3))
    seconds = draw(st.one_of(st.just([]), st.lists(st.none() | TEXT, max_size=len(texts))))
    words = draw(st.one_of(st.just([]), WORD_LISTS))
    return Case(tree, texts, seconds, words, draw(st.one_of(st.just(Call()), calls())), ids)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every value of the tree, as its container and its key; of a vocabulary only the first few."""
    found: list[tuple[Any, Any]] = []
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    for key in keys[:8]:
        found.append((tree, key))
        if isinstance(tree[key], dict | list):
            found.extend(_places(tree[key]))
    return found


ODD_VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    2**31,
    2**32,
    2**64,
    0.5,
    "",
    "a",
    "ab",
    "é",
    [],
    {},
    [1],
    ["a", "b"],
]
ODD_VALUES += [
    ["a", 1],
    {"type": "NFC"},
    {"String": "a"},
    {"Regex": "("},
    "Isolated",
    "always",
    "Sequence",
    [[]],
]


@st.composite
def file_case(draw: st.DrawFn) -> Case:
    """A file in which one thing is missing, of another kind, or of a name nobody knows: refused by both or by none."""
    case = copy.deepcopy(draw(st.one_of(pipeline_case(), added_tokens_case(), decoder_case())))
    places = _places(case.tokenizer)
    container, key = places[draw(st.integers(0, 10**6)) % len(places)]
    way = draw(st.sampled_from(["remove", "replace", "replace", "rename", "more"]))
    if way == "remove" or (way == "rename" and isinstance(container, list)):
        del container[key]
    elif way == "replace":
        container[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
    elif way == "rename":
        container[draw(st.sampled_from(["", "type", "pattern", "unheard_of"]))] = container.pop(key)
    elif isinstance(container, dict):
        container["unheard_of"] = 1
    else:
        container.append(copy.deepcopy(container[key]))
    case.call, case.words, case.seconds = Call(), [], []
    return case


KINDS: dict[str, st.SearchStrategy[Case]] = {
    "normalizers": normalizer_case(),
    "pre_tokenizers": pre_tokenizer_case(),
    "models": model_case(),
    "post_processors": post_processor_case(),
    "decoders": decoder_case(),
    "added_tokens": added_tokens_case(),
    "options": option_case(),
    "pipelines": pipeline_case(),
    "files": file_case(),
}
_CASES_OF = {
    "normalizers": normalizer_case,
    "pre_tokenizers": pre_tokenizer_case,
    "post_processors": post_processor_case,
    "decoders": decoder_case,
}


def kinds() -> dict[str, st.SearchStrategy[Case]]:
    """The kinds, and each type of component on its own: `normalizers.Replace`, `models.BPE`."""
    found = dict(KINDS)
    for kind, (_, _, simple) in SECTIONS.items():
        found |= {f"{kind}.{name}": _CASES_OF[kind](strategy) for name, strategy in simple.items()}
    return found | {f"models.{name}": model_case(strategy) for name, strategy in SIMPLE_MODELS.items()}
