"""Sampling in plain torch, by sorting: what the kernel computes, and the CPU path."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers_kernels.philox import philox_uint32

# `tl.rand`: 31 bits to [0, 1), by the largest factor with which no word becomes 1 in float32.
_UNIFORM_SCALE = 4.6566127342e-10


def sample(
    logits: Tensor,
    temperature: float | Tensor,
    top_k: int | Tensor,
    top_p: float | Tensor,
    min_p: float | Tensor,
    seed: Tensor,
) -> tuple[Tensor, Tensor]:
    """Tokens `[B]` drawn from logits `[B, V]`, and the least scaled logit `[B]` that could be drawn.

    In the order of Hugging Face's warpers: temperature, top-k, top-p, min-p. Logits are float32 from the start, as they
    are in its generation. The draw is by inversion: the first token at which the running sum of weights, in the order
    of the vocabulary, exceeds a uniform number (of Philox: key `seed`, counter the row) times their total.
    """
    n_rows, n_columns = logits.shape
    temperatures, ks, ps, least = (
        torch.as_tensor(value, device=logits.device).expand(n_rows).unsqueeze(1)
        for value in (temperature, top_k, top_p, min_p)
    )
    temperatures, ps, least = temperatures.float(), ps.float(), least.float()
    greedy = temperatures == 0.0
    scaled = logits.float() * torch.where(greedy, 1.0, temperatures).reciprocal()
    ordered = scaled.sort(dim=-1, descending=True).values
    peak = ordered[:, :1]

    ks = torch.where((ks <= 0) | (ks > n_columns), n_columns, ks)
    threshold = ordered.gather(1, ks.to(torch.int64) - 1)
    # A token stays if those above it weigh less than top_p of all; tokens of one logit stay or go together.
    weights = (ordered - peak).exp().masked_fill(ordered < threshold, 0.0).double()
    above = weights.cumsum(-1) - weights
    target = (ps * weights.sum(-1, keepdim=True)).clamp(min=torch.finfo(torch.float32).tiny)
    nucleus = ordered.masked_fill((above >= target) & (ps < 1.0), torch.inf).amin(-1, keepdim=True)
    threshold = torch.maximum(threshold, nucleus)
    threshold = torch.maximum(threshold, peak + least.log())
    threshold = torch.where(greedy, peak, threshold)

    weights = (scaled - peak).exp().masked_fill(~(scaled >= threshold), 0.0).double()
    sums = weights.cumsum(-1)
    target = uniform(seed, n_rows).unsqueeze(1).masked_fill(greedy, 0.0) * sums[:, -1:]
    columns = torch.arange(n_columns, device=logits.device)
    drawable = weights > 0.0
    last = columns.masked_fill(~drawable, -1).amax(-1)
    tokens = columns.masked_fill(~(drawable & (sums > target)), n_columns).amin(-1)
    return torch.where(tokens < n_columns, tokens, last), threshold.squeeze(1)


def uniform(seed: Tensor, n_rows: int) -> Tensor:
    """Float32 numbers in [0, 1), one a row: those of `tl.rand(seed, row)`."""
    rows = torch.arange(n_rows, device=seed.device)
    zero = torch.zeros_like(rows)
    words = philox_uint32(seed, rows, zero, zero, zero)
    # As a signed word, whose complement stands for a negative one.
    words = torch.where(words >= 2**31, 2**32 - 1 - words, words)
    return words.float() * _UNIFORM_SCALE
