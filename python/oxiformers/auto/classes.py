"""AutoConfig, AutoModel and AutoModelFor<task>: from a folder or name to the right class."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any

from oxiformers.auto.registry import ARCHITECTURES, Architecture
from oxiformers.config import Config
from oxiformers.config_file import read_config, refuse_remote_code
from oxiformers.errors import ConfigError, InputTypeError, UnsupportedError

if TYPE_CHECKING:
    from oxiformers.models.base import PreTrainedModel

Location = str | os.PathLike[str]


class _NotInstantiable:
    # not NoReturn: to mypy such a class is a function, whose from_pretrained it does not find
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        raise InputTypeError(f"{name} has no instances: use {name}.from_pretrained(...)")


class AutoConfig(_NotInstantiable):
    """The config of any architecture."""

    @classmethod
    def from_pretrained(cls, name_or_path: Location, **kwargs: Any) -> Any:
        """Reads config.json and makes the config of its model_type.

        Arguments, result and errors are those of `Config.from_pretrained`.

        Raises:
            UnsupportedError: oxiformers has no such model_type, or config.json asks for code of its own.
            ConfigError: config.json names no model_type.
        """
        values, source, overrides = read_config(name_or_path, **kwargs)
        row = find_architecture(values, source, overrides.pop("trust_remote_code", None))
        return row.config_class().from_dict(
            values, source=source, _name_or_path=os.fspath(name_or_path), **overrides
        )

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> Config:
        """The config of an architecture with the given values and defaults for the others."""
        return find_architecture({"model_type": model_type}, "for_model").config_class()(**kwargs)


class _AutoModel(_NotInstantiable):
    """What the classes below share: each stands for one class of every architecture that has it."""

    @classmethod
    def from_pretrained(cls, name_or_path: Location, *args: Any, **kwargs: Any) -> Any:
        """Loads a model of the class that its config.json asks for.

        Arguments, result and errors are those of `PreTrainedModel.from_pretrained`.

        Raises:
            UnsupportedError: oxiformers has no such model_type, or no such head for it; with those it has.
        """
        config = kwargs.get("config")
        if isinstance(config, Config):
            row, source = _of_config(config), type(config).__name__
        else:
            values, source, rest = read_config(name_or_path if config is None else config, **_located(kwargs))
            row = find_architecture(values, source, rest.get("trust_remote_code"))
        return cls._class_of(row, source).from_pretrained(name_or_path, *args, **kwargs)

    @classmethod
    def from_config(cls, config: Config, **kwargs: Any) -> Any:
        """A model with random weights. Arguments and errors are those of `PreTrainedModel.from_config`."""
        if not isinstance(config, Config):
            raise InputTypeError.mismatch("config", "a config object", type(config).__name__)
        kwargs.pop("trust_remote_code", None)
        return cls._class_of(_of_config(config), type(config).__name__).from_config(config, **kwargs)

    @classmethod
    def _class_of(cls, row: Architecture, source: str) -> type[PreTrainedModel]:
        found = row.model_class(cls.__name__)
        if found is None:
            heads = ", ".join(f"{auto} ({name})" for auto, name in row.models.items())
            having = [other.model_type for other in ARCHITECTURES.values() if cls.__name__ in other.models]
            raise UnsupportedError.mismatch(
                "model_type",
                f"one of {', '.join(having)} for {cls.__name__}",
                row.model_type,
                f"{row.model_type} has {heads}",
                path=source,
            )
        return found


class AutoModel(_AutoModel):
    """The base model, without a head: its outputs are hidden states."""


class AutoModelForMaskedLM(_AutoModel):
    """Logits over the vocabulary at every token, to fill in the masked ones."""


class AutoModelForCausalLM(_AutoModel):
    """Logits of the token that follows each token."""


class AutoModelForSeq2SeqLM(_AutoModel):
    """An encoder that reads one sequence and a decoder that writes another."""


class AutoModelForSequenceClassification(_AutoModel):
    """Logits of the classes of a text, or the values of a regression."""


class AutoModelForTokenClassification(_AutoModel):
    """Logits of the classes of each token."""


class AutoModelForQuestionAnswering(_AutoModel):
    """Logits of where an answer starts and ends in a context."""


class AutoModelForImageClassification(_AutoModel):
    """Logits of the classes of an image."""


class AutoModelForMaskedImageModeling(_AutoModel):
    """The pixels of an image's masked patches."""


class AutoModelForAudioClassification(_AutoModel):
    """Logits of the classes of a recording."""


class AutoModelForCTC(_AutoModel):
    """Logits of characters for each stretch of a recording, for connectionist temporal classification."""


def find_architecture(
    values: dict[str, Any], source: str, trust_remote_code: bool | None = None
) -> Architecture:
    """The registry's row for the keys of a config.json.

    Raises:
        ConfigError: model_type is missing or no string.
        UnsupportedError: it is unknown, or the repository's own code is asked for (`refuse_remote_code`).
    """
    refuse_remote_code(values, source, trust_remote_code)
    model_type = values.get("model_type")
    known = f"one of {', '.join(ARCHITECTURES)}"
    if not isinstance(model_type, str):
        raise ConfigError.mismatch("model_type", known, repr(model_type), path=source)
    row = ARCHITECTURES.get(model_type)
    if row is not None:
        return row
    close = difflib.get_close_matches(model_type, ARCHITECTURES, 1)
    hints = [f"did you mean {close[0]!r}?"] if close else []
    if "auto_map" in values:
        hints.append("its auto_map names code in the repository, which oxiformers never runs")
    shown = repr(model_type) if len(model_type) <= 80 else f"{model_type[:77]!r}..."
    raise UnsupportedError.mismatch("model_type", known, shown, "; ".join(hints), path=source)


def _of_config(config: Config) -> Architecture:
    return find_architecture({"model_type": type(config).model_type}, type(config).__name__)


def _located(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say where config.json lies, and whether its code may run."""
    from oxiformers.hub import split_hub_arguments

    found, rest = split_hub_arguments(kwargs)
    return found | {key: rest[key] for key in ("trust_remote_code",) if key in rest}
