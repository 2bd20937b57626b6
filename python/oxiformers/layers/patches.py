"""Images as tokens: a token for each patch, one before them, and their positions in a grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers.config import Config
from oxiformers.errors import ArgumentError
from oxiformers.layers.tokens import require_tensor


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """A config's size of images or patches, which is one number where both sides are alike."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def check_sizes(config: Config) -> None:
    """Raises ConfigError where image_size or patch_size is neither one number nor two, or no patch fits an image."""
    for key in ("image_size", "patch_size"):
        if not isinstance(size := getattr(config, key), int) and len(size) != 2:
            raise config.error(key, "one integer, or height and width", str(size))
    image, patch = height_and_width(config.image_size), height_and_width(config.patch_size)
    if patch[0] > image[0] or patch[1] > image[1]:
        raise config.error("patch_size", f"at most image_size ({config.image_size})", str(config.patch_size))


class PatchEmbeddings(nn.Module):
    """A token for each patch, by a convolution whose patches do not overlap, in the order of rows.

    Args:
        image_size, patch_size: in pixels, see `height_and_width`.
        channels: of the images.
        size: D.

    Attributes:
        grid: how many patches an image of that size has, from top to bottom and from left to right.
    """

    def __init__(
        self, image_size: int | Sequence[int], patch_size: int | Sequence[int], channels: int, size: int
    ) -> None:
        super().__init__()
        self.image_size, self.patch_size = height_and_width(image_size), height_and_width(patch_size)
        self.num_channels = channels
        self.grid = self.grid_of(self.image_size)
        self.num_patches = self.grid[0] * self.grid[1]
        self.projection = nn.Conv2d(channels, size, kernel_size=self.patch_size, stride=self.patch_size)

    def grid_of(self, shape: Sequence[int]) -> tuple[int, int]:
        """The grid of images whose shape ends with height and width; pixels that fill no patch are left out."""
        return shape[-2] // self.patch_size[0], shape[-1] // self.patch_size[1]

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool | None = False) -> Tensor:
        """Images ``[B, C, H, W]`` to ``[B, patches, D]``, in the dtype of the weights.

        Raises:
            ArgumentError: other channels, or another size than the model's without interpolate_pos_encoding.
        """
        self._check(pixel_values, bool(interpolate_pos_encoding))
        patches: Tensor = self.projection(pixel_values.to(self.projection.weight.dtype))
        return patches.flatten(2).transpose(1, 2)

    def _check(self, pixel_values: Tensor, of_any_size: bool) -> None:
        require_tensor(pixel_values, "pixel_values")
        shape = () if pixel_values is None else tuple(pixel_values.shape)
        found = "None" if pixel_values is None else f"shape {shape}"
        if len(shape) != 4:
            raise ArgumentError.mismatch("pixel_values", "[batch, channels, height, width]", found)
        if shape[1] != self.num_channels:
            raise ArgumentError.mismatch("pixel_values", f"{self.num_channels} channels", found)
        if not of_any_size and shape[2:] != self.image_size:
            raise ArgumentError.mismatch(
                "pixel_values", "images of {} x {} pixels".format(*self.image_size), found,
                "interpolate_pos_encoding=True takes any size",
            )  # fmt: skip
        if 0 in self.grid_of(shape):
            expected = "images of at least {} x {} pixels, one patch".format(*self.patch_size)
            raise ArgumentError.mismatch("pixel_values", expected, found)


class ImageEmbeddings(nn.Module):
    """Patches after a token that stands for the image, with learned positions, under ViT's names.

    Args:
        patches: the embedding of patches.
        size: D.
        dropout: probability of dropping an element of the sum.
        use_mask_token: whether there is a token in the place of masked patches.
    """

    def __init__(
        self, patches: PatchEmbeddings, size: int, *, dropout: float, use_mask_token: bool = False
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, size))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size)) if use_mask_token else None
        self.patch_embeddings = patches
        self.position_embeddings = nn.Parameter(torch.randn(1, patches.num_patches + 1, size))
        self.dropout = nn.Dropout(dropout)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The positions of the first token and of a grid of patches, ``[1, 1 + patches, D]``.

        Of another grid than the model's they lie bicubically between those of the model's.
        """
        own = self.patch_embeddings.grid
        if grid == own:
            return self.position_embeddings
        first, others = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        table = others.transpose(1, 2).unflatten(2, own)
        table = F.interpolate(table, size=grid, mode="bicubic", align_corners=False)
        return torch.cat((first, table.flatten(2).transpose(1, 2)), dim=1)

    def forward(
        self,
        pixel_values: Tensor,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = False,
    ) -> Tensor:
        """Images ``[B, C, H, W]`` to ``[B, 1 + patches, D]``.

        Args:
            pixel_values: the images.
            bool_masked_pos: ``[B, patches]``, the patches that the mask token takes the place of.
            interpolate_pos_encoding: images may have another size than the model's, see `positions`.

        Raises:
            ArgumentError: see PatchEmbeddings; a mask of another shape, or for a model without a mask token.
        """
        hidden = self.patch_embeddings(pixel_values, interpolate_pos_encoding)
        if bool_masked_pos is not None:
            hidden = self._masked(hidden, bool_masked_pos)
        hidden = torch.cat((self.cls_token.expand(hidden.shape[0], -1, -1), hidden), dim=1)
        hidden = hidden + self.positions(self.patch_embeddings.grid_of(pixel_values.shape))
        return self.dropout(hidden)  # type: ignore[no-any-return]

    def _masked(self, hidden: Tensor, mask: Tensor) -> Tensor:
        require_tensor(mask, "bool_masked_pos")
        found = f"shape {tuple(mask.shape)}"
        if self.mask_token is None:
            raise ArgumentError.mismatch(
                "bool_masked_pos", "None", found, "the model has no mask token, see use_mask_token"
            )
        if mask.shape != hidden.shape[:2]:
            expected = f"shape {tuple(hidden.shape[:2])}, an element a patch"
            raise ArgumentError.mismatch("bool_masked_pos", expected, found)
        return torch.where((mask != 0).unsqueeze(-1), self.mask_token, hidden)
