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
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, dataclass_transform

from . import config_types, files, hub
from .config_file import CONFIG_NAME, read_config, refuse_remote_code, untag_floats
from .errors import ConfigError, UnsupportedError
from .logging import get_logger

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

ConfigType = TypeVar("ConfigType", bound="Config")

# Instance attributes that are not keys of config.json.
_PRIVATE = frozenset({"_name_or_path", "_attn_implementation", "_source", "_dtype"})
# Keys of config.json that say nothing about the model: paths and settings of the program that wrote it.
_DROPPED = frozenset(
    {"name_or_path", "_commit_hash", "_attn_implementation_internal", "_experts_implementation_internal"}
)


@dataclass_transform(kw_only_default=True)
@dataclass(init=False, repr=False, eq=False)
class Config:
    """The base of every configuration.

    A subclass is a dataclass whose fields are the keys of config.json with transformers' defaults::

        @dataclass
        class BertConfig(Config):
            model_type = "bert"
            hidden_size: int = 768

    Values are checked against the annotations (an integer does for a float; nothing else is converted), sizes
    against the limits of `config_types`, and then by `validate`. Keys without a field are kept as attributes
    and written back. A subclass may derive fields from others in `__post_init__`, which runs after the types
    are checked.

    Class attributes:
        model_type: the name of the architecture in config.json.
        attribute_map: other names of fields, such as {"hidden_size": "dim"}; they read, set and override the
            field.
        keys_to_ignore_at_inference: outputs that a Trainer does not gather.

    Raises:
        ConfigError: a value of the wrong type, out of range or in contradiction to another; with path and
            key.
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
    chunk_size_feed_forward: int = 0
    pad_token_id: int | None = None
    bos_token_id: int | list[int] | None = None
    eos_token_id: int | list[int] | None = None
    sep_token_id: int | None = None
    decoder_start_token_id: int | list[int] | None = None
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
        for key, value in values.items():
            self._set_unknown(key, value)
        self.dtype = dtypes[0] if dtypes[0] is not None else dtypes[1]
        self.attn_implementation = attention[0] if attention[0] is not None else attention[1]
        self._set_labels(num_labels)
        self._check_values()
        with self._naming_the_source():
            self.__post_init__()
        self.check()

    def __post_init__(self) -> None:
        """Derives fields from others; runs once, when the types of all fields are right."""

    def validate(self) -> None:
        """Checks values against one another; types are right. Raise `self.error(key, expected, actual)`."""

    def check(self) -> None:
        """Checks every value as it is now: types, sizes, then `validate`. Every model calls it first."""
        self._check_values()
        with self._naming_the_source():
            self.validate()

    def error(self, key: str, expected: str, actual: str | None = None) -> ConfigError:
        """The error for a value that will not do, naming its file; `actual` is the value by default."""
        found = actual if actual is not None else config_types.actual_words(getattr(self, key, None))
        where = self._source or type(self).__name__
        return ConfigError(
            f"{where}: {key} must be {expected}, but is {found}",
            path=self._source,
            key=key,
            expected=expected,
            actual=found,
        )

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
        if value % divisor:
            raise self.error(key, f"a multiple of {of} ({divisor})", str(value))

    # What is not a plain field

    @property
    def num_labels(self) -> int:
        """The number of labels. Setting another number names them LABEL_0, LABEL_1, ..."""
        return len(self.id2label or ())

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if not config_types.fits(count, int) or not 0 <= count <= config_types.MAX_LABELS:
            raise self.error(
                "num_labels",
                f"an integer from 0 to {config_types.MAX_LABELS}",
                config_types.actual_words(count),
            )
        if self.id2label is None or len(self.id2label) != count:
            self.id2label = {index: f"LABEL_{index}" for index in range(count)}
            self.label2id = {name: index for index, name in self.id2label.items()}

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
        name = None if value is None else str(value).removeprefix("torch.")
        if name is not None and name not in DTYPES:
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
            raise UnsupportedError(
                f"attn_implementation {value!r} is unknown; the known ones are {known}",
                path=self._source,
                key="attn_implementation",
                expected=known,
                actual=repr(value),
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
            raise ConfigError(
                f"{source}: model_type must be {cls.model_type!r} for {cls.__name__}, but is {found!r}",
                path=source,
                key="model_type",
                expected=repr(cls.model_type),
                actual=repr(found),
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
        """Overrides values by name or alias and checks the result; returns those that are no keys."""
        known, unused = self._keys(), {}
        labels = values.get("id2label")
        if isinstance(labels, dict) and values.get("num_labels", len(labels)) != len(labels):
            raise self.error(
                "num_labels",
                f"the number of labels passed as id2label, {len(labels)}",
                config_types.actual_words(values["num_labels"]),
            )
        for key, value in values.items():
            if key not in known:
                unused[key] = value
            elif not (key in ("dtype", "torch_dtype") and value in (None, "auto")):
                setattr(self, key, value)
        if "id2label" in values and "label2id" not in values:
            self.label2id = None
        self._set_labels(None)
        self.check()
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
        common = Config().to_dict()
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
        self.check()
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

    def _set_unknown(self, key: str, value: Any) -> None:
        present = getattr(type(self), key, None)
        settable = isinstance(present, property) and present.fset is not None
        if key.startswith("__") or (
            present is not None and not settable and (callable(present) or isinstance(present, property))
        ):
            raise self.error(key, "absent: the name is reserved", config_types.actual_words(value))
        setattr(self, key, value)

    def _set_labels(self, num_labels: int | None) -> None:
        """Makes id2label's keys integers and fills in what is not given: two labels, label2id."""
        if not config_types.fits(num_labels, int | None):
            raise self.error("num_labels", "an integer", config_types.actual_words(num_labels))
        if self.id2label is None:
            self.num_labels = 2 if num_labels is None else num_labels
            return
        if not config_types.fits(self.id2label, dict[int, str]):
            raise self.error("id2label", "an object from integers to strings")
        if len(by_id := {int(key): name for key, name in self.id2label.items()}) != len(self.id2label):
            raise self.error("id2label", "an object with each integer once")
        self.id2label = by_id
        if self.label2id is None:
            self.label2id = {name: index for index, name in self.id2label.items()}
        if num_labels is not None and num_labels != len(self.id2label):
            logger.warning("num_labels=%s is ignored: id2label has %d labels", num_labels, len(self.id2label))

    def _check_values(self) -> None:
        cls = type(self)
        for key, hint in config_types.hints(cls).items():
            if not config_types.fits(getattr(self, key), hint):
                raise self.error(key, config_types.expected_words(hint))
            value = getattr(self, key)
            limit = config_types.SIZE_LIMITS.get(key)
            least = 0 if key in config_types.MAY_BE_ZERO else 1
            if limit is not None and isinstance(value, int) and not least <= value <= limit:
                raise self.error(key, f"from {least} to {limit}")
            is_dropout = "dropout" in key or key.endswith("_pdrop")
            if is_dropout and isinstance(value, (int, float)) and not 0 <= value <= 1:
                raise self.error(key, "from 0 to 1")
            if key.endswith(("_eps", "_epsilon", "initializer_range")) and value is not None and value < 0:
                raise self.error(key, "at least 0")
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
