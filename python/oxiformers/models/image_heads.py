"""Heads of encoders of images, see `heads`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from oxiformers.errors import ArgumentError
from oxiformers.layers.context import ForwardContext
from oxiformers.layers.linear import Linear
from oxiformers.layers.loss import masked_pixel_loss, sequence_loss
from oxiformers.layers.patches import PatchEmbeddings
from oxiformers.models.heads import Head
from oxiformers.models.outputs import ImageClassifierOutput, MaskedImageModelingOutput


class ImageClassification(Head):
    """One class, several, or values for each image: a linear layer ``classifier`` of the first token."""

    output_class = ImageClassifierOutput
    arguments = ("pixel_values", "head_mask", "labels", "interpolate_pos_encoding")
    classifier: nn.Module

    def build(self, config: Any) -> None:
        """Makes ``classifier``; without labels the first token is what comes out."""
        count = config.num_labels
        self.classifier = Linear(config.hidden_size, count) if count else nn.Identity()

    def predict(self, encoded: Any, context: ForwardContext, labels: Tensor | None = None) -> Any:
        """Images ``[B, C, H, W]`` to logits ``[B, labels]``; for labels see `loss.sequence_loss`."""
        logits = self.classifier(context.layout.first(encoded.last_hidden_state))
        loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return self.output_class(loss=loss, logits=logits)


class MaskedImageModeling(Head):
    """The pixels of masked patches (SimMIM, arXiv:2111.09886): a convolution ``decoder`` of each patch's token."""

    output_class = MaskedImageModelingOutput
    model_options: ClassVar[Mapping[str, Any]] = {"use_mask_token": True}
    decoder: nn.Module

    def build(self, config: Any) -> None:
        """Makes ``decoder``, which gives encoder_stride x encoder_stride pixels a patch."""
        pixels = config.encoder_stride**2 * config.num_channels
        shuffle = nn.PixelShuffle(config.encoder_stride)
        self.decoder = nn.Sequential(nn.Conv2d(config.hidden_size, pixels, kernel_size=1), shuffle)

    def predict(
        self,
        encoded: Any,
        context: ForwardContext,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
    ) -> Any:
        """Images ``[B, C, H, W]`` to their reconstruction, and the loss over masked patches.

        Args:
            pixel_values: the images.
            bool_masked_pos: ``[B, patches]``, the patches that are masked; without it there is no loss.
        """
        assert pixel_values is not None
        patches = cast(PatchEmbeddings, self.get_input_embeddings())
        grid = patches.grid_of(pixel_values.shape)
        hidden = encoded.last_hidden_state[:, 1:]
        reconstruction = self.decoder(hidden.transpose(1, 2).unflatten(2, grid))
        loss = None
        if bool_masked_pos is not None:
            sides, stride = patches.patch_size, self.config.encoder_stride
            if sides != (stride, stride):
                raise ArgumentError.mismatch(
                    "bool_masked_pos", "None where encoder_stride is not patch_size",
                    f"encoder_stride {stride} for patches of {sides[0]} x {sides[1]} pixels",
                )  # fmt: skip
            mask = (
                bool_masked_pos.unflatten(1, grid).repeat_interleave(stride, 1).repeat_interleave(stride, 2)
            )
            loss = masked_pixel_loss(reconstruction, pixel_values, mask.unsqueeze(1))
        return self.output_class(loss=loss, reconstruction=reconstruction)
