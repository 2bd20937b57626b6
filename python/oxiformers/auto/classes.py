"""AutoConfig, AutoModel and AutoModelFor<task>: from a folder or name to the right class."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, NoReturn

from oxiformers.auto.registry import ARCHITECTURES, Architecture
from oxiformers.config import Config
from oxiformers.config_file import read_config, refuse_remote_code
from oxiformers.errors import ConfigError, InputTypeError, UnsupportedError

if TYPE_CHECKING:
    from oxiformers.models.base import PreTrainedModel

Location = str | os.PathLike[str]


class _NotInstantiable:
    def __init__(self, *args: Any, **kwargs: Any) -> NoReturn:
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
            raise InputTypeError(
                f"{cls.__name__}.from_config takes a config, not {type(config).__name__}",
                key="config",
                expected="a Config",
                actual=type(config).__name__,
            )
        kwargs.pop("trust_remote_code", None)
        return cls._class_of(_of_config(config), type(config).__name__).from_config(config, **kwargs)

    @classmethod
    def _class_of(cls, row: Architecture, source: str) -> type[PreTrainedModel]:
        found = row.model_class(cls.__name__)
        if found is None:
            heads = ", ".join(f"{auto} ({name})" for auto, name in row.models.items())
            raise UnsupportedError(
                f"{source}: {row.model_type} has no class for {cls.__name__}; it has {heads}",
                path=source,
                key="model_type",
                expected="one of " + ", ".join(_having(cls.__name__)),
                actual=row.model_type,
            )
        return found


class AutoModel(_AutoModel):
    """The base model: tokens to hidden states."""


class AutoModelForSequenceClassification(_AutoModel):
    """One class, several, or values for each sequence."""


class AutoModelForTokenClassification(_AutoModel):
    """One class for each token."""


class AutoModelForQuestionAnswering(_AutoModel):
    """The span that answers a question."""


class AutoModelForMaskedLM(_AutoModel):
    """The words behind masks."""


class AutoModelForCausalLM(_AutoModel):
    """The next token."""


class AutoModelForSeq2SeqLM(_AutoModel):
    """One sequence from another."""


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
    known = ", ".join(ARCHITECTURES)
    if not isinstance(model_type, str):
        raise ConfigError(
            f"{source}: model_type must be one of {known}, but is {model_type!r}",
            path=source,
            key="model_type",
            expected=f"one of {known}",
            actual=repr(model_type),
        )
    row = ARCHITECTURES.get(model_type)
    if row is not None:
        return row
    close = difflib.get_close_matches(model_type, ARCHITECTURES, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    code = (
        "; its auto_map names code of the repository's own, which is never run"
        if "auto_map" in values
        else ""
    )
    shown = repr(model_type) if len(model_type) <= 80 else f"{model_type[:77]!r}..."
    raise UnsupportedError(
        f"{source}: model_type {shown} is not supported{hint}{code}; the supported ones are {known}",
        path=source,
        key="model_type",
        expected=f"one of {known}",
        actual=shown,
    )


def _of_config(config: Config) -> Architecture:
    return find_architecture({"model_type": type(config).model_type}, type(config).__name__)


def _having(auto_name: str) -> list[str]:
    return [name for name, row in ARCHITECTURES.items() if auto_name in row.models]


def _located(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say where config.json lies, and whether its code may run."""
    from oxiformers.hub import split_hub_arguments

    found, rest = split_hub_arguments(kwargs)
    return found | {key: rest[key] for key in ("trust_remote_code",) if key in rest}
