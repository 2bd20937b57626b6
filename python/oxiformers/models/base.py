"""The base of every model: construction without memory, loading, saving, tying, initialisation."""

from __future__ import annotations

import copy
import inspect
import os
import threading
from abc import ABCMeta
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from oxiformers import files, hub
from oxiformers.config import Config
from oxiformers.config_file import CONFIG_NAME
from oxiformers.errors import ArgumentError, InputTypeError, UnsupportedError
from oxiformers.layers.conv1d import Conv1D
from oxiformers.logging import get_logger
from oxiformers.models import placement
from oxiformers.models.checkpointing import GradientCheckpointing
from oxiformers.models.embeddings import WordEmbeddings
from oxiformers.weights import load, meta
from oxiformers.weights.checkpoint import Checkpoint
from oxiformers.weights.save import PYTORCH_METADATA, save_state_dict

logger = get_logger(__name__)

# Arguments of transformers' from_pretrained that steer its own loading and have nothing to steer here.
_WITHOUT_EFFECT = frozenset(
    {"low_cpu_mem_usage", "_fast_init", "weights_only", "_from_auto", "_from_pipeline"}
)
_UNSUPPORTED = ("from_tf", "from_flax", "quantization_config", "gguf_file", "load_in_8bit", "load_in_4bit")


class _Construction(threading.local):
    depth = 0


_construction = _Construction()


class _InitialisedAfterConstruction(ABCMeta):
    """Initialises a model's weights once, after the constructor of the outermost model."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        _construction.depth += 1
        try:
            model = super().__call__(*args, **kwargs)
        finally:
            _construction.depth -= 1
        if _construction.depth == 0 and not any(tensor.is_meta for tensor in model.parameters()):
            model._initialise_once()
        return model


class PreTrainedModel(GradientCheckpointing, WordEmbeddings, metaclass=_InitialisedAfterConstruction):
    """A model with a config: subclasses build their modules in `__init__(self, config)`.

    The weights of a model that is constructed are initialised by `_init_weights` once the outermost
    constructor is through; `from_pretrained` initialises only those that the checkpoint lacks.

    Class attributes, most of them declarations of how names in checkpoints and in the model relate:
        config_class: the config's class.
        supported: keys of the config of which only one value is supported, and that value.
        base_model_prefix: the attribute under which a model with a head holds its base model.
        main_input_name: the first argument of forward.
        tied: names whose tensor is another one's: {"lm_head.weight": "model.embed_tokens.weight"}. The tie of
            an output embedding holds where the config says tie_word_embeddings, every other one always.
        legacy: old ends of names and what they are now.
        ignored: patterns (searched) of names that a checkpoint may hold and the model does not need.
        optional: patterns (searched) of names in the base model that only some heads' checkpoints hold.
    """

    config_class: ClassVar[type[Config]] = Config
    supported: ClassVar[Mapping[str, Any]] = {}
    main_input_name: ClassVar[str] = "input_ids"
    legacy: ClassVar[Mapping[str, str]] = {
        "LayerNorm.gamma": "LayerNorm.weight",
        "LayerNorm.beta": "LayerNorm.bias",
    }
    ignored: ClassVar[tuple[str, ...]] = (r"(^|\.)position_ids$", r"\.rotary_emb\.inv_freq$")
    optional: ClassVar[tuple[str, ...]] = (r"(^|\.)pooler\.",)

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        if not isinstance(config, Config):
            raise InputTypeError(
                f"{type(self).__name__} is made from a config, not from {type(config).__name__}; to load "
                f"weights use {type(self).__name__}.from_pretrained(...)",
                key="config",
                expected="a Config",
                actual=type(config).__name__,
            )
        config.check()
        for key, wanted in self.supported.items():
            if (actual := getattr(config, key)) != wanted:
                raise UnsupportedError(
                    f"{key} = {actual!r}: {type(self).__name__} supports {wanted!r} only",
                    path=config._source,
                    key=key,
                    expected=repr(wanted),
                    actual=repr(actual),
                )
        self.config = config

    def post_init(self) -> None:
        """Does nothing, for constructors written for transformers: weights are initialised afterwards."""

    # Construction

    @classmethod
    def from_config(
        cls,
        config: Config,
        *args: Any,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device: placement.Device = None,
        attn_implementation: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """A model with random weights, in training mode.

        Args:
            config: its copy becomes the model's.
            dtype: of the weights; the config's by default, else torch's default dtype.
            torch_dtype: the older name of `dtype`.
            device: where the weights lie; the CPU by default.
            attn_implementation: see `Config.attn_implementation`.

        Raises:
            ConfigError: the config contradicts itself, or the model is larger than this machine's memory.
        """
        config = copy.deepcopy(config)
        if attn_implementation is not None:
            config.attn_implementation = attn_implementation
        wanted = dtype if dtype is not None else torch_dtype
        kind = placement.as_dtype(config.dtype if wanted in (None, "auto") else wanted)
        where = placement.as_device(device)
        model = cls._without_memory(config, args, kwargs)
        placement.check_fits(meta.size_in_bytes(model, kind), where, config)
        config.dtype = kind
        named = (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
        names = [name for group in named for name, _ in group]
        meta.give_memory(model, names, where, kind)
        model.init_weights()
        return model

    _from_config = from_config

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Loads a model, in evaluation mode.

        The weights are mapped from the file where they can be: on the CPU, in their own dtype, nothing is
        copied, and changing a weight never changes the file.

        Args:
            name_or_path: a folder, or the name of a repository.
            *args: passed to the model's constructor after the config.
            **kwargs:
                config: a Config, or where its file lies; config.json beside the weights by default.
                dtype (torch_dtype): "auto" (the default: the config's dtype, else the checkpoint's), a dtype
                    or its name.
                device, device_map: "cpu" (the default), "cuda", "cuda:1", an index, "auto" (CUDA where there
                    is one), or {"": device}.
                attn_implementation: see `Config.attn_implementation`.
                ignore_mismatched_sizes: initialise tensors of another shape anew.
                output_loading_info: return (model, info); info holds lists of names under "missing_keys"
                    (initialised anew), "unexpected_keys" (another head's, left out), "mismatched_keys" and
                    "error_msgs".
                state_dict: tensors by name, in place of a file.
                variant: load model.<variant>.safetensors.
                revision, token, cache_dir, local_files_only, subfolder, force_download: see `hub.Source`.
                Any other one overrides a value of the config; what is none goes to the model's constructor.

        Raises:
            MissingFileError, FileError, FormatError, ConfigError: see `Config.from_pretrained`.
            WeightsError: weights and model do not fit; one report of all that is missing, unknown to the base
                model, of another shape or of another dtype. Only a new head may be missing; it is
                initialised, and a warning names it.
            UnsupportedError: quantised weights, or another format than safetensors.
        """
        for key in _UNSUPPORTED:
            if kwargs.pop(key, None):
                raise UnsupportedError(f"{cls.__name__}.from_pretrained does not support {key}=", key=key)
        if kwargs.pop("use_safetensors", None) is False:
            raise UnsupportedError("use_safetensors=False: only safetensors are read", key="use_safetensors")
        kwargs = {key: value for key, value in kwargs.items() if key not in _WITHOUT_EFFECT}
        wanted = kwargs.pop("dtype", None), kwargs.pop("torch_dtype", None)
        dtype = next((kind for kind in wanted if kind is not None), "auto")
        device = placement.as_device(kwargs.pop("device", None), kwargs.pop("device_map", None))
        ignore_mismatched_sizes = kwargs.pop("ignore_mismatched_sizes", False)
        output_loading_info = kwargs.pop("output_loading_info", False)
        state_dict, variant = kwargs.pop("state_dict", None), kwargs.pop("variant", None)
        given_config = kwargs.pop("config", None)
        arguments, rest = hub.split_hub_arguments(kwargs)
        source = hub.Source(name_or_path, **arguments)
        config, rest = cls._config_of(name_or_path, given_config, arguments, rest)

        weights: load.Weights
        if state_dict is not None:
            weights, where = load.StateDict(state_dict), "state_dict"
        else:
            path, is_index = load.find_files(source, variant)
            weights = Checkpoint.open(path, resolve=source.file if is_index else None)
            where = str(path)
        layers = getattr(config, "num_hidden_layers", None)
        load.check_depth(weights.names(), layers if isinstance(layers, int) else 0, where)
        model = cls._without_memory(config, args, rest)
        kind = placement.choose_dtype(dtype, config, weights)
        matched = model._load(weights, kind, device, ignore_mismatched_sizes, where)
        config.dtype = kind
        config.name_or_path = os.fspath(name_or_path)
        model.eval()
        if matched.new:
            logger.warning(
                "%d weights of %s are not in %s and were initialised anew: %s. Train the model on a "
                "task before predicting with it.",
                len(matched.new), cls.__name__, where, ", ".join(sorted(matched.new)),
            )  # fmt: skip
        if not output_loading_info:
            return model
        mismatched = [name for name in matched.new if name in matched.reshaped]
        return model, {
            "missing_keys": [name for name in matched.new if name not in matched.reshaped],
            "unexpected_keys": matched.surplus,
            "mismatched_keys": [(name, *matched.reshaped[name]) for name in mismatched],
            "error_msgs": [],
        }

    @classmethod
    def _config_of(
        cls, name_or_path: str | os.PathLike[str], given: Any, arguments: dict[str, Any], rest: dict[str, Any]
    ) -> tuple[Config, dict[str, Any]]:
        """The model's own config, and the arguments that are for the model's constructor."""
        attention = rest.pop("attn_implementation", None)
        trust = rest.pop("trust_remote_code", None)
        if isinstance(given, Config):
            config: Config = copy.deepcopy(given)
        else:
            config, rest = cls.config_class.from_pretrained(
                name_or_path if given is None else given,
                return_unused_kwargs=True, trust_remote_code=trust, **arguments, **rest,
            )  # fmt: skip
        if attention is not None:
            config.attn_implementation = attention
        quantization = getattr(config, "quantization_config", None)
        if quantization is not None:
            method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
            raise UnsupportedError(
                f"{config._source or name_or_path}: quantization_config ({method}) is not supported",
                path=config._source,
                key="quantization_config",
                actual=str(method),
            )
        return config, rest

    @classmethod
    def _without_memory(cls, config: Config, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        parameters = inspect.signature(cls.__init__).parameters
        accepted = {name for name, item in parameters.items() if item.kind is not item.VAR_KEYWORD} - {"self"}
        for key in kwargs:
            if key not in accepted:
                raise InputTypeError(
                    f"{key!r} is neither a key of {type(config).__name__} nor an argument of {cls.__name__}",
                    key=key,
                    expected="a key of the config: " + ", ".join(sorted(vars(config))),
                    actual=key,
                )
        with meta.WithoutMemory():
            model = cls(config, *args, **kwargs)
        model.tie_weights()
        return model

    # Loading

    def _load(
        self,
        weights: load.Weights,
        dtype: torch.dtype,
        device: torch.device,
        ignore_mismatched_sizes: bool,
        source: str,
    ) -> load.Plan:
        expected = self.state_dict(keep_vars=True)
        computed = {name for name, _ in self.named_buffers()} - expected.keys()
        rules = load.Rules(
            prefix=self.base_model_prefix,
            has_base=self.base_model is not self,
            tied=self._active_ties(),
            legacy=self.legacy,
            ignored=self.ignored,
            optional=self.optional,
            computed=computed,
        )
        matched = load.plan(expected, weights, rules, ignore_mismatched_sizes)
        if (error := matched.report(type(self).__name__, source)) is not None:
            raise error
        self._tie(matched.tied)
        for name in computed:
            meta.put(self, name, meta.find(self, name).to(device))
        if matched.new:
            # Before the stored tensors arrive only the new ones have memory, so only they are initialised.
            meta.give_memory(self, matched.new, device, dtype)
            with torch.no_grad(), meta.SkippingMeta():
                self.apply(self._init_weights)
        load.assign(self, weights, matched, device, dtype)
        self._tie(matched.tied)
        self._loaded = True
        return matched

    def _active_ties(self) -> dict[str, str]:
        """The declared ties that the config wants: without tie_word_embeddings the output embedding stands
        alone."""
        ties = dict(self.tied)
        output = self.get_output_embeddings()
        if output is not None and not self.config.tie_word_embeddings:
            own = {name for name, module in self.named_modules(remove_duplicate=False) if module is output}
            ties = {
                name: shared
                for name, shared in ties.items()
                if name not in {f"{path}.weight" for path in own}
            }
        return ties

    def _tie(self, ties: Mapping[str, str]) -> None:
        for name, shared in ties.items():
            meta.put(self, name, meta.find(self, shared))

    def tie_weights(self) -> None:
        """Makes tied weights one tensor again, as after one of them was replaced."""
        self._tie(self._active_ties())

    # Saving

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        state_dict: Mapping[str, Tensor] | None = None,
        max_shard_size: int | str = "50GB",
        safe_serialization: bool = True,
        is_main_process: bool = True,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Writes config.json and model.safetensors, or shards with an index; transformers loads the folder.

        Args:
            save_directory: the folder, which is made.
            state_dict: written in place of the model's own.
            max_shard_size: bytes, or text such as "5GB".
            safe_serialization: only True: nothing is pickled.
            is_main_process: where False, nothing is written.

        Raises:
            FileError: the folder cannot be written to; what was there before is intact.
            UnsupportedError: safe_serialization=False or push_to_hub=True.
        """
        hub.refuse_push(push_to_hub)
        if not safe_serialization:
            raise UnsupportedError(
                "safe_serialization=False: only safetensors are written", key="safe_serialization"
            )
        unknown = kwargs.keys() - {"save_function", "save_peft_format", "token", "variant"}
        if unknown or kwargs.get("variant"):
            key = "variant" if not unknown else min(unknown)
            raise ArgumentError(f"save_pretrained has no argument {key!r}", key=key)
        if not is_main_process:
            return
        if (dtype := self.dtype) is not None:
            self.config.dtype = dtype
        config = copy.deepcopy(self.config)
        config.architectures = [type(self).__name__]
        files.make_folder(save_directory)
        tensors = dict(state_dict) if state_dict is not None else self.state_dict()
        save_state_dict(
            save_directory, tensors, tied=self.tied, metadata=PYTORCH_METADATA, max_shard_size=max_shard_size
        )
        config.to_json_file(os.path.join(save_directory, CONFIG_NAME))

    # Initialisation

    _loaded = False

    @torch.no_grad()
    def _initialise_once(self) -> None:
        """As `init_weights`, but leaves alone what a constructor loaded from a checkpoint."""
        loaded = [module for module in self.modules() if getattr(module, "_loaded", False)]
        done = {id(part) for module in loaded for part in module.modules()}
        self.apply(lambda module: None if id(module) in done else self._init_weights(module))
        self.tie_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Gives every weight a random value by `_init_weights`, and ties what is tied."""
        self.apply(self._init_weights)
        self.tie_weights()

    def _init_weights(self, module: nn.Module) -> None:
        """The usual scheme: normal with deviation config.initializer_range, zero biases and padding, norms of
        one."""
        deviation = getattr(self.config, "initializer_range", 0.02)
        bias = getattr(module, "bias", None)
        if "Norm" in type(module).__name__:
            if isinstance(weight := getattr(module, "weight", None), Tensor):
                nn.init.ones_(weight)
            if isinstance(bias, Tensor):
                nn.init.zeros_(bias)
        elif isinstance(module, (nn.Linear, Conv1D, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            nn.init.normal_(module.weight, std=deviation)
            if isinstance(bias, Tensor):
                nn.init.zeros_(bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=deviation)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])

    # What callers ask

    @property
    def device(self) -> torch.device:
        """Where the weights lie: the first one's device."""
        return next((tensor.device for tensor in self.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the first floating-point weight."""
        kinds = (tensor.dtype for tensor in self.parameters() if tensor.is_floating_point())
        return next(kinds, torch.get_default_dtype())

    @property
    def name_or_path(self) -> str:
        """What from_pretrained was called with."""
        return self.config.name_or_path

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many parameters there are, tied ones counted once."""
        excluded: set[int] = set()
        if exclude_embeddings:
            embeddings = (module for module in self.modules() if isinstance(module, nn.Embedding))
            excluded = {id(module.weight) for module in embeddings}
        return sum(
            tensor.numel()
            for tensor in self.parameters()
            if id(tensor) not in excluded and (tensor.requires_grad or not only_trainable)
        )

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the model has `generate`."""
        return callable(getattr(cls, "generate", None))
