"""The configuration of a model: config.json as a typed dataclass that keeps what it does not know."""

from __future__ import annotations

import copy
import difflib
import inspect
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, dataclass_transform

from oxiformers import config_types, files, hub
from oxiformers.config_file import CONFIG_NAME, read_config, refuse_remote_code, untag_floats
from oxiformers.config_labels import LabelMaps
from oxiformers.config_types import Count, TokenId
from oxiformers.errors import ConfigError, UnsupportedError
from oxiformers.logging import get_logger

if TYPE_CHECKING:
    import torch

logger = get_logger(__name__)

#: What `dtype` may name.
DTYPES = (
    "float32",
    "float16",
    "bfloat16",
    "float64",
    "float8_e4m3fn",
    "float8_e5m2",
)

#: `None` and "auto" choose packed attention, on the fused kernel where it can run; "triton" is that kernel or an error,
#: "torch" is never it; "eager" keeps everything rectangular and can return attention weights. The others are
#: transformers' names for fused attention, and the same as "auto".
ATTENTION_IMPLEMENTATIONS = (
    None,
    "auto",
    "eager",
    "triton",
    "torch",
    "packed",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
)

# Other names that torch has for some of DTYPES.
_SAME_DTYPES = {"half": "float16", "float": "float32", "double": "float64"}

ConfigType = TypeVar("ConfigType", bound="Config")

# Instance attributes that are not keys of config.json.
_PRIVATE = frozenset({"_name_or_path", "_attn_implementation", "_source", "_dtype"})
# Keys of config.json that say nothing about the model: paths and settings of the program that wrote it.
_DROPPED = frozenset(
    {"name_or_path", "_commit_hash", "_attn_implementation_internal", "_experts_implementation_internal"}
)


def dtype_name(value: torch.dtype | str) -> str | None:
    """The name in DTYPES of a dtype or of any of its names: "half", "torch.float16"; None where it has none."""
    name = str(value).removeprefix("torch.")
    name = _SAME_DTYPES.get(name, name)
    return name if name in DTYPES else None


@dataclass_transform(kw_only_default=True)
@dataclass(init=False, repr=False, eq=False)
class Config(LabelMaps):
    """The base of every configuration.

    A subclass is a dataclass whose fields are the keys of config.json with transformers' defaults::

        @dataclass
        class BertConfig(Config):
            model_type = "bert"
            hidden_size: int = 768

    Types are checked against the annotations when a config is made (an integer does for a float; nothing else is
    converted). Whether a model can be built is checked when one is: ranges, which annotations say as
    `config_types` has them, and then `validate`. Keys without a field are kept as attributes and written back.
    A subclass may derive fields from others in `__post_init__`, which runs after the types are checked.

    Class attributes:
        model_type: the name of the architecture in config.json.
        attribute_map: other names of fields, such as {"hidden_size": "dim"}; they read, set and override the
            field.
        default_labels: how many labels there are where nothing says.
        keys_to_ignore_at_inference: outputs that a Trainer does not gather.

    Raises:
        ConfigError: a value of the wrong type, or labels that contradict each other; with path and key.
    """

    model_type: ClassVar[str] = ""
    attribute_map: ClassVar[dict[str, str]] = {}
    keys_to_ignore_at_inference: ClassVar[list[str]] = []

    architectures: list[str] | None = None
    return_dict: bool = True
    output_hidden_states: bool = False
    output_attentions: bool = False
    use_cache: bool = True
    tie_word_embeddings: bool = True
    is_encoder_decoder: bool = False
    is_decoder: bool = False
    add_cross_attention: bool = False
    chunk_size_feed_forward: Count = 0
    pad_token_id: TokenId | None = None
    bos_token_id: TokenId | list[int] | None = None
    eos_token_id: TokenId | list[int] | None = None
    sep_token_id: TokenId | None = None
    decoder_start_token_id: TokenId | list[int] | None = None
    id2label: dict[int, str] | None = None
    label2id: dict[str, Any] | None = None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification"] | None
    ) = None

    if TYPE_CHECKING:  # keys that only some models have

        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # @dataclass keeps what the class body holds already: keywords only, unknown keys kept, one comparison
        for name in ("__init__", "__repr__", "__eq__"):
            if name not in cls.__dict__:
                setattr(cls, name, getattr(Config, name))
        for alias, target in cls.attribute_map.items():
            setattr(cls, alias, _alias(target))

    def __init__(self, /, **values: Any) -> None:
        cls = type(self)
        self._source: str | None = values.pop("_source", None)
        self._name_or_path = str(values.pop("_name_or_path", "") or "")
        self._dtype: str | None = None
        self._attn_implementation: str | None = None
        for key in _DROPPED & values.keys():
            del values[key]
        num_labels = values.pop("num_labels", None)
        dtypes = [values.pop(key, None) for key in ("dtype", "torch_dtype")]
        attention = [values.pop(key, None) for key in ("attn_implementation", "_attn_implementation")]

        for name, default in config_types.defaults(cls).items():
            if name not in cls.attribute_map:
                setattr(self, name, values.pop(name) if name in values else copy.deepcopy(default))
        self._set_others(values)
        self.dtype = dtypes[0] if dtypes[0] is not None else dtypes[1]
        self.attn_implementation = attention[0] if attention[0] is not None else attention[1]
        self._complete_labels(num_labels)
        self._check_types()
        with self._naming_the_source():
            self.__post_init__()
        self._standardize()
        self._check_types()

    def __post_init__(self) -> None:
        """Derives fields from others; runs once, when the types of all fields are right.

        Raise `self.error(...)` here only for values that transformers' config refuses too.
        """

    def _standardize(self) -> None:
        """Brings values that have several spellings into one; runs whenever values may have changed."""

    def validate(self) -> None:
        """Checks values against one another, before a model is built; types and ranges are right.

        Raise `self.error(key, expected, actual)`.
        """

    def copy_with(self, **values: Any) -> Self:
        """A copy with other values for some keys."""
        other = copy.deepcopy(self)
        for key, value in values.items():
            setattr(other, key, value)
        return other

    def check(self) -> None:
        """Checks whether a model can be built from the values as they are now: types, ranges, then `validate`.

        Every model's constructor calls it first. Raises ConfigError, or UnsupportedError from `validate`.
        """
        self._check_types()
        self._standardize()
        self._check_ranges()
        with self._naming_the_source():
            self.validate()

    def error(self, key: str, expected: str, actual: str | None = None) -> ConfigError:
        """The error for a value that will not do, naming its file; `actual` is the value by default."""
        found = actual if actual is not None else config_types.actual_words(getattr(self, key, None))
        if self._source is not None:
            return ConfigError.mismatch(key, expected, found, path=self._source)
        message = f"{type(self).__name__}: {key}: expected {expected}, got {found}"
        return ConfigError(message, key=key, expected=expected, actual=found)

    @contextmanager
    def _naming_the_source(self) -> Iterator[None]:
        """Adds the config's file to errors of functions that do not know it."""
        try:
            yield
        except ConfigError as error:
            if error.path is not None or self._source is None:
                raise
            raise ConfigError(
                f"{self._source}: {error}",
                path=self._source,
                key=error.key,
                expected=error.expected,
                actual=error.actual,
            ) from error

    def require_multiple(self, key: str, of: str) -> None:
        """Raises ConfigError unless field `key` is a multiple of field `of`, as a width is of the heads."""
        value, divisor = getattr(self, key), getattr(self, of)
        if divisor < 1 or value % divisor:
            raise self.error(key, f"a multiple of {of} ({divisor})", str(value))

    # What is not a plain field

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of the weights, None where the config does not say; set as a torch.dtype or its name."""
        if self._dtype is None:
            return None
        import torch

        dtype: torch.dtype = getattr(torch, self._dtype)
        return dtype

    @dtype.setter
    def dtype(self, value: torch.dtype | str | None) -> None:
        name = None if value is None else dtype_name(value)
        if value is not None and name is None:
            raise self.error("dtype", "one of " + ", ".join(DTYPES), config_types.actual_words(value))
        self._dtype = name

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """The same as `dtype`: its older name."""
        return self.dtype

    @torch_dtype.setter
    def torch_dtype(self, value: torch.dtype | str | None) -> None:
        self.dtype = value

    @property
    def attn_implementation(self) -> str | None:
        """How attention is computed, one of ATTENTION_IMPLEMENTATIONS. Not written to config.json."""
        return self._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, value: str | None) -> None:
        if value not in ATTENTION_IMPLEMENTATIONS:
            known = ", ".join(repr(name) for name in ATTENTION_IMPLEMENTATIONS)
            raise UnsupportedError.mismatch(
                "attn_implementation", f"one of {known}", repr(value), path=self._source
            )
        self._attn_implementation = value

    @property
    def name_or_path(self) -> str:
        """Where the config was loaded from, as the caller named it. Not written to config.json."""
        return self._name_or_path

    @name_or_path.setter
    def name_or_path(self, value: str) -> None:
        self._name_or_path = str(value)

    @property
    def use_return_dict(self) -> bool:
        """Whether forward returns a ModelOutput, not a tuple, where the call does not say."""
        return self.return_dict

    # Reading

    @classmethod
    def from_pretrained(cls: type[ConfigType], name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Reads config.json from a local folder or file, the cache or the Hub.

        Args:
            name_or_path: a folder, a JSON file, or a repository's name.
            **kwargs: the arguments of `hub.Source`; `trust_remote_code`; `return_unused_kwargs`; every other
                one overrides a value of the config, under its own name or an alias (`n_heads=12`,
                `num_attention_heads=12`).

        Returns:
            The config; with `return_unused_kwargs=True` a pair of it and the arguments that are no keys of
            it.

        Raises:
            MissingFileError, FileError: there is no such folder, repository or config.json.
            FormatError: config.json is not a JSON object.
            ConfigError: a value, read or passed, has the wrong type, is out of range or contradicts another.
            UnsupportedError: the model needs code of its own (`auto_map`, see `refuse_remote_code`).
        """
        values, source, overrides = read_config(name_or_path, **kwargs)
        refuse_remote_code(values, source, overrides.pop("trust_remote_code", None))
        if cls.model_type and (found := values.get("model_type", cls.model_type)) != cls.model_type:
            raise ConfigError.mismatch(
                "model_type", f"{cls.model_type!r} for {cls.__name__}", repr(found), path=source
            )
        return cls.from_dict(values, source=source, _name_or_path=os.fspath(name_or_path), **overrides)

    @classmethod
    def from_dict(
        cls: type[ConfigType], values: dict[str, Any], *, source: str | None = None, **overrides: Any
    ) -> Any:
        """Makes a config from the keys of config.json; `source` is their file. See `from_pretrained`."""
        want_unused = overrides.pop("return_unused_kwargs", False)
        given = {key: value for key, value in values.items() if key.lstrip("_") != "attn_implementation"}
        given.pop("model_type", None)
        given |= {"_source": source, "_name_or_path": overrides.pop("_name_or_path", "")}
        config = cls(**untag_floats(given))
        unused = config.update(overrides)
        if want_unused:
            return config, unused
        for key in unused:
            close = difflib.get_close_matches(key, config._keys(), 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            logger.warning("%s has no key %r, which was passed: it is ignored%s", cls.__name__, key, hint)
        return config

    @classmethod
    def from_json_file(cls: type[ConfigType], path: str | os.PathLike[str]) -> ConfigType:
        """Reads one JSON file. Errors as `from_pretrained`."""
        config: ConfigType = cls.from_dict(files.read_json(path), source=os.fspath(path))
        return config

    @classmethod
    def get_config_dict(
        cls, name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The keys of config.json as read, and the arguments that do not say where it lies."""
        values, _, rest = read_config(name_or_path, **kwargs)
        return values, rest

    def update(self, values: dict[str, Any]) -> dict[str, Any]:
        """Overrides values by name or alias and checks their types; returns those that are no keys."""
        known, unused, values = self._keys(), {}, dict(values)
        self._override_labels(values)
        for key, value in values.items():
            if key not in known:
                unused[key] = value
            elif not (key in ("dtype", "torch_dtype") and value in (None, "auto")):
                setattr(self, key, value)
        self._check_types()
        self._standardize()
        return unused

    # Writing

    def to_dict(self) -> dict[str, Any]:
        """Every key and value, as plain data; the dtype by its name."""
        result = {key: copy.deepcopy(value) for key, value in vars(self).items() if key not in _PRIVATE}
        result["model_type"] = type(self).model_type
        if self._dtype is not None:
            result["dtype"] = self._dtype
        return {key: value.to_dict() if isinstance(value, Config) else value for key, value in result.items()}

    def to_diff_dict(self) -> dict[str, Any]:
        """As `to_dict`, without the keys of the base class that have their default."""
        common = Config(num_labels=self.default_labels).to_dict()
        mro = type(self).__mro__
        own = {key for cls in mro[: mro.index(Config)] for key in inspect.get_annotations(cls)}
        return {
            key: value
            for key, value in self.to_dict().items()
            if key in own or key == "model_type" or key not in common or value != common[key]
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """What `save_pretrained` writes; with `use_diff=False` every key."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(values, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Writes the JSON to one file. Raises FileError."""
        files.write_text(path, self.to_json_string(use_diff))

    def save_pretrained(self, directory: str | os.PathLike[str], push_to_hub: bool = False) -> None:
        """Writes config.json into the folder, which is created. transformers reads it. Raises FileError."""
        hub.refuse_push(push_to_hub)
        self._check_types()
        files.make_folder(directory)
        self.to_json_file(Path(directory, CONFIG_NAME))

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and type(self) is type(other) and self.to_dict() == other.to_dict()

    # Helpers

    def _keys(self) -> set[str]:
        """The keys that may be overridden: fields, aliases, kept unknown keys, properties."""
        kept = {key for key in vars(self) if key not in _PRIVATE}
        special = {
            "num_labels",
            "dtype",
            "torch_dtype",
            "attn_implementation",
            "_attn_implementation",
            "name_or_path",
        }
        return kept | set(type(self).attribute_map) | special

    def _set_others(self, values: dict[str, Any]) -> None:
        """Sets what was given beside the fields: other names of theirs, and keys that are kept as they are."""
        for key, value in values.items():
            self._set_unknown(key, value)

    def _set_unknown(self, key: str, value: Any) -> None:
        present = getattr(type(self), key, None)
        settable = isinstance(present, property) and present.fset is not None
        if key.startswith("__") or (
            present is not None and not settable and (callable(present) or isinstance(present, property))
        ):
            raise self.error(key, "absent: the name is reserved", config_types.actual_words(value))
        setattr(self, key, value)

    def _check_types(self) -> None:
        for key, hint in config_types.hints(type(self)).items():
            if not config_types.fits(getattr(self, key), hint):
                raise self.error(key, config_types.expected_words(hint))

    def _check_ranges(self) -> None:
        for key, hint in config_types.hints(type(self)).items():
            if (found := config_types.outside(getattr(self, key), hint)) is not None:
                raise self.error(key, str(found[1]))
        vocabulary, padding = vars(self).get("vocab_size"), self.pad_token_id
        if isinstance(vocabulary, int) and padding is not None and not -vocabulary <= padding < vocabulary:
            raise self.error("pad_token_id", f"below vocab_size ({vocabulary})")
        if self.problem_type == "single_label_classification" and self.num_labels == 1:
            raise self.error("problem_type", "another with one label, such as 'regression'")


PretrainedConfig = Config
PreTrainedConfig = Config


def _alias(target: str) -> property:
    def read(self: Config) -> Any:
        return getattr(self, target)

    def write(self: Config, value: Any) -> None:
        setattr(self, target, value)

    return property(read, write, doc=f"The same as `{target}`.")
