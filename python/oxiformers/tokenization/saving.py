"""Writing a tokenizer's files, as transformers 4.57 and 5 read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxiformers._core import AddedToken, Tokenizer
from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.files import make_folder, write_text
from oxiformers.tokenization.loading import (
    CHAT_TEMPLATE_FILE,
    CHAT_TEMPLATE_FOLDER,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
)
from oxiformers.tokenization.special_tokens import NAMED_TOKENS, token_state

if TYPE_CHECKING:
    from oxiformers.tokenization.tokenizer import PreTrainedTokenizerFast

VOCABULARY_FILE = "vocab.txt"


def save_tokenizer(
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    prefix: str,
    *,
    with_vocabulary: bool,
    template_files: bool,
) -> tuple[str, ...]:
    """Writes all files of the tokenizer, each in one piece, and returns their paths."""
    core = tokenizer.backend_tokenizer
    template = tokenizer.chat_template
    config = tokenizer_config(tokenizer)
    if not template_files and template:
        config["chat_template"] = (
            template
            if isinstance(template, str)
            else [{"name": name, "template": text} for name, text in template.items()]
        )
    paths = [
        _write(folder, prefix, CONFIG_FILE, _json(config)),
        _write(folder, prefix, SPECIAL_TOKENS_FILE, _json(special_tokens(tokenizer))),
    ]
    templates = {"default": template} if isinstance(template, str) else dict(template or {})
    for name, text in templates.items() if template_files else ():
        if name == "default":
            paths.append(_write(folder, prefix, CHAT_TEMPLATE_FILE, text))
        else:
            paths.append(_write(folder / CHAT_TEMPLATE_FOLDER, prefix, f"{name}.jinja", text))
    if tokenizer.saves_tokenizer_json:
        paths.append(_write(folder, prefix, TOKENIZER_FILE, core.to_str(pretty=True)))
    if (with_vocabulary and tokenizer.can_save_slow_tokenizer) or not tokenizer.saves_tokenizer_json:
        paths += tokenizer.save_vocabulary(folder, prefix)
    return tuple(paths)


def save_vocabulary(core: Tokenizer, folder: Path, prefix: str) -> str:
    """Writes vocab.txt: a token a line, in the order of the ids, added tokens left out."""
    if core.model_type != "WordPiece":
        raise UnsupportedError.mismatch(
            "model.type",
            "WordPiece",
            core.model_type,
            "vocab.txt is of WordPiece alone; tokenizer.json holds this one",
        )
    vocabulary = core.vocab(False)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    return _write(folder, prefix, VOCABULARY_FILE, "".join(f"{token}\n" for token in tokens))


def tokenizer_config(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The content of tokenizer_config.json."""
    left_out = {
        *tokenizer.vocab_files_names,
        "name_or_path",
        "added_tokens_decoder",
        "chat_template",
        "vocab",
    }
    config = {key: value for key, value in tokenizer.init_kwargs.items() if key not in left_out}
    for key in config:
        if hasattr(tokenizer, key):
            config[key] = getattr(tokenizer, key)
    config.update(
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
        tokenizer_class=type(tokenizer).__name__,
        # transformers 4 reads a mapping under this name, and the list under its older name; 5 reads both so
        extra_special_tokens={},
        added_tokens_decoder={
            str(index): token_state(token) for index, token in tokenizer.added_tokens_decoder.items()
        },
    )
    for side in ("padding_side", "truncation_side"):
        if side in config or getattr(tokenizer, side) != "right":
            config[side] = getattr(tokenizer, side)
    if tokenizer.split_special_tokens:
        config["split_special_tokens"] = True
    if tokenizer.chat_control_tokens is not None:
        config["chat_control_tokens"] = list(tokenizer.chat_control_tokens)
    for name, token in tokenizer._named_tokens().items():
        if name in NAMED_TOKENS:
            config[name] = token
        else:
            config.pop(name, None)
            config["extra_special_tokens"][name] = token
    config.pop("additional_special_tokens", None)
    if tokenizer.extra_special_tokens:
        config["additional_special_tokens"] = tokenizer.extra_special_tokens
    return config


def special_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The content of special_tokens_map.json."""

    def plain(token: str | AddedToken) -> str | dict[str, Any]:
        if isinstance(token, str):
            return token
        return {key: value for key, value in token_state(token).items() if key != "special"}

    tokens: dict[str, Any] = {
        name: plain(token) for name, token in tokenizer._set_tokens() if name in NAMED_TOKENS
    }
    if tokenizer.extra_special_tokens:
        tokens["additional_special_tokens"] = [
            plain(token) for token in tokenizer._extra_special_tokens or ()
        ]
    return tokens


def _json(value: dict[str, Any]) -> str:
    def other(item: Any) -> Any:
        if isinstance(item, AddedToken):
            return {"__type": "AddedToken", **token_state(item)}
        raise ArgumentError(
            f"a setting of type {type(item).__name__} cannot be saved in JSON: {item!r:.80}",
            expected="a value that JSON holds",
            actual=type(item).__name__,
        )

    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=other) + "\n"


def _write(folder: Path, prefix: str, name: str, text: str) -> str:
    make_folder(folder)
    path = folder / (f"{prefix}-{name}" if prefix else name)
    write_text(path, text)
    return str(path)
