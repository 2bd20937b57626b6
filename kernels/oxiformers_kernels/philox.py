"""Philox-4x32-10 in plain torch: the random bits of `tl.philox`, so that a kernel's dropout has an exact twin.

Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011). The generator has no state: the bits are a
function of a 64-bit key and a 128-bit counter, so any program of any launch can compute those of its own elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 10

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def philox(
    seed: Tensor | int, counter0: Tensor, counter1: Tensor, counter2: Tensor, counter3: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four words that `tl.philox(seed, counter0, counter1, counter2, counter3)` gives for 32-bit counters.

    Args:
        seed: the 64-bit key, a number or a tensor with one int64 element; negative ones stand for their bits.
        counter0, counter1, counter2, counter3: integers, broadcastable to each other; their low 32 bits count.

    Returns:
        four int64 tensors in [0, 2**32), of the broadcast shape.
    """
    words = [counter.to(torch.int64) & _WORD for counter in (counter0, counter1, counter2, counter3)]
    c0, c1, c2, c3 = torch.broadcast_tensors(*words)
    key0, key1 = seed & _WORD, (seed >> 32) & _WORD
    for _ in range(ROUNDS):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0, key1 = (key0 + _KEY_STEPS[0]) & _WORD, (key1 + _KEY_STEPS[1]) & _WORD
    return c0, c1, c2, c3


def philox_uint32(
    seed: Tensor | int, counter0: Tensor, counter1: Tensor, counter2: Tensor, counter3: Tensor
) -> Tensor:
    """The first word of `philox`: int64, in [0, 2**32)."""
    return philox(seed, counter0, counter1, counter2, counter3)[0]


def dropout_threshold(probability: float) -> int:
    """An element is dropped where its word is below this: a share of `probability` of all words."""
    return min(round(probability * 2**32), _WORD)


def _multiply(multiplier: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of a product of 32-bit numbers, in halves because int64 has no room for the whole."""
    low = (word & 0xFFFF) * multiplier
    high = (word >> 16) * multiplier + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)
