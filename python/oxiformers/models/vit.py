"""ViT: an encoder of images that reads their patches as tokens.  arXiv:2010.11929"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from oxiformers.config import Config
from oxiformers.config_types import Layers, NonNegative, Probability, Sides
from oxiformers.layers.activations import activation
from oxiformers.layers.bert_names import BertNamesPooler
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.norm import LayerNorm
from oxiformers.layers.patches import ImageEmbeddings, PatchEmbeddings, check_sizes
from oxiformers.layers.vit_names import ViTNamesLayer
from oxiformers.models.image_encoder import ImageEncoder, ImageLayerStack, ImagePreTrainedModel
from oxiformers.models.image_heads import ImageClassification, MaskedImageModeling


@dataclass
class ViTConfig(Config):
    """Defaults are those of google/vit-base-patch16-224."""

    model_type = "vit"

    hidden_size: int = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: Probability = 0.0
    attention_probs_dropout_prob: Probability = 0.0
    initializer_range: NonNegative = 0.02
    layer_norm_eps: NonNegative = 1e-12
    image_size: Sides = 224
    patch_size: Sides = 16
    num_channels: int = 3
    qkv_bias: bool = True
    encoder_stride: int = 16
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"

    def __post_init__(self) -> None:
        self.pooler_output_size = self.pooler_output_size or self.hidden_size

    def validate(self) -> None:
        self.require_multiple("hidden_size", "num_attention_heads")
        activation(self.hidden_act)
        activation(self.pooler_act, "pooler_act")
        check_sizes(self)


class ViTPreTrainedModel(ImagePreTrainedModel):
    """What every ViT model shares."""

    config_class = ViTConfig
    base_model_prefix = "vit"
    supported: ClassVar[Mapping[str, Any]] = {"is_decoder": False, "add_cross_attention": False}


class ViTModel(ViTPreTrainedModel, ImageEncoder):
    """The layers, and a pooler of the first token unless ``add_pooling_layer`` is False."""

    def __init__(
        self, config: ViTConfig, add_pooling_layer: bool = True, use_mask_token: bool = False
    ) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.embeddings = ImageEmbeddings(
            PatchEmbeddings(config.image_size, config.patch_size, config.num_channels, size),
            size,
            dropout=config.hidden_dropout_prob,
            use_mask_token=use_mask_token,
        )
        layers = (ViTNamesLayer(config, index) for index in range(config.num_hidden_layers))
        self.encoder = ImageLayerStack(layers)
        self.layernorm = LayerNorm(size, eps=config.layer_norm_eps)
        self.pooler = None
        if add_pooling_layer:
            self.pooler = BertNamesPooler(config, config.pooler_output_size, config.pooler_act)
        self.post_init()

    def finish(self, hidden: Tensor) -> Tensor:
        """The last norm."""
        return self.layernorm(hidden)  # type: ignore[no-any-return]

    def summarize(self, last: Tensor, context: ForwardContext) -> Mapping[str, Any]:
        """The pooled first token, as pooler_output ``[B, D]``."""
        return {} if self.pooler is None else {"pooler_output": self.pooler(context.layout.first(last))}


class ViTForImageClassification(ImageClassification, ViTPreTrainedModel):
    """ViT with a classifier of the first token."""

    model_class = ViTModel


class ViTForMaskedImageModeling(MaskedImageModeling, ViTPreTrainedModel):
    """ViT that fills in the pixels of masked patches."""

    model_class = ViTModel
