"""Rotary positions (Su et al., arXiv:2104.09864) and the ways checkpoints stretch them to longer contexts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from oxiformers.errors import ConfigError
from oxiformers.layers.fused import may_fuse
from oxiformers_kernels.rope import apply_rope

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of every token's angles, each ``[..., 1, D / 2]``."""


def rotate(query: Tensor, key: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
    """`apply_rotary` of queries ``[..., H, D]`` and keys ``[..., Hkv, D]``."""
    if not may_fuse(query):
        return apply_rotary(query, rotation), apply_rotary(key, rotation)
    cos, sin = rotation
    rotated, rotated_key = apply_rope(query, key, cos.squeeze(-2), sin.squeeze(-2))
    assert rotated_key is not None
    return rotated, rotated_key


def apply_rotary(tensor: Tensor, rotation: Rotation) -> Tensor:
    """Rotates each pair (i, i + D / 2) of ``[..., H, D]`` queries or keys by its token's angle."""
    cos, sin = rotation
    first, second = tensor.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class RotaryEmbedding(nn.Module):
    """The angles of rotary positions, computed in float32.

    Holds neither parameters nor buffers: a model on the meta device has its frequencies, and no change of the
    model's dtype rounds them.

    Args:
        parameters: a config's ``rope_parameters`` in standard form.
        size: D, how many dimensions of a head are rotated.
        max_positions: the config's max_position_embeddings.
    """

    def __init__(self, parameters: dict[str, Any], size: int, max_positions: int) -> None:
        super().__init__()
        if size % 2:
            raise ConfigError.mismatch("head_dim", "an even number, for rotary positions", size)
        self.kind: str = parameters["rope_type"]
        self._wanted = _Wanted(parameters, size, max_positions)
        # A meta-device context must not catch these.
        with torch.device("cpu"):
            if self.kind == "longrope":
                self.long_frequencies = _longrope_frequencies(self._wanted, "long_factor")
            self.frequencies, self.attention_factor = _KINDS[self.kind](self._wanted)

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Positions ``[B, S]`` to cosine and sine ``[B, S, D]`` in the dtype of ``x``, as transformers' layers take
        them."""
        cos, sin = self.rotation(position_ids, x.dtype)
        return torch.cat((cos, cos), -1).squeeze(-2), torch.cat((sin, sin), -1).squeeze(-2)

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> Rotation:
        """Positions ``[...]`` (of any layout) to cosine and sine ``[..., 1, D / 2]``."""
        frequencies = self._frequencies_for(positions)
        angles = positions.unsqueeze(-1).float() * frequencies
        cos, sin = angles.cos() * self.attention_factor, angles.sin() * self.attention_factor
        return cos.to(dtype).unsqueeze(-2), sin.to(dtype).unsqueeze(-2)

    def extra_repr(self) -> str:
        return f"{self._wanted.size}, {self.kind}"

    def _frequencies_for(self, positions: Tensor) -> Tensor:
        """The frequencies of this call: two kinds depend on the longest sequence in it."""
        frequencies = self.frequencies.to(positions.device)
        if self.kind not in ("dynamic", "longrope") or positions.numel() == 0:
            return frequencies
        longest, wanted = positions.max() + 1, self._wanted
        if self.kind == "dynamic":
            return torch.where(longest > wanted.max_positions, _stretched(wanted, longest), frequencies)
        original = wanted.parameters["original_max_position_embeddings"]
        return torch.where(longest > original, self.long_frequencies.to(positions.device), frequencies)


class _Wanted(NamedTuple):
    parameters: dict[str, Any]
    size: int
    max_positions: int

    def number(self, key: str, default: float) -> float:
        number: float = default if self.parameters.get(key) is None else self.parameters[key]
        return number

    @property
    def extension(self) -> float:
        """How many times longer the context is than the one trained on."""
        original: float = self.parameters["original_max_position_embeddings"]
        return self.number("factor", self.max_positions / original)


def _plain_frequencies(theta: float | Tensor, size: int, device: torch.device | None = None) -> Tensor:
    """``theta ** (-2 i / size)``, float32 ``[size / 2]``."""
    exponents = torch.arange(0, size, 2, dtype=torch.float32, device=device) / size
    frequencies: Tensor = 1.0 / theta**exponents
    return frequencies


def _default(wanted: _Wanted) -> tuple[Tensor, float]:
    return _plain_frequencies(wanted.parameters["rope_theta"], wanted.size), 1.0


def _linear(wanted: _Wanted) -> tuple[Tensor, float]:
    """Positions divided by a factor (Chen et al., arXiv:2306.15595)."""
    return _default(wanted)[0] / wanted.parameters["factor"], 1.0


def _proportional(wanted: _Wanted) -> tuple[Tensor, float]:
    """Only the fastest share of the angles is rotated."""
    rotated = int(wanted.number("partial_rotary_factor", 1.0) * wanted.size // 2)
    frequencies = _default(wanted)[0] / wanted.number("factor", 1.0)
    frequencies[rotated:] = 0.0
    return frequencies, 1.0


def _stretched(wanted: _Wanted, longest: Tensor) -> Tensor:
    """A base that grows with the sequence beyond the trained length ("NTK-aware", bloc97 and emozilla)."""
    theta, factor, size = wanted.parameters["rope_theta"], wanted.parameters["factor"], wanted.size
    stretched = theta * (factor * longest / wanted.max_positions - (factor - 1)) ** (size / (size - 2))
    return _plain_frequencies(stretched, size, longest.device)


def _yarn(wanted: _Wanted) -> tuple[Tensor, float]:
    """Fast angles kept, slow ones interpolated, with a ramp between (Peng et al., arXiv:2309.00071)."""
    theta, size = wanted.parameters["rope_theta"], wanted.size
    original, factor = wanted.parameters["original_max_position_embeddings"], wanted.extension

    def dimension_of(rotations: float) -> float:
        return size * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension_of(wanted.number("beta_fast", 32.0)), dimension_of(wanted.number("beta_slow", 1.0))
    if wanted.parameters.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    if low == high:
        high += 0.001
    kept = 1.0 - ((torch.arange(size // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    wavelengths = theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    frequencies = (1.0 / (factor * wavelengths)) * (1.0 - kept) + (1.0 / wavelengths) * kept

    def magnitude(scale: float) -> float:
        return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0

    scale, scale_all = wanted.parameters.get("mscale"), wanted.parameters.get("mscale_all_dim")
    attention = magnitude(scale) / magnitude(scale_all) if scale and scale_all else magnitude(1.0)
    return frequencies, wanted.number("attention_factor", attention)


def _longrope_frequencies(wanted: _Wanted, key: str) -> Tensor:
    stretch = torch.tensor(wanted.parameters[key], dtype=torch.float32)
    if len(stretch) != wanted.size // 2:
        numbers = f"{wanted.size // 2} numbers, one an angle"
        raise ConfigError.mismatch(f"rope_parameters.{key}", numbers, len(stretch))
    exponents = torch.arange(0, wanted.size, 2, dtype=torch.float32) / wanted.size
    frequencies: Tensor = 1.0 / (stretch * wanted.parameters["rope_theta"] ** exponents)
    return frequencies


def _longrope(wanted: _Wanted) -> tuple[Tensor, float]:
    """A searched factor for every angle, other ones for long texts (Ding et al., arXiv:2402.13753)."""
    original, factor = wanted.parameters["original_max_position_embeddings"], wanted.extension
    attention = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return _longrope_frequencies(wanted, "short_factor"), wanted.number("attention_factor", attention)


def _llama3(wanted: _Wanted) -> tuple[Tensor, float]:
    """Llama 3.1: long wavelengths stretched, short ones kept, a blend between (arXiv:2407.21783)."""
    parameters = wanted.parameters
    factor, low, high = (parameters[key] for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = parameters["original_max_position_embeddings"]
    frequencies = _default(wanted)[0]
    wavelengths = 2 * math.pi / frequencies
    share = (original / wavelengths - low) / (high - low)
    blended = (1 - share) * frequencies / factor + share * frequencies
    stretched = torch.where(wavelengths > original / low, frequencies / factor, blended)
    return torch.where(wavelengths < original / high, frequencies, stretched), 1.0


_KINDS: dict[str, Callable[[_Wanted], tuple[Tensor, float]]] = {
    "default": _default,
    "linear": _linear,
    "proportional": _proportional,
    "dynamic": _default,
    "yarn": _yarn,
    "longrope": _longrope,
    "llama3": _llama3,
}
