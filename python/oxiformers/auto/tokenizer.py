"""AutoTokenizer: from a folder or name to the right tokenizer class."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from oxiformers.auto.classes import _NotInstantiable
from oxiformers.auto.registry import ARCHITECTURES
from oxiformers.config_file import CONFIG_NAME
from oxiformers.errors import UnsupportedError
from oxiformers.files import read_json
from oxiformers.hub import Source, split_hub_arguments

if TYPE_CHECKING:
    from oxiformers.config import Config
    from oxiformers.tokenization import PreTrainedTokenizerFast

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"


class AutoTokenizer(_NotInstantiable):
    """The tokenizer of any folder that oxiformers can read."""

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Loads a tokenizer.

        Its class is the one that tokenizer_config.json names, else that of the model_type in config.json,
        else the one that reads any tokenizer.json.

        Args:
            name_or_path: a folder, or a repository's name.
            *args: passed on to the tokenizer's class.
            **kwargs: the arguments of `hub.Source`; `config`, a model's config in place of config.json;
                `use_fast` is accepted, as there is one kind of tokenizer; the others go to the tokenizer's
                class.

        Raises:
            UnsupportedError: the named class is unknown and there is no tokenizer.json.
            MissingFileError, FormatError: as `PreTrainedTokenizerFast.from_pretrained`.
        """
        config = kwargs.pop("config", None)
        hub_arguments, _ = split_hub_arguments(kwargs)
        source = Source(name_or_path, **hub_arguments)
        found = _find_class(source, config)
        return found.from_pretrained(name_or_path, *args, **kwargs)


def _find_class(source: Source, config: Config | None) -> type[PreTrainedTokenizerFast]:
    from oxiformers import tokenization

    settings = source.file(TOKENIZER_CONFIG, required=False)
    named = read_json(settings).get("tokenizer_class") if settings is not None else None
    named = named if isinstance(named, str) else None
    if (known := tokenization.tokenizer_class(named)) is not None:
        return known
    by_model = _class_of_model(source, config)
    if by_model is not None and named is None:
        return by_model
    if source.file(TOKENIZER_FILE, required=False) is not None:
        return tokenization.PreTrainedTokenizerFast
    if by_model is not None:
        return by_model
    raise UnsupportedError(
        f"{source.name} has no {TOKENIZER_FILE}, and "
        + (
            f"its tokenizer_class {named!r} is not supported without one"
            if named
            else "names no tokenizer_class"
        ),
        path=source.name,
        key="tokenizer_class",
        expected=f"a {TOKENIZER_FILE}",
        actual=repr(named),
    )


def _class_of_model(source: Source, config: Config | None) -> type[PreTrainedTokenizerFast] | None:
    from oxiformers import tokenization

    if config is not None:
        model_type: Any = type(config).model_type
    else:
        file = source.file(CONFIG_NAME, required=False)
        model_type = read_json(file).get("model_type") if file is not None else None
    row = ARCHITECTURES.get(model_type) if isinstance(model_type, str) else None
    return tokenization.tokenizer_class(row.tokenizer) if row is not None else None
