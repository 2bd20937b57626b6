"""The linear layer every architecture uses, and the choice between the two CPU libraries that can compute it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oxiformers import env
from oxiformers.layers.activations import Activation, gelu_tanh

# The activations oneDNN applies while the product is still in the cache: its name for each, and the variant.
_FUSED: dict[Activation, tuple[str, str]] = {
    F.gelu: ("gelu", "none"),
    gelu_tanh: ("gelu", "tanh"),
    F.relu: ("relu", ""),
    torch.tanh: ("tanh", ""),
}

# Below this many rows oneDNN spends longer on arranging the weight than it gains (measured from 1 to 2,048).
_FEWEST_ROWS = 8


class Linear(nn.Linear):
    """An nn.Linear that may be told the activation that follows it, and that uses the faster CPU library.

    With a gradient to record it is F.linear. Without one, on CPU in float32 or bfloat16, it may be oneDNN, called on
    the weight as it lies: nothing is packed ahead, so nothing can go stale and no memory is used twice.
    """

    def forward(self, input: Tensor, activation: Activation | None = None) -> Tensor:
        """``[..., D_in]`` to ``[..., D_out]``."""
        if may_use_onednn(input, self.weight, _FEWEST_ROWS):
            return onednn_linear(input, self.weight, self.bias, activation)
        output = F.linear(input, self.weight, self.bias)
        return output if activation is None else activation(output)


def may_use_onednn(input: Tensor, weight: Tensor, fewest_rows: int) -> bool:
    """Whether `onednn_linear` may compute this and gains by it, given so many rows of ``[..., D_in]``."""
    return (
        input.device.type == "cpu"
        and not (torch.is_grad_enabled() and (weight.requires_grad or input.requires_grad))
        and input.dtype is weight.dtype
        # oneDNN takes a transposed weight too, by a loop that is thousands of times slower.
        and input.is_contiguous()
        and weight.is_contiguous()
        and input.dim() >= 2
        and input.numel() >= fewest_rows * input.shape[-1]
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
        # Subclasses (fake, distributed, quantised tensors) have their own idea of a linear layer.
        and type(input) is Tensor
        and type(weight) in (nn.Parameter, Tensor)
        and onednn_is_faster(input.dtype)
    )


def onednn_linear(
    input: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation | None
) -> Tensor:
    """``[..., D_in]`` by ``[D_out, D_in]`` to ``[..., D_out]``, the activation applied in passing where it can be."""
    name, variant = ("none", "") if activation is None else _FUSED.get(activation, ("none", ""))
    output: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, name, [], variant)
    return output if activation is None or name != "none" else activation(output)


@functools.cache
def onednn_is_faster(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes linear layers of this dtype faster than F.linear does on this machine.

    Timed once a process in float32, in a few milliseconds; ``OXIFORMERS_LINEAR=onednn`` or ``torch`` decides instead.
    On processors without AVX-512 oneDNN has no bfloat16 product.
    """
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    if dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    choice = env.linear_library()
    if choice != "auto":
        return choice == "onednn"
    if dtype is torch.bfloat16:
        # F.linear is oneDNN here as well, but copies the bias ahead and leaves the activation for later.
        return True
    with torch.inference_mode():
        rows, weight = torch.ones(64, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
        ours = _fastest(lambda: torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], ""))
        return ours < _fastest(lambda: F.linear(rows, weight))


def _fastest(call: Callable[[], Tensor]) -> float:
    """Seconds of the fastest of four calls, after one that sets the library up."""
    call()
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
