"""The skeleton of encoders of images, and what models of images share."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from oxiformers.layers.context import ImageOptions
from oxiformers.layers.patches import ImageEmbeddings
from oxiformers.models.base import PreTrainedModel
from oxiformers.models.outputs import BaseModelOutputWithPooling
from oxiformers.models.stack import LayerStack, Stack


class ImagePreTrainedModel(PreTrainedModel):
    """A model that reads images: its weights are drawn from a truncated normal distribution."""

    main_input_name = "pixel_values"
    known_options = frozenset(ImageOptions.__annotations__) | {"head_mask"}
    optional: ClassVar[tuple[str, ...]] = (r"(^|\.)embeddings\.mask_token$",)

    def _draw(self, weight: Tensor) -> None:
        """Truncated at -2 and 2, and drawn in float32 whatever the dtype."""
        drawn = torch.empty_like(weight, dtype=torch.float32)
        weight.copy_(nn.init.trunc_normal_(drawn, std=self.config.initializer_range))

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ImageEmbeddings):
            self._draw(module.cls_token)
            self._draw(module.position_embeddings)
            if module.mask_token is not None:
                nn.init.zeros_(module.mask_token)


class ImageLayerStack(LayerStack):
    """The layers of an encoder of images."""

    arguments: ClassVar[tuple[str, ...]] = (
        "head_mask", "output_attentions", "output_hidden_states", "return_dict",
    )  # fmt: skip


class ImageEncoder(ImagePreTrainedModel, Stack):
    """Embeddings of patches and layers: see Stack for what subclasses say; they also make ``embeddings``."""

    output_class = BaseModelOutputWithPooling
    input_embedding = "embeddings.patch_embeddings"
    embeddings: nn.Module

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        head_mask: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        **options: Unpack[ImageOptions],
    ) -> Any:
        """Images ``[B, C, H, W]`` to ``[B, 1 + patches, D]``, and to a pooled ``[B, D]`` where the model has a pooler.

        Args:
            pixel_values, bool_masked_pos, interpolate_pos_encoding: see patches.ImageEmbeddings.
            head_mask: ``[H]`` or ``[layers, H]``, what each head's output is multiplied by.
        """
        context, outermost = self.begin_forward({**options, "head_mask": head_mask})
        hidden = self.embeddings(pixel_values, bool_masked_pos, interpolate_pos_encoding)
        context.lay_out(hidden, None)
        return self.compute(hidden, context, outermost)
