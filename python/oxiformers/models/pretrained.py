"""Loading a model from a folder or repository, and saving it."""

from __future__ import annotations

import copy
import inspect
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from oxiformers import files, hub
from oxiformers.config import Config
from oxiformers.config_file import CONFIG_NAME
from oxiformers.errors import ArgumentError, InputTypeError, UnsupportedError
from oxiformers.logging import get_logger
from oxiformers.models import placement
from oxiformers.models.embeddings import TokenEmbeddings, declared
from oxiformers.weights import load, meta
from oxiformers.weights.find import open_weights
from oxiformers.weights.save import PYTORCH_METADATA, save_state_dict
from oxiformers.weights.state_dict import StateDict

logger = get_logger(__name__)

# Arguments of transformers' from_pretrained that steer its own loading and have nothing to steer here.
_WITHOUT_EFFECT = frozenset(
    {"low_cpu_mem_usage", "_fast_init", "weights_only", "_from_auto", "_from_pipeline"}
)
_GENERATION_CONFIG = "generation_config.json"
_UNSUPPORTED = ("from_tf", "from_flax", "quantization_config", "gguf_file", "load_in_8bit", "load_in_4bit")


class Pretrained(TokenEmbeddings):
    """What a model has for loading and saving: `from_pretrained` and `save_pretrained`."""

    if TYPE_CHECKING:  # what the model itself has
        config_class: ClassVar[type[Config]]

        @property
        def dtype(self) -> torch.dtype: ...
        def _init_weights(self, module: torch.nn.Module) -> None: ...

    _loaded = False
    #: What generation_config.json says, to be written back.
    _generation_settings: dict[str, Any] | None = None

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str] | None, *args: Any, **kwargs: Any) -> Any:
        """Loads a model, in evaluation mode.

        The weights are those of model.safetensors or its shards, else of pytorch_model.bin or its shards, which is
        read without running code. They are mapped from the file where they can be: on the CPU, in their own
        dtype, nothing is copied, and changing a weight never changes the file. A generation_config.json beside
        them is kept for `save_pretrained`.

        Args:
            name_or_path: a folder, or the name of a repository; None with both `config` and `state_dict`.
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
                use_safetensors: True for safetensors alone, False for pytorch_model.bin alone.
                variant: load model.<variant>.safetensors or pytorch_model.<variant>.bin.
                revision, token, cache_dir, local_files_only, subfolder, force_download: see `hub.Source`.
                Any other one overrides a value of the config; what is none goes to the model's constructor.

        Raises:
            MissingFileError, FileError, FormatError, ConfigError: see `Config.from_pretrained`.
            WeightsError: weights and model do not fit; one report of all that is missing, unknown to the base
                model, of another shape or of another dtype. Only a new head may be missing; it is
                initialised, and a warning names it.
            UnsupportedError: quantised weights, another framework's format, or a pytorch_model.bin that names
                code; the key is the name.
        """
        for key in _UNSUPPORTED:
            if kwargs.pop(key, None):
                raise UnsupportedError(f"{cls.__name__}.from_pretrained does not support {key}=", key=key)
        kwargs = {key: value for key, value in kwargs.items() if key not in _WITHOUT_EFFECT}
        wanted = kwargs.pop("dtype", None), kwargs.pop("torch_dtype", None)
        dtype = next((kind for kind in wanted if kind is not None), "auto")
        device = placement.as_device(kwargs.pop("device", None), kwargs.pop("device_map", None))
        ignore_mismatched_sizes = kwargs.pop("ignore_mismatched_sizes", False)
        output_loading_info = kwargs.pop("output_loading_info", False)
        state_dict, variant = kwargs.pop("state_dict", None), kwargs.pop("variant", None)
        use_safetensors = kwargs.pop("use_safetensors", None)
        given_config = kwargs.pop("config", None)
        arguments, rest = hub.split_hub_arguments(kwargs)
        source = None
        if name_or_path is not None:
            source = hub.Source(name_or_path, **arguments)
        elif state_dict is None or given_config is None:
            missing = "config" if given_config is None else "state_dict"
            raise ArgumentError.mismatch(
                missing, "both config= and state_dict= where name_or_path is None", "None"
            )
        config, rest = cls._config_of(name_or_path, given_config, arguments, rest)

        weights: load.Weights
        if state_dict is not None:
            weights, where = StateDict(state_dict), "state_dict"
        else:
            assert source is not None  # or state_dict is given
            weights, path = open_weights(source, variant, use_safetensors)
            where = str(path)
        layers = getattr(config, "num_hidden_layers", None)
        load.check_depth(weights.names(), layers if isinstance(layers, int) else 0, where)
        model = cls._without_memory(config, args, rest)
        kind = placement.choose_dtype(dtype, config, weights)
        matched = model._load(weights, kind, device, ignore_mismatched_sizes, where)
        model.config.dtype = kind
        model.config.name_or_path = os.fspath(name_or_path or "")
        model._generation_settings = _generation_settings(source, model)
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
        cls,
        name_or_path: str | os.PathLike[str] | None,
        given: Any,
        arguments: dict[str, Any],
        rest: dict[str, Any],
    ) -> tuple[Config, dict[str, Any]]:
        """The model's own config, and the arguments that are for the model's constructor."""
        attention = rest.pop("attn_implementation", None)
        trust = rest.pop("trust_remote_code", None)
        if isinstance(given, Config):
            config: Config = copy.deepcopy(given)
        else:
            place: Any = name_or_path if given is None else given
            config, rest = cls.config_class.from_pretrained(
                place,
                return_unused_kwargs=True, trust_remote_code=trust, **arguments, **rest,
            )  # fmt: skip
        if attention is not None:
            config.attn_implementation = attention
        config.check()
        quantization = getattr(config, "quantization_config", None)
        if quantization is not None:
            method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
            raise UnsupportedError.mismatch(
                "quantization_config",
                "none, as quantised weights are not supported",
                method,
                path=config._source,
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
        with config._naming_the_source(), meta.WithoutMemory():
            model = cls(config, *args, **kwargs)
        model.tie_weights()
        return model

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
            legacy=declared(type(self), "legacy"),
            ignored=declared(type(self), "ignored"),
            optional=declared(type(self), "optional"),
            defaulted=declared(type(self), "defaulted"),
            substitutes=declared(type(self), "substitutes"),
            computed=computed,
        )
        matched = load.plan(expected, weights, rules, ignore_mismatched_sizes)
        if (error := matched.report(type(self).__name__, source)) is not None:
            raise error
        self._tie(matched.tied)
        for name in computed:
            meta.put(self, name, meta.find(self, name).to(device))
        meta.give_memory(self, matched.defaulted, device, dtype)
        if matched.new:
            # Before the stored tensors arrive only the new ones have memory, so only they are initialised.
            meta.give_memory(self, matched.new, device, dtype)
            with torch.no_grad(), meta.SkippingMeta():
                self.apply(self._init_weights)
        load.assign(self, weights, matched, device, dtype)
        self._tie(matched.tied)
        self._loaded = True
        return matched

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        state_dict: Mapping[str, Tensor] | None = None,
        max_shard_size: int | str = "50GB",
        safe_serialization: bool = True,
        is_main_process: bool = True,
        push_to_hub: bool = False,
        variant: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes config.json and model.safetensors, or shards with an index; transformers loads the folder.

        A generation_config.json that the model was loaded with is written too.

        Args:
            save_directory: the folder, which is made.
            state_dict: written in place of the model's own.
            max_shard_size: bytes, or text such as "5GB".
            safe_serialization: only True: nothing is pickled.
            is_main_process: where False, nothing is written.
            variant: write model.<variant>.safetensors; other variants in the folder stay.

        Raises:
            FileError: the folder cannot be written to; what was there before is intact.
            UnsupportedError: safe_serialization=False or push_to_hub=True.
        """
        hub.refuse_push(push_to_hub)
        if not safe_serialization:
            raise UnsupportedError(
                "safe_serialization=False: only safetensors are written", key="safe_serialization"
            )
        if unknown := kwargs.keys() - {"save_function", "save_peft_format", "token"}:
            raise ArgumentError(f"save_pretrained has no argument {min(unknown)!r}", key=min(unknown))
        if not is_main_process:
            return
        if (dtype := self.dtype) is not None:
            self.config.dtype = dtype
        config = copy.deepcopy(self.config)
        config.architectures = [type(self).__name__]
        files.make_folder(save_directory)
        tensors = dict(state_dict) if state_dict is not None else self.state_dict()
        save_state_dict(
            save_directory,
            tensors,
            tied=self._declared_ties(),
            metadata=PYTORCH_METADATA,
            max_shard_size=max_shard_size,
            variant=variant,
        )
        config.to_json_file(os.path.join(save_directory, CONFIG_NAME))
        if self._generation_settings is not None:
            text = json.dumps(self._generation_settings, indent=2) + "\n"
            files.write_text(os.path.join(save_directory, _GENERATION_CONFIG), text)


def _generation_settings(source: hub.Source | None, model: Pretrained) -> dict[str, Any] | None:
    """The keys of generation_config.json, None where there is none.

    A repository is asked for it only where the model has logits over a vocabulary to generate from.
    """
    if source is None:
        return None
    generates = model.get_output_embeddings() is not None
    path = source.file(_GENERATION_CONFIG, required=False, ask=generates)
    return files.read_json(path) if path is not None else None
