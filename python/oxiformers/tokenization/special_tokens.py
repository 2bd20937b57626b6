"""Special tokens of a tokenizer: the named ones (pad, unk, cls, ...), their ids, and those a model adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

from oxiformers._core import AddedToken
from oxiformers.errors import ArgumentError, InputTypeError, TokenListError
from oxiformers.logging import get_logger

logger = get_logger(__name__)

#: The names every tokenizer has, in the order in which they are listed.
NAMED_TOKENS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_FIELDS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


def text_of(token: str | AddedToken) -> str:
    """The token's text."""
    return token if isinstance(token, str) else token.content


def as_added_token(token: Any, *, special: bool = False) -> AddedToken:
    """A string, or any object with the fields of an AddedToken, as an AddedToken.

    With `special`, the result is a special one whatever the token says of itself.

    Raises InputTypeError for anything else.
    """
    if isinstance(token, str):
        return AddedToken(token, special=special)
    added: AddedToken
    if isinstance(token, AddedToken):
        added = token
    else:
        if not all(hasattr(token, field) for field in _FIELDS):
            raise InputTypeError.mismatch("token", "a str or an AddedToken", type(token).__name__)
        added = AddedToken(**{field: getattr(token, field) for field in _FIELDS})
    return added.as_special() if special and not added.special else added


def token_state(token: AddedToken) -> dict[str, Any]:
    """The token's fields, as tokenizer_config.json holds them."""
    return {field: getattr(token, field) for field in sorted(_FIELDS)}


class _NamedToken:
    """The text of a named special token, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, tokenizer: None, owner: type) -> Self: ...
    @overload
    def __get__(self, tokenizer: SpecialTokens, owner: type) -> str | None: ...
    def __get__(self, tokenizer: SpecialTokens | None, owner: type) -> Self | str | None:
        return self if tokenizer is None else tokenizer._token(self.name)

    def __set__(self, tokenizer: SpecialTokens, value: str | AddedToken | None) -> None:
        tokenizer._set_token(self.name, value)


class _NamedTokenId:
    """The id of a named special token, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    @overload
    def __get__(self, tokenizer: None, owner: type) -> Self: ...
    @overload
    def __get__(self, tokenizer: SpecialTokens, owner: type) -> int | None: ...
    def __get__(self, tokenizer: SpecialTokens | None, owner: type) -> Self | int | None:
        return self if tokenizer is None else tokenizer._token_id(self.name)

    def __set__(self, tokenizer: SpecialTokens, value: int | None) -> None:
        tokenizer._set_token(self.name, None if value is None else tokenizer._existing_token(value))


class SpecialTokens:
    """The special tokens of a tokenizer, as attributes (`pad_token`, `pad_token_id`, ...) and as lists.

    A token that is set here and is not in the vocabulary has the id of `unk_token`; `add_special_tokens` sets
    tokens and puts them into the vocabulary.
    """

    #: Named tokens and, between those of all models and those of this model alone, the list of the others.
    SPECIAL_TOKENS_ATTRIBUTES: list[str] = [*NAMED_TOKENS, "additional_special_tokens"]  # noqa: RUF012 -- an instance may have its own

    _special_tokens_map: dict[str, str | AddedToken | None]
    #: None where it was set to None, which `additional_special_tokens` gives back.
    _extra_special_tokens: list[str | AddedToken] | None
    verbose: bool

    bos_token = _NamedToken()
    eos_token = _NamedToken()
    unk_token = _NamedToken()
    sep_token = _NamedToken()
    pad_token = _NamedToken()
    cls_token = _NamedToken()
    mask_token = _NamedToken()
    bos_token_id = _NamedTokenId()
    eos_token_id = _NamedTokenId()
    unk_token_id = _NamedTokenId()
    sep_token_id = _NamedTokenId()
    pad_token_id = _NamedTokenId()
    cls_token_id = _NamedTokenId()
    mask_token_id = _NamedTokenId()

    if TYPE_CHECKING:  # what the tokenizer itself offers

        def convert_tokens_to_ids(self, tokens: Any) -> Any: ...
        def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any: ...
        def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int: ...

    def _init_special_tokens(self, settings: dict[str, Any]) -> None:
        """Takes the special tokens out of `settings`: named, extra, and under any key ending in _token."""
        self._special_tokens_map = dict.fromkeys(NAMED_TOKENS)
        self._extra_special_tokens = []
        model_specific: dict[str, Any] = {}
        for key in list(settings):
            if key in NAMED_TOKENS:
                value = settings.pop(key)
                if value is not None:
                    self._special_tokens_map[key] = _checked(key, value)
            elif key in ("extra_special_tokens", "additional_special_tokens"):
                value = settings.pop(key)
                if isinstance(value, Mapping):
                    model_specific.update(value)
                elif isinstance(value, (list, tuple)):
                    extra = [_checked(f"{key}[{index}]", token) for index, token in enumerate(value)]
                    known = {text_of(token) for token in self._extra_special_tokens}
                    self._extra_special_tokens += [token for token in extra if text_of(token) not in known]
                elif value is not None:
                    raise _wrong_token(key, value, "a list of tokens, or a mapping of names to tokens")
            elif key.endswith("_token") and _is_token(settings[key]):
                model_specific[key] = settings.pop(key)
            elif key == "model_specific_special_tokens":
                model_specific.update(settings.pop(key) or {})
        if model_specific:
            self._set_model_specific_special_tokens(model_specific)

    def _set_model_specific_special_tokens(self, special_tokens: Mapping[str, str | AddedToken]) -> None:
        """Adds named tokens of this model alone, such as image_token; they become attributes as well."""
        for key, value in special_tokens.items():
            self._special_tokens_map[key] = _checked(key, value)
        new = [key for key in special_tokens if key not in self.SPECIAL_TOKENS_ATTRIBUTES]
        self.SPECIAL_TOKENS_ATTRIBUTES = [*self.SPECIAL_TOKENS_ATTRIBUTES, *new]

    def __getattr__(self, name: str) -> Any:
        tokens = self.__dict__.get("_special_tokens_map", {})
        if name in tokens:
            return self._token(name)
        if name.endswith("_id") and name[:-3] in tokens:
            return self._token_id(name[:-3])
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__.get("_special_tokens_map", {})
        if name not in NAMED_TOKENS and name in own:
            self._set_token(name, value)
        elif name.endswith("_id") and name[:-3] in own and name[:-3] not in NAMED_TOKENS:
            self._set_token(name[:-3], None if value is None else self._existing_token(value))
        else:
            super().__setattr__(name, value)

    def _token(self, name: str) -> str | None:
        value = self._special_tokens_map.get(name)
        if value is None:
            if self.verbose:
                logger.error("Using %s, but it is not set yet.", name)
            return None
        return text_of(value)

    def _token_id(self, name: str) -> int | None:
        token = self._token(name)
        return None if token is None else self.convert_tokens_to_ids(token)

    def _set_token(self, name: str, value: Any) -> None:
        # a new dictionary, so that a thread that reads sees the old tokens or the new ones
        self._special_tokens_map = {
            **self._special_tokens_map,
            name: None if value is None else _checked(name, value),
        }

    def _existing_token(self, index: int) -> str:
        token = self.convert_ids_to_tokens(index)
        if not isinstance(token, str):
            raise ArgumentError(f"the vocabulary has no token of id {index}", key="id", actual=str(index))
        return token

    # --- lists

    @property
    def extra_special_tokens(self) -> list[str]:
        """The special tokens without a name."""
        return [text_of(token) for token in self._extra_special_tokens or ()]

    @extra_special_tokens.setter
    def extra_special_tokens(
        self, value: Sequence[str | AddedToken] | Mapping[str, str | AddedToken] | None
    ) -> None:
        if isinstance(value, Mapping):
            self._set_model_specific_special_tokens(value)
            return
        if value is not None and not isinstance(value, (list, tuple)):
            raise _wrong_token("extra_special_tokens", value, "a list of tokens")
        self._extra_special_tokens = (
            None if value is None else [_checked("extra_special_tokens", token) for token in value]
        )

    @property
    def extra_special_tokens_ids(self) -> list[int]:
        """The ids of the special tokens without a name."""
        return list(self.convert_tokens_to_ids(self.extra_special_tokens))

    @extra_special_tokens_ids.setter
    def extra_special_tokens_ids(self, value: Iterable[int] | None) -> None:
        self.extra_special_tokens = [self._existing_token(index) for index in value or ()]

    @property
    def additional_special_tokens(self) -> list[str] | None:
        """transformers 4's name of `extra_special_tokens`; None where it was set to None."""
        return None if self._extra_special_tokens is None else self.extra_special_tokens

    @additional_special_tokens.setter
    def additional_special_tokens(self, value: Sequence[str | AddedToken] | None) -> None:
        self.extra_special_tokens = value

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """transformers 4's name of `extra_special_tokens_ids`."""
        return self.extra_special_tokens_ids

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, value: Iterable[int] | None) -> None:
        self.extra_special_tokens_ids = value

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """The special tokens that are set, by name; those without a name as the list additional_special_tokens."""
        return {
            name: text_of(token) if isinstance(token, (str, AddedToken)) else list(map(text_of, token))
            for name, token in self.special_tokens_map_extended.items()
        }

    @property
    def special_tokens_map_extended(self) -> dict[str, str | AddedToken | list[str | AddedToken]]:
        """The same as they were given: strings or AddedTokens."""
        extra = self._extra_special_tokens
        return {**dict(self._set_tokens()), **({"additional_special_tokens": list(extra)} if extra else {})}

    @property
    def all_special_tokens(self) -> list[str]:
        """The named special tokens, then the others, each once."""
        return list(dict.fromkeys(text_of(token) for token in self.all_special_tokens_extended))

    @property
    def all_special_tokens_extended(self) -> list[str | AddedToken]:
        """All special tokens as they were given: strings or AddedTokens."""
        tokens = [token for _, token in self._set_tokens()]
        unique: dict[str, str | AddedToken] = {}
        for token in (*tokens, *(self._extra_special_tokens or ())):
            unique.setdefault(text_of(token), token)
        return list(unique.values())

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return list(self.convert_tokens_to_ids(self.all_special_tokens))

    def _named_tokens(self) -> dict[str, str]:
        """The text of the named special tokens that are set."""
        return {name: text_of(token) for name, token in self._set_tokens()}

    def _set_tokens(self) -> list[tuple[str, str | AddedToken]]:
        tokens = self._special_tokens_map
        return [
            (name, token)
            for name in self.SPECIAL_TOKENS_ATTRIBUTES
            if (token := tokens.get(name)) is not None
        ]

    # --- adding

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Any],
        replace_extra_special_tokens: bool = True,
        replace_additional_special_tokens: bool | None = None,
    ) -> int:
        """Sets special tokens, and puts those into the vocabulary that are not in it yet.

        The model's embeddings have to grow with it: `model.resize_token_embeddings(len(tokenizer))`.

        Args:
            special_tokens_dict: tokens by name ("pad_token", ...); "extra_special_tokens" (or transformers
                4's "additional_special_tokens") holds a list.
            replace_extra_special_tokens: whether that list replaces the one so far, or is appended to it.
            replace_additional_special_tokens: transformers 4's name of the same.

        Returns:
            How many tokens were added to the vocabulary.
        """
        replace = (
            replace_extra_special_tokens
            if replace_additional_special_tokens is None
            else replace_additional_special_tokens
        )
        allowed = {*self.SPECIAL_TOKENS_ATTRIBUTES, "extra_special_tokens"}
        added: list[AddedToken] = []
        for key, value in special_tokens_dict.items():
            if key not in allowed:
                raise ArgumentError(
                    f"Key {key} is not a valid special token. Valid keys are: {sorted(allowed)}",
                    key=key,
                    expected=f"one of {sorted(allowed)}",
                    actual=repr(key),
                )
            if key not in ("extra_special_tokens", "additional_special_tokens"):
                token = as_added_token(_checked(key, value), special=isinstance(value, str))
                self._set_token(key, token)
                added.append(token)
                continue
            if not isinstance(value, (list, tuple)):
                raise _wrong_token(key, value, "a list of tokens", TokenListError)
            known = set() if replace else set(self.extra_special_tokens)
            tokens = [as_added_token(_checked(key, token), special=isinstance(token, str)) for token in value]
            tokens = [token for token in tokens if token.content not in known]
            if replace and tokens:
                self._extra_special_tokens = list(tokens)
            else:
                self._extra_special_tokens = [*(self._extra_special_tokens or ()), *tokens]
            added += tokens
        return self.add_tokens(added, special_tokens=True) if added else 0


def _is_token(value: Any) -> bool:
    return isinstance(value, (str, AddedToken)) or all(hasattr(value, field) for field in _FIELDS)


def _checked(key: str, value: Any) -> str | AddedToken:
    if isinstance(value, str):
        return value
    if not _is_token(value):
        raise _wrong_token(key, value, "a str or an AddedToken")
    return as_added_token(value)


def _wrong_token(
    key: str, value: Any, expected: str, error: type[InputTypeError] = InputTypeError
) -> InputTypeError:
    kind = type(value).__name__
    return error(f"{key} has to be {expected}, not {kind}", key=key, expected=expected, actual=kind)


def keep_flags(tokenizer: Any, listed: Iterable[AddedToken] = (), named_only: bool = False) -> None:
    """Special tokens that state their flags have them, and listed ones are special, whatever tokenizer.json says."""
    core = tokenizer.backend_tokenizer
    found = {token.content: token for _, token in core.added_tokens}
    special_tokens = (
        [token for _, token in tokenizer._set_tokens()]
        if named_only
        else tokenizer.all_special_tokens_extended
    )
    texts = {text_of(token) for token in special_tokens}
    stated = [token for token in listed if token.content in texts]
    stated += [token for token in special_tokens if isinstance(token, AddedToken)]
    special = [token if token.special else token.as_special() for token in stated]
    changed = [token for token in special if token != found.get(token.content)]
    if changed:
        tokenizer._core = core.with_added_tokens(changed)
