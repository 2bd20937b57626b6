"""The base of every model: construction, tying, initialisation, and what callers ask."""

from __future__ import annotations

import copy
import threading
from abc import ABCMeta
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from oxiformers.config import Config
from oxiformers.errors import InputTypeError, UnsupportedError
from oxiformers.layers.context import ForwardContext, ForwardOptions
from oxiformers.layers.conv1d import Conv1D
from oxiformers.models import placement
from oxiformers.models.checkpointing import GradientCheckpointing
from oxiformers.models.embeddings import declared
from oxiformers.models.pretrained import Pretrained
from oxiformers.weights import meta


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


class PreTrainedModel(GradientCheckpointing, Pretrained, metaclass=_InitialisedAfterConstruction):
    """A model with a config: subclasses build their modules in `__init__(self, config)`.

    The weights of a model that is constructed are initialised by `_init_weights` once the outermost
    constructor is through; `from_pretrained` initialises only those that the checkpoint lacks.

    Class attributes, most of them declarations of how names in checkpoints and in the model relate:
        config_class: the config's class.
        supported: keys of the config of which only one value is supported, and that value.
        main_input_name: the first argument of forward.
        known_options: the keywords that forward takes besides its tensors, see context.ForwardOptions.
        legacy: old ends of names and what they are now.
        ignored: patterns (searched) of names that a checkpoint may hold and the model does not need.
        optional: patterns (searched) of names in the base model that only some heads' checkpoints hold.
        defaulted: patterns (searched) of names that a checkpoint may lack: they are then what they are in a new model.
        substitutes: names that a checkpoint may hold in the place of the model's.

    What a class declares under the last six names is added to what its bases declare.
    """

    config_class: ClassVar[type[Config]] = Config
    supported: ClassVar[Mapping[str, Any]] = {}
    main_input_name: ClassVar[str] = "input_ids"
    known_options: ClassVar[frozenset[str]] = frozenset(ForwardOptions.__annotations__)
    legacy: ClassVar[Mapping[str, str]] = {
        "LayerNorm.gamma": "LayerNorm.weight",
        "LayerNorm.beta": "LayerNorm.bias",
    }
    ignored: ClassVar[tuple[str, ...]] = (r"(^|\.)position_ids$", r"\.rotary_emb\.inv_freq$")
    optional: ClassVar[tuple[str, ...]] = (r"(^|\.)pooler\.",)
    defaulted: ClassVar[tuple[str, ...]] = ()
    substitutes: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        if not isinstance(config, Config):
            cls = type(self).__name__
            raise InputTypeError.mismatch(
                "config", "a Config", type(config).__name__, f"to load weights use {cls}.from_pretrained(...)"
            )
        config.check()
        for key, wanted in declared(type(self), "supported").items():
            if (actual := getattr(config, key)) != wanted:
                raise UnsupportedError.mismatch(
                    key,
                    repr(wanted),
                    repr(actual),
                    f"{type(self).__name__} supports no other",
                    path=config._source,
                )
        self.config = config

    def post_init(self) -> None:
        """Does nothing, for constructors written for transformers: weights are initialised afterwards."""

    # Calls

    def begin_forward(self, options: Mapping[str, Any]) -> tuple[ForwardContext, bool]:
        """The context of a call, and whether this model is the outermost one, which makes it."""
        context = options.get("context")
        if context is not None:
            return context, False
        return ForwardContext(self.config, options, self.known_options), True

    def end_forward(self, output: Any, context: ForwardContext, outermost: bool) -> Any:
        """The output of a call: as the caller's batch lies where the model is the outermost one.

        Fields of its own that hold something for each token a head unpacks itself.
        """
        if not outermost:
            return output
        self.unpack(output, context)
        return output if context.return_dict else output.to_tuple()

    def unpack(self, output: Any, context: ForwardContext) -> None:
        """Unpacks hidden states, and sets attention weights to zero in the rows of padding."""
        for name, value in list(output.items()):
            if name == "last_hidden_state":
                setattr(output, name, context.unpack(value))
            elif name in ("hidden_states", "decoder_hidden_states"):
                setattr(output, name, context.unpack_states(value))
            elif name in ("attentions", "decoder_attentions", "cross_attentions"):
                setattr(output, name, context.unpack_attentions(value))

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
        model.config.dtype = kind
        named = (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
        names = [name for group in named for name, _ in group]
        meta.give_memory(model, names, where, kind)
        model.init_weights()
        return model

    _from_config = from_config

    # Initialisation

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
        """The usual scheme: weights as `_draw` has them, zero biases and padding, norms of one."""
        bias = getattr(module, "bias", None)
        if "Norm" in type(module).__name__:
            if isinstance(weight := getattr(module, "weight", None), Tensor):
                nn.init.ones_(weight)
            if isinstance(bias, Tensor):
                nn.init.zeros_(bias)
        elif isinstance(module, (nn.Linear, Conv1D, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            # A parametrised weight (weight norm) is computed: assigning it sets what it is computed from.
            if parametrize.is_parametrized(module, "weight"):
                self._draw(drawn := torch.empty_like(module.weight))
                module.weight = drawn
            else:
                self._draw(module.weight)
            if isinstance(bias, Tensor):
                nn.init.zeros_(bias)
        elif isinstance(module, nn.Embedding):
            self._draw(module.weight)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])

    def _draw(self, weight: Tensor) -> None:
        """Gives a weight random values: normal ones with deviation config.initializer_range, or init_std."""
        names = (name for name in ("initializer_range", "init_std") if hasattr(self.config, name))
        nn.init.normal_(weight, std=getattr(self.config, next(names, ""), 0.02))

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
