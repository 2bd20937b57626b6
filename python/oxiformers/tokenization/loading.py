"""What a tokenizer's files say: its config, special tokens, added tokens and chat templates."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oxiformers._core import AddedToken
from oxiformers.errors import ConfigError, FileError, UnsupportedError
from oxiformers.files import json_type, read_json
from oxiformers.hub import Source, split_hub_arguments
from oxiformers.tokenization.special_tokens import NAMED_TOKENS, as_added_token, text_of

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
CHAT_TEMPLATE_FOLDER = "additional_chat_templates"
#: A setting for the constructor: named special tokens have the flags they have in tokenizer.json.
FLAGS_FROM_FILE = "_flags_from_file"
#: The same for the class that tokenizer_config.json names.
NAMED_CLASS = "_named_class"

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "model_max_length": ((int, float, type(None)), "a number"),
    "max_len": ((int, float, type(None)), "a number"),
    "padding_side": ((str,), "a string"),
    "truncation_side": ((str,), "a string"),
    "clean_up_tokenization_spaces": ((bool, type(None)), "a boolean"),
    "split_special_tokens": ((bool,), "a boolean"),
    "model_input_names": ((list,), "an array of strings"),
    "do_lower_case": ((bool,), "a boolean"),
    "strip_accents": ((bool, type(None)), "a boolean or null"),
    "tokenize_chinese_chars": ((bool,), "a boolean"),
    "added_tokens_decoder": ((dict,), "an object"),
    "tokenizer_class": ((str, type(None)), "a string"),
    "chat_template": ((str, list, type(None)), "a string or an array"),
    "fast_tokenizer_files": ((list, type(None)), "an array of strings"),
}
_VERSIONED = re.compile(r"tokenizer\.([0-9]{1,9}(?:\.[0-9]{1,9}){0,9})\.json")
_BOOLEANS_ARE_NO_NUMBERS = ("model_max_length", "max_len")
_TOKEN_FIELDS = {
    "content": str,
    "single_word": bool,
    "lstrip": bool,
    "rstrip": bool,
    "normalized": bool,
    "special": bool,
}
#: Keys of the config that say where files lay when it was saved, or which class wrote it.
_NOT_SETTINGS = (
    "tokenizer_class",
    "tokenizer_file",
    "vocab_file",
    "special_tokens_map_file",
    "name_or_path",
    "is_local",
    "local_files_only",
    "backend",
    "auto_map",
    "init_inputs",
    "files_loaded",
    "self",
)


def load_settings(
    name_or_path: str | os.PathLike[str],
    file_names: Mapping[str, str | tuple[str, ...]],
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """The constructor's keyword arguments for the tokenizer of that name.

    Args:
        name_or_path: a folder, a single file, or a repository's name.
        file_names: the files the class can read, by constructor argument, with the older names of each; the path
            of each that is there becomes that argument.
        arguments: the caller's keyword arguments; those that are not about finding files win over the files.
    """
    hub, given = split_hub_arguments(dict(arguments))
    trust_remote_code = given.pop("trust_remote_code", False)
    for key in ("use_fast", "tokenizer_type", "config"):
        given.pop(key, None)
    if given.pop("gguf_file", None) is not None:
        raise UnsupportedError(
            "gguf_file= is not supported: load a folder with a tokenizer.json", key="gguf_file"
        )
    path = Path(name_or_path).expanduser()
    if path.is_file():
        argument = next(
            (key for key, name in file_names.items() if path.name.endswith(name)), None
        )  # str or tuple
        argument = argument or ("tokenizer_file" if path.suffix == ".json" else list(file_names)[-1])
        return {argument: str(path), "name_or_path": str(path), **given}
    source = Source(name_or_path, **hub)
    settings = _read_config(source, bool(trust_remote_code))
    for argument in file_names:
        settings.pop(argument, None)  # where files lay when it was saved
    if "added_tokens_decoder" not in settings:
        _merge_special_tokens(source, settings)
        settings["added_tokens_decoder"] = _read_added_tokens(source, settings)
        settings[FLAGS_FROM_FILE] = True
    template = _read_chat_templates(source)
    if template is not None:
        settings["chat_template"] = template
    settings["name_or_path"] = source.name
    settings.update(given)
    listed = {token.content: token for token in settings.get("added_tokens_decoder", {}).values()}
    for name in NAMED_TOKENS:
        if isinstance(settings.get(name), (str, AddedToken)):
            settings[name] = listed.get(text_of(settings[name]), settings[name])
    if not any(given.get(key) is not None for key in (*file_names, "tokenizer_object", "vocab")):
        settings.update(_vocabulary_files(source, file_names, settings.get("fast_tokenizer_files")))
    return settings


def _vocabulary_files(
    source: Source, file_names: Mapping[str, str | tuple[str, ...]], versioned: list[str] | None
) -> dict[str, str]:
    found: dict[str, str] = {}
    for argument, names in file_names.items():
        candidates = (names,) if isinstance(names, str) else names
        if argument == "tokenizer_file":
            candidates = (*_for_our_version(versioned or ()), *candidates)
        for name in candidates:
            path = source.file(name, required=False)
            if path is not None and argument not in found:
                found[argument] = str(path)
    if file_names and not found:
        source.file(TOKENIZER_FILE if "tokenizer_file" in file_names else _first_name(file_names))  # raises
    return found


def _for_our_version(names: Sequence[str]) -> list[str]:
    """tokenizer.<version>.json of the highest version that is not above transformers 4.57's, which is followed here."""
    versions = [
        (tuple(map(int, match[1].split("."))), name)
        for name in names
        if (match := _VERSIONED.fullmatch(name))
    ]
    return [name for version, name in sorted(versions) if version < (4, 58)][-1:]


def _first_name(file_names: Mapping[str, str | tuple[str, ...]]) -> str:
    names = next(iter(file_names.values()))
    return names if isinstance(names, str) else names[0]


def _read_config(source: Source, trust_remote_code: bool) -> dict[str, Any]:
    path = source.file(CONFIG_FILE, required=False)
    if path is None:
        return {}
    settings = read_json(path)
    for key, (types, expected) in _TYPES.items():
        if key not in settings:
            continue
        value = settings[key]
        if not isinstance(value, types) or (isinstance(value, bool) and key in _BOOLEANS_ARE_NO_NUMBERS):
            raise _wrong(path, key, expected, value)
    _check_limits(settings, path)
    code = settings.get("auto_map")
    if trust_remote_code and isinstance(code, dict) and "AutoTokenizer" in code:
        raise UnsupportedError(
            f"{path}: auto_map.AutoTokenizer names code of the repository ({code['AutoTokenizer']}), which "
            "is never run here; without trust_remote_code=True the tokenizer is read from its files",
            path=str(path),
            key="auto_map.AutoTokenizer",
            actual=str(code["AutoTokenizer"]),
        )
    named = settings.get("tokenizer_class")
    for key in _NOT_SETTINGS:
        settings.pop(key, None)
    if named:
        settings[NAMED_CLASS] = named
    for key, value in settings.items():
        if key.endswith("_token") and isinstance(value, dict):
            settings[key] = _token(value, path, key)
        elif key in ("extra_special_tokens", "additional_special_tokens"):
            settings[key] = _token_collection(value, path, key)
        elif key in NAMED_TOKENS and not isinstance(value, (str, type(None))):
            raise _wrong(path, key, "a string, an object or null", value)
    if "added_tokens_decoder" in settings:
        settings["added_tokens_decoder"] = {
            _index(index, path): _token(token, path, f"added_tokens_decoder.{index}")
            for index, token in settings["added_tokens_decoder"].items()
        }
    return settings


def _check_limits(settings: Mapping[str, Any], path: Path) -> None:
    """Checks what `_TYPES` cannot say: ranges, and what arrays hold."""
    for key in _BOOLEANS_ARE_NO_NUMBERS:
        limit = settings.get(key)
        if limit is not None and not limit >= 0:  # NaN included
            raise _wrong(path, key, "a number of at least 0", limit)
    for key in ("model_input_names", "fast_tokenizer_files"):
        for index, name in enumerate(settings.get(key) or ()):
            if not isinstance(name, str):
                raise _wrong(path, f"{key}[{index}]", "a string", name)
    templates = settings.get("chat_template")
    for index, entry in enumerate(templates if isinstance(templates, list) else ()):
        place = f"chat_template[{index}]"
        if not isinstance(entry, dict):
            raise _wrong(path, place, "an object with name and template", entry)
        for field in ("name", "template"):
            if not isinstance(entry.get(field), str):
                raise _wrong(path, f"{place}.{field}", "a string", entry.get(field))


def _merge_special_tokens(source: Source, settings: dict[str, Any]) -> None:
    """special_tokens_map.json counts where the config does not list the added tokens."""
    path = source.file(SPECIAL_TOKENS_FILE, required=False)
    if path is None:
        return
    for key, value in read_json(path).items():
        if isinstance(value, (list, dict)) and key in ("extra_special_tokens", "additional_special_tokens"):
            settings[key] = _token_collection(value, path, key, special=True)
        elif isinstance(value, dict):
            settings[key] = _token(value, path, key, special=True)
        elif isinstance(value, str) or value is None:
            settings[key] = value
        else:
            raise _wrong(path, key, "a string or an object", value)


def _read_added_tokens(source: Source, settings: dict[str, Any]) -> dict[int, AddedToken]:
    """added_tokens.json, the older form: ids by token. Special tokens keep the flags they were given."""
    path = source.file(ADDED_TOKENS_FILE, required=False)
    if path is None:
        return {}
    further = [settings.get(key) or [] for key in ("extra_special_tokens", "additional_special_tokens")]
    tokens = [settings.get(name) for name in NAMED_TOKENS]
    for collection in further:
        tokens += collection.values() if isinstance(collection, dict) else collection
    special = {text_of(token): token for token in tokens if token is not None}
    added: dict[int, AddedToken] = {}
    for content, index in read_json(path).items():
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise _wrong(path, content, "an id", index)
        token = special.get(content)
        added[index] = AddedToken(content) if token is None else as_added_token(token, special=True)
    return added


def _read_chat_templates(source: Source) -> str | dict[str, str] | None:
    """chat_template.jinja and, in a local folder, the named templates; they win over the config's."""
    templates: dict[str, str] = {}
    path = source.file(CHAT_TEMPLATE_FILE, required=False)
    if path is not None:
        templates["default"] = _read_text(path)
    if source.folder is not None:
        folder = source.folder / source.subfolder / CHAT_TEMPLATE_FOLDER
        for named in sorted(folder.glob("*.jinja")):
            templates[named.stem] = _read_text(named)
    if not templates:
        return None
    return templates["default"] if list(templates) == ["default"] else templates


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(
            f"{path} cannot be read: {error.strerror}", path=str(path), errno=error.errno
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}", path=str(path), expected="UTF-8") from error


def _token(value: Any, path: Path, key: str, special: bool | None = None) -> AddedToken:
    if not isinstance(value, dict):
        raise _wrong(path, key, "an object", value)
    fields = {name: field for name, field in value.items() if name != "__type"}
    for name, field in fields.items():
        kind = _TOKEN_FIELDS.get(name)
        if kind is None:
            raise ConfigError.mismatch(
                f"{key}.{name}", f"one of {sorted(_TOKEN_FIELDS)}", repr(name), path=path
            )
        if not isinstance(field, kind):
            raise _wrong(path, f"{key}.{name}", "a string" if kind is str else "a boolean", field)
    if "content" not in fields:
        raise _wrong(path, f"{key}.content", "a string", None)
    return AddedToken(**{**fields, **({} if special is None else {"special": special})})


def _token_collection(value: Any, path: Path, key: str, special: bool | None = None) -> Any:
    def token(item: Any, place: str) -> str | AddedToken:
        return item if isinstance(item, str) else _token(item, path, place, special)

    if isinstance(value, list):
        return [token(item, f"{key}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: token(item, f"{key}.{name}") for name, item in value.items()}
    if value is None:
        return None
    raise _wrong(path, key, "an array or an object", value)


def _index(text: str, path: Path) -> int:
    if not text.isdecimal():
        raise _wrong(path, "added_tokens_decoder", "ids as keys", text)
    return int(text)


def _wrong(path: Path, key: str, expected: str, value: Any) -> ConfigError:
    actual = json_type(value)
    return ConfigError.mismatch(key, expected, actual, f"its value is {value!r:.80}", path=path)
