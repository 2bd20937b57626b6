"""Row softmax with a scale, a bias, a mask and dropout, in plain torch: what the kernel computes, and the CPU path."""

from __future__ import annotations

import torch
from torch import Tensor

from oxiformers_kernels.philox import dropout_threshold, philox


def softmax(
    x: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    inplace: bool = False,
) -> Tensor:
    """dropout(softmax(x * scale + bias + mask)) over the last dimension; a row with nothing to keep gives zeros.

    The order of casts is that of the eager attention of Hugging Face's models: scale, bias and mask in the dtype of
    `x`, the softmax in float32 (float64 for float64), the result back in the dtype of `x`, dropout in that.
    """
    logits = _logits(x, mask, bias, scale)
    if mask is None and bias is None:
        result = logits.softmax(dim=-1).to(x.dtype)
    else:
        # A softmax over nothing is 0/0: such rows are filled before (no NaN in the backward) and zeroed after.
        empty = (logits == -torch.inf).all(dim=-1, keepdim=True)
        result = logits.masked_fill(empty, 0.0).softmax(dim=-1).masked_fill(empty, 0.0).to(x.dtype)
    if seed is not None and dropout:
        result = (result * (1.0 / (1.0 - dropout))).masked_fill(dropped(x, dropout, seed), 0.0)
    return x.copy_(result) if inplace else result


def log_softmax(x: Tensor, mask: Tensor | None, bias: Tensor | None, scale: float) -> Tensor:
    """log_softmax(x * scale + bias + mask) over the last dimension, with the casts of `softmax`.

    What is removed gives -inf, and the gradient it is given counts for nothing.
    """
    logits = _logits(x, mask, bias, scale)
    if mask is None and bias is None:
        return logits.log_softmax(dim=-1).to(x.dtype)
    removed = logits == -torch.inf
    empty = removed.all(dim=-1, keepdim=True)
    return logits.masked_fill(empty, 0.0).log_softmax(dim=-1).masked_fill(removed, -torch.inf).to(x.dtype)


def packed_softmax(x: Tensor, cu_seqlens: Tensor) -> Tensor:
    """softmax over the tokens of each sequence, [T, ...], in float32, rounded to the dtype of `x`.

    A column of a sequence in which everything is -inf gives zeros.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    tokens = torch.arange(x.shape[0], dtype=cu_seqlens.dtype, device=x.device)
    sequences = torch.searchsorted(cu_seqlens[1:], tokens, right=True)
    statistics = (cu_seqlens.shape[0] - 1, *x.shape[1:])
    index = sequences.reshape(-1, *[1] * (x.dim() - 1)).expand(x.shape)
    # Any shift gives the same result; the peak keeps exponentials finite, and takes no part in the gradient.
    peaks = wide.new_full(statistics, -torch.inf).scatter_reduce(0, index, wide.detach(), "amax")
    shift = peaks.masked_fill(peaks == -torch.inf, 0.0)
    exponentials = (wide - shift[sequences]).exp()
    totals = wide.new_zeros(statistics).index_add(0, sequences, exponentials)
    totals = totals.masked_fill(totals == 0.0, 1.0)
    return (exponentials / totals[sequences]).to(x.dtype)


def dropped(x: Tensor, dropout: float, seed: Tensor) -> Tensor:
    """The elements that dropout zeroes, boolean in the shape of `x`.

    The counter is a row and a group of four adjacent columns, which take its four words.
    """
    n_columns = x.shape[-1]
    rows = torch.arange(x.numel() // max(1, n_columns), device=x.device)[:, None]
    groups = torch.arange((n_columns + 3) // 4, device=x.device)
    zero = torch.zeros((), dtype=torch.int64, device=x.device)
    words = torch.stack(philox(seed, groups, rows, zero, zero), dim=-1).flatten(-2)[:, :n_columns]
    return (words < dropout_threshold(dropout)).reshape(x.shape)


def _logits(x: Tensor, mask: Tensor | None, bias: Tensor | None, scale: float) -> Tensor:
    """x * scale + bias + mask in float32, -inf where removed."""
    logits = x if scale == 1.0 else x * scale
    if bias is not None:
        logits = logits + bias.to(x.dtype)
    if mask is not None:
        if mask.dtype == torch.bool:
            logits = logits.masked_fill(~mask, -torch.inf)
        else:
            logits = (logits + mask.to(x.dtype)).masked_fill(mask <= torch.finfo(mask.dtype).min, -torch.inf)
    return logits.to(torch.promote_types(x.dtype, torch.float32))
