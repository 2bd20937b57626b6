"""Row softmax with a fused scale and mask, in plain torch: what the kernel computes, and the CPU path."""

from __future__ import annotations

import torch
from torch import Tensor


def softmax(x: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """softmax(x * scale + mask) over the last dimension; a row with nothing to keep gives zeros.

    The order of casts is that of the eager attention of Hugging Face's models: scale and mask in the dtype of
    `x`, the softmax in float32 (float64 for float64), the result back in the dtype of `x`.
    """
    logits = x if scale == 1.0 else x * scale
    if mask is not None:
        if mask.dtype == torch.bool:
            logits = logits.masked_fill(~mask, -torch.inf)
        else:
            logits = (logits + mask.to(x.dtype)).masked_fill(mask <= torch.finfo(mask.dtype).min, -torch.inf)
    logits = logits.to(torch.promote_types(x.dtype, torch.float32))
    if mask is None:
        return logits.softmax(dim=-1).to(x.dtype)
    # A softmax over nothing is 0/0: such rows are filled before (no NaN in the backward) and zeroed after.
    empty = (logits == -torch.inf).all(dim=-1, keepdim=True)
    return logits.masked_fill(empty, 0.0).softmax(dim=-1).masked_fill(empty, 0.0).to(x.dtype)
