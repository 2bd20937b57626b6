"""Packing, unpacking and pooling of sequences in plain torch: what the kernels compute, and the CPU path."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(padded: Tensor, index: Tensor) -> Tensor:
    """Rows `[N, ...]` at `index` `[T]` -> `[T, ...]`.

    Raises:
        IndexError: an index outside of [0, N).
    """
    return padded.index_select(0, index)


def unpack(packed: Tensor, index: Tensor, n_rows: int) -> Tensor:
    """`[T, ...]` -> `[n_rows, ...]`: row i lies at index[i], the others are 0."""
    return packed.new_zeros(n_rows, *packed.shape[1:]).index_copy(0, index, packed)


def pool(packed: Tensor, cu_seqlens: Tensor, how: str) -> Tensor:
    """Tokens `[T, D]` of sequences bounded by cu_seqlens `[B + 1]` -> `[B, D]`; an empty sequence gives 0.

    Means are taken in float32 (float64 for float64), and come back in the dtype of `packed`.
    """
    lengths, n_tokens = cu_seqlens.diff(), packed.shape[0]
    if how == "mean":
        wide = packed.to(torch.promote_types(packed.dtype, torch.float32))
        owners = torch.arange(lengths.numel(), device=packed.device)
        owner = torch.repeat_interleave(owners, lengths, output_size=n_tokens)
        sums = wide.new_zeros(lengths.numel(), packed.shape[1]).index_add(0, owner, wide)
        return (sums / lengths.clamp(min=1).unsqueeze(1)).to(packed.dtype)
    if n_tokens == 0:
        return packed.new_zeros(lengths.numel(), packed.shape[1])
    rows = cu_seqlens[:-1] if how == "first" else cu_seqlens[1:] - 1
    chosen = packed.index_select(0, rows.clamp(0, n_tokens - 1))
    return chosen.masked_fill((lengths == 0).unsqueeze(1), 0.0)
