"""AutoTokenizer: from a folder or name to the right tokenizer class."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from oxiformers.auto.classes import _NotInstantiable
from oxiformers.config_file import CONFIG_NAME
from oxiformers.errors import ArgumentError, UnsupportedError
from oxiformers.files import read_json
from oxiformers.hub import Source, split_hub_arguments
from oxiformers.tokenizer_table import REFUSED, TOKENIZERS

if TYPE_CHECKING:
    from oxiformers.config import Config
    from oxiformers.tokenization import PreTrainedTokenizerFast

TOKENIZER_FILE = "tokenizer.json"
WORDPIECE_FILE = "vocab.txt"
TOKENIZER_CONFIG = "tokenizer_config.json"


class AutoTokenizer(_NotInstantiable):
    """The tokenizer of any folder that oxiformers can read."""

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Loads a tokenizer.

        Its class is the one that tokenizer_config.json names, else that of config.json, by its tokenizer_class or
        its model_type, else the one that reads any tokenizer.json, else BERT's for a
        vocab.txt.

        Args:
            name_or_path: a folder, or a repository's name.
            *args: passed on to the tokenizer's class.
            **kwargs: the arguments of `hub.Source`; `config`, a model's config in place of config.json;
                `tokenizer_type`, a model_type that counts whatever the files say; `use_fast` is accepted, as
                there is one kind of tokenizer; the others go to the tokenizer's class.

        Raises:
            UnsupportedError: the named class is unknown and there is no tokenizer.json, or it is known and not
                supported.
            MissingFileError, FormatError: as `PreTrainedTokenizerFast.from_pretrained`.
        """
        config = kwargs.pop("config", None)
        wanted = kwargs.pop("tokenizer_type", None)
        hub_arguments, _ = split_hub_arguments(kwargs)
        source = Source(name_or_path, **hub_arguments)
        found = _find_class(source, config) if wanted is None else _class_of_type(wanted)
        return found.from_pretrained(name_or_path, *args, **kwargs)


def _class_of_type(model_type: str) -> type[PreTrainedTokenizerFast]:
    from oxiformers import tokenization

    name = TOKENIZERS.get(model_type)
    if name is None:
        raise ArgumentError(
            f"Passed `tokenizer_type` {model_type} does not exist. `tokenizer_type` should be one of "
            f"{', '.join(sorted(TOKENIZERS))}.",
            key="tokenizer_type",
            expected="a model type",
            actual=repr(model_type),
        )
    found = tokenization.tokenizer_class(name)
    if found is None:
        raise _unsupported(name, f"tokenizer_type={model_type!r}")
    return found


def _find_class(source: Source, config: Config | None) -> type[PreTrainedTokenizerFast]:
    from oxiformers import tokenization

    name, named = _class_name(source, config)
    known = tokenization.tokenizer_class(name)
    if known is not None:
        return known
    if name is not None and name.removesuffix("Fast") in REFUSED:
        raise _unsupported(name, source.name)
    if source.file(TOKENIZER_FILE, required=False) is not None:
        return tokenization.PreTrainedTokenizerFast
    if name is None and source.file(WORDPIECE_FILE, required=False) is not None:
        return tokenization.BertTokenizer
    advice = ""
    if name is None:
        if source.folder is None and source.file(CONFIG_NAME, required=False) is None:
            source.file(TOKENIZER_FILE)  # raises: nothing of the repository can be had, and why
        advice = ": state the class, as in GPT2Tokenizer.from_pretrained, where the folder has its files"
    raise UnsupportedError(
        f"{source.name} has no {TOKENIZER_FILE}, and "
        + (f"its tokenizer_class {name!r} is not supported without one" if name else f"names no {named}")
        + advice,
        path=source.name,
        key="tokenizer_class",
        expected=f"a {TOKENIZER_FILE}",
        actual=repr(name),
    )


def _unsupported(name: str, place: str) -> UnsupportedError:
    reason = REFUSED.get(name.removesuffix("Fast"), "it is not supported")
    return UnsupportedError(
        f"{place} asks for {name}, and {reason}", path=place, key="tokenizer_class", actual=name
    )


def _class_name(source: Source, config: Config | None) -> tuple[str | None, str]:
    """The class the files name, if they do, and what they would name it with."""
    settings = source.file(TOKENIZER_CONFIG, required=False)
    named = read_json(settings).get("tokenizer_class") if settings is not None else None
    if isinstance(named, str) and named:
        return named, "tokenizer_class"
    if config is not None:
        model: dict[str, Any] = {"model_type": type(config).model_type}
        model["tokenizer_class"] = getattr(config, "tokenizer_class", None)
    else:
        file = source.file(CONFIG_NAME, required=False)
        model = read_json(file) if file is not None else {}
    named = model.get("tokenizer_class")
    if isinstance(named, str) and named:
        return named, "tokenizer_class"
    encoder = model.get("encoder")
    model_type = (encoder if isinstance(encoder, dict) else model).get("model_type")
    found = TOKENIZERS.get(model_type) if isinstance(model_type, str) else None
    return found, "tokenizer_class and no known model_type"
