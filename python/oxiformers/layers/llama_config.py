"""Configs of decoders under Llama's names: the keys they share, and which of their layers see a window only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from oxiformers.config_types import Count, Layers, NonNegative, Probability
from oxiformers.layers.activations import activation
from oxiformers.layers.rope_config import RotaryConfig

FULL, SLIDING = "full_attention", "sliding_attention"
# What transformers' configs take besides; a model that computes one of these says so in `known_layer_types`.
_OTHERS = ("chunked_attention", "linear_attention")
# A config of more layers is read, and refused when a model is built.
_MOST_LAYERS = 1024


@dataclass
class LlamaNamesConfig(RotaryConfig):
    """What DecoderModel and the layers of llama_names read. Defaults are those of Llama 7B."""

    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: Layers = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: NonNegative = 0.02
    rms_norm_eps: NonNegative = 1e-6
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    attention_dropout: Probability = 0.0

    def __post_init__(self) -> None:
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.head_dim is None:
            self.require_multiple("hidden_size", "num_attention_heads")
            self.head_dim = self.hidden_size // self.num_attention_heads

    def validate(self) -> None:
        self.require_multiple("num_attention_heads", "num_key_value_heads")
        activation(self.hidden_act)

    def window_of(self, layer_index: int) -> tuple[int, int] | None:
        """How far the tokens of a layer see, as Scoring.window: None, the default, for all before them."""
        return None


@dataclass
class LayerTypesConfig(LlamaNamesConfig):
    """A config whose layers differ in how far they see.

    Attributes:
        sliding_window: how many tokens a token sees in layers with a window, itself included; None for all.
        layer_types: of each layer, "full_attention" or "sliding_attention"; by default what `layer_type` says.
        known_layer_types: those that the model computes.
    """

    known_layer_types: ClassVar[tuple[str, ...]] = (FULL, SLIDING)

    sliding_window: int | None = None
    layer_types: list[str] | None = None

    def layer_type(self, layer_index: int) -> str:
        """The type of a layer where the config does not say: a window wherever there is one."""
        return FULL if self.sliding_window is None else SLIDING

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer_types is None:
            self.layer_types = [
                self.layer_type(index) for index in range(min(self.num_hidden_layers, _MOST_LAYERS))
            ]
        elif len(self.layer_types) != self.num_hidden_layers:
            raise self._layer_types_error(self.num_hidden_layers)
        self._check_layer_types(*_OTHERS)

    def validate(self) -> None:
        super().validate()
        # transformers, too, takes the first of them where num_hidden_layers was lowered since.
        if len(self.layer_types or ()) < self.num_hidden_layers:
            raise self._layer_types_error(f"at least {self.num_hidden_layers}")
        self._check_layer_types()
        if self.sliding_window is None and SLIDING in (self.layer_types or ()):
            raise self.error("sliding_window", f"an integer, as layer_types has {SLIDING!r}")

    def window_of(self, layer_index: int) -> tuple[int, int] | None:
        types = self.layer_types or ()
        if self.sliding_window is None or types[layer_index] != SLIDING:
            return None
        return self.sliding_window - 1, 0

    def _check_layer_types(self, *others: str) -> None:
        known = (*type(self).known_layer_types, *others)
        for name in self.layer_types or ():
            if name not in known:
                raise self.error("layer_types", "only " + ", ".join(map(repr, known)), repr(name)[:80])

    def _layer_types_error(self, count: Any) -> Exception:
        names = len(self.layer_types or ())
        return self.error("layer_types", f"{count} names, one for each of num_hidden_layers", str(names))


@dataclass
class UpperWindowsConfig(LayerTypesConfig):
    """A config whose upper layers have a window where it asks for one, as Qwen's do.

    Attributes:
        use_sliding_window: where False, no layer has one, whatever sliding_window says.
        max_window_layers: how many of the lower layers see all tokens.
    """

    use_sliding_window: bool = False
    sliding_window: int | None = 4096
    max_window_layers: Count = 28

    def layer_type(self, layer_index: int) -> str:
        return FULL if layer_index < self.max_window_layers else super().layer_type(layer_index)

    def __post_init__(self) -> None:
        if not self.use_sliding_window:
            self.sliding_window = None
        super().__post_init__()

    def validate(self) -> None:
        super().validate()
        slides = self.use_sliding_window and self.max_window_layers < self.num_hidden_layers
        if slides and SLIDING not in (self.layer_types or ()):
            raise self.error("use_sliding_window", f"false where layer_types has no {SLIDING!r}")
