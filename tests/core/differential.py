"""One case put to both: everything observed of tokenizers must be observed of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tokenizers

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import OxiformersError, UnsupportedError
from tests.core.cases import Case
from tests.core.reference import FIELDS, Call, Pair

#: Files that ours refuses and tokenizers loads, by what our error says, and why.
STRICTER = {
    r"post_processor\S*\.single.*expected A, the one sequence": "using it panics there",
    r"post_processor\S*\.SpecialToken\.id: expected a token listed in special_tokens": "using it panics there",
    r"pre_tokenizer\S*\.length: expected at least 1, found 0": "using it panics there",
    r"special_tokens.*expected as many ids as tokens": "the reference makes tokens without ids of it",
    r"type: expected a string, found": "a component whose kind has no name",
    r"a regular expression that is supported here": "what no linear engine can do",
    r"(normalizer|tokenizer|processor|decoder)\S*\.type: .* is not supported": "for an unknown name",
    r"(normalizer|tokenizer|processor|decoder)\S*: expected an object, found an array": "fields without names",
}
# What puts white space before a word that the text does not have: where offsets are trimmed, ours keep the word whole.
PREFIX = re.compile(r'"add_prefix_space": true|"type": "(Prepend|Replace|Precompiled)"')
TRIMS = re.compile(r'"type": "(ByteLevel|RobertaProcessing)"(?![^{}]*"trim_offsets": false)')
# How often the reference is built again where the two differ: what it decides by chance is not defined.
ORACLES = 16


class Divergence(AssertionError):
    """The two differ.

    Attributes:
        what: which observation: "load", "ids", "decode", ...
        case: the whole case.
    """

    def __init__(self, what: str, detail: str, case: Case) -> None:
        super().__init__(f"{what}: {detail}")
        self.what = what
        self.case = case


class Unsupported(Exception):
    """Ours says that it lacks a component."""


class Refused:
    """An answer that is an error; all errors are equal, panics are told apart."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.panic = type(error).__name__ == "PanicException"
        self.typed = isinstance(error, OxiformersError)

    def __repr__(self) -> str:
        return f"{type(self.error).__name__}({str(self.error)[:200]!r})"


def attempt(call: Callable[[], Any]) -> Any:
    """The call's answer, or how it was refused. A panic of either side arrives as an exception of its own base."""
    try:
        return call()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 -- a panic has a base of its own
        return Refused(error)


def agree(mine: Any, theirs: Any) -> bool:
    """Equal, or refused by both. Where theirs panics ours may do as it likes, but panic."""
    if isinstance(mine, Refused):
        return isinstance(theirs, Refused) and not mine.panic and mine.typed
    return (isinstance(theirs, Refused) and theirs.panic) or (
        not isinstance(theirs, Refused) and mine == theirs
    )


# Parts cut off have parts of their own; their number multiplies with each level.
LEVELS, PARTS = 2, 64


def fields(encoding: Any, level: int = 0) -> dict[str, Any]:
    """What an encoding says, and what its first parts say."""
    found = {name: getattr(encoding, name) for name in FIELDS}
    parts = encoding.overflowing
    found["parts"] = len(parts)
    if level < LEVELS:
        found["overflowing"] = [fields(part, level + 1) for part in parts[:PARTS]]
    return found


def without_offsets(answers: list[Any]) -> list[Any]:
    """Answers that are no errors without their offsets, and those of their parts."""

    def less(answer: Any) -> Any:
        if isinstance(answer, Refused):
            return answer
        kept = {name: value for name, value in answer.items() if name != "offsets"}
        if "overflowing" in kept:
            kept["overflowing"] = [less(part) for part in kept["overflowing"]]
        return kept

    return [less(answer) for answer in answers]


def _singly(encode: Callable[[Sequence[Any]], list[Any]], inputs: Sequence[Any]) -> list[Any]:
    """Encodes all at once, and where that is refused each alone."""
    together = attempt(lambda: encode(inputs))
    if not isinstance(together, Refused):
        return [fields(encoding) for encoding in together]
    return [attempt(lambda one=one: fields(encode([one])[0])) for one in inputs]


class Sides:
    """A case loaded by both."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.text = json.dumps(case.tokenizer)
        self.theirs = attempt(self._oracle)
        self.ours = attempt(self._ours)
        self.compared = 0

    def _oracle(self) -> tokenizers.Tokenizer:
        found = tokenizers.Tokenizer.from_str(self.text)
        found.no_truncation()
        found.no_padding()
        if self.case.more:
            found.add_tokens([tokenizers.AddedToken(content, **flags) for content, flags in self.case.more])
        return found

    def _ours(self) -> Tokenizer:
        found = Tokenizer.from_str(self.text)
        if not self.case.more:
            return found
        return found.with_added_tokens([AddedToken(content, **flags) for content, flags in self.case.more])

    def fail(self, what: str, detail: str) -> None:
        raise Divergence(what, detail, self.case)

    def check(self, *, lenient: bool = False) -> int:
        """Compares everything; returns how many texts and lists of ids or tokens were compared.

        Args:
            lenient: a component that ours does not have raises Unsupported instead of Divergence.
        """
        if isinstance(self.ours, Refused) or isinstance(self.theirs, Refused):
            if lenient and isinstance(self.ours, Refused) and isinstance(self.ours.error, UnsupportedError):
                raise Unsupported(str(self.ours.error))
            stricter = isinstance(self.ours, Refused) and any(
                re.search(pattern, str(self.ours.error)) for pattern in STRICTER
            )
            # Anchors in a look-behind mean something here; there a decoder says only that none fits.
            reason = str(self.theirs.error) if isinstance(self.theirs, Refused) else ""
            looser = "in look-behind" in reason or (
                "PyDecoderWrapper" in reason and "(?<" in json.dumps(self.case.tokenizer["decoder"])
            )
            if not stricter and not looser and not agree(self.ours, self.theirs):
                self.fail("load", f"ours {self.ours!r}, theirs {self.theirs!r}")
            return 1
        if any(
            token.normalized and not self.ours.normalize(token.content) for _, token in self.ours.added_tokens
        ):
            # The reference finds it everywhere and never ends.
            return 1
        self.pair = Pair(self.ours, self.theirs)
        self._vocabulary()
        self._file()
        inputs: list[tuple[list[Any], list[Any] | None, bool]] = [(self.case.texts, None, False)]
        if self.case.seconds:
            count = len(self.case.seconds)
            inputs.append((self.case.texts[:count], self.case.seconds, False))
        inputs.append((self.case.words, None, True))
        for firsts, seconds, pretokenized in inputs:
            if firsts:
                self._encode(firsts, seconds, Call(is_pretokenized=pretokenized))
                options = {**self.case.call.__dict__, "is_pretokenized": pretokenized}
                if self.case.call != Call():
                    self._encode(firsts, seconds, Call(**options))
        self._decode()
        return self.compared

    def _same(self, what: str, mine: Any, theirs: Any, again: Callable[[Any], Any], of: str = "") -> None:
        """Fails where the two differ, unless tokenizers differs from itself."""
        if agree(mine, theirs):
            return
        for _ in range(ORACLES):
            other = again(self._oracle())
            if not agree(other, theirs) and not (isinstance(other, Refused) and isinstance(theirs, Refused)):
                return
        if isinstance(mine, dict) and isinstance(theirs, dict):
            key = next(key for key in theirs if mine.get(key) != theirs[key])
            what, mine, theirs = f"{what}.{key}", mine.get(key), theirs[key]
        self.fail(what, f"{of}\n  ours   {mine!r}\n  theirs {theirs!r}")

    def _vocabulary(self) -> None:
        def added(tokenizer: Any) -> Any:
            return [
                (
                    id,
                    *(
                        getattr(token, name)
                        for name in ("content", "special", "normalized", "lstrip", "rstrip")
                    ),
                )
                for id, token in sorted(
                    tokenizer.get_added_tokens_decoder().items(), key=lambda item: item[0]
                )
            ]

        mine = [
            (id, *(getattr(token, name) for name in ("content", "special", "normalized", "lstrip", "rstrip")))
            for id, token in self.ours.added_tokens
        ]
        self._same("added_tokens", mine, added(self.theirs), added)
        for with_added in (True, False):
            self._same(
                "vocab",
                self.ours.vocab(with_added),
                self.theirs.get_vocab(with_added),
                lambda oracle, with_added=with_added: oracle.get_vocab(with_added),
            )
        for is_pair in (False, True):
            self._same(
                "num_special_tokens",
                attempt(lambda is_pair=is_pair: self.ours.num_special_tokens(is_pair)),
                attempt(lambda is_pair=is_pair: self.theirs.num_special_tokens_to_add(is_pair)),
                lambda oracle, is_pair=is_pair: oracle.num_special_tokens_to_add(is_pair),
            )

    def _file(self) -> None:
        """What ours writes says the same as what tokenizers writes, and is read back."""
        written = attempt(lambda: json.loads(self.theirs.to_str()))
        if isinstance(written, Refused):
            return
        mine = json.loads(self.ours.to_str())
        for section, value in written.items():
            if mine.get(section) != value:
                if section == "model":
                    section = "model." + next(key for key in value if mine["model"].get(key) != value[key])
                again = json.loads(self._oracle().to_str())
                if again == written:
                    self.fail(
                        f"to_str.{section}",
                        f"\n  ours   {json.dumps(mine)[:3000]}\n  theirs {json.dumps(written)[:3000]}",
                    )
        if set(mine) != set(written):
            self.fail("to_str", f"ours has {sorted(mine)}, theirs {sorted(written)}")

    def _out_of_scope(self, call: Call, seconds: list[Any] | None) -> bool:
        """Truncation that leaves no room: ours refuses it before any text is seen, theirs when one is too long."""
        if call.truncation is None or call.max_length is None:
            return False
        counts = [
            attempt(lambda p=pair: self.ours.num_special_tokens(p)) for pair in (False, seconds is not None)
        ]
        if any(isinstance(count, Refused) for count in counts):
            return True
        special = max(counts)
        return call.max_length < special or (call.stride > 0 and call.stride >= call.max_length - special)

    def _encode(self, firsts: list[Any], seconds: list[Any] | None, call: Call) -> None:
        if self._out_of_scope(call, seconds):
            attempt(lambda: self.ours.encode_batch(firsts, seconds, **call.ours()))
            return
        both = firsts if seconds is None else list(zip(firsts, seconds, strict=True))
        options = call.ours()
        # Padding to the longest looks at the whole batch, so what is padded is encoded one at a time only if refused.
        cut = call.truncation is not None

        def encode_ours(items: Sequence[Any]) -> list[Any]:
            one = list(items) if seconds is None else [item[0] for item in items]
            two = None if seconds is None else [item[1] for item in items]
            return self.ours.encode_batch(one, two, return_overflowing=cut, **options)

        def encode_theirs(oracle: Any, items: Sequence[Any]) -> list[Any]:
            one = list(items) if seconds is None else [item[0] for item in items]
            two = None if seconds is None else [item[1] for item in items]
            return Pair(self.ours, oracle).reference(one, two, call)

        compared = without_offsets if self._keeps_words_whole() else list

        def again(oracle: Any) -> list[Any]:
            return compared(_singly(lambda items: encode_theirs(oracle, items), both))

        expected, found = again(self.theirs), compared(_singly(encode_ours, both))
        for index, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
            self.compared += 1
            if isinstance(theirs, Refused) and "stride set to" in str(theirs.error):
                continue  # tokenizers counts special tokens here even where none are added
            self._same(
                "encode",
                mine,
                theirs,
                lambda oracle, index=index: again(oracle)[index],
                f"{both[index]!r} {call}",
            )
        if not any(isinstance(answer, Refused) for answer in (*found, *expected)):
            self._routes(firsts, seconds, call)

    def _keeps_words_whole(self) -> bool:
        """Whether offsets are ours: see docs/migration.md, and test_post_processors for the right values."""
        before = json.dumps([self.case.tokenizer.get("normalizer"), self.case.tokenizer.get("pre_tokenizer")])
        after = json.dumps(self.case.tokenizer.get("post_processor"))
        return PREFIX.search(before) is not None and TRIMS.search(after) is not None

    def _means_bytes(self, tokens: Iterable[str]) -> bool:
        """Whether an added one is taken for bytes by a decoder: see test_added_tokens for the right values."""
        added = {token.content for token in self.theirs.get_added_tokens_decoder().values()}
        return "ByteLevel" in json.dumps(self.case.tokenizer.get("decoder")) and any(
            token in added and not token.isascii() for token in tokens
        )

    def _routes(self, firsts: list[Any], seconds: list[Any] | None, call: Call) -> None:
        """The other ways to encode give what the detailed way gives."""
        options = call.ours()
        detailed = self.ours.encode_batch(firsts, seconds, **options)
        for way in (self.pair._check_rows, self.pair._check_flat):
            passed = options if way == self.pair._check_rows else call
            answer = attempt(lambda way=way, passed=passed: way(firsts, seconds, passed, detailed))  # type: ignore[operator]
            if isinstance(answer, Refused):
                self.fail(
                    f"routes.{way.__name__.removeprefix('_check_')}", f"{firsts!r} {seconds!r} {answer!r}"
                )

    def _decode(self) -> None:
        encoded = _singly(lambda texts: self.theirs.encode_batch(list(texts)), self.case.texts)
        lists = [*self.case.ids, *(answer["ids"] for answer in encoded if not isinstance(answer, Refused))]
        contents = {id: token.content for id, token in self.theirs.get_added_tokens_decoder().items()}
        for ids in lists:
            if self._means_bytes(contents.get(id, "") for id in ids):
                continue
            for skip in (False, True):
                self.compared += skip
                self._same(
                    "decode",
                    attempt(lambda ids=ids, skip=skip: self.ours.decode(ids, skip)),
                    attempt(lambda ids=ids, skip=skip: self.theirs.decode(ids, skip_special_tokens=skip)),
                    lambda oracle, ids=ids, skip=skip: attempt(
                        lambda: oracle.decode(ids, skip_special_tokens=skip)
                    ),
                    f"{ids!r} skip_special_tokens={skip}",
                )
        for tokens in self.case.tokens:
            self.compared += 1
            if self.theirs.decoder is not None and not self._means_bytes(tokens):
                self._same(
                    "decode_tokens",
                    attempt(lambda tokens=tokens: self.ours.decode_tokens(tokens)),
                    attempt(lambda tokens=tokens: self.theirs.decoder.decode(tokens)),
                    lambda oracle, tokens=tokens: attempt(lambda: oracle.decoder.decode(tokens)),
                    f"{tokens!r}",
                )


def check(case: Case, *, lenient: bool = False) -> int:
    """Compares both on the case; returns how many comparisons it was worth."""
    return Sides(case).check(lenient=lenient)
