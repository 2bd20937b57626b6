"""What launchers ask of a device: to be current, and what it can do."""

from __future__ import annotations

import contextlib
import functools

import torch

from oxiformers_kernels.dispatch import interpreting

#: Shared memory a program needs for the larger tiles, in bytes.
ROOMY_SHARED_MEMORY = 160 * 1024


def on(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Triton launches on the current CUDA device, which need not be the tensors' own."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@functools.cache
def capability(device: torch.device) -> tuple[int, int]:
    """The compute capability; (8, 0) for the interpreter, which takes any tile."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (8, 0)


@functools.cache
def processors(device: torch.device) -> int:
    """Streaming multiprocessors; the interpreter, which runs one program after another, has one."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@functools.cache
def roomy(device: torch.device) -> bool:
    """Whether a program may use ROOMY_SHARED_MEMORY: data-centre GPUs, not their consumer siblings."""
    if device.type != "cuda":
        return True
    # Under a name that torch's stubs do not list.
    shared_memory: int = torch.cuda.get_device_properties(device).shared_memory_per_block_optin  # type: ignore[attr-defined]
    return shared_memory >= ROOMY_SHARED_MEMORY


def dot_settings(dtype: torch.dtype) -> tuple[str, bool]:
    """`input_precision` of products, and whether their operands must be widened to float32 first.

    float32 stays float32 unless torch may round to TF32 too. Triton's interpreter computes bfloat16 products wrongly.
    """
    precision = "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"
    return precision, interpreting() and dtype == torch.bfloat16
